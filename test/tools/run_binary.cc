// SPDX-License-Identifier: Apache-2.0
#include "test/tools/run_binary.h"

#include <cerrno>
#include <stdexcept>
#include <string_view>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "test/base/scratch_directory.h"

namespace nrtd::testing {
namespace {

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

std::vector<std::string> Environment(const std::vector<std::string>& variables) {
  std::vector<std::string> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    if (!std::string_view(*entry).starts_with("NEURON_RTD_ADDRESS=")) environment.push_back(*entry);
  }
  environment.insert(environment.end(), variables.begin(), variables.end());
  return environment;
}

}  // namespace

Finished RunBinary(const std::string& name, const std::vector<std::string>& arguments,
                   const std::vector<std::string>& variables) {
  const ScratchDirectory folder;
  const std::string out = folder.File("out");
  const std::string err = folder.File("err");
  std::vector<std::string> command = {
      name.starts_with('/') ? name : std::string(NRTD_BINARY_DIR) + "/" + name};
  command.insert(command.end(), arguments.begin(), arguments.end());
  std::vector<std::string> environment = Environment(variables);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  constexpr int kFlags = O_WRONLY | O_CREAT | O_TRUNC;
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, out.c_str(), kFlags, 0600);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, err.c_str(), kFlags, 0600);
  pid_t pid = 0;
  const int error = posix_spawn(&pid, command[0].c_str(), &actions, nullptr,
                                Pointers(command).data(), Pointers(environment).data());
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) throw std::runtime_error("cannot run " + command[0] + ": " + ErrnoText(error));

  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  Finished finished;
  if (WIFEXITED(status)) finished.exit_code = WEXITSTATUS(status);
  finished.out = ReadTextFile(out).value();
  finished.err = ReadTextFile(err).value();
  return finished;
}

}  // namespace nrtd::testing
