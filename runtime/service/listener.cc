// SPDX-License-Identifier: Apache-2.0
#include "runtime/service/listener.h"

#include <array>
#include <cerrno>
#include <chrono>
#include <map>
#include <optional>

#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/timeouts.h"
#include "base/unique_fd.h"
#include "runtime/session/peer.h"

namespace nrtd::service {
namespace {}  // namespace

struct Listener::State {
  // `epoll` says nothing of data: gRPC reads that, and this thread sleeps meanwhile.
  State(BoundSocket bound_socket, int listening, UniqueFd epoll, boost::asio::io_context& io,
        ListenerEvents listener_events)
      : bound(std::move(bound_socket)),
        events(std::move(listener_events)),
        acceptor(io, boost::asio::local::stream_protocol(), listening),
        hangups(io, epoll.Release()),
        pause(io) {}

  void Accept();
  void Connected(UniqueFd connection);
  int Renumber(int connection);
  void AwaitHangups();
  void TakeHangups();

  std::optional<BoundSocket> bound;
  const ListenerEvents events;
  boost::asio::local::stream_protocol::acceptor acceptor;
  boost::asio::posix::stream_descriptor hangups;
  boost::asio::steady_timer pause;
  // The second descriptor of each connection, by the number of the first.
  std::map<int, UniqueFd> watched;
  int next_number = kFirstNumber;
  bool accept_failed = false;
};

void Listener::State::Accept() {
  acceptor.async_accept([this](const boost::system::error_code& error,
                               boost::asio::local::stream_protocol::socket socket) {
    if (error == boost::asio::error::operation_aborted) return;
    if (!error) {
      accept_failed = false;
      Connected(UniqueFd(socket.release()));
      Accept();
      return;
    }
    // Out of descriptors, most likely: the connection stays in the queue, so trying again at once
    // would only spin.
    if (!accept_failed)
      Log(LogLevel::kError, "NRTD:Listener", "cannot accept a connection: {}", error.message());
    accept_failed = true;
    pause.expires_after(kAcceptPause);
    pause.async_wait([this](const boost::system::error_code& ended) {
      if (!ended) Accept();
    });
  });
}

// Another descriptor of the same connection, or -1.
int Listener::State::Renumber(int connection) {
  int number = next_number < kEndOfNumbers ? ::fcntl(connection, F_DUPFD_CLOEXEC, next_number) : -1;
  if (number < 0) number = ::fcntl(connection, F_DUPFD_CLOEXEC, kFirstNumber);
  if (number >= 0) next_number = number + 1;
  return number;
}

void Listener::State::Connected(UniqueFd connection) {
  auto peer = runtime::ReadPeer(connection.get());
  UniqueFd number(Renumber(connection.get()));
  if (!peer || !number || ::fcntl(number.get(), F_SETFL, O_RDWR | O_NONBLOCK) != 0) {
    LogForClient(LogLevel::kError, "NRTD:Listener", "dropped a connection: {}",
                 AsIs(peer ? ErrnoText(errno) : peer.error().text));
    return;
  }
  const int key = number.Release();
  epoll_event event{};
  event.events = EPOLLRDHUP | EPOLLONESHOT;
  event.data.fd = key;
  const bool watching =
      ::epoll_ctl(hangups.native_handle(), EPOLL_CTL_ADD, connection.get(), &event) == 0;
  if (!watching)
    Log(LogLevel::kError, "NRTD:Listener", "cannot watch a connection: {}", ErrnoText(errno));
  (void)::fcntl(connection.get(), F_SETFD, FD_CLOEXEC);
  watched.insert_or_assign(key, std::move(connection));
  if (auto taken = events.on_connected(key, std::move(*peer)); !taken) {
    LogForClient(LogLevel::kWarning, "NRTD:Listener", "dropped a connection: {}",
                 AsIs(taken.error().text));
    watched.erase(key);
    ::close(key);
  }
}

void Listener::State::AwaitHangups() {
  hangups.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                     [this](const boost::system::error_code& error) {
                       if (error) return;
                       TakeHangups();
                       AwaitHangups();
                     });
}

void Listener::State::TakeHangups() {
  std::array<epoll_event, 64> ready{};
  const int count = ::epoll_wait(hangups.native_handle(), ready.data(), ready.size(), 0);
  for (int i = 0; i < count; ++i) {
    const int number = ready[static_cast<size_t>(i)].data.fd;
    watched.erase(number);
    events.on_disconnected(number);
  }
}

Result<std::unique_ptr<Listener>> Listener::Open(BoundSocket socket, boost::asio::io_context& io,
                                                 ListenerEvents events) {
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll || ::listen(socket.descriptor(), SOMAXCONN) != 0)
    return Fail(Nerr::kResource, "cannot listen on unix:{}: {}", socket.path(), ErrnoText(errno));
  try {
    const int listening = socket.TakeSocket().Release();
    auto state = std::make_unique<State>(std::move(socket), listening, std::move(epoll), io,
                                         std::move(events));
    state->Accept();
    state->AwaitHangups();
    return std::unique_ptr<Listener>(new Listener(std::move(state)));
  } catch (const boost::system::system_error& error) {
    return Fail(Nerr::kResource, "cannot listen: {}", error.what());
  }
}

Listener::Listener(std::unique_ptr<State> state) : state_(std::move(state)) {}

void Listener::ShutDown(int descriptor) {
  const auto found = state_->watched.find(descriptor);
  if (found != state_->watched.end()) (void)::shutdown(found->second.get(), SHUT_RDWR);
}

bool Listener::HasUnread(int descriptor) const {
  const auto found = state_->watched.find(descriptor);
  int bytes = 0;
  return found != state_->watched.end() && ::ioctl(found->second.get(), FIONREAD, &bytes) == 0 &&
         bytes > 0;
}

void Listener::StopAccepting() {
  boost::system::error_code ignored;
  state_->acceptor.close(ignored);
  state_->pause.cancel();
  state_->bound.reset();
}

Listener::~Listener() {
  StopAccepting();
}

}  // namespace nrtd::service
