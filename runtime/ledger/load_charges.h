// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <utility>

#include "base/error.h"
#include "base/mutex.h"
#include "neff/neff.h"
#include "runtime/ledger/ledger.h"

namespace nrtd::runtime {

// The NEFFs that clients' networks hold, each charged once to a client however many replicas it
// loads, since they share its memory. Threadsafe.
class NeffHoldings {
 public:
  using Hold = std::shared_ptr<const Charge>;
  // The client holds the NEFF as long as the pointer lives. kResource as ClientAccount::Take().
  Result<Hold> Take(const std::shared_ptr<ClientAccount>& account,
                    const std::shared_ptr<const neff::Neff>& neff) NRTD_EXCLUDES(mutex_);

 private:
  Mutex mutex_;
  // A NEFF that went may be followed by another at its address; its hold has gone with it.
  std::map<std::pair<ClientId, const neff::Neff*>, std::weak_ptr<const Charge>> holds_
      NRTD_GUARDED_BY(mutex_);
};

// What one load takes of its client's account, and then its network, until that is unloaded.
// Without an account nothing is charged. Move-only, one thread at a time. Errors are those of
// ClientAccount::Take().
class LoadCharges {
 public:
  // `arrived`: what was charged for a NEFF that the client sent.
  LoadCharges(std::shared_ptr<ClientAccount> account, Charge arrived)
      : account_(std::move(account)), arriving_(std::move(arrived)) {}

  // A network, before anything is done for it.
  Result<void> Begin();
  // A file of so many bytes is about to be copied.
  Result<void> Copying(uint64_t bytes);
  // The NEFF is in memory: as the client's networks hold it from now on.
  Result<void> Read(NeffHoldings& holdings, const std::shared_ptr<const neff::Neff>& neff);
  // Its variables take so much DRAM, its programs so much of the daemon's memory. Simulated DRAM is
  // memory of the daemon as well once it was written; weights lie in the NEFF's.
  Result<void> Placed(uint64_t dram_bytes, uint64_t weight_bytes, uint64_t prepared_bytes);

 private:
  std::shared_ptr<ClientAccount> account_;
  Charge network_;
  Charge arriving_;
  NeffHoldings::Hold neff_;
  Charge dram_;
  Charge scratch_;
};

}  // namespace nrtd::runtime
