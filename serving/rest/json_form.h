// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace nrtd::serving {

// "instances" gives rows and is answered by "predictions", "inputs" columns and "outputs".
enum class JsonForm : uint8_t { kRow, kColumn };

}  // namespace nrtd::serving
