// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <memory>

#include <boost/asio/io_context.hpp>

#include "runtime/session/client.h"

namespace nrtd::service {

// Learns when the processes of clients end: what they made without a session is freed then. Where
// the kernel gives a pidfd it says so at once; otherwise a process counts as ended when it has had
// no connection for kForgottenAfter (base/timeouts.h). Used by the thread that runs `io`.
class ProcessWatch {
 public:
  // `on_ended` is called on that thread, once for each process. `io` outlives this.
  ProcessWatch(boost::asio::io_context& io,
               std::function<void(runtime::ProcessKey process)> on_ended);
  ~ProcessWatch();

  void Connected(const runtime::Client& client);
  void Disconnected(const runtime::Client& client);

 private:
  struct Process;
  void Ended(runtime::ProcessKey key);

  boost::asio::io_context& io_;
  const std::function<void(runtime::ProcessKey)> on_ended_;
  std::map<runtime::ProcessKey, std::unique_ptr<Process>> processes_;
};

}  // namespace nrtd::service
