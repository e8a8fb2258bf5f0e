// SPDX-License-Identifier: Apache-2.0
#include "memory/guarded_copy.h"

#include <atomic>
#include <csetjmp>
#include <csignal>
#include <cstring>

#include "base/sanitized.h"

namespace nrtd::memory {
namespace {

// Where this thread goes on when a page of its copy is gone; null while it does not copy.
thread_local sigjmp_buf* way_out = nullptr;

struct sigaction previous_action;

// ThreadSanitizer blocks all signals while a handler runs; otherwise nothing is, see Install().
constexpr int kSaveMask = kSanitized ? 1 : 0;

void OnBusError(int signal, siginfo_t*, void*) {
  if (way_out != nullptr) siglongjmp(*way_out, 1);
  // Not from a copy. The instruction is tried again on return, and then ends as it would have
  // without us.
  ::sigaction(signal, &previous_action, nullptr);
}

bool Install() {
  struct sigaction action {};
  action.sa_sigaction = OnBusError;
  // Not blocked in the handler, because the handler does not return from a copy: no mask has to be
  // saved and put back for each.
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  sigemptyset(&action.sa_mask);
  return ::sigaction(SIGBUS, &action, &previous_action) == 0;
}

}  // namespace

bool GuardedCopy(void* to, const void* from, uint64_t bytes) {
  [[maybe_unused]] static const bool installed = Install();
  sigjmp_buf here;
  if (sigsetjmp(here, kSaveMask) != 0) {
    way_out = nullptr;
    return false;
  }
  way_out = &here;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  std::memcpy(to, from, bytes);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  way_out = nullptr;
  return true;
}

}  // namespace nrtd::memory
