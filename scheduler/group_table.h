// SPDX-License-Identifier: Apache-2.0
//
// NeuronCore groups: who has which cores, and which network runs in a group.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/mutex.h"
#include "scheduler/core_allocation.h"
#include "scheduler/id_sequence.h"
#include "scheduler/owner.h"

namespace nrtd::scheduler {

using GroupId = uint32_t;    // h_eg on the wire; 0 is none
using NetworkId = uint32_t;  // h_nn on the wire; 0 is none

struct GroupInfo {
  GroupId id = 0;
  CoreRun cores;
  bool implicit = false;  // made by a load, for that network alone
  Owner owner;
  uint32_t networks = 0;  // loaded, or being loaded
  NetworkId running = 0;  // the network that has the cores; 0: none
};

// Threadsafe. A group exists from Create() to Destroy(), and cannot be destroyed while networks are
// in it: a load joins the group before its long work and leaves it if that fails.
class GroupTable {
 public:
  explicit GroupTable(uint32_t cores, IdRange ids = {})
      : core_count_(cores), ids_(std::move(ids)), taken_(cores, false) {}

  // How many cores the groups of one process, and all groups together, may have. Before the first
  // group is made; without a limit otherwise.
  void SetCoreLimits(uint64_t per_process, uint64_t total) NRTD_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    per_process_ = per_process;
    total_ = total;
  }

  // Cores that no group gets until they are provided: those of a device that cannot be had yet.
  void Withhold(CoreRun cores);
  void Provide(CoreRun cores);

  // An implicit group holds its network from the start; it has exactly `count` cores, none for a
  // network of host nodes only. An explicit one of `count` 0: the largest contiguous free run.
  // kResourceNc: "Requested number of NCs: X exceeds
  // the total available number: Y" where Y is the longest contiguous free run, or what the limits
  // leave. Errors of IdSequence.
  Result<GroupInfo> Create(uint32_t count, bool implicit, Owner owner = {});

  // kInvalidHandle: no such group, or not one of the process that asks. kInvalid: networks are in
  // it.
  Result<void> Destroy(GroupId id, ProcessKey asking = kAnyProcess);

  // Counts one more, one less network; an implicit group goes with its network. kInvalidHandle: no
  // such group, or not one of the process that asks; kInvalid: an implicit group takes no other
  // network.
  Result<GroupInfo> Join(GroupId id, ProcessKey asking = kAnyProcess);
  void Leave(GroupId id);

  // Takes, gives back the right to run. kInvalid: another network of the group is running.
  Result<void> BeginRunning(GroupId id, NetworkId network);
  void EndRunning(GroupId id, NetworkId network);

  std::optional<GroupInfo> Find(GroupId id) const;
  std::vector<GroupInfo> List() const;  // by rising id
  uint32_t core_count() const { return core_count_; }

 private:
  // Cores that a process may still take.
  uint64_t Allowance(ProcessKey process) const NRTD_REQUIRES(mutex_);
  void Free(std::map<GroupId, GroupInfo>::iterator group) NRTD_REQUIRES(mutex_);

  const uint32_t core_count_;
  IdSequence ids_;
  mutable Mutex mutex_;
  uint64_t per_process_ NRTD_GUARDED_BY(mutex_) = ~uint64_t{0};
  uint64_t total_ NRTD_GUARDED_BY(mutex_) = ~uint64_t{0};
  std::vector<bool> taken_ NRTD_GUARDED_BY(mutex_);
  std::map<GroupId, GroupInfo> groups_ NRTD_GUARDED_BY(mutex_);
};

}  // namespace nrtd::scheduler
