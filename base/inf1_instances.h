// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

#include "base/error.h"

namespace nrtd {

// How many Inferentia devices an EC2 instance of that size has: "inf1.xlarge" 1, "inf1.2xlarge" 1,
// "inf1.6xlarge" 4, "inf1.24xlarge" 16 (the public sizes of Inf1). kInvalid for any other.
Result<uint32_t> DevicesOfInstance(std::string_view instance);

}  // namespace nrtd
