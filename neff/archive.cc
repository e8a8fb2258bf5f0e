// SPDX-License-Identifier: Apache-2.0
#include "neff/archive.h"

#include <memory>
#include <utility>

#include <archive.h>
#include <archive_entry.h>

#include "base/sizes.h"
#include "neff/gzip.h"
#include "neff/tar_names.h"

namespace nrtd::neff {
namespace {

std::string_view KindName(archive_entry* entry) {
  if (archive_entry_hardlink(entry) != nullptr) return "a hard link";
  switch (archive_entry_filetype(entry)) {
    case AE_IFREG:
      return archive_entry_sparse_count(entry) > 0 ? "a sparse file" : "a regular file";
    case AE_IFDIR:
      return "a folder";
    case AE_IFLNK:
      return "a symbolic link";
    case AE_IFCHR:
    case AE_IFBLK:
      return "a device";
    case AE_IFIFO:
      return "a named pipe";
    default:
      return "of an unknown kind";
  }
}

}  // namespace

Result<void> CheckPath(std::string_view path, const Limits& limits) {
  if (path.empty()) return Fail(Nerr::kInvalid, "NEFF holds a file without a name");
  if (path.size() > limits.max_path_bytes) {
    return Fail(Nerr::kInvalid, "NEFF holds a path of {} bytes, at most {} are allowed: '{}...'",
                path.size(), limits.max_path_bytes, path.substr(0, 40));
  }
  if (path.find('\0') != std::string_view::npos)
    return Fail(Nerr::kInvalid, "NEFF holds a path with a 0 byte in it");
  if (path.front() == '/')
    return Fail(Nerr::kInvalid, "NEFF holds the absolute path '{}'; only relative ones may", path);
  for (size_t at = 0; at <= path.size();) {
    const size_t end = std::min(path.find('/', at), path.size());
    const std::string_view name = path.substr(at, end - at);
    if (name.empty() || name == "." || name == "..") {
      return Fail(Nerr::kInvalid, "NEFF holds the path '{}', whose part '{}' is not a plain name",
                  path, name);
    }
    at = end + 1;
  }
  return {};
}

// Fills an Archive from a plain tar.
class TarReader {
 public:
  TarReader(ByteSpan tar, const Limits& limits) : tar_(tar), limits_(limits) {}

  Result<void> ReadInto(Archive& result) {
    archive* a = reader_.get();
    if (archive_read_support_format_tar(a) != ARCHIVE_OK ||
        archive_read_open_memory(a, tar_.data(), tar_.size()) != ARCHIVE_OK) {
      return Damaged();
    }
    archive_entry* entry = nullptr;
    for (size_t count = 0;; ++count) {
      const int code = archive_read_next_header(a, &entry);
      if (code == ARCHIVE_EOF) break;
      if (code != ARCHIVE_OK) return Damaged();
      if (count == limits_.max_files)
        return Fail(Nerr::kInvalid, "NEFF holds more than {} files", limits_.max_files);
      NRTD_TRY(ReadEntry(entry, result));
    }
    const auto end = static_cast<uint64_t>(archive_filter_bytes(a, 0));
    if (end > tar_.size() || !IsAllZeros(tar_.subspan(end))) {
      return Fail(Nerr::kInvalid, "NEFF data holds bytes other than 0 behind the tar's end at {}",
                  end);
    }
    return {};
  }

 private:
  tl::unexpected<Error> Damaged() {
    const char* reason = archive_error_string(reader_.get());
    return Fail(Nerr::kInvalid,
                "NEFF data is not a tar, or a damaged one, at byte {}: {}; copy the file again, or "
                "compile the network again",
                archive_read_header_position(reader_.get()),
                reason != nullptr ? reason : "no reason known");
  }

  Result<void> ReadEntry(archive_entry* entry, Archive& result) {
    const char* name = archive_entry_pathname(entry);
    if (name == nullptr)
      return Fail(Nerr::kInvalid, "NEFF holds a file whose name is not plain ASCII");
    const auto header_at = static_cast<uint64_t>(archive_read_header_position(reader_.get()));
    if (HasZeroInExtendedName(tar_.subspan(std::min<uint64_t>(header_at, tar_.size())))) {
      return Fail(Nerr::kInvalid, "NEFF holds a path with a 0 byte in it, behind '{}'", name);
    }
    std::string_view path = name;
    while (path.starts_with("./")) path.remove_prefix(2);
    const bool is_folder = archive_entry_filetype(entry) == AE_IFDIR;
    if (is_folder && path.ends_with('/')) path.remove_suffix(1);
    if (is_folder && (path.empty() || path == ".")) return {};
    NRTD_TRY(CheckPath(path, limits_));
    if (archive_entry_hardlink(entry) != nullptr || archive_entry_sparse_count(entry) > 0 ||
        (!is_folder && archive_entry_filetype(entry) != AE_IFREG)) {
      return Fail(Nerr::kInvalid, "NEFF entry '{}' is {}; only regular files and folders may be in",
                  path, KindName(entry));
    }
    if (is_folder) return {};
    NRTD_ASSIGN(const ByteSpan content, ReadContent(entry, path, result));
    if (!result.files_.emplace(path, content).second)
      return Fail(Nerr::kInvalid, "NEFF holds '{}' twice", path);
    return {};
  }

