// SPDX-License-Identifier: Apache-2.0
#include "runtime/service/process_watch.h"

#include <optional>
#include <utility>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <fcntl.h>

#include "base/log.h"
#include "base/timeouts.h"

namespace nrtd::service {

struct ProcessWatch::Process {
  explicit Process(boost::asio::io_context& io) : forgotten(io) {}
  uint64_t connections = 0;
  std::optional<boost::asio::posix::stream_descriptor> pidfd;
  boost::asio::steady_timer forgotten;  // runs while there is neither a pidfd nor a connection
};

ProcessWatch::ProcessWatch(boost::asio::io_context& io,
                           std::function<void(runtime::ProcessKey)> on_ended)
    : io_(io), on_ended_(std::move(on_ended)) {}

ProcessWatch::~ProcessWatch() = default;

void ProcessWatch::Connected(const runtime::Client& client) {
  auto& process = processes_[client.process];
  const bool fresh = process == nullptr;
  if (fresh) process = std::make_unique<Process>(io_);
  ++process->connections;
  process->forgotten.cancel();
  if (!fresh || client.peer.pidfd == nullptr) return;
  // Of its own, since Asio closes what it waits for.
  const int copy = ::fcntl(client.peer.pidfd->get(), F_DUPFD_CLOEXEC, 0);
  if (copy < 0) return;  // no descriptors: as on a kernel that gives none
  process->pidfd.emplace(io_, copy);
  process->pidfd->async_wait(boost::asio::posix::stream_descriptor::wait_read,
                             [this, key = client.process](const boost::system::error_code& error) {
                               if (!error) Ended(key);
                             });
}

void ProcessWatch::Disconnected(const runtime::Client& client) {
  const auto found = processes_.find(client.process);
  if (found == processes_.end()) return;
  Process& process = *found->second;
  if (--process.connections != 0 || process.pidfd) return;
  process.forgotten.expires_after(kForgottenAfter);
  process.forgotten.async_wait(
      [this, key = client.process](const boost::system::error_code& error) {
        if (!error) Ended(key);
      });
}

void ProcessWatch::Ended(runtime::ProcessKey key) {
  const auto found = processes_.find(key);
  // A connection may have come back before the timer was heard.
  if (found == processes_.end() || (!found->second->pidfd && found->second->connections != 0))
    return;
  processes_.erase(found);
  on_ended_(key);
}

}  // namespace nrtd::service
