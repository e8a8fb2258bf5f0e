// SPDX-License-Identifier: Apache-2.0
//
// Meters what clients send on their sockets, because gRPC shows a call only when its message is
// complete and buffers everything until then. The executable defines recvmsg() and sendmsg(), which
// libgrpc then calls instead of the C library's; they let the bytes of clients' connections pass
// through an Http2Meter each.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <sys/socket.h>

#include "base/mutex.h"
#include "runtime/ledger/ledger.h"
#include "runtime/session/client.h"

namespace nrtd::service {

// What is done with a connection, on the thread that runs the io_context.
struct ConnectionActions {
  std::function<void(int descriptor)> shut_down;
  // Has the client sent what the daemon has not read yet?
  std::function<bool(int descriptor)> has_unread;
};

// Charges the bytes that gRPC holds of incoming messages to their clients (arriving-bytes), and
// shuts connections down, each with a line in the log:
// - one that receives more while its client has more arriving than it may;
// - the largest of the client with the most, when all together have more than they may;
// - one of which a message has stopped half way (kMessageStallTimeout).
// What a connection was charged with is returned when it is shut down. One instance a process.
class SocketMeter {
 public:
  // One connection's. Never freed: a thread of gRPC may be in recvmsg() at any time.
  struct Connection;

  SocketMeter(runtime::Ledger& ledger, boost::asio::io_context& io);
  ~SocketMeter();
  SocketMeter(const SocketMeter&) = delete;
  SocketMeter& operator=(const SocketMeter&) = delete;

  // Before the first connection.
  void SetActions(ConnectionActions actions) { actions_ = std::move(actions); }

  // The client's connection is metered from now on, before gRPC has it. On the thread of the
  // io_context, as Disconnected().
  void Connected(const runtime::Client& client);
  // What it was charged with is returned.
  void Disconnected(int descriptor);

  // The service has a message of this length of the client's, and charges it itself. Any thread.
  void Taken(const runtime::Client& client, uint64_t length);

  // What recvmsg() and sendmsg() do. A connection that is shut down is at its end at once.
  static ssize_t Receive(int descriptor, msghdr* message, int flags);
  static ssize_t Send(int descriptor, const msghdr* message, int flags);

 private:
  // With the connection's lock.
  void Received(Connection& connection, const msghdr& message,
                size_t bytes) NRTD_NO_THREAD_SAFETY_ANALYSIS;
  void Cut(Connection& connection, const std::string& reason) NRTD_NO_THREAD_SAFETY_ANALYSIS;

  // Until all together have no more than they may: the largest of the client that has the most.
  void CutLargest();
  void Schedule();
  // Is any message still arriving?
  bool CheckStalls();
  bool AnyUnfinished();
  std::string TotalText() const;

  runtime::Ledger& ledger_;
  boost::asio::io_context& io_;
  boost::asio::steady_timer timer_;
  ConnectionActions actions_;
  std::atomic<bool> scheduled_{false};
  std::atomic<bool> evicting_{false};  // CutLargest() will be called
  std::atomic<bool> verified_{false};  // that bytes of connections pass here
  Mutex mutex_;
  std::vector<Connection*> connections_ NRTD_GUARDED_BY(mutex_);
};

}  // namespace nrtd::service
