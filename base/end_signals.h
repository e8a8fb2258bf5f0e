// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <csignal>

#include <pthread.h>

namespace nrtd {

// SIGTERM and SIGINT, blocked for this thread and for those that it starts from now on: for
// sigwait(3) alone. Called before a library starts threads.
inline sigset_t BlockEndSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  return signals;
}

}  // namespace nrtd
