// SPDX-License-Identifier: Apache-2.0
#include "serving/neuron/core_groups.h"

#include <algorithm>
#include <utility>

#include "base/log.h"

namespace nrtd::serving {

Result<void> CoreGroup::Enter(uint32_t network, TimePoint deadline, const Change& change) {
  MutexLock lock(mutex_);
  if (running_ != network || waiting_ > 0) {
    ++waiting_;
    while (inside_ > 0 && clock_.Now() < deadline) clock_.WaitUntil(idle_, mutex_, deadline);
    --waiting_;
    if (inside_ > 0)
      return Fail(Nerr::kTimeout, "another network had the NeuronCores until the deadline");
    if (running_ != network) {
      NRTD_TRY(change(std::exchange(running_, 0)));
      running_ = network;
    }
  }
  ++inside_;
  return {};
}

void CoreGroup::Leave() {
  MutexLock lock(mutex_);
  if (--inside_ == 0) idle_.NotifyAll();
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

Result<std::shared_ptr<const CorePlace>> CoreGroups::Take(uint32_t cores, bool may_share) {
  MutexLock lock(mutex_);
  for (const auto& place : places_)
    if (UsersOf(place) == 0 && (fixed_ || place->cores == cores)) return place;
  Result<std::shared_ptr<CorePlace>> made =
      Fail(Nerr::kResource, "every group of NEURONCORE_GROUP_SIZES has a network");
  if (!fixed_) {
    made = MakePlace({1, cores});
    if (!made) {
      DestroyUnused();
      made = MakePlace({1, cores});
    }
  }
  if (made) return places_.emplace_back(std::move(*made));
  if (!may_share) return tl::unexpected<Error>(std::move(made.error()));
  std::shared_ptr<CorePlace> least;
  for (const auto& place : places_) {
    if (!fixed_ && place->cores != cores) continue;
    if (least == nullptr || UsersOf(place) < UsersOf(least)) least = place;
  }
  if (least == nullptr) return tl::unexpected<Error>(std::move(made.error()));
  return least;
}

}  // namespace nrtd::serving
