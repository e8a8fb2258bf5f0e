// SPDX-License-Identifier: Apache-2.0
//
// What each client makes the daemon hold. Whoever keeps something for a client takes a Charge for
// it first and keeps the Charge as long as the thing: what goes, goes from the account as well.
//
//   NRTD_ASSIGN(Charge charge, ledger.Account(client)->Take(Holding::kMappings));
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/mutex.h"
#include "runtime/ledger/limits.h"
#include "scheduler/owner.h"

namespace nrtd::runtime {

// A client is a process (runtime/session/client.h); those that come by TCP are one together.
using ClientId = scheduler::ProcessKey;

class ClientAccount;

// So much of a kind, until it is destroyed. Move-only; may outlive everything but the account,
// which it keeps. One thread at a time.
class Charge {
 public:
  Charge() = default;
  Charge(Charge&& other) noexcept
      : account_(std::move(other.account_)),
        holding_(other.holding_),
        amount_(std::exchange(other.amount_, 0)) {}
  Charge& operator=(Charge&& other) noexcept;
  ~Charge() { Release(); }

  uint64_t amount() const { return amount_; }
  // More or less of it. kResource as Take(): it stays what it was then. Less always succeeds.
  Result<void> Resize(uint64_t amount);
  // So much of it whatever the limits are: what cannot be refused, but acted upon.
  void Set(uint64_t amount);
  void Release();

 private:
  friend class ClientAccount;
  Charge(std::shared_ptr<ClientAccount> account, Holding holding, uint64_t amount)
      : account_(std::move(account)), holding_(holding), amount_(amount) {}

  std::shared_ptr<ClientAccount> account_;
  Holding holding_ = Holding::kCalls;
  uint64_t amount_ = 0;
};

// Amounts by kind.
using Amounts = std::array<uint64_t, kHoldings>;

// The counters of a client, or of all of them together. Threadsafe, no locks.
class Counters {
 public:
  uint64_t Of(Holding holding) const {
    return held_[static_cast<size_t>(holding)].load(std::memory_order_relaxed);
  }
  Amounts All() const;
  // False, and nothing changes, if it would be more than `limit`.
  bool Add(Holding holding, uint64_t amount, uint64_t limit);
  void AddAnyhow(Holding holding, uint64_t amount) {
    held_[static_cast<size_t>(holding)].fetch_add(amount, std::memory_order_relaxed);
  }
  void Subtract(Holding holding, uint64_t amount);

 private:
  std::array<std::atomic<uint64_t>, kHoldings> held_{};
};

class Ledger;

// One client's. Threadsafe; no locks and no allocation, so that every inference can take charges.
class ClientAccount : public std::enable_shared_from_this<ClientAccount> {
 public:
  ClientAccount(Ledger& ledger, ClientId id, std::string name)
      : ledger_(ledger), id_(id), name_(std::move(name)) {}

  // kResource, when the client would hold more than it may, or all clients together: the text
  // names the limit and the option that changes it.
  Result<Charge> Take(Holding holding, uint64_t amount = 1);

  ClientId id() const { return id_; }
  const std::string& name() const { return name_; }
  const Counters& counters() const { return counters_; }
  // Holds more of it than it may.
  bool IsOver(Holding holding) const;
  uint64_t refusals() const { return refusals_.load(std::memory_order_relaxed); }

 private:
  friend class Charge;
  Result<void> Add(Holding holding, uint64_t amount);
  void AddAnyhow(Holding holding, uint64_t amount);
  void Subtract(Holding holding, uint64_t amount);

  Ledger& ledger_;
  const ClientId id_;
  const std::string name_;  // for logs and errors: "pid 4711 uid 0"
  Counters counters_;
  std::atomic<uint64_t> refusals_{0};
};

// All accounts. Threadsafe. Outlives the charges.
class Ledger {
 public:
  explicit Ledger(const Limits& limits) : limits_(limits) {}

  // The client's account, made when it is first asked for. It exists as long as somebody has it.
  std::shared_ptr<ClientAccount> Account(ClientId client, const std::string& name);

  // What a client that holds something, or is connected, has; by rising id.
  std::vector<std::shared_ptr<ClientAccount>> List() const;

  const Limits& limits() const { return limits_; }
  // What a client may hold now: the limit, or for messages what RaiseMessageFloor() asked for.
  uint64_t PerClient(Holding holding) const;
  bool IsOver(Holding holding) const { return totals_.Of(holding) > limits_.Total(holding); }

  // A single message may have so many bytes from now on, as far as the total allows, and twice as
  // many may be arriving. Called for the inputs and outputs of each network that is loaded; it
  // never falls. Threadsafe.
  void RaiseMessageFloor(uint64_t bytes);
  const Counters& totals() const { return totals_; }

  // Called, without a lock, when memory of at least kLargeBlock goes from an account: what was
  // freed with it can go back to the system. Set before the first charge.
  static constexpr uint64_t kLargeBlock = 64 * kKiB;
  void SetOnFreed(std::function<void()> on_freed) { on_freed_ = std::move(on_freed); }

 private:
  friend class ClientAccount;
  const Limits limits_;
  std::function<void()> on_freed_;
  std::atomic<uint64_t> message_floor_{0};
  Counters totals_;
  mutable Mutex mutex_;
  std::map<ClientId, std::weak_ptr<ClientAccount>> accounts_ NRTD_GUARDED_BY(mutex_);
};

}  // namespace nrtd::runtime
