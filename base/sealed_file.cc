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
  static std::atomic<uint64_t> last_id{0};
  sealed.id_ = ++last_id;
  UniqueFd& file = sealed.writable_;
  file = UniqueFd(::memfd_create("nrtd-weights", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file) return Fail(Nerr::kResource, "memfd_create: {}", ErrnoText(errno));
  if (::ftruncate(file.get(), static_cast<off_t>(size)) != 0)
    return Fail(Nerr::kResource, "no memory for {} bytes: {}", size, ErrnoText(errno));
  for (size_t i = 0; i < parts.size(); ++i)
    NRTD_TRY(WriteAt(file.get(), parts[i], sealed.parts_[i].offset, stop));
  // Not against writing: that would keep Release() from working too.
  if (::fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0)
    return Fail(Nerr::kResource, "cannot seal an anonymous file: {}", ErrnoText(errno));
  const std::string again = fmt::format("/proc/self/fd/{}", file.get());
  sealed.file_ = UniqueFd(::open(again.c_str(), O_RDONLY | O_CLOEXEC));
  if (!sealed.file_)
    return Fail(Nerr::kResource, "cannot open an anonymous file again as {}: {}", again,
                ErrnoText(errno));
  NRTD_ASSIGN(sealed.region_, MappedRegion::Map(size, PROT_READ, MAP_PRIVATE, &sealed.file_));
  return sealed;
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
