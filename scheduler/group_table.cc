// SPDX-License-Identifier: Apache-2.0
#include "scheduler/group_table.h"

#include <algorithm>

namespace nrtd::scheduler {

void GroupTable::Withhold(CoreRun cores) {
  MutexLock lock(mutex_);
  std::fill_n(taken_.begin() + cores.first, cores.count, true);
}

void GroupTable::Provide(CoreRun cores) {
  MutexLock lock(mutex_);
  std::fill_n(taken_.begin() + cores.first, cores.count, false);
}

uint64_t GroupTable::Allowance(ProcessKey process) const {
  uint64_t own = 0;
  uint64_t all = 0;
  for (const auto& [id, group] : groups_) {
    all += group.cores.count;
    if (group.owner.process == process) own += group.cores.count;
  }
  return std::min(per_process_ - std::min(own, per_process_), total_ - std::min(all, total_));
}

Result<GroupInfo> GroupTable::Create(uint32_t count, bool implicit, Owner owner) {
  MutexLock lock(mutex_);
  CoreRun largest = LargestFreeRun(taken_);
  largest.count =
      static_cast<uint32_t>(std::min<uint64_t>(largest.count, Allowance(owner.process)));
  const bool without_cores = implicit && count == 0;
  const auto run = without_cores                      ? std::optional(CoreRun{})
                   : count == 0                       ? std::optional(largest)
                   : count > Allowance(owner.process) ? std::nullopt
                                                      : ChooseCores(taken_, count);
  if (!run || (run->count == 0 && !without_cores)) {
    return Fail(Nerr::kResourceNc,
                "Requested number of NCs: {} exceeds the total available number: {}",
                std::max(count, 1U), largest.count);
  }
  NRTD_ASSIGN(const GroupId id, ids_.Next());
  std::fill_n(taken_.begin() + run->first, run->count, true);
  const GroupInfo group{.id = id,
                        .cores = *run,
                        .implicit = implicit,
                        .owner = owner,
                        .networks = implicit ? 1U : 0U};
  groups_.emplace(group.id, group);
  return group;
}

Result<void> GroupTable::Destroy(GroupId id, ProcessKey asking) {
  MutexLock lock(mutex_);
  const auto group = groups_.find(id);
  if (group == groups_.end() || !MayUse(asking, group->second.owner.process))
    return Fail(Nerr::kInvalidHandle, "Failed to find NeuronCore group: {}", id);
  if (group->second.networks > 0) {
    return Fail(Nerr::kInvalid, "NeuronCore group {} holds {} loaded networks: unload them first",
                id, group->second.networks);
  }
  Free(group);
  return {};
}

Result<GroupInfo> GroupTable::Join(GroupId id, ProcessKey asking) {
  MutexLock lock(mutex_);
  const auto group = groups_.find(id);
  if (group == groups_.end() || !MayUse(asking, group->second.owner.process))
    return Fail(Nerr::kInvalidHandle, "Failed to find NeuronCore group: {}", id);
  if (group->second.implicit) {
    return Fail(Nerr::kInvalid, "NeuronCore group {} was made for one network and takes no other",
                id);
  }
  ++group->second.networks;
  return group->second;
}

void GroupTable::Leave(GroupId id) {
  MutexLock lock(mutex_);
  const auto group = groups_.find(id);
  if (group == groups_.end()) return;
  --group->second.networks;
  if (group->second.implicit) Free(group);
}

Result<void> GroupTable::BeginRunning(GroupId id, NetworkId network) {
  MutexLock lock(mutex_);
  const auto group = groups_.find(id);
  if (group == groups_.end())
    return Fail(Nerr::kInvalidHandle, "Failed to find NeuronCore group: {}", id);
  NetworkId& running = group->second.running;
  if (running != 0 && running != network) {
    return Fail(Nerr::kInvalid, "model {} is running on NeuronCore group {}: stop it first",
                running, id);
  }
  running = network;
  return {};
}

void GroupTable::EndRunning(GroupId id, NetworkId network) {
  MutexLock lock(mutex_);
  const auto group = groups_.find(id);
  if (group != groups_.end() && group->second.running == network) group->second.running = 0;
}

std::optional<GroupInfo> GroupTable::Find(GroupId id) const {
  MutexLock lock(mutex_);
  const auto group = groups_.find(id);
  return group != groups_.end() ? std::optional(group->second) : std::nullopt;
}

std::vector<GroupInfo> GroupTable::List() const {
  MutexLock lock(mutex_);
  std::vector<GroupInfo> list;
  for (const auto& [id, group] : groups_) list.push_back(group);
  return list;
}

void GroupTable::Free(std::map<GroupId, GroupInfo>::iterator group) {
  const CoreRun run = group->second.cores;
  std::fill_n(taken_.begin() + run.first, run.count, false);
  groups_.erase(group);
}

}  // namespace nrtd::scheduler
