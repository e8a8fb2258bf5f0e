// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace nrtd::runtime {

// model_params.ninfer of a load that names none (REFERENCE: queue depth 4).
inline constexpr uint32_t kDefaultNinfer = 4;
// A slot costs host memory and ring entries. Clients ask for the core count + 1, 65 on the largest
// instance; a core's execution queue holds 2,048.
inline constexpr uint32_t kMaxNinfer = 1'024;
// An inference that may take longer than a day is one that never ends.
inline constexpr uint32_t kMaxTimeoutSeconds = 86'400;
// Descriptors of one execution after patterns were taken apart: 32,768 is a ring's capacity.
inline constexpr uint64_t kMaxTransfers = 16'384;

}  // namespace nrtd::runtime
