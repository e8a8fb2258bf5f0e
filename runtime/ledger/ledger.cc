// SPDX-License-Identifier: Apache-2.0
#include "runtime/ledger/ledger.h"

#include <algorithm>

namespace nrtd::runtime {
namespace {

std::string AmountText(Holding holding, uint64_t amount) {
  return IsBytes(holding) ? HumanBytes(amount) : fmt::to_string(amount);
}

}  // namespace

Charge& Charge::operator=(Charge&& other) noexcept {
  if (this != &other) {
    Release();
    account_ = std::move(other.account_);
    holding_ = other.holding_;
    amount_ = std::exchange(other.amount_, 0);
  }
  return *this;
}

Result<void> Charge::Resize(uint64_t amount) {
  if (account_ == nullptr) return {};
  if (amount > amount_) {
    NRTD_TRY(account_->Add(holding_, amount - amount_));
  } else {
    account_->Subtract(holding_, amount_ - amount);
  }
  amount_ = amount;
  return {};
}

void Charge::Set(uint64_t amount) {
  if (account_ == nullptr) return;
  if (amount > amount_) {
    account_->AddAnyhow(holding_, amount - amount_);
  } else if (amount < amount_) {
    account_->Subtract(holding_, amount_ - amount);
  }
  amount_ = amount;
}

void Charge::Release() {
  if (account_ == nullptr) return;
  account_->Subtract(holding_, amount_);
  account_.reset();
  amount_ = 0;
}

Amounts Counters::All() const {
  Amounts amounts;
  for (size_t i = 0; i < kHoldings; ++i) amounts[i] = held_[i].load(std::memory_order_relaxed);
  return amounts;
}

bool Counters::Add(Holding holding, uint64_t amount, uint64_t limit) {
  auto& held = held_[static_cast<size_t>(holding)];
  uint64_t before = held.load(std::memory_order_relaxed);
  do {
    if (before > limit || amount > limit - before) return false;
  } while (!held.compare_exchange_weak(before, before + amount, std::memory_order_relaxed));
  return true;
}

void Counters::Subtract(Holding holding, uint64_t amount) {
  held_[static_cast<size_t>(holding)].fetch_sub(amount, std::memory_order_relaxed);
}

Result<Charge> ClientAccount::Take(Holding holding, uint64_t amount) {
  NRTD_TRY(Add(holding, amount));
  return Charge(shared_from_this(), holding, amount);
}

Result<void> ClientAccount::Add(Holding holding, uint64_t amount) {
  const Limits& limits = ledger_.limits_;
  const uint64_t own_limit = ledger_.PerClient(holding);
  if (!counters_.Add(holding, amount, own_limit)) {
    refusals_.fetch_add(1, std::memory_order_relaxed);
    return Fail(
        Nerr::kResource,
        "{} more {} would be too much: {} has {}, a client may have {}; free some, or start "
        "the daemon with --client-limit {}=AMOUNT",
        AmountText(holding, amount), HoldingName(holding), name_,
        AmountText(holding, counters_.Of(holding)), AmountText(holding, own_limit),
        HoldingName(holding));
  }
  if (!ledger_.totals_.Add(holding, amount, limits.Total(holding))) {
    counters_.Subtract(holding, amount);
    refusals_.fetch_add(1, std::memory_order_relaxed);
    return Fail(Nerr::kResource,
                "{} more {} would be too much: all clients together have {}, they may have {}; try "
                "again later, or start the daemon with --total-limit {}=AMOUNT",
                AmountText(holding, amount), HoldingName(holding),
                AmountText(holding, ledger_.totals_.Of(holding)),
                AmountText(holding, limits.Total(holding)), HoldingName(holding));
  }
  return {};
}

void ClientAccount::AddAnyhow(Holding holding, uint64_t amount) {
  counters_.AddAnyhow(holding, amount);
  ledger_.totals_.AddAnyhow(holding, amount);
}

void ClientAccount::Subtract(Holding holding, uint64_t amount) {
  counters_.Subtract(holding, amount);
  ledger_.totals_.Subtract(holding, amount);
  const bool memory = holding == Holding::kMessageBytes || holding == Holding::kArrivingBytes ||
                      holding == Holding::kNetworkBytes;
  if (memory && amount >= Ledger::kLargeBlock && ledger_.on_freed_) ledger_.on_freed_();
}

bool ClientAccount::IsOver(Holding holding) const {
  return counters_.Of(holding) > ledger_.PerClient(holding);
}

uint64_t Ledger::PerClient(Holding holding) const {
  const uint64_t limit = limits_.PerClient(holding);
  const bool arriving = holding == Holding::kArrivingBytes;
  if (!arriving && holding != Holding::kMessageBytes) return limit;
  const uint64_t floor = message_floor_.load(std::memory_order_relaxed);
  return std::max(limit, std::min(limits_.Total(holding), arriving ? 2 * floor : floor));
}

void Ledger::RaiseMessageFloor(uint64_t bytes) {
  constexpr uint64_t kRoomForTheRest = 64 * kKiB;  // of a message: names, lengths, paths
  constexpr uint64_t kMost = uint64_t{1} << 62;
  const uint64_t wanted = std::min(bytes, kMost) + kRoomForTheRest;
  uint64_t before = message_floor_.load(std::memory_order_relaxed);
  while (before < wanted &&
         !message_floor_.compare_exchange_weak(before, wanted, std::memory_order_relaxed)) {
  }
}

std::shared_ptr<ClientAccount> Ledger::Account(ClientId client, const std::string& name) {
  MutexLock lock(mutex_);
  std::erase_if(accounts_, [](const auto& entry) { return entry.second.expired(); });
  std::weak_ptr<ClientAccount>& known = accounts_[client];
  if (auto account = known.lock()) return account;
  auto account = std::make_shared<ClientAccount>(*this, client, name);
  known = account;
  return account;
}

std::vector<std::shared_ptr<ClientAccount>> Ledger::List() const {
  MutexLock lock(mutex_);
  std::vector<std::shared_ptr<ClientAccount>> list;
  for (const auto& [client, known] : accounts_) {
    if (auto account = known.lock()) list.push_back(std::move(account));
  }
  return list;
}

}  // namespace nrtd::runtime
