// SPDX-License-Identifier: Apache-2.0
#include "runtime/model/cookie_table.h"

#include <utility>

#include "base/log.h"
#include "base/timeouts.h"

namespace nrtd::runtime {

CookieTable::CookieTable(Machine& machine, uint64_t first)
    : machine_(machine), next_(first), sweep_(machine.watchdog(), [this] { Sweep(); }) {}

uint64_t CookieTable::Add(Inference inference, Owner owner, Charge charge) {
  MutexLock lock(mutex_);
  const uint64_t cookie = next_++;
  // Unloading begins before the last DropNetwork(): nobody would ever drop this one.
  if (inference.network().state() != NetworkState::kUnloading)
    inferences_.emplace(cookie,
                        Posted{std::move(inference), owner, std::move(charge), std::nullopt});
  sweep_.SetNoLaterThan(machine_.clock().Now() + kUncollectedSweep);
  return cookie;
}

Result<CookieTable::Entries::iterator> CookieTable::Find(uint64_t cookie, ProcessKey asking) {
  const auto found = inferences_.find(cookie);
  if (found == inferences_.end() || !MayUse(asking, found->second.owner.process)) {
    return Fail(Nerr::kInvalidHandle, "Failed to find inference: {}; a cookie can be used once",
                cookie);
  }
  return found;
}

Result<Inference> CookieTable::Take(uint64_t cookie, ProcessKey asking) {
  MutexLock lock(mutex_);
  NRTD_ASSIGN(const auto found, Find(cookie, asking));
  auto node = inferences_.extract(found);
  return std::move(node.mapped().inference);
}

Result<Inference> CookieTable::TakeIfDone(uint64_t cookie, ProcessKey asking) {
  MutexLock lock(mutex_);
  NRTD_ASSIGN(const auto found, Find(cookie, asking));
  if (!found->second.inference.Done())
    return Fail(Nerr::kInferPending, "inference {} is still running", cookie);
  auto node = inferences_.extract(found);
  return std::move(node.mapped().inference);
}

Result<bool> CookieTable::Done(uint64_t cookie, ProcessKey asking) {
  MutexLock lock(mutex_);
  NRTD_ASSIGN(const auto found, Find(cookie, asking));
  return found->second.inference.Done();
}

Result<std::shared_ptr<const Network>> CookieTable::NetworkOf(uint64_t cookie, ProcessKey asking) {
  MutexLock lock(mutex_);
  NRTD_ASSIGN(const auto found, Find(cookie, asking));
  return found->second.inference.network().shared_from_this();
}

template <typename Predicate>
void CookieTable::DropIf(Predicate drop) {
  std::vector<Posted> dropped;  // their slots go back without the lock
  MutexLock lock(mutex_);
  for (auto it = inferences_.begin(); it != inferences_.end();) {
    if (drop(it->second)) {
      dropped.push_back(std::move(it->second));
      it = inferences_.erase(it);
    } else {
      ++it;
    }
  }
  lock.Unlock();
}

void CookieTable::DropNetwork(NetworkId network) {
  DropIf([&](const Posted& posted) { return posted.inference.network().info().id == network; });
}

void CookieTable::DropSession(SessionId session) {
  if (session == 0) return;
  DropIf([&](const Posted& posted) { return posted.owner.session == session; });
}

void CookieTable::DropProcess(ProcessKey process) {
  if (process == kAnyProcess) return;
  DropIf([&](const Posted& posted) { return posted.owner.process == process; });
}

// On the watchdog's thread: it takes locks that are held for moments, and waits for nothing.
void CookieTable::Sweep() {
  const TimePoint now = machine_.clock().Now();
  size_t dropped = 0;
  DropIf([&](Posted& posted) {
    if (!posted.seen_done && posted.inference.Done()) posted.seen_done = now;
    const bool drop = posted.seen_done && now - *posted.seen_done >= kUncollectedFor;
    dropped += drop ? 1 : 0;
    return drop;
  });
  if (dropped > 0)
    Log(LogLevel::kWarning, "NMGR:InferPost",
        "{} inferences that ended {} min ago are dropped: "
        "their cookies were not collected",
        dropped, std::chrono::duration_cast<std::chrono::minutes>(kUncollectedFor).count());
  MutexLock lock(mutex_);
  if (!inferences_.empty()) sweep_.SetNoLaterThan(now + kUncollectedSweep);
}

}  // namespace nrtd::runtime
