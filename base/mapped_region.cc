// SPDX-License-Identifier: Apache-2.0
#include "base/mapped_region.h"

#include <cerrno>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/sizes.h"

namespace nrtd {

Result<uint64_t> SizeOfRegularFile(const UniqueFd& file, const std::string& name) {
  struct stat info {};
  if (::fstat(file.get(), &info) != 0)
    return Fail(Nerr::kFail, "cannot stat {}: {}", name, ErrnoText(errno));
  if (!S_ISREG(info.st_mode)) return Fail(Nerr::kInvalid, "{} is not a regular file", name);
  if (info.st_size == 0) return Fail(Nerr::kInvalid, "{} is empty", name);
  return static_cast<uint64_t>(info.st_size);
}

Result<UniqueFd> OpenRegularFile(const std::string& path) {
  // Without O_NONBLOCK the open of a FIFO waits for its writer, for ever if there is none.
  UniqueFd file(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!file) return Fail(Nerr::kInvalid, "cannot open {}: {}", path, ErrnoText(errno));
  NRTD_TRY(SizeOfRegularFile(file, path));
  return file;
}

void PreferHugePages(void* data, uint64_t size) {
  const auto first = reinterpret_cast<uint64_t>(data);
  const uint64_t end = first + size;
  if (AlignUp(first, kTransparentHugePage) + kTransparentHugePage > end) return;
  // All its pages alike: the kernel moves no mapping of which it was asked different things.
  const uint64_t begin = AlignUp(first, kPage);
  ::madvise(reinterpret_cast<void*>(begin), AlignUp(end, kPage) - begin, MADV_HUGEPAGE);
}

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

Result<MappedRegion> MappedRegion::Allocate(uint64_t size) {
  return Map(size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
}

Result<void> MappedRegion::Resize(uint64_t size) {
  if (data_ == nullptr) {
    NRTD_ASSIGN(*this, Allocate(size));
    return {};
  }
  if (size == 0) return Fail(Nerr::kInvalid, "cannot map 0 bytes");
  void* data = ::mremap(data_, size_, size, MREMAP_MAYMOVE);
  if (data == MAP_FAILED)
    return Fail(Nerr::kResource, "mremap of {} bytes to {}: {}", size_, size, ErrnoText(errno));
  data_ = static_cast<std::byte*>(data);
  size_ = size;
  return {};
}

Result<MappedRegion> MappedRegion::MapFile(const std::string& path) {
  NRTD_ASSIGN(const UniqueFd file, OpenRegularFile(path));
  NRTD_ASSIGN(const uint64_t size, SizeOfRegularFile(file, path));
  auto region = Map(size, PROT_READ, MAP_PRIVATE, &file);
  if (!region) return tl::unexpected<Error>(std::move(region.error()).In(path));
  return region;
}

Result<MappedRegion> MappedRegion::CopyFile(const std::string& path, uint64_t limit) {
  NRTD_ASSIGN(const UniqueFd file, OpenRegularFile(path));
  return CopyFile(file, path, limit);
}

Result<MappedRegion> MappedRegion::CopyFile(const UniqueFd& file, const std::string& name,
                                            uint64_t limit, const std::stop_token& stop) {
  NRTD_ASSIGN(const uint64_t size, SizeOfRegularFile(file, name));
  if (size > limit)
    return Fail(Nerr::kInvalid, "{} of {} bytes is larger than the limit of {}", name, size, limit);
  auto region = Allocate(size);
  if (!region) return tl::unexpected<Error>(std::move(region.error()).In(name));
  PreferHugePages(region->data(), size);
  for (uint64_t filled = 0; filled < size;) {
    NRTD_TRY(CheckWanted(stop));
    const ssize_t count =
        ::pread(file.get(), region->data() + filled, std::min(size - filled, kWantedGrain),
                static_cast<off_t>(filled));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return Fail(Nerr::kInvalid, "cannot read {}: {}", name, ErrnoText(errno));
    if (count == 0) return Fail(Nerr::kInvalid, "{} shrank while it was read", name);
    filled += static_cast<uint64_t>(count);
  }
  return region;
}

}  // namespace nrtd
