// SPDX-License-Identifier: Apache-2.0
//
// Inside neff/ only.
#pragma once

#include "base/bytes.h"

namespace nrtd::neff {

inline constexpr size_t kTarBlock = 512;  // bytes

// Does a path in the extended headers (pax "path", GNU long name) that stand at the start of `tar`
// hold a 0 byte? libarchive hands paths out as C strings, which end there, so it cannot say.
bool HasZeroInExtendedName(ByteSpan tar);

}  // namespace nrtd::neff
