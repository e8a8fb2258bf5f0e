// SPDX-License-Identifier: Apache-2.0
#include "neff/header.h"

#include <algorithm>

#include "base/digest.h"

namespace nrtd::neff {
namespace {

std::string LoadText(ByteSpan bytes, size_t at, size_t size) {
  std::string text(AsText(bytes.subspan(at, size)));
  text.resize(std::min(text.find('\0'), text.size()));
  std::ranges::replace_if(
      text, [](char c) { return c < ' ' || c > '~'; }, '?');
  return text;
}

Result<void> StoreText(MutableByteSpan bytes, size_t at, size_t size, std::string_view text,
                       std::string_view what) {
  if (text.size() >= size) {
    return Fail(Nerr::kInvalid, "NEFF header: {} of {} bytes does not fit {}", what, text.size(),
                size - 1);
  }
  std::ranges::copy(AsBytes(text), bytes.begin() + static_cast<ptrdiff_t>(at));
  return {};
}

}  // namespace

Result<Header> ParseHeader(ByteSpan neff) {
  if (neff.size() < kHeaderSize) {
    return Fail(
        Nerr::kInvalid,
        "Wrong NEFF file size: {} bytes are less than the {} of a header; send the whole file",
        neff.size(), kHeaderSize);
  }
  const auto pkg_version = LoadAt<uint64_t>(neff, offset::kPkgVersion);
  if (pkg_version != 1 && pkg_version != 2) {
    return Fail(
        Nerr::kInvalid,
        "not a NEFF: its first 8 bytes are not package version 1 or 2; load what 'neuron-cc "
        "compile' or neuron-packager wrote");
  }
  Header header;
  header.pkg_version = static_cast<PackageVersion>(pkg_version);
  header.header_size = LoadAt<uint64_t>(neff, offset::kHeaderSize);
  if (header.header_size != kHeaderSize) {
    return Fail(Nerr::kInvalid,
                "not a NEFF: its header does not declare a size of {} bytes; load what 'neuron-cc "
                "compile' or neuron-packager wrote",
                kHeaderSize);
  }
  header.data_size = LoadAt<uint64_t>(neff, offset::kDataSize);
  header.version_major = LoadAt<uint64_t>(neff, offset::kVersionMajor);
  header.version_minor = LoadAt<uint64_t>(neff, offset::kVersionMinor);
  header.build_version = LoadText(neff, offset::kBuildVersion, kBuildVersionSize);
  header.num_tpb = LoadAt<uint32_t>(neff, offset::kNumTpb);
  header.hash = LoadAt<decltype(header.hash)>(neff, offset::kHash);
  header.uuid = LoadAt<decltype(header.uuid)>(neff, offset::kUuid);
  header.name = LoadText(neff, offset::kName, kNameSize);
  header.requested_tpb_count = LoadAt<uint32_t>(neff, offset::kRequestedTpbCount);
  header.tpb_per_node = LoadAt<decltype(header.tpb_per_node)>(neff, offset::kTpbPerNode);
  header.feature_bits = LoadAt<uint64_t>(neff, offset::kFeatureBits);
  header.lnc_size = LoadAt<uint32_t>(neff, offset::kLncSize);
  return header;
}

Result<void> CheckFileSize(const Header& header, uint64_t neff_size) {
  if (neff_size >= kHeaderSize && neff_size - kHeaderSize == header.data_size) return {};
  return Fail(Nerr::kInvalid,
              "Wrong NEFF file size: {} bytes received, but the header declares {} + {} of data; "
              "send the whole file, or copy it again if it was cut off",
              neff_size, kHeaderSize, header.data_size);
}

Result<std::array<std::byte, kHeaderSize>> SerializeHeader(const Header& header) {
  std::array<std::byte, kHeaderSize> bytes{};
  StoreAt(bytes, offset::kPkgVersion, static_cast<uint64_t>(header.pkg_version));
  StoreAt(bytes, offset::kHeaderSize, header.header_size);
  StoreAt(bytes, offset::kDataSize, header.data_size);
  StoreAt(bytes, offset::kVersionMajor, header.version_major);
  StoreAt(bytes, offset::kVersionMinor, header.version_minor);
  NRTD_TRY(StoreText(bytes, offset::kBuildVersion, kBuildVersionSize, header.build_version,
                     "build version"));
  StoreAt(bytes, offset::kNumTpb, header.num_tpb);
  StoreAt(bytes, offset::kHash, header.hash);
  StoreAt(bytes, offset::kUuid, header.uuid);
  NRTD_TRY(StoreText(bytes, offset::kName, kNameSize, header.name, "name"));
  StoreAt(bytes, offset::kRequestedTpbCount, header.requested_tpb_count);
  StoreAt(bytes, offset::kTpbPerNode, header.tpb_per_node);
  StoreAt(bytes, offset::kFeatureBits, header.feature_bits);
  StoreAt(bytes, offset::kLncSize, header.lnc_size);
  return bytes;
}

std::array<uint8_t, 32> DataHash(PackageVersion pkg_version, ByteSpan data) {
  if (pkg_version == PackageVersion::kSha256) return Sha256(data);
  std::array<uint8_t, 32> hash{};
  std::ranges::copy(Md5(data), hash.begin());
  return hash;
}

}  // namespace nrtd::neff
