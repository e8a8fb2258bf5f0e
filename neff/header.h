// SPDX-License-Identifier: Apache-2.0
//
// The 1024 bytes in front of a NEFF's tar. Layout: the public description of NEFF files
// (neuron-runtime/explore/work-with-neff-files.rst in aws-neuron/aws-neuron-sdk).
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "base/bytes.h"
#include "base/error.h"

namespace nrtd::neff {

inline constexpr uint64_t kHeaderSize = 1024;
inline constexpr size_t kMaxKelfNodes = 64;  // bytes of tpb_per_node

// Byte offsets of the fields; all numbers are little-endian, without padding between the fields.
namespace offset {
inline constexpr size_t kPkgVersion = 0;           // u64
inline constexpr size_t kHeaderSize = 8;           // u64
inline constexpr size_t kDataSize = 16;            // u64
inline constexpr size_t kVersionMajor = 24;        // u64
inline constexpr size_t kVersionMinor = 32;        // u64
inline constexpr size_t kBuildVersion = 40;        // char[128]
inline constexpr size_t kNumTpb = 168;             // u32
inline constexpr size_t kHash = 172;               // u8[32]
inline constexpr size_t kUuid = 204;               // u8[16]
inline constexpr size_t kName = 220;               // char[256]
inline constexpr size_t kRequestedTpbCount = 476;  // u32
inline constexpr size_t kTpbPerNode = 480;         // u8[64]
inline constexpr size_t kFeatureBits = 544;        // u64
inline constexpr size_t kLncSize = 552;            // u32, then zeros
}  // namespace offset
inline constexpr size_t kBuildVersionSize = 128;
inline constexpr size_t kNameSize = 256;

// Which digest of the data stands in Header::hash.
enum class PackageVersion : uint64_t { kSha256 = 1, kMd5 = 2 };

struct Header {
  PackageVersion pkg_version = PackageVersion::kSha256;
  uint64_t header_size = kHeaderSize;
  uint64_t data_size = 0;  // bytes behind the header
  uint64_t version_major = 1;
  uint64_t version_minor = 1;
  std::string build_version;
  uint32_t num_tpb = 0;               // cores if every subgraph has its own
  std::array<uint8_t, 32> hash = {};  // an MD5 fills the first 16 bytes
  std::array<uint8_t, 16> uuid = {};
  std::string name;
  uint32_t requested_tpb_count = 0;
  std::array<uint8_t, kMaxKelfNodes> tpb_per_node = {};  // in the order of the graph's kelf nodes
  uint64_t feature_bits = 0;
  uint32_t lnc_size = 0;

  bool operator==(const Header&) const = default;
};

// Reads the first kHeaderSize bytes of `neff`, which may be longer. Does not look at the version:
// that is CheckVersion() of validator.h. Bytes of the texts that are not printable ASCII become
// '?', because the texts go into protobuf strings. kInvalid: fewer bytes than a header ("Wrong NEFF
// file size"), an unknown pkg_version, a header_size other than 1024.
Result<Header> ParseHeader(ByteSpan neff);

// kInvalid unless `neff_size` is what the header declares; the text begins with "Wrong NEFF file
// size", which clients search for.
Result<void> CheckFileSize(const Header& header, uint64_t neff_size);

// kInvalid if a text does not fit its field, including the 0 behind it.
Result<std::array<std::byte, kHeaderSize>> SerializeHeader(const Header& header);

// The digest that pkg_version asks for, of the bytes behind the header.
std::array<uint8_t, 32> DataHash(PackageVersion pkg_version, ByteSpan data);

}  // namespace nrtd::neff
