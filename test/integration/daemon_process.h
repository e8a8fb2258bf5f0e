// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <sys/types.h>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/unique_fd.h"

namespace nrtd::integration {

// Longer than anything here takes, also under a sanitizer on a busy machine: only a hang gets
// there.
inline constexpr Duration kPatience = std::chrono::seconds(60);

// One neuron-rtd, or another server, of this build. Its stderr is read as it comes and kept. Killed
// by the destructor if it still runs.
class DaemonProcess {
 public:
  // `launcher` is a command that runs the command that follows it, as in a control group.
  explicit DaemonProcess(const std::vector<std::string>& arguments,
                         const std::vector<std::string>& launcher = {},
                         const std::string& program = "neuron-rtd");
  ~DaemonProcess();
  DaemonProcess(const DaemonProcess&) = delete;
  DaemonProcess& operator=(const DaemonProcess&) = delete;

  // Until a line with `text` was logged. False when the log ended without it, or after kPatience.
  bool AwaitLog(std::string_view text);
  bool AwaitListening() { return AwaitLog("Server listening on "); }
  std::string Log() const;

  pid_t pid() const { return pid_; }
  void Signal(int number) const;
  // Until it ends by itself and Log() is whole. The exit code; -1 when a signal ended it, or it had
  // to be killed after kPatience.
  int AwaitExit();
  // SIGTERM and AwaitExit().
  int Stop();

  // A figure of /proc/<pid>/status in bytes: "VmRSS", "HugetlbPages".
  uint64_t StatusBytes(std::string_view key) const;
  size_t OpenFiles() const { return Entries("fd"); }
  size_t Threads() const { return Entries("task"); }

 private:
  void ReadLog();
  size_t Entries(std::string_view folder) const;  // of /proc/<pid>/<folder>

  pid_t pid_ = -1;
  bool running_ = false;
  UniqueFd exited_;  // a pidfd
  UniqueFd stderr_;
  mutable Mutex mutex_;
  CondVar log_changed_;
  std::string log_ NRTD_GUARDED_BY(mutex_);
  bool log_ended_ NRTD_GUARDED_BY(mutex_) = false;
  std::thread reader_;
};

}  // namespace nrtd::integration
