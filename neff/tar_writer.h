// SPDX-License-Identifier: Apache-2.0
//
// Inside neff/ only: a tar whose bytes depend on nothing but the files' paths and contents.
#pragma once

#include <string>
#include <utility>

#include "base/bytes.h"
#include "base/error.h"
#include "base/mapped_region.h"
#include "base/unique_fd.h"
#include "neff/archive.h"

namespace nrtd::neff {

// `room` bytes of 0, to be filled by the caller, then the tar. Without gzip, files of kAlignedFrom
// or more, or the elements in them if they are .npy files, begin at a multiple of kAlignment; in
// front of them are files of zeros, "align/0" and so on.
Result<ByteVector> TarToMemory(const FileMap& files, size_t room, bool gzip);

// The same in a file beside `path`, which takes its name at Commit(); removed if that is never
// called. Move-only.
class TarFile {
 public:
  static Result<TarFile> Write(const FileMap& files, const std::string& path, size_t room,
                               bool gzip);
  TarFile(TarFile&& other) noexcept
      : path_(std::move(other.path_)),
        temporary_(std::exchange(other.temporary_, {})),
        fd_(std::move(other.fd_)) {}
  TarFile& operator=(TarFile&&) = delete;
  ~TarFile();

  Result<MappedRegion> Map() const { return MappedRegion::MapFile(temporary_); }
  // Puts `head` into the room and renames.
  Result<void> Commit(ByteSpan head) &&;

 private:
  TarFile(std::string path, std::string temporary, UniqueFd fd)
      : path_(std::move(path)), temporary_(std::move(temporary)), fd_(std::move(fd)) {}
  std::string path_;
  std::string temporary_;  // empty once there is nothing to remove
  UniqueFd fd_;
};

}  // namespace nrtd::neff
