// SPDX-License-Identifier: Apache-2.0
//
// Processes that connect to a socket for this one: to a server, each is a client of its own, which
// can be killed while its connections are used here.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include <sys/types.h>

#include "base/unique_fd.h"

namespace nrtd::fuzz {

// One such process. Killed when this goes.
class ClientProcess {
 public:
  ClientProcess(pid_t pid, UniqueFd control) : pid_(pid), control_(std::move(control)) {}
  ~ClientProcess() { Kill(); }
  ClientProcess(const ClientProcess&) = delete;
  ClientProcess& operator=(const ClientProcess&) = delete;

  // A connection that the process made, non-blocking. Aborts if there is none to be had.
  UniqueFd Connect();
  // Its connections stay open here, as those of a killed client stay with whoever has a copy.
  void Kill();
  bool alive() const { return pid_ > 0; }

 private:
  pid_t pid_;
  UniqueFd control_;
};

// Makes them. Forks once when it is made, which must be before the process has other threads.
class ClientProcesses {
 public:
  explicit ClientProcesses(const std::string& socket_path);
  std::unique_ptr<ClientProcess> Start();

 private:
  UniqueFd parent_;  // of a process that forks on demand
};

}  // namespace nrtd::fuzz
