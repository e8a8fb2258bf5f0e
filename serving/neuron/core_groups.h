// SPDX-License-Identifier: Apache-2.0
//
// The NeuronCores that the model server has, and which network runs on them.
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

// Groups that a network is loaded onto together, as copies that take inferences in turn.
struct GroupSize {
  uint32_t copies = 1;
  uint32_t cores = 1;
  bool operator==(const GroupSize&) const = default;
};

// A NeuronCore group of the daemon. One network runs on it at a time; others that are loaded onto
// it take turns. Threadsafe.
class CoreGroup {
 public:
  explicit CoreGroup(uint32_t id) : id_(id) {}

  uint32_t id() const { return id_; }

  using Change = std::function<Result<void>(uint32_t running)>;

  // `network` runs on the group until Leave(). Where another one does, this waits for its
  // inferences, then calls `change`, without a lock, with that network (0: none did). Who waits for
  // another network comes before those that come later, so that no network keeps the group for
  // itself. Errors of `change`; kTimeout.
  Result<void> Enter(uint32_t network, TimePoint deadline, const Change& change);
  // Enter() where it need not wait and nothing has to change. False: it would.
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
  std::list<uint32_t> waiting_ NRTD_GUARDED_BY(mutex_);  // their networks, the oldest first
};

// What one network is loaded onto.
struct CorePlace {
  uint32_t cores = 1;                              // of each group
  std::vector<std::shared_ptr<CoreGroup>> copies;  // at least one
};

// All groups of one session. Threadsafe. The daemon outlives it.
class CoreGroups {
 public:
  // Makes the groups of `sizes`; of none, groups as networks need them. Errors of the daemon, with
  // the size.
  static Result<std::unique_ptr<CoreGroups>> Make(client::Daemon& daemon, uint64_t session_id,
                                                  const std::vector<GroupSize>& sizes);

  // A place for a network of so many cores, which is its own as long as somebody holds it: of those
  // that are large enough, the smallest. Where no cores are left it is shared with those that have
  // it, if `may_share`. kResource otherwise.
  Result<std::shared_ptr<const CorePlace>> Take(uint32_t cores, bool may_share);

 private:
  CoreGroups(client::Daemon& daemon, uint64_t session_id, bool fixed)
      : daemon_(daemon), session_id_(session_id), fixed_(fixed) {}
  Result<std::shared_ptr<CorePlace>> MakePlace(const GroupSize& size);
  // How many networks have it.
  static long UsersOf(const std::shared_ptr<CorePlace>& place) { return place.use_count() - 1; }
  void DestroyUnused() NRTD_REQUIRES(mutex_);
  // The place that fits and has the fewest users, of those the smallest; null: none fits.
  std::shared_ptr<CorePlace> Best(uint32_t cores) const NRTD_REQUIRES(mutex_);

  client::Daemon& daemon_;
  const uint64_t session_id_;
  const bool fixed_;  // no group is made or destroyed any more
  Mutex mutex_;
  std::vector<std::shared_ptr<CorePlace>> places_ NRTD_GUARDED_BY(mutex_);
};

}  // namespace nrtd::serving
