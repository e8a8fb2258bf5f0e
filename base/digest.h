// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/error.h"
#include "base/wanted.h"

namespace nrtd {

using Sha256Digest = std::array<uint8_t, 32>;
using Md5Digest = std::array<uint8_t, 16>;

Sha256Digest Sha256(ByteSpan bytes);
// The same for many bytes. Errors of CheckWanted().
Result<Sha256Digest> Sha256(ByteSpan bytes, const std::stop_token& stop);
// Only for NEFFs of package version 2, whose header holds an MD5; never for anything that must
// resist forgery.
Md5Digest Md5(ByteSpan bytes);

// Lower-case hexadecimal.
std::string Hex(std::span<const uint8_t> bytes);

}  // namespace nrtd
