// SPDX-License-Identifier: Apache-2.0
#include "neff/tar_writer.h"

#include <array>
#include <cerrno>
#include <cstdio>
#include <exception>
#include <memory>

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>

#include "base/npy.h"
#include "base/sizes.h"
#include "neff/neff.h"
#include "neff/tar_names.h"

namespace nrtd::neff {
namespace {

using Writer = std::unique_ptr<archive, int (*)(archive*)>;

tl::unexpected<Error> Failed(archive* a) {
  const char* reason = archive_error_string(a);
  return Fail(Nerr::kResource, "cannot write the NEFF: {}",
              reason != nullptr ? reason : "no reason known");
}

Result<Writer> NewWriter(bool gzip) {
  Writer writer(archive_write_new(), archive_write_free);
  archive* a = writer.get();
  // No padding behind the tar's end, whatever it is written to.
  archive_write_set_bytes_in_last_block(a, 1);
  if (archive_write_set_format_pax_restricted(a) != ARCHIVE_OK) return Failed(a);
  if (gzip && (archive_write_add_filter_gzip(a) != ARCHIVE_OK ||
               archive_write_set_filter_option(a, "gzip", "timestamp", nullptr) != ARCHIVE_OK)) {
    return Failed(a);
  }
  return writer;
}

// Where the elements of an .npy file begin; 0 for others.
uint64_t DataOffset(ByteSpan content) {
  const auto npy = ParseNpy(content);
  return npy ? static_cast<uint64_t>(npy->data.data() - content.data()) : 0;
}

class FileWriter {
 public:
  explicit FileWriter(archive* a) : archive_(a), entry_(archive_entry_new(), archive_entry_free) {}

  Result<void> Write(const std::string& path, ByteSpan content) {
    archive_entry_clear(entry_.get());
    archive_entry_set_pathname(entry_.get(), path.c_str());
    archive_entry_set_filetype(entry_.get(), AE_IFREG);
    archive_entry_set_perm(entry_.get(), 0644);
    archive_entry_set_mtime(entry_.get(), 0, 0);
    archive_entry_set_size(entry_.get(), static_cast<la_int64_t>(content.size()));
    if (archive_write_header(archive_, entry_.get()) != ARCHIVE_OK) return Failed(archive_);
    if (!content.empty()) {
      const auto written = archive_write_data(archive_, content.data(), content.size());
      if (written < 0 || static_cast<uint64_t>(written) != content.size()) return Failed(archive_);
    }
    // Writes up to the end of its last block.
    if (archive_write_finish_entry(archive_) != ARCHIVE_OK) return Failed(archive_);
    return {};
  }

  // Makes the data of the next file, `data_offset` bytes into it, begin at a multiple of
  // kAlignment, `room` bytes being in front of the tar. Does not where that offset is no multiple
  // of a block, or the file's header more than one block: its path has more than 100 bytes.
  Result<void> Align(uint64_t room, uint64_t data_offset) {
    const auto at =
        room + static_cast<uint64_t>(archive_filter_bytes(archive_, 0)) + kTarBlock + data_offset;
    const uint64_t gap = AlignUp(at, kAlignment) - at;
    if (gap % kTarBlock != 0 || gap == 0) return {};
    static constexpr std::array<std::byte, kAlignment> kZeros{};
    return Write(fmt::format("align/{}", count_++), ByteSpan(kZeros).first(gap - kTarBlock));
  }

 private:
  archive* archive_;
  std::unique_ptr<archive_entry, void (*)(archive_entry*)> entry_;
  int count_ = 0;
};

Result<void> WriteFiles(archive* a, const FileMap& files, uint64_t room, bool align) {
  FileWriter writer(a);
  for (const auto& [path, content] : files) {
    if (align && content.size() >= kAlignedFrom) NRTD_TRY(writer.Align(room, DataOffset(content)));
    NRTD_TRY(writer.Write(path, content));
  }
  if (archive_write_close(a) != ARCHIVE_OK) return Failed(a);
  return {};
}

la_ssize_t AppendToVector(archive* a, void* vector, const void* buffer, size_t size) {
  try {
    auto& bytes = *static_cast<ByteVector*>(vector);
    const auto* begin = static_cast<const std::byte*>(buffer);
    bytes.insert(bytes.end(), begin, begin + size);
    return static_cast<la_ssize_t>(size);
  } catch (const std::exception& e) {
    archive_set_error(a, ENOMEM, "%s", e.what());
    return -1;
  }
}

}  // namespace

Result<ByteVector> TarToMemory(const FileMap& files, size_t room, bool gzip) {
  ByteVector bytes(room);
  if (!gzip) {
    uint64_t size = room + 2 * kTarBlock;
    for (const auto& [path, content] : files)
      size += kTarBlock + AlignUp(content.size(), kTarBlock) +
              (content.size() >= kAlignedFrom ? kAlignment : 0);
    bytes.reserve(size);
  }
  NRTD_ASSIGN(const Writer writer, NewWriter(gzip));
  if (archive_write_open(writer.get(), &bytes, nullptr, AppendToVector, nullptr) != ARCHIVE_OK)
    return Failed(writer.get());
  NRTD_TRY(WriteFiles(writer.get(), files, room, !gzip));
  return bytes;
}

Result<TarFile> TarFile::Write(const FileMap& files, const std::string& path, size_t room,
                               bool gzip) {
  std::string temporary = fmt::format("{}.{}.tmp", path, ::getpid());
  UniqueFd fd(::open(temporary.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!fd) return Fail(Nerr::kInvalid, "cannot create {}: {}", temporary, ErrnoText(errno));
  TarFile file(path, std::move(temporary), std::move(fd));
  if (::lseek(file.fd_.get(), static_cast<off_t>(room), SEEK_SET) < 0)
    return Fail(Nerr::kInvalid, "cannot seek in {}: {}", file.temporary_, ErrnoText(errno));
  NRTD_ASSIGN(const Writer writer, NewWriter(gzip));
  if (archive_write_open_fd(writer.get(), file.fd_.get()) != ARCHIVE_OK)
    return Failed(writer.get());
  NRTD_TRY(WriteFiles(writer.get(), files, room, !gzip));
  return file;
}

TarFile::~TarFile() {
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

Result<void> TarFile::Commit(ByteSpan head) && {
  const ssize_t written = ::pwrite(fd_.get(), head.data(), head.size(), 0);
  if (written < 0 || static_cast<size_t>(written) != head.size())
    return Fail(Nerr::kResource, "cannot write {}: {}", temporary_, ErrnoText(errno));
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0)
    return Fail(Nerr::kInvalid, "cannot rename {} to {}: {}", temporary_, path_, ErrnoText(errno));
  temporary_.clear();
  return {};
}

}  // namespace nrtd::neff
