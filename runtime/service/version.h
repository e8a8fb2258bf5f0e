// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "proto/nrt/common.pb.h"

namespace nrtd::service {

// The runtime version that clients see. The contract is that of neuron-rtd 1.x, so the major number
// is 1; the rest is ours.
inline constexpr uint32_t kVersionMajor = 1;
inline constexpr uint32_t kVersionMinor = 7;
inline constexpr std::string_view kVersionText = "1.7.0.0+nrtd-" NRTD_VERSION;

inline void SetVersion(nrt::version* version) {
  version->set_full_version(std::string(kVersionText));
  version->set_major_num(kVersionMajor);
  version->set_minor_num(kVersionMinor);
}

}  // namespace nrtd::service
