// SPDX-License-Identifier: Apache-2.0
#include "base/sealed_memory.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include <sys/mman.h>

#include "base/sizes.h"

namespace nrtd {
namespace {

Result<void> CopyTo(std::byte* to, ByteSpan bytes, const std::stop_token& stop) {
  for (uint64_t at = 0; at < bytes.size(); at += kWantedGrain) {
    NRTD_TRY(CheckWanted(stop));
    const ByteSpan grain = bytes.subspan(at, std::min<uint64_t>(kWantedGrain, bytes.size() - at));
    std::memcpy(to + at, grain.data(), grain.size());
  }
  return {};
}

}  // namespace

Result<SealedMemory> SealedMemory::Create(const std::vector<ByteSpan>& parts,
                                          const std::stop_token& stop) {
  std::vector<Part> placed;
  uint64_t size = 0;
  for (const ByteSpan& part : parts) {
    placed.push_back({size, part.size()});
    size += AlignUp(part.size(), kPage);
  }
  MappedRegion region;
  if (size != 0) {
    NRTD_ASSIGN(region, MappedRegion::Allocate(size));
    PreferHugePages(region.data(), size);
  }
  for (size_t i = 0; i < parts.size(); ++i)
    NRTD_TRY(CopyTo(region.data() + placed[i].offset, parts[i], stop));
  NRTD_ASSIGN(SealedMemory sealed, Seal(std::move(region)));
  sealed.parts_ = std::move(placed);
  return sealed;
}

Result<SealedMemory> SealedMemory::CopyOf(const UniqueFd& file, const std::string& name,
                                          uint64_t limit, const std::stop_token& stop) {
  NRTD_ASSIGN(MappedRegion region, MappedRegion::CopyFile(file, name, limit, stop));
  return Seal(std::move(region));
}

Result<SealedMemory> SealedMemory::Seal(MappedRegion filled) {
  static std::atomic<uint64_t> last_id{0};
  if (!filled) return SealedMemory();
  // A core dump of the daemon should hold its state, not gigabytes of weights.
  ::madvise(filled.data(), filled.size(), MADV_DONTDUMP);
  if (::mprotect(filled.data(), filled.size(), PROT_READ) != 0)
    return Fail(Nerr::kResource, "mprotect of {} bytes: {}", filled.size(), ErrnoText(errno));
  SealedMemory sealed;
  sealed.region_ = std::move(filled);
  sealed.id_ = ++last_id;
  return sealed;
}

bool SealedMemory::Keep(std::shared_ptr<const void> made, uint64_t size) const {
  MutexLock lock(kept_->mutex);
  if (kept_->made.contains(made)) return true;
  if (static_cast<double>(kept_->bytes + size) > kMostMade * static_cast<double>(bytes().size()))
    return false;
  kept_->made.insert(std::move(made));
  kept_->bytes += size;
  return true;
}

void SealedMemory::Release(uint64_t offset, uint64_t size) const {
  {
    MutexLock lock(kept_->mutex);
    // The kernel (khugepaged) makes huge pages of the few pages that stay among those that go, and
    // so all of them come back, within seconds or minutes.
    if (!std::exchange(kept_->is_released, true))
      ::madvise(region_.data(), region_.size(), MADV_NOHUGEPAGE);
  }
  const uint64_t first = AlignUp(offset, kPage);
  const uint64_t end = (offset + size) & ~(kPage - 1);
  // Where the system cannot, the pages stay: no harm but the memory.
  if (first < end) ::madvise(region_.data() + first, end - first, MADV_DONTNEED);
}

}  // namespace nrtd
