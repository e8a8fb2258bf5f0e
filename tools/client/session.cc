// SPDX-License-Identifier: Apache-2.0
#include <memory>
#include <utility>

#include "base/mutex.h"
#include "rpc/call_queue.h"
#include "tools/client/connection.h"
#include "tools/client/daemon.h"

namespace nrtd::client {

// The stream of a session. At most one operation is in flight, which keeps the stream alive.
class Session::Stream final : public rpc::Event, public std::enable_shared_from_this<Stream> {
 public:
  Stream(std::string framework, std::function<void()> on_end)
      : framework_(std::move(framework)), on_end_(std::move(on_end)) {}

  void Open(nrt::nmgr_session_manager::Stub& sessions, grpc::CompletionQueue& completions) {
    MutexLock lock(mutex_);
    calls_ = sessions.PrepareAsyncsession_monitor(&context_, &completions);
    self_ = shared_from_this();
    calls_->StartCall(this);
  }

  // Until the daemon has given the session a number: 0, it never will.
  uint64_t AwaitId() {
    MutexLock lock(mutex_);
    while (id_ == 0 && !ended_) changed_.Wait(mutex_);
    return id_;
  }
  uint64_t id() {
    MutexLock lock(mutex_);
    return id_;
  }
  // Of a stream that has ended without a number.
  grpc::Status status() {
    MutexLock lock(mutex_);
    return status_;
  }

  void Cancel() { context_.TryCancel(); }
  // Cancels it, and `on_end` is not called.
  void Abandon() {
    MutexLock lock(mutex_);
    on_end_ = nullptr;
    context_.TryCancel();
  }

  void Proceed(bool ok) override {
    std::shared_ptr<Stream> last;  // frees this behind the lock
    MutexLock lock(mutex_);
    if (!ok && state_ != State::kFinish && id_ == 0) {
      state_ = State::kFinish;  // for its status
      calls_->Finish(&status_, this);
    } else if (!ok || state_ == State::kFinish || on_end_ == nullptr) {
      ended_ = true;
      changed_.NotifyAll();
      if (on_end_ != nullptr && id_ != 0) on_end_();
      last = std::move(self_);
    } else if (state_ == State::kRead && id_ == 0) {
      id_ = response_.session_id();
      changed_.NotifyAll();
      state_ = State::kWrite;
      nrt::session_monitor_request request;
      request.set_framework_name(framework_);
      calls_->Write(request, this);
    } else {
      state_ = State::kRead;
      calls_->Read(&response_, this);
    }
  }

 private:
  enum class State { kStart, kRead, kWrite, kFinish };  // the operation under way

  const std::string framework_;
  Mutex mutex_;
  CondVar changed_;
  std::function<void()> on_end_ NRTD_GUARDED_BY(mutex_);  // null: abandoned
  State state_ NRTD_GUARDED_BY(mutex_) = State::kStart;
  uint64_t id_ NRTD_GUARDED_BY(mutex_) = 0;
  bool ended_ NRTD_GUARDED_BY(mutex_) = false;
  grpc::Status status_ NRTD_GUARDED_BY(mutex_);
  nrt::session_monitor_response response_ NRTD_GUARDED_BY(mutex_);
  std::shared_ptr<Stream> self_ NRTD_GUARDED_BY(mutex_);  // while an operation is under way
  grpc::ClientContext context_;
  std::unique_ptr<
      grpc::ClientAsyncReaderWriter<nrt::session_monitor_request, nrt::session_monitor_response>>
      calls_ NRTD_GUARDED_BY(mutex_);
};

Session::Session(std::shared_ptr<Stream> stream) : stream_(std::move(stream)) {}
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&& other) noexcept {
  std::swap(stream_, other.stream_);
  return *this;
}
Session::~Session() {
  if (stream_ != nullptr) stream_->Abandon();
}

uint64_t Session::id() const {
  return stream_->id();
}

void Connection::Lose() const {
  if (lost.exchange(true)) return;
  MutexLock lock(mutex);
  if (const auto stream = session.lock()) stream->Cancel();
}

Result<Session> Daemon::OpenSession(const std::string& framework, std::function<void()> on_end) {
  auto stream = std::make_shared<Session::Stream>(framework, std::move(on_end));
  stream->Open(*connection_->sessions, *connection_->queue->completions());
  {
    MutexLock lock(connection_->mutex);
    connection_->session = stream;
  }
  if (connection_->lost) stream->Cancel();  // which Lose() may have missed
  Session session(stream);
  if (stream->AwaitId() != 0) return session;
  NRTD_TRY(connection_->CheckTransport("session_monitor", stream->status()));
  return Fail(Nerr::kFail, "session_monitor: the daemon at {} opens no session", address());
}

}  // namespace nrtd::client
