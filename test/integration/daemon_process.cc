// SPDX-License-Identifier: Apache-2.0
#include "test/integration/daemon_process.h"

#include <cerrno>
#include <csignal>
#include <filesystem>
#include <stdexcept>

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "base/sizes.h"

namespace nrtd::integration {
namespace {

struct Pipe {
  Pipe() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe: " + ErrnoText(errno));
    read = UniqueFd(ends[0]);
    write = UniqueFd(ends[1]);
  }
  UniqueFd read;
  UniqueFd write;
};

pid_t Spawn(std::vector<std::string> command, const UniqueFd& error_output) {
  std::vector<char*> pointers;
  for (std::string& word : command) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, error_output.get(), STDERR_FILENO);
  pid_t pid = -1;
  const int error = posix_spawn(&pid, pointers[0], &actions, nullptr, pointers.data(), ::environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) throw std::runtime_error("cannot run " + command[0] + ": " + ErrnoText(error));
  return pid;
}

}  // namespace

DaemonProcess::DaemonProcess(const std::vector<std::string>& arguments,
                             const std::vector<std::string>& launcher, const std::string& program) {
  Pipe pipe;
  // A test that is killed takes its daemon along.
  std::vector<std::string> command = {"/usr/bin/setpriv", "--pdeathsig", "KILL", "--"};
  command.insert(command.end(), launcher.begin(), launcher.end());
  command.push_back(std::string(NRTD_BINARY_DIR) + "/" + program);
  command.insert(command.end(), arguments.begin(), arguments.end());
  pid_ = Spawn(command, pipe.write);
  running_ = true;
  exited_ = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
  stderr_ = std::move(pipe.read);
  pipe.write = UniqueFd();
  reader_ = std::thread([this] { ReadLog(); });
}

DaemonProcess::~DaemonProcess() {
  if (running_) {
    Signal(SIGKILL);
    AwaitExit();
  }
  reader_.join();
}

void DaemonProcess::ReadLog() {
  char buffer[4096];
  while (true) {
    const ssize_t count = ::read(stderr_.get(), buffer, sizeof(buffer));
    if (count < 0 && errno == EINTR) continue;
    MutexLock lock(mutex_);
    if (count <= 0) log_ended_ = true;
    if (count > 0) log_.append(buffer, static_cast<size_t>(count));
    log_changed_.NotifyAll();
    if (count <= 0) return;
  }
}

bool DaemonProcess::AwaitLog(std::string_view text) {
  SteadyClock clock;
  const TimePoint deadline = clock.Now() + kPatience;
  MutexLock lock(mutex_);
  while (true) {
    const size_t at = log_.find(text);
    if (at != std::string::npos && log_.find('\n', at) != std::string::npos) return true;
    if (log_ended_ || clock.Now() >= deadline) return false;
    clock.WaitUntil(log_changed_, mutex_, deadline);
  }
}

std::string DaemonProcess::Log() const {
  MutexLock lock(mutex_);
  return log_;
}

void DaemonProcess::Signal(int number) const {
  if (running_) ::kill(pid_, number);
}

int DaemonProcess::AwaitExit() {
  if (!running_) return -1;
  pollfd ended{exited_.get(), POLLIN, 0};
  const auto patience = std::chrono::duration_cast<std::chrono::milliseconds>(kPatience).count();
  int ready = 0;
  do {
    ready = ::poll(&ended, 1, static_cast<int>(patience));
  } while (ready < 0 && errno == EINTR);
  if (ready != 1) ::kill(pid_, SIGKILL);
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  running_ = false;
  MutexLock lock(mutex_);
  while (!log_ended_) log_changed_.Wait(mutex_);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int DaemonProcess::Stop() {
  Signal(SIGTERM);
  return AwaitExit();
}

uint64_t DaemonProcess::StatusBytes(std::string_view key) const {
  const std::string text = ReadTextFile(fmt::format("/proc/{}/status", pid_)).value();
  const size_t at = text.find(fmt::format("\n{}:", key));
  if (at == std::string::npos) throw std::runtime_error(fmt::format("no {} in /proc", key));
  return std::stoull(text.substr(at + key.size() + 2)) * kKiB;
}

size_t DaemonProcess::Entries(std::string_view folder) const {
  const std::filesystem::directory_iterator entries(fmt::format("/proc/{}/{}", pid_, folder));
  return static_cast<size_t>(std::distance(begin(entries), end(entries)));
}

}  // namespace nrtd::integration
