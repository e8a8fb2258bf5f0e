// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "base/bytes.h"
#include "base/error.h"
#include "base/sizes.h"

namespace nrtd {

// Reads a whole file of at most `limit` bytes. kInvalid with the path and the reason otherwise.
// Files of /proc and /sys, whose size is not known beforehand, are fine.
Result<ByteVector> ReadFile(const std::string& path, uint64_t limit = 4 * kGiB);
Result<std::string> ReadTextFile(const std::string& path, uint64_t limit = 64 * kMiB);

// Writes beside the target and renames, so that a reader sees the old or the new content, never a
// part.
Result<void> WriteFileAtomically(const std::string& path, ByteSpan content);

}  // namespace nrtd
