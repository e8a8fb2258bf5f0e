// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "base/mutex.h"
#include "runtime/model/network.h"

namespace nrtd::runtime {

// Inferences that were posted and not yet collected, by cookie. A cookie is used once: Take() ends
// it. Threadsafe.
class CookieTable {
 public:
  // A cookie whose network is being unloaded names nothing: the inference is dropped.
  uint64_t Add(Inference inference);
  // kInvalidHandle: never given out, or used up, or its network was unloaded.
  Result<Inference> Take(uint64_t cookie);
  // As Take() if the inference has ended; kInferPending, and the cookie stays, while it has not.
  Result<Inference> TakeIfDone(uint64_t cookie);
  // Has the inference ended? The cookie stays. kInvalidHandle as Take().
  Result<bool> Done(uint64_t cookie);
  // Drops every cookie of a network, so that its slots come back.
  void DropNetwork(NetworkId network);

 private:
  Mutex mutex_;
  std::unordered_map<uint64_t, Inference> inferences_ NRTD_GUARDED_BY(mutex_);
  uint64_t next_ NRTD_GUARDED_BY(mutex_) = 1;
};

}  // namespace nrtd::runtime
