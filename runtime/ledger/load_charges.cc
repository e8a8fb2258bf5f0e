// SPDX-License-Identifier: Apache-2.0
#include "runtime/ledger/load_charges.h"

#include <algorithm>

namespace nrtd::runtime {

Result<NeffHoldings::Hold> NeffHoldings::Take(const std::shared_ptr<ClientAccount>& account,
                                              const std::shared_ptr<const neff::Neff>& neff) {
  MutexLock lock(mutex_);
  std::erase_if(holds_, [](const auto& entry) { return entry.second.expired(); });
  auto& known = holds_[{account->id(), neff.get()}];
  if (auto hold = known.lock()) return hold;
  NRTD_ASSIGN(Charge charge,
              account->Take(Holding::kNetworkBytes, neff->sealed_weights().bytes().size()));
  auto hold = std::make_shared<const Charge>(std::move(charge));
  known = hold;
  return hold;
}

Result<void> LoadCharges::Begin() {
  if (account_ == nullptr) return {};
  NRTD_ASSIGN(network_, account_->Take(Holding::kNetworks));
  return {};
}

Result<void> LoadCharges::Copying(uint64_t bytes) {
  if (account_ == nullptr) return {};
  NRTD_ASSIGN(arriving_, account_->Take(Holding::kNetworkBytes, bytes));
  return {};
}

Result<void> LoadCharges::Read(NeffHoldings& holdings,
                               const std::shared_ptr<const neff::Neff>& neff) {
  // What was copied is the NEFF's memory now, or has been freed.
  arriving_.Release();
  if (account_ == nullptr) return {};
  NRTD_ASSIGN(neff_, holdings.Take(account_, neff));
  return {};
}

Result<void> LoadCharges::Placed(uint64_t dram_bytes, uint64_t weight_bytes,
                                 uint64_t prepared_bytes) {
  if (account_ == nullptr) return {};
  NRTD_ASSIGN(dram_, account_->Take(Holding::kDramBytes, dram_bytes));
  NRTD_ASSIGN(scratch_,
              account_->Take(Holding::kNetworkBytes,
                             dram_bytes - std::min(dram_bytes, weight_bytes) + prepared_bytes));
  return {};
}

}  // namespace nrtd::runtime
