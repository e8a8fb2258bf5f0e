// SPDX-License-Identifier: Apache-2.0
//
// Holds a pod's namespaces: sleeps, collects what it inherits, and ends with SIGTERM or SIGINT.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGCHLD);
  sigprocmask(SIG_BLOCK, &signals, 0);
  while (1) {
    int signal = 0;
    if (sigwait(&signals, &signal) == 0 && signal != SIGCHLD) return 0;
    while (waitpid(-1, 0, WNOHANG) > 0) {
    }
  }
}
