// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/error.h"
#include "neff/limits.h"

namespace nrtd::neff {

using FileMap = std::map<std::string, ByteSpan, std::less<>>;

// kInvalid unless `path` is relative and made of plain names: no "..", ".", empty component, or
// NUL.
Result<void> CheckPath(std::string_view path, const Limits& limits = {});

// The files inside a NEFF's tar. Everything stays in memory: nothing is written to disk, and
// owners, modes and times are not looked at. Move-only; immutable once made, so any thread may read
// it.
class Archive {
 public:
  // Reads a tar, plain or gzip-compressed. The contents of a plain tar are spans into `data`, which
  // must outlive the Archive; those of a compressed one are owned. Folders are passed over. Zeros
  // may follow the gzip stream or the end of the tar.
  // kInvalid with the entry's path: a damaged or cut-off tar, anything but a regular file or folder
  // (links, devices, pipes, sparse files), a path that CheckPath() refuses, the same path twice,
  // bytes other than 0 behind the end, anything beyond `limits`.
  static Result<Archive> Read(ByteSpan data, const Limits& limits = {});

  // The same view of files that never were a tar; their bytes must outlive the Archive. The same
  // errors for paths and limits.
  static Result<Archive> FromFiles(FileMap files, const Limits& limits = {});

  Archive() = default;
  Archive(Archive&&) noexcept = default;
  Archive& operator=(Archive&&) noexcept = default;

  // Sorted by path; a leading "./" is removed.
  const FileMap& files() const { return files_; }
  std::optional<ByteSpan> Find(std::string_view path) const;
  bool compressed() const { return compressed_; }

 private:
  friend class TarReader;
  FileMap files_;
  ByteVector unpacked_;            // the whole tar, if it was compressed
  std::deque<ByteVector> copies_;  // files whose bytes libarchive did not hand out in place
  bool compressed_ = false;
};

}  // namespace nrtd::neff
