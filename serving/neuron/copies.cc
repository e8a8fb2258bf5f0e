// SPDX-License-Identifier: Apache-2.0
#include "serving/neuron/copies.h"

#include <algorithm>
#include <utility>

namespace nrtd::serving {
namespace {

constexpr const char* kTooLate = "every place of the network was taken until the deadline";

}  // namespace

void Copies::Add(Copy copy) {
  MutexLock lock(mutex_);
  copies_.push_back(std::move(copy));
}

std::vector<uint32_t> Copies::networks() const {
  std::vector<uint32_t> networks;
  MutexLock lock(mutex_);
  for (const Copy& copy : copies_) networks.push_back(copy.network);
  return networks;
}

std::optional<Copies::Copy> Copies::TakeBest() {
  const auto best = std::max_element(copies_.begin(), copies_.end(),
                                     [](const Copy& a, const Copy& b) { return a.free < b.free; });
  if (best->free == 0) return std::nullopt;
  --best->free;
  return *best;
}

Result<void> Copies::CheckWaiting() const {
  if (waiting_.size() < kMostWaiting) return {};
  return Fail(Nerr::kResource, "{} requests wait for the network already", kMostWaiting);
}

Result<Copies::Copy> Copies::Take(TimePoint deadline) {
  MutexLock lock(mutex_);
  if (auto taken = TakeBest()) return *taken;
  NRTD_TRY(CheckWaiting());
  Sleeper self;
  const auto place = waiting_.insert(waiting_.end(), {TimePoint::max(), {}, &self});
  while (!self.copy && clock_.Now() < deadline) clock_.WaitUntil(self.wake, mutex_, deadline);
  if (self.copy) return std::move(*self.copy);
  waiting_.erase(place);
  return Fail(Nerr::kTimeout, "{}", kTooLate);
}

void Copies::StartTake(TimePoint deadline, Taken taken) {
  std::optional<Copy> copy;
  Result<void> room;
  {
    MutexLock lock(mutex_);
    copy = TakeBest();
    if (!copy) room = CheckWaiting();
    if (!copy && room) {
      waiting_.push_back({deadline, std::move(taken), nullptr});
      return;
    }
  }
  if (copy) {
    taken(std::move(*copy));
  } else {
    taken(tl::unexpected<Error>(std::move(room.error())));
  }
}

void Copies::GiveBack(const Copy& copy) {
  std::list<Waiter> late;
  std::list<Waiter> next;
  {
    MutexLock lock(mutex_);
    const TimePoint now = clock_.Now();
    while (!waiting_.empty() && waiting_.front().deadline <= now)
      late.splice(late.end(), waiting_, waiting_.begin());
    if (waiting_.empty()) {
      for (Copy& one : copies_)
        if (one.network == copy.network) ++one.free;
    } else if (Sleeper* const sleeper = waiting_.front().sleeper) {
      waiting_.pop_front();
      sleeper->copy = copy;
      sleeper->wake.NotifyOne();  // with the lock, or it may be gone
    } else {
      next.splice(next.end(), waiting_, waiting_.begin());
    }
  }
  for (const Waiter& waiter : late) waiter.taken(Fail(Nerr::kTimeout, "{}", kTooLate));
  for (const Waiter& waiter : next) waiter.taken(copy);
}

}  // namespace nrtd::serving
