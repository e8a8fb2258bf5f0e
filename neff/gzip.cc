// SPDX-License-Identifier: Apache-2.0
#include "neff/gzip.h"

#include <algorithm>
#include <memory>

#include <archive.h>
#include <archive_entry.h>

#include "base/sizes.h"
#include "base/wanted.h"

namespace nrtd::neff {
namespace {

Result<void> CheckGrowth(uint64_t unpacked, uint64_t packed, const Limits& limits) {
  if (unpacked > limits.max_unpacked_bytes) {
    return Fail(Nerr::kInvalid, "NEFF data unpacks to more than the limit of {} bytes",
                limits.max_unpacked_bytes);
  }
  if (unpacked > limits.ratio_free_bytes && unpacked / limits.max_compression_ratio > packed) {
    return Fail(Nerr::kInvalid,
                "NEFF data of {} bytes unpacks to more than {} times its size: refused as a "
                "decompression bomb; write it uncompressed",
                packed, limits.max_compression_ratio);
  }
  return {};
}

}  // namespace

bool IsGzip(ByteSpan data) {
  return data.size() >= 2 && data[0] == std::byte{0x1f} && data[1] == std::byte{0x8b};
}

bool IsAllZeros(ByteSpan bytes) {
  return std::ranges::all_of(bytes, [](std::byte b) { return b == std::byte{0}; });
}

Result<ByteVector> Gunzip(ByteSpan data, const Limits& limits) {
  // "raw" is libarchive's name for a stream that is only compressed. The tar inside is read
  // afterwards, from memory, so that its files need no further copy.
  const std::unique_ptr<archive, int (*)(archive*)> reader(archive_read_new(), archive_read_free);
  archive* a = reader.get();
  archive_entry* entry = nullptr;
  const auto damaged = [a] {
    const char* reason = archive_error_string(a);
    return Fail(
        Nerr::kInvalid,
        "NEFF data is a damaged gzip stream: {}; copy the file again, or compile the network "
        "again",
        reason != nullptr ? reason : "no data");
  };
  if (archive_read_support_filter_gzip(a) != ARCHIVE_OK ||
      archive_read_support_format_raw(a) != ARCHIVE_OK ||
      archive_read_open_memory(a, data.data(), data.size()) != ARCHIVE_OK ||
      archive_read_next_header(a, &entry) != ARCHIVE_OK) {
    return damaged();
  }
  if (archive_filter_code(a, 0) != ARCHIVE_FILTER_GZIP) return damaged();
  ByteVector unpacked;
  while (true) {
    const void* block = nullptr;
    size_t size = 0;
    la_int64_t at = 0;
    const int code = archive_read_data_block(a, &block, &size, &at);
    if (code == ARCHIVE_EOF) break;
    if (code != ARCHIVE_OK) return damaged();
    NRTD_TRY(CheckWanted(limits.stop));
    NRTD_TRY(CheckGrowth(unpacked.size() + size, data.size(), limits));
    const auto* bytes = static_cast<const std::byte*>(block);
    unpacked.insert(unpacked.end(), bytes, bytes + size);
  }
  const auto consumed = static_cast<uint64_t>(archive_filter_bytes(a, -1));
  if (consumed > data.size() || !IsAllZeros(data.subspan(consumed))) {
    return Fail(Nerr::kInvalid, "NEFF data holds bytes other than 0 behind the gzip stream's {}",
                consumed);
  }
  return unpacked;
}

}  // namespace nrtd::neff
