// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>

#include "base/clock.h"
#include "base/error.h"
#include "runtime/daemon/back_off.h"
#include "runtime/daemon/options.h"

namespace nrtd::daemon {

// One server from the start to the end, in one process that has no capabilities and is under the
// system call filter before anybody is listened to. Devices and memory that are missing then are
// tried again (back_off.h): taking them later needs no privilege, but for the pagemap, which is
// opened while it may still show physical addresses.
class Daemon {
 public:
  // All outlive this.
  Daemon(const Options& options, Clock& clock, boost::asio::io_context& io)
      : options_(options), clock_(clock), io_(io), defaults_(options.defaults) {}

  // `machine`: what was acquired, or why it could not be, which is waited for. Drops all
  // privileges, serves until one of `signals` but SIGHUP, which reads the configuration again, then
  // ends what is under way. An error: it could not begin. Call it while there is no other thread.
  Result<void> Serve(service::Endpoint endpoint, Result<std::unique_ptr<runtime::Machine>> machine,
                     boost::asio::signal_set& signals);

 private:
  void Shutdown();
  void MakeRuntime(std::unique_ptr<runtime::Machine> machine);
  void Ready();
  // Whether the machine is there now.
  bool TryAgain();
  void AwaitSignals(boost::asio::signal_set& signals);
  void ReadConfigAgain();

  const Options& options_;
  Clock& clock_;
  boost::asio::io_context& io_;
  runtime::LoadDefaults defaults_;
  runtime::MachineOptions machine_options_;  // to try again with
  runtime::IdBases ids_;
  std::shared_ptr<runtime::SessionTable> sessions_;
  std::unique_ptr<runtime::Runtime> runtime_;  // null while waiting; outlives the server
  std::unique_ptr<service::Server> server_;
  std::string reason_;              // why there is no runtime
  std::optional<BackOff> machine_;  // while there is none
  std::optional<BackOff> devices_;  // those that another daemon has
};

}  // namespace nrtd::daemon
