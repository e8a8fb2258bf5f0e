// SPDX-License-Identifier: Apache-2.0
#include "base/sealed_file.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/sizes.h"

namespace nrtd {
namespace {

constexpr uint64_t kPage = 4 * kKiB;

Result<void> WriteAt(int fd, ByteSpan bytes, uint64_t offset, const std::stop_token& stop) {
  while (!bytes.empty()) {
    NRTD_TRY(CheckWanted(stop));
    const ssize_t count = ::pwrite(fd, bytes.data(), std::min<uint64_t>(bytes.size(), kWantedGrain),
                                   static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0)
      return Fail(Nerr::kResource, "no memory for {} bytes: {}", bytes.size(), ErrnoText(errno));
    bytes = bytes.subspan(static_cast<size_t>(count));
    offset += static_cast<uint64_t>(count);
  }
  return {};
}

}  // namespace

Result<SealedFile> SealedFile::Create(const std::vector<ByteSpan>& parts,
                                      const std::stop_token& stop) {
  SealedFile sealed;
  uint64_t size = 0;
  for (const ByteSpan& part : parts) {
    sealed.parts_.push_back({size, part.size()});
    size += AlignUp(part.size(), kPage);
  }
  if (size == 0) return sealed;
  NRTD_TRY(sealed.Begin(size));
  for (size_t i = 0; i < parts.size(); ++i)
    NRTD_TRY(WriteAt(sealed.writable_.get(), parts[i], sealed.parts_[i].offset, stop));
  NRTD_TRY(sealed.Seal(size));
  return sealed;
}

Result<SealedFile> SealedFile::CopyOf(const UniqueFd& file, const std::string& name, uint64_t limit,
                                      const std::stop_token& stop) {
  NRTD_ASSIGN(const uint64_t size, SizeOfRegularFile(file, name));
  if (size > limit)
    return Fail(Nerr::kInvalid, "{} of {} bytes is larger than the limit of {}", name, size, limit);
  SealedFile sealed;
  NRTD_TRY(sealed.Begin(size));
  // Through a small buffer: memory that is written for the first time by the system is not cleared
  // before.
  ByteVector buffer(std::min<uint64_t>(size, kMiB));
  for (uint64_t filled = 0; filled < size;) {
    NRTD_TRY(CheckWanted(stop));
    const ssize_t count =
        ::pread(file.get(), buffer.data(), std::min<uint64_t>(size - filled, buffer.size()),
                static_cast<off_t>(filled));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return Fail(Nerr::kInvalid, "cannot read {}: {}", name, ErrnoText(errno));
    if (count == 0) return Fail(Nerr::kInvalid, "{} shrank while it was read", name);
    const auto got = static_cast<size_t>(count);
    NRTD_TRY(WriteAt(sealed.writable_.get(), ByteSpan(buffer).first(got), filled, stop));
    filled += got;
  }
  NRTD_TRY(sealed.Seal(size));
  return sealed;
}

Result<void> SealedFile::Begin(uint64_t size) {
  static std::atomic<uint64_t> last_id{0};
  id_ = ++last_id;
  writable_ = UniqueFd(::memfd_create("nrtd-weights", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!writable_) return Fail(Nerr::kResource, "memfd_create: {}", ErrnoText(errno));
  if (::ftruncate(writable_.get(), static_cast<off_t>(size)) != 0)
    return Fail(Nerr::kResource, "no memory for {} bytes: {}", size, ErrnoText(errno));
  return {};
}

Result<void> SealedFile::Seal(uint64_t size) {
  // Not against writing: that would keep Release() from working too.
  if (::fcntl(writable_.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0)
    return Fail(Nerr::kResource, "cannot seal an anonymous file: {}", ErrnoText(errno));
  const std::string again = fmt::format("/proc/self/fd/{}", writable_.get());
  file_ = UniqueFd(::open(again.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file_)
    return Fail(Nerr::kResource, "cannot open an anonymous file again as {}: {}", again,
                ErrnoText(errno));
  NRTD_ASSIGN(region_, MappedRegion::Map(size, PROT_READ, MAP_PRIVATE, &file_));
  return {};
}

bool SealedFile::Keep(std::shared_ptr<const void> made, uint64_t size) const {
  MutexLock lock(kept_->mutex);
  if (kept_->made.contains(made)) return true;
  if (kept_->bytes + size > 2 * bytes().size()) return false;
  kept_->made.insert(std::move(made));
  kept_->bytes += size;
  return true;
}

void SealedFile::Release(uint64_t offset, uint64_t size) const {
  const uint64_t first = AlignUp(offset, kPage);
  const uint64_t end = (offset + size) & ~(kPage - 1);
  if (first >= end) return;
  // Where the system cannot, the pages stay: no harm but the memory.
  (void)::fallocate(writable_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                    static_cast<off_t>(first), static_cast<off_t>(end - first));
}

}  // namespace nrtd
