// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "base/mutex.h"
#include "runtime/model/network.h"

namespace nrtd::runtime {

// Inferences that were posted and not yet collected, by cookie. A cookie is used once: Take() ends
// it. One that is not collected within kUncollectedFor (base/timeouts.h) of its inference's end is
// dropped, so that its slot comes back. Threadsafe.
class CookieTable {
 public:
  // `machine` outlives the table. Cookies are numbered from `first` on.
  explicit CookieTable(Machine& machine, uint64_t first = 1);
  // A cookie whose network is being unloaded names nothing: the inference is dropped.
  // `charge` is kept as long as the cookie.
  uint64_t Add(Inference inference, Owner owner = {}, Charge charge = {});
  // kInvalidHandle: never given out, or not to the process that asks, or used up, or its network
  // was unloaded.
  Result<Inference> Take(uint64_t cookie, ProcessKey asking = kAnyProcess);
  // As Take() if the inference has ended; kInferPending, and the cookie stays, while it has not.
  Result<Inference> TakeIfDone(uint64_t cookie, ProcessKey asking = kAnyProcess);
  // Has the inference ended? The cookie stays. kInvalidHandle as Take().
  Result<bool> Done(uint64_t cookie, ProcessKey asking = kAnyProcess);
  // Of which network is it? The cookie stays. kInvalidHandle as Take().
  Result<std::shared_ptr<const Network>> NetworkOf(uint64_t cookie,
                                                   ProcessKey asking = kAnyProcess);
  // Drops every cookie of a network, so that its slots come back.
  void DropNetwork(NetworkId network);
  // Drops what was posted under a session; 0 is nobody's.
  void DropSession(SessionId session);
  // Drops what a process posted, when it has ended; kAnyProcess is no process.
  void DropProcess(ProcessKey process);

 private:
  struct Posted {
    Inference inference;
    Owner owner;
    Charge charge;
    std::optional<TimePoint> seen_done;  // by a sweep
  };
  using Entries = std::unordered_map<uint64_t, Posted>;
  Result<Entries::iterator> Find(uint64_t cookie, ProcessKey asking) NRTD_REQUIRES(mutex_);
  template <typename Predicate>
  void DropIf(Predicate drop) NRTD_EXCLUDES(mutex_);
  void Sweep() NRTD_EXCLUDES(mutex_);

  Machine& machine_;
  Mutex mutex_;
  Entries inferences_ NRTD_GUARDED_BY(mutex_);
  uint64_t next_ NRTD_GUARDED_BY(mutex_);
  // Goes first; no sweep comes afterwards.
  Watchdog::Timer sweep_;
};

}  // namespace nrtd::runtime
