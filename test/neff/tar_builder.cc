// SPDX-License-Identifier: Apache-2.0
#include "test/neff/tar_builder.h"

#include <cstdio>
#include <memory>
#include <stdexcept>

#include <archive.h>

namespace nrtd::neff {
namespace {

la_ssize_t Append(archive*, void* vector, const void* buffer, size_t size) {
  const auto* begin = static_cast<const std::byte*>(buffer);
  static_cast<ByteVector*>(vector)->insert(static_cast<ByteVector*>(vector)->end(), begin,
                                           begin + size);
  return static_cast<la_ssize_t>(size);
}

void Check(archive* a, int code) {
  if (code != ARCHIVE_OK) throw std::runtime_error(archive_error_string(a));
}

void WriteEntry(archive* a, const TarEntry& from) {
  const std::unique_ptr<archive_entry, void (*)(archive_entry*)> entry(archive_entry_new(),
                                                                       archive_entry_free);
  archive_entry_set_pathname(entry.get(), from.path.c_str());
  archive_entry_set_filetype(entry.get(), from.type);
  archive_entry_set_perm(entry.get(), from.mode);
  archive_entry_set_size(entry.get(), static_cast<la_int64_t>(from.content.size()));
  if (!from.owner.empty()) archive_entry_set_uname(entry.get(), from.owner.c_str());
  if (from.hard_link) {
    archive_entry_set_hardlink(entry.get(), from.link.c_str());
  } else if (!from.link.empty()) {
    archive_entry_set_symlink(entry.get(), from.link.c_str());
  }
  Check(a, archive_write_header(a, entry.get()));
  if (!from.content.empty()) archive_write_data(a, from.content.data(), from.content.size());
}

}  // namespace

ByteVector MakeTar(const std::vector<TarEntry>& entries, const TarOptions& options) {
  ByteVector tar;
  const std::unique_ptr<archive, int (*)(archive*)> writer(archive_write_new(), archive_write_free);
  archive* a = writer.get();
  archive_write_set_bytes_in_last_block(a, 1);
  Check(a, options.gnu ? archive_write_set_format_gnutar(a)
                       : archive_write_set_format_pax_restricted(a));
  if (options.gzip) Check(a, archive_write_add_filter_gzip(a));
  if (options.xz) Check(a, archive_write_add_filter_xz(a));
  Check(a, archive_write_open(a, &tar, nullptr, Append, nullptr));
  for (const TarEntry& entry : entries) WriteEntry(a, entry);
  Check(a, archive_write_close(a));
  return tar;
}

ByteVector MakeTarOf(const std::map<std::string, std::string>& files, const TarOptions& options) {
  std::vector<TarEntry> entries;
  for (const auto& [path, content] : files) entries.push_back({path, content});
  return MakeTar(entries, options);
}

void FixChecksum(ByteVector& tar, size_t at) {
  constexpr size_t kChecksumAt = 148;
  for (size_t i = 0; i < 8; ++i) tar[at + kChecksumAt + i] = std::byte{' '};
  unsigned sum = 0;
  for (size_t i = 0; i < 512; ++i) sum += std::to_integer<unsigned>(tar[at + i]);
  char digits[8];
  std::snprintf(digits, sizeof(digits), "%06o", sum);
  std::memcpy(tar.data() + at + kChecksumAt, digits, 7);
}

}  // namespace nrtd::neff
