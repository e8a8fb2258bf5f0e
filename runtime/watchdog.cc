// SPDX-License-Identifier: Apache-2.0
#include "runtime/watchdog.h"

namespace nrtd::runtime {

Watchdog::Watchdog(Clock& clock) : clock_(clock), thread_([this] { Run(); }) {}

Watchdog::~Watchdog() {
  if (thread_.joinable()) Stop();
}

void Watchdog::Stop() {
  {
    MutexLock lock(mutex_);
    stop_ = true;
    changed_.NotifyAll();
  }
  thread_.join();
}

void Watchdog::Place(size_t index, Timer* timer) {
  heap_[index] = timer;
  timer->index_ = index;
}

void Watchdog::MoveUp(size_t index) {
  Timer* const timer = heap_[index];
  while (index > 0) {
    const size_t parent = (index - 1) / 2;
    if (heap_[parent]->deadline_.load() <= timer->deadline_.load()) break;
    Place(index, heap_[parent]);
    index = parent;
  }
  Place(index, timer);
}

void Watchdog::MoveDown(size_t index) {
  Timer* const timer = heap_[index];
  while (true) {
    size_t child = 2 * index + 1;
    if (child >= heap_.size()) break;
    if (child + 1 < heap_.size() &&
        heap_[child + 1]->deadline_.load() < heap_[child]->deadline_.load())
      ++child;
    if (timer->deadline_.load() <= heap_[child]->deadline_.load()) break;
    Place(index, heap_[child]);
    index = child;
  }
  Place(index, timer);
}

void Watchdog::Remove(Timer& timer) {
  const size_t index = timer.index_;
  if (index == Timer::kNowhere) return;
  timer.index_ = Timer::kNowhere;
  timer.deadline_ = TimePoint::max();
  Timer* const last = heap_.back();
  heap_.pop_back();
  if (last == &timer) return;
  Place(index, last);
  MoveUp(index);
  MoveDown(last->index_);
}

void Watchdog::Set(Timer& timer, TimePoint deadline, bool only_earlier) {
  MutexLock lock(mutex_);
  if (only_earlier && timer.deadline_.load() <= deadline) return;
  Remove(timer);
  if (deadline == TimePoint::max()) return;
  timer.deadline_ = deadline;
  heap_.push_back(&timer);
  MoveUp(heap_.size() - 1);
  if (timer.index_ == 0) changed_.NotifyOne();
}

void Watchdog::Cancel(Timer& timer, bool await_callback) {
  MutexLock lock(mutex_);
  Remove(timer);
  if (!await_callback || running_ != &timer) return;
  if (std::this_thread::get_id() == thread_.get_id()) {
    running_ = nullptr;  // its own callback destroys it
    return;
  }
  while (running_ == &timer) returned_.Wait(mutex_);
}

void Watchdog::Run() {
  MutexLock lock(mutex_);
  while (!stop_) {
    if (heap_.empty()) {
      changed_.Wait(mutex_);
      continue;
    }
    Timer* const first = heap_.front();
    const TimePoint deadline = first->deadline_.load();
    if (clock_.Now() < deadline) {
      clock_.WaitInBackground(changed_, mutex_, deadline);
      continue;
    }
    Remove(*first);
    running_ = first;
    lock.Unlock();
    first->callback_();
    lock.Lock();
    running_ = nullptr;
    returned_.NotifyAll();
  }
}

}  // namespace nrtd::runtime
