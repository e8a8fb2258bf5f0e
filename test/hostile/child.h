// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <csignal>
#include <functional>
#include <stdexcept>

#include <sys/wait.h>
#include <unistd.h>

#include "base/unique_fd.h"

namespace nrtd::hostile {

// Runs `work` in a process of its own and returns its pid; the process ends when it is told to.
class Child {
 public:
  explicit Child(const std::function<void()>& work) {
    int ready[2];
    int leave[2];
    if (::pipe(ready) != 0 || ::pipe(leave) != 0) throw std::runtime_error("pipe");
    pid_ = ::fork();
    if (pid_ == 0) {
      ::close(leave[1]);
      work();
      char letter = 'r';
      (void)!::write(ready[1], &letter, 1);
      (void)!::read(leave[0], &letter, 1);
      ::_exit(0);
    }
    ::close(ready[1]);
    ::close(leave[0]);
    leave_ = UniqueFd(leave[1]);
    char letter = 0;
    if (::read(ready[0], &letter, 1) != 1) throw std::runtime_error("the child has failed");
    ::close(ready[0]);
  }
  ~Child() { Kill(); }
  void Kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

 private:
  pid_t pid_ = -1;
  UniqueFd leave_;
};

}  // namespace nrtd::hostile
