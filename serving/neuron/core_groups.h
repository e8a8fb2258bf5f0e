// SPDX-License-Identifier: Apache-2.0
//
// The NeuronCore groups of the model server, and which network runs on each.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "tools/client/daemon.h"

namespace nrtd::serving {

// Groups of the same size onto which copies of one network are loaded.
struct GroupSize {
  uint32_t copies = 1;
  uint32_t cores = 1;
  bool operator==(const GroupSize&) const = default;
};

// A NeuronCore group of the daemon. One network runs on it at a time; networks that are loaded onto
// the same group take turns. Threadsafe.
class CoreGroup {
 public:
  explicit CoreGroup(uint32_t id) : id_(id) {}

  uint32_t id() const { return id_; }

  using Change = std::function<Result<void>(uint32_t running)>;

  // Keeps `network` running on the group until Leave(). If another network runs, waits for its
  // inferences and then calls `change` with it (0: none), without a lock. Callers are served in the
  // order in which they came, so no network can keep the group to itself. Returns errors of
  // `change`, or kTimeout.
  Result<void> Enter(uint32_t network, TimePoint deadline, const Change& change);
  // Enters if that takes neither waiting nor a change; otherwise returns false.
  bool TryEnter(uint32_t network);
  void Leave();

 private:
  using Waiter = std::list<uint32_t>::const_iterator;
  bool MayEnter(Waiter self) const NRTD_REQUIRES(mutex_);

  const uint32_t id_;
  SteadyClock clock_;
  Mutex mutex_;
  CondVar changed_;
  uint32_t running_ NRTD_GUARDED_BY(mutex_) = 0;  // 0: none
  uint32_t inside_ NRTD_GUARDED_BY(mutex_) = 0;
  bool changing_ NRTD_GUARDED_BY(mutex_) = false;
  std::list<uint32_t> waiting_
      NRTD_GUARDED_BY(mutex_);  // the networks of waiting callers, oldest first
};

// The groups onto which one network is loaded.
struct CorePlace {
  uint32_t cores = 1;                              // in each group
  std::vector<std::shared_ptr<CoreGroup>> copies;  // at least one
};

// All groups of one session. Threadsafe. `daemon` must outlive it.
class CoreGroups {
 public:
  // Creates groups of the given sizes. If `sizes` is empty, groups are created as networks need
  // them. Returns errors of the daemon, with the size.
  static Result<std::unique_ptr<CoreGroups>> Make(client::Daemon& daemon, uint64_t session_id,
                                                  const std::vector<GroupSize>& sizes);

  // Reserves the smallest place that is large enough for a network of `cores` cores, for as long as
  // the pointer lives. If no cores are left, returns a place that other networks have as well
  // (`may_share`), or kResource.
  Result<std::shared_ptr<const CorePlace>> Take(uint32_t cores, bool may_share);

 private:
  CoreGroups(client::Daemon& daemon, uint64_t session_id, bool fixed)
      : daemon_(daemon), session_id_(session_id), fixed_(fixed) {}
  Result<std::shared_ptr<CorePlace>> MakePlace(const GroupSize& size);
  // The number of networks that have the place.
  static long UsersOf(const std::shared_ptr<CorePlace>& place) { return place.use_count() - 1; }
  void DestroyUnused() NRTD_REQUIRES(mutex_);
  // The place with the fewest users that is large enough, and the smallest of these; or null.
  std::shared_ptr<CorePlace> Best(uint32_t cores) const NRTD_REQUIRES(mutex_);

  client::Daemon& daemon_;
  const uint64_t session_id_;
  const bool fixed_;  // the groups were created by Make() and stay
  Mutex mutex_;
  std::vector<std::shared_ptr<CorePlace>> places_ NRTD_GUARDED_BY(mutex_);
};

}  // namespace nrtd::serving
