// SPDX-License-Identifier: Apache-2.0
#include "serving/neuron/core_groups.h"

#include <algorithm>
#include <utility>

#include "base/log.h"

namespace nrtd::serving {

// Not before an older one that waits for another network.
bool CoreGroup::MayEnter(Waiter self) const {
  if (changing_) return false;
  const auto is_other = [&](uint32_t network) { return network != *self; };
  if (std::any_of(waiting_.begin(), self, is_other)) return false;
  return running_ == *self || (inside_ == 0 && self == waiting_.begin());
}

Result<void> CoreGroup::Enter(uint32_t network, TimePoint deadline, const Change& change) {
  MutexLock lock(mutex_);
  const Waiter self = waiting_.insert(waiting_.end(), network);
  while (!MayEnter(self) && clock_.Now() < deadline) clock_.WaitUntil(changed_, mutex_, deadline);
  const bool late = !MayEnter(self);
  waiting_.erase(self);
  if (late) {
    changed_.NotifyAll();
    return Fail(Nerr::kTimeout, "another network had the NeuronCores until the deadline");
  }
  if (running_ != network) {
    const uint32_t before = std::exchange(running_, 0);
    changing_ = true;
    lock.Unlock();
    Result<void> changed = change(before);
    lock.Lock();
    changing_ = false;
    changed_.NotifyAll();
    if (!changed) return changed;
    running_ = network;
  }
  ++inside_;
  if (!waiting_.empty()) changed_.NotifyAll();
  return {};
}

bool CoreGroup::TryEnter(uint32_t network) {
  MutexLock lock(mutex_);
  if (running_ != network || changing_ || !waiting_.empty()) return false;
  ++inside_;
  return true;
}

void CoreGroup::Leave() {
  MutexLock lock(mutex_);
  if (--inside_ == 0) changed_.NotifyAll();
}

Result<std::unique_ptr<CoreGroups>> CoreGroups::Make(client::Daemon& daemon, uint64_t session_id,
                                                     const std::vector<GroupSize>& sizes) {
  std::unique_ptr<CoreGroups> groups(new CoreGroups(daemon, session_id, !sizes.empty()));
  MutexLock lock(groups->mutex_);
  for (const GroupSize& size : sizes) {
    NRTD_ASSIGN(auto place, groups->MakePlace(size).map_error([&](Error error) {
      return std::move(error).In(fmt::format("a group of {} cores", size.cores));
    }));
    groups->places_.push_back(std::move(place));
  }
  return groups;
}

Result<std::shared_ptr<CorePlace>> CoreGroups::MakePlace(const GroupSize& size) {
  auto place = std::make_shared<CorePlace>();
  place->cores = size.cores;
  for (uint32_t i = 0; i < size.copies; ++i) {
    NRTD_ASSIGN(const auto made, daemon_.CreateGroup(size.cores, session_id_));
    place->copies.push_back(std::make_shared<CoreGroup>(made.h_eg().id()));
  }
  return place;
}

// Their cores may be what a group of another size needs.
void CoreGroups::DestroyUnused() {
  std::erase_if(places_, [&](const std::shared_ptr<CorePlace>& place) {
    if (UsersOf(place) > 0) return false;
    for (const auto& group : place->copies) {
      if (auto destroyed = daemon_.DestroyGroup(group->id()); !destroyed)
        Log(LogLevel::kWarning, "ModelServer", "{}", AsIs(destroyed.error().text));
    }
    return true;
  });
}

std::shared_ptr<CorePlace> CoreGroups::Best(uint32_t cores) const {
  std::shared_ptr<CorePlace> best;
  long users = 0;
  for (const auto& place : places_) {
    if (fixed_ ? place->cores < cores : place->cores != cores) continue;
    if (best != nullptr && std::pair(users, best->cores) <= std::pair(UsersOf(place), place->cores))
      continue;
    users = UsersOf(place);  // before `best` is one
    best = place;
  }
  return best;
}

Result<std::shared_ptr<const CorePlace>> CoreGroups::Take(uint32_t cores, bool may_share) {
  MutexLock lock(mutex_);
  const std::shared_ptr<CorePlace> best = Best(cores);
  const bool is_free = best != nullptr && UsersOf(best) == 1;  // `best` itself
  if (is_free) return best;
  Result<std::shared_ptr<CorePlace>> made = Fail(
      Nerr::kResource, "no group of NEURONCORE_GROUP_SIZES has {} cores and no network", cores);
  if (!fixed_) {
    made = MakePlace({1, cores});
    if (!made) {
      DestroyUnused();
      made = MakePlace({1, cores});
    }
  }
  if (made) return places_.emplace_back(std::move(*made));
  if (may_share && best != nullptr) return best;
  return tl::unexpected<Error>(std::move(made.error()));
}

}  // namespace nrtd::serving
