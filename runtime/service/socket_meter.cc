// SPDX-License-Identifier: Apache-2.0
#include "runtime/service/socket_meter.h"

#include <algorithm>
#include <array>
#include <chrono>

#include <boost/asio/post.hpp>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "base/sizes.h"
#include "base/timeouts.h"
#include "runtime/service/listener.h"
#include "runtime/session/http2_meter.h"

namespace nrtd::service {

using runtime::Holding;

struct SocketMeter::Connection {
  std::atomic<bool> cut{false};
  Mutex mutex;
  // -1: of no connection. A number that a connection had is another's only after all others were,
  // so that a thread that comes late is not taken for the next one's.
  int descriptor NRTD_GUARDED_BY(mutex) = -1;
  SocketMeter* owner NRTD_GUARDED_BY(mutex) = nullptr;
  runtime::Http2Meter meter NRTD_GUARDED_BY(mutex);
  std::shared_ptr<runtime::ClientAccount> account NRTD_GUARDED_BY(mutex);
  runtime::Charge charge NRTD_GUARDED_BY(mutex);
};

namespace {

// By descriptor. Zero pages until they are used.
std::array<std::atomic<SocketMeter::Connection*>, kEndOfNumbers> g_connections;

SocketMeter::Connection* Find(int descriptor) {
  if (descriptor < kFirstNumber || descriptor >= kEndOfNumbers) return nullptr;
  return g_connections[static_cast<size_t>(descriptor)].load(std::memory_order_acquire);
}

// Those that are free for the next connection. Never destroyed, as their threads may outlive all.
struct FreeConnections {
  Mutex mutex;
  std::vector<SocketMeter::Connection*> list NRTD_GUARDED_BY(mutex);
};
FreeConnections& Free() {
  static auto* const free = new FreeConnections;
  return *free;
}

SocketMeter::Connection* NewConnection() {
  MutexLock lock(Free().mutex);
  auto& list = Free().list;
  if (list.empty()) return new SocketMeter::Connection;
  SocketMeter::Connection* const connection = list.back();
  list.pop_back();
  return connection;
}

// Calls take(span) for the first `bytes` of a message's buffers.
template <typename Take>
void ForEachPart(const msghdr& message, size_t bytes, Take take) {
  for (size_t i = 0; i < message.msg_iovlen && bytes != 0; ++i) {
    const iovec& part = message.msg_iov[i];
    const size_t size = std::min(part.iov_len, bytes);
    take(ByteSpan(static_cast<const std::byte*>(part.iov_base), size));
    bytes -= size;
  }
}

}  // namespace

SocketMeter::SocketMeter(runtime::Ledger& ledger, boost::asio::io_context& io)
    : ledger_(ledger), io_(io), timer_(io) {}

SocketMeter::~SocketMeter() {
  std::vector<int> left;
  {
    MutexLock lock(mutex_);
    for (Connection* connection : connections_) {
      MutexLock one(connection->mutex);
      left.push_back(connection->descriptor);
    }
  }
  for (const int descriptor : left) Disconnected(descriptor);
}

void SocketMeter::Connected(const runtime::Client& client) {
  const int descriptor = client.descriptor;
  if (descriptor < kFirstNumber || descriptor >= kEndOfNumbers || !client.account) return;
  Connection* const connection = NewConnection();
  {
    MutexLock lock(connection->mutex);
    connection->descriptor = descriptor;
    connection->owner = this;
    connection->account = client.account;
    connection->meter.Reset();
    if (auto charge = client.account->Take(Holding::kArrivingBytes, 0))
      connection->charge = std::move(*charge);
    connection->cut.store(false);
  }
  MutexLock lock(mutex_);
  connections_.push_back(connection);
  g_connections[static_cast<size_t>(descriptor)].store(connection, std::memory_order_release);
}

void SocketMeter::Disconnected(int descriptor) {
  Connection* const connection = Find(descriptor);
  if (connection == nullptr) return;
  {
    MutexLock lock(mutex_);
    std::erase(connections_, connection);
  }
  g_connections[static_cast<size_t>(descriptor)].store(nullptr, std::memory_order_release);
  {
    MutexLock lock(connection->mutex);
    connection->descriptor = -1;
    connection->owner = nullptr;
    connection->charge.Release();
    connection->account.reset();
  }
  MutexLock lock(Free().mutex);
  Free().list.push_back(connection);
}

void SocketMeter::Taken(const runtime::Client& client, uint64_t length) {
  Connection* const connection = Find(client.descriptor);
  if (connection == nullptr) return;
  MutexLock lock(connection->mutex);
  if (connection->descriptor != client.descriptor) return;
  connection->meter.Taken(length);
  connection->charge.Set(connection->cut ? 0 : connection->meter.held());
  if (verified_.load(std::memory_order_relaxed) || verified_.exchange(true)) return;
  if (connection->meter.received() != 0) return;
  Log(LogLevel::kWarning, "NRTD:SocketMeter",
      "cannot see what arrives on the connections of clients (libgrpc does not call the daemon's "
      "recvmsg): messages that stop half way are not limited");
}

ssize_t SocketMeter::Receive(int descriptor, msghdr* message, int flags) {
  Connection* const connection = Find(descriptor);
  if (connection != nullptr && connection->cut.load(std::memory_order_relaxed)) return 0;
  const ssize_t bytes = ::syscall(SYS_recvmsg, descriptor, message, flags);
  if (connection == nullptr || bytes <= 0 || (flags & (MSG_PEEK | MSG_ERRQUEUE)) != 0) return bytes;
  MutexLock lock(connection->mutex);
  if (connection->descriptor == descriptor)
    connection->owner->Received(*connection, *message, static_cast<size_t>(bytes));
  return bytes;
}

ssize_t SocketMeter::Send(int descriptor, const msghdr* message, int flags) {
  const ssize_t bytes = ::syscall(SYS_sendmsg, descriptor, message, flags);
  Connection* const connection = Find(descriptor);
  if (connection == nullptr || bytes <= 0) return bytes;
  MutexLock lock(connection->mutex);
  if (connection->descriptor != descriptor) return bytes;
  ForEachPart(*message, static_cast<size_t>(bytes),
              [&](ByteSpan part) NRTD_NO_THREAD_SAFETY_ANALYSIS { connection->meter.Sent(part); });
  connection->charge.Set(connection->cut ? 0 : connection->meter.held());
  return bytes;
}

void SocketMeter::Received(Connection& connection, const msghdr& message, size_t bytes) {
  ForEachPart(message, bytes, [&](ByteSpan part) NRTD_NO_THREAD_SAFETY_ANALYSIS {
    connection.meter.Received(part);
  });
  if (connection.cut) return;
  connection.charge.Set(connection.meter.held());
  const runtime::ClientAccount& account = *connection.account;
  const uint64_t arriving = account.counters().Of(Holding::kArrivingBytes);
  if (account.IsOver(Holding::kArrivingBytes)) {
    Cut(connection,
        fmt::format("its client has {} arriving, a client may have {}", HumanBytes(arriving),
                    HumanBytes(ledger_.PerClient(Holding::kArrivingBytes))));
    return;
  }
  if (ledger_.IsOver(Holding::kArrivingBytes)) {
    const uint64_t total = ledger_.limits().Total(Holding::kArrivingBytes);
    // The largest is found on another thread, for which no one may have to wait too long.
    if (arriving > total / 2 || ledger_.totals().Of(Holding::kArrivingBytes) - total > total / 2) {
      Cut(connection, TotalText());
    } else if (!evicting_.exchange(true)) {
      boost::asio::post(io_, [this] { CutLargest(); });
    }
  }
  // Once a second of activity, not once a message.
  if (connection.meter.unfinished() != 0 && !scheduled_.load(std::memory_order_relaxed) &&
      !scheduled_.exchange(true))
    boost::asio::post(io_, [this] { Schedule(); });
}

std::string SocketMeter::TotalText() const {
  return fmt::format("all clients together have {} arriving, they may have {}",
                     HumanBytes(ledger_.totals().Of(Holding::kArrivingBytes)),
                     HumanBytes(ledger_.limits().Total(Holding::kArrivingBytes)));
}

void SocketMeter::Cut(Connection& connection, const std::string& reason) {
  connection.cut = true;
  const uint64_t held = connection.charge.amount();
  connection.charge.Set(0);
  boost::asio::post(io_, [this, descriptor = connection.descriptor] {
    if (actions_.shut_down) actions_.shut_down(descriptor);
  });
  LogForClient(LogLevel::kWarning, "NRTD:SocketMeter",
               "shut down a connection of {} with {} of messages: {}", connection.account->name(),
               HumanBytes(held), reason);
}

void SocketMeter::CutLargest() {
  evicting_.store(false);
  MutexLock lock(mutex_);
  while (ledger_.IsOver(Holding::kArrivingBytes)) {
    Connection* largest = nullptr;
    std::pair<uint64_t, uint64_t> most;  // of the client, and in the connection
    for (Connection* connection : connections_) {
      MutexLock one(connection->mutex);
      const std::pair size(connection->account->counters().Of(Holding::kArrivingBytes),
                           connection->charge.amount());
      if (size.second == 0 || size <= most) continue;
      largest = connection;
      most = size;
    }
    if (largest == nullptr) return;
    MutexLock one(largest->mutex);
    Cut(*largest, TotalText());
  }
}

bool SocketMeter::CheckStalls() {
  constexpr auto kMaxTicks = static_cast<uint32_t>(kMessageStallTimeout / kCallDeadlineCheck);
  bool unfinished = false;
  MutexLock lock(mutex_);
  for (Connection* connection : connections_) {
    MutexLock one(connection->mutex);
    if (connection->cut) continue;
    runtime::Http2Meter& meter = connection->meter;
    meter.Tick();
    unfinished = unfinished || meter.unfinished() != 0;
    if (meter.stalled_ticks() < kMaxTicks) continue;
    // What the daemon had no time to read is not its client's delay.
    if (actions_.has_unread && actions_.has_unread(connection->descriptor)) continue;
    Cut(*connection, fmt::format("a message stopped half way for {} s",
                                 kMessageStallTimeout / std::chrono::seconds(1)));
  }
  return unfinished;
}

void SocketMeter::Schedule() {
  timer_.expires_after(kCallDeadlineCheck);
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (error) return;
    if (CheckStalls()) {
      Schedule();
      return;
    }
    scheduled_.store(false);
    // A message may have begun before that was seen; its next bytes, if any, schedule as well.
    if (AnyUnfinished() && !scheduled_.exchange(true)) Schedule();
  });
}

bool SocketMeter::AnyUnfinished() {
  MutexLock lock(mutex_);
  return std::any_of(connections_.begin(), connections_.end(), [](Connection* connection) {
    MutexLock one(connection->mutex);
    return !connection->cut && connection->meter.unfinished() != 0;
  });
}

}  // namespace nrtd::service

// Defined in the executable, these are what the shared libraries call.
extern "C" {
ssize_t recvmsg(int descriptor, msghdr* message, int flags) {
  return nrtd::service::SocketMeter::Receive(descriptor, message, flags);
}
ssize_t sendmsg(int descriptor, const msghdr* message, int flags) {
  return nrtd::service::SocketMeter::Send(descriptor, message, flags);
}
}
