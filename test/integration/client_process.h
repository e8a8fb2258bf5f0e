// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <csignal>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/unique_fd.h"

namespace nrtd::integration {

// session-client as a child process.
class ClientProcess {
 public:
  // What it has made; all 0 when it failed.
  struct Made {
    uint64_t session = 0;
    uint32_t network = 0;
    uint32_t group = 0;
    uint64_t cookie = 0;
  };

  ClientProcess(const std::string& address, const std::string& neff, const std::string& shm,
                const std::vector<std::string>& more = {}) {
    std::vector<std::string> words = {std::string(NRTD_TEST_BINARY_DIR) + "/session-client",
                                      address, neff, shm};
    words.insert(words.end(), more.begin(), more.end());
    std::vector<char*> pointers;
    for (std::string& word : words) pointers.push_back(word.data());
    pointers.push_back(nullptr);
    int input[2];
    int output[2];
    if (::pipe2(input, O_CLOEXEC) != 0 || ::pipe2(output, O_CLOEXEC) != 0)
      throw std::runtime_error("pipe");
    input_ = UniqueFd(input[1]);
    output_ = UniqueFd(output[0]);
    const UniqueFd child_input(input[0]);
    const UniqueFd child_output(output[1]);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, child_input.get(), STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, child_output.get(), STDOUT_FILENO);
    const int error =
        posix_spawn(&pid_, pointers[0], &actions, nullptr, pointers.data(), ::environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0) throw std::runtime_error("cannot run " + words[0]);
  }
  ~ClientProcess() { Kill(); }

  Made AwaitReady() {
    std::string text;
    char letter = 0;
    while (::read(output_.get(), &letter, 1) == 1 && letter != '\n') text += letter;
    Made made;
    std::istringstream(text) >> made.session >> made.network >> made.group >> made.cookie;
    return made;
  }
  pid_t pid() const { return pid_; }
  void Kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

 private:
  pid_t pid_ = -1;
  UniqueFd input_;
  UniqueFd output_;
};

}  // namespace nrtd::integration