  Result<ByteSpan> ReadContent(archive_entry* entry, std::string_view path, Archive& result) {
    const auto declared = static_cast<uint64_t>(archive_entry_size(entry));
    // Before anything is read, so that a declared size allocates nothing.
    if (declared > tar_.size()) {
      return Fail(Nerr::kInvalid, "NEFF entry '{}' declares {} bytes in a tar of {}", path,
                  declared, tar_.size());
    }
    total_ += declared;
    if (total_ > limits_.max_unpacked_bytes) {
      return Fail(Nerr::kInvalid, "NEFF files take more than the limit of {} bytes, at '{}'",
                  limits_.max_unpacked_bytes, path);
    }
    ByteSpan content = tar_.first(0);
    ByteVector* copy = nullptr;  // once a block does not continue the one before it in `tar_`
    while (true) {
      const void* block = nullptr;
      size_t size = 0;
      la_int64_t at = 0;
      const int code = archive_read_data_block(reader_.get(), &block, &size, &at);
      if (code == ARCHIVE_EOF) break;
      if (code != ARCHIVE_OK || static_cast<uint64_t>(at) != content.size()) {
        return Fail(Nerr::kInvalid,
                    "NEFF entry '{}' is damaged or cut off: {} of {} bytes; copy the file again",
                    path, content.size(), declared);
      }
      if (size == 0) continue;
      const ByteSpan bytes(static_cast<const std::byte*>(block), size);
      if (copy == nullptr && content.empty() && IsInside(bytes)) {
        content = bytes;
      } else if (copy == nullptr && IsInside(bytes) &&
                 bytes.data() == content.data() + content.size()) {
        content = ByteSpan(content.data(), content.size() + size);
      } else {
        if (copy == nullptr) copy = &result.copies_.emplace_back(content.begin(), content.end());
        copy->insert(copy->end(), bytes.begin(), bytes.end());
        content = *copy;
      }
    }
    if (content.size() != declared) {
      return Fail(Nerr::kInvalid, "NEFF entry '{}' is cut off: {} of {} bytes; copy the file again",
                  path, content.size(), declared);
    }
    return content;
  }

  bool IsInside(ByteSpan bytes) const {
    const auto begin = reinterpret_cast<uintptr_t>(tar_.data());
    const auto at = reinterpret_cast<uintptr_t>(bytes.data());
    return at >= begin && RangeFits(at - begin, bytes.size(), tar_.size());
  }

  ByteSpan tar_;
  const Limits& limits_;
  std::unique_ptr<archive, int (*)(archive*)> reader_{archive_read_new(), archive_read_free};
  uint64_t total_ = 0;
};

Result<Archive> Archive::Read(ByteSpan data, const Limits& limits) {
  Archive result;
  ByteSpan tar = data;
  if (IsGzip(data)) {
    NRTD_ASSIGN(result.unpacked_, Gunzip(data, limits));
    result.compressed_ = true;
    tar = result.unpacked_;
  }
  NRTD_TRY(TarReader(tar, limits).ReadInto(result));
  return result;
}

Result<Archive> Archive::FromFiles(FileMap files, const Limits& limits) {
  uint64_t total = 0;
  if (files.size() > limits.max_files)
    return Fail(Nerr::kInvalid, "NEFF holds more than {} files", limits.max_files);
  for (const auto& [path, content] : files) {
    NRTD_TRY(CheckPath(path, limits));
    total += content.size();
    if (total > limits.max_unpacked_bytes) {
      return Fail(Nerr::kInvalid, "NEFF files take more than the limit of {} bytes, at '{}'",
                  limits.max_unpacked_bytes, path);
    }
  }
  Archive result;
  result.files_ = std::move(files);
  return result;
}

std::optional<ByteSpan> Archive::Find(std::string_view path) const {
  const auto at = files_.find(path);
  if (at == files_.end()) return std::nullopt;
  return at->second;
}

}  // namespace nrtd::neff
