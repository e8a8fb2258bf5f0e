// SPDX-License-Identifier: Apache-2.0
//
// Inside neff/ only.
#pragma once

#include "base/bytes.h"
#include "base/error.h"
#include "neff/limits.h"

namespace nrtd::neff {

bool IsGzip(ByteSpan data);

// The whole of a gzip stream, or of several in a row. kInvalid if it is damaged or cut off, unpacks
// to more than the limits on size and ratio allow (noticed while unpacking), or if anything but
// zeros follows it.
Result<ByteVector> Gunzip(ByteSpan data, const Limits& limits);

bool IsAllZeros(ByteSpan bytes);

}  // namespace nrtd::neff
