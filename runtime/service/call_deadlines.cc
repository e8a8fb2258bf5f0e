// SPDX-License-Identifier: Apache-2.0
#include "runtime/service/call_deadlines.h"

#include <boost/asio/post.hpp>

#include "base/log.h"
#include "base/timeouts.h"

namespace nrtd::service {
namespace {

Duration TimeoutOf(CallDeadlines::Kind kind) {
  return kind == CallDeadlines::Kind::kNextMessage ? kNextMessageTimeout : kAnswerReadTimeout;
}

}  // namespace

CallDeadlines::CallDeadlines(boost::asio::io_context& io, Clock& clock)
    : io_(io), clock_(clock), timer_(io) {}

void CallDeadlines::Begin(Waiter& waiter, Kind kind) {
  {
    MutexLock lock(mutex_);
    Queue& queue = queues_[static_cast<size_t>(kind)];
    waiter.deadline_ = clock_.Now() + TimeoutOf(kind);
    waiter.before_ = queue.last;
    waiter.after_ = nullptr;
    (queue.last != nullptr ? queue.last->after_ : queue.first) = &waiter;
    queue.last = &waiter;
  }
  // Once a second of activity, not once a call.
  if (!scheduled_.load(std::memory_order_relaxed) && !scheduled_.exchange(true))
    boost::asio::post(io_, [this] { Schedule(); });
}

void CallDeadlines::End(Waiter& waiter) {
  MutexLock lock(mutex_);
  Unlink(waiter);
}

void CallDeadlines::Unlink(Waiter& waiter) {
  for (Queue& queue : queues_) {
    if (queue.first == &waiter) queue.first = waiter.after_;
    if (queue.last == &waiter) queue.last = waiter.before_;
  }
  if (waiter.before_ != nullptr) waiter.before_->after_ = waiter.after_;
  if (waiter.after_ != nullptr) waiter.after_->before_ = waiter.before_;
  waiter.before_ = waiter.after_ = nullptr;
}

bool CallDeadlines::Expire() {
  const TimePoint now = clock_.Now();
  bool waiting = false;
  MutexLock lock(mutex_);
  for (Queue& queue : queues_) {
    while (queue.first != nullptr && queue.first->deadline_ <= now) {
      Waiter& due = *queue.first;
      Unlink(due);
      due.context_.TryCancel();  // its operation ends soon, with an event
      LogForClient(LogLevel::kWarning, "NRTD:Server",
                   "cancelled a call: its client keeps it waiting");
    }
    waiting = waiting || queue.first != nullptr;
  }
  return waiting;
}

void CallDeadlines::Schedule() {
  timer_.expires_after(kCallDeadlineCheck);
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (error) return;
    if (Expire()) {
      Schedule();
      return;
    }
    scheduled_.store(false);
    // A call may have begun to wait before that was seen.
    if (Expire() && !scheduled_.exchange(true)) Schedule();
  });
}

}  // namespace nrtd::service
