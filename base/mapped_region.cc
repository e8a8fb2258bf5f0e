// SPDX-License-Identifier: Apache-2.0
#include "base/mapped_region.h"

#include <cerrno>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

namespace nrtd {

MappedRegion& MappedRegion::operator=(MappedRegion&& other) noexcept {
  if (this != &other) {
    if (data_ != nullptr) ::munmap(data_, size_);
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

MappedRegion::~MappedRegion() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

Result<MappedRegion> MappedRegion::Map(uint64_t size, int protection, int flags,
                                       const UniqueFd* file, uint64_t offset) {
  if (size == 0) return Fail(Nerr::kInvalid, "cannot map 0 bytes");
  void* data = ::mmap(nullptr, size, protection, flags, file != nullptr ? file->get() : -1,
                      static_cast<off_t>(offset));
  if (data == MAP_FAILED)
    return Fail(Nerr::kResource, "mmap of {} bytes: {}", size, ErrnoText(errno));
  return MappedRegion(static_cast<std::byte*>(data), size);
}

Result<MappedRegion> MappedRegion::MapFile(const std::string& path) {
  // Without O_NONBLOCK the open of a FIFO waits for its writer, for ever if there is none.
  UniqueFd file(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!file) return Fail(Nerr::kInvalid, "cannot open {}: {}", path, ErrnoText(errno));
  struct stat info {};
  if (::fstat(file.get(), &info) != 0)
    return Fail(Nerr::kFail, "cannot stat {}: {}", path, ErrnoText(errno));
  if (!S_ISREG(info.st_mode)) return Fail(Nerr::kInvalid, "{} is not a regular file", path);
  if (info.st_size == 0) return Fail(Nerr::kInvalid, "{} is empty", path);
  auto region = Map(static_cast<uint64_t>(info.st_size), PROT_READ, MAP_PRIVATE, &file);
  if (!region) return tl::unexpected<Error>(std::move(region.error()).In(path));
  return region;
}

}  // namespace nrtd
