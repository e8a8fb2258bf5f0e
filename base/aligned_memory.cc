// SPDX-License-Identifier: Apache-2.0
#include "base/aligned_memory.h"

#include <new>

#include <sys/mman.h>

#include "base/sizes.h"

namespace nrtd {
namespace {

constexpr uint64_t kHuge = 2 * kMiB;
constexpr uint64_t kCacheLine = 64;

}  // namespace

AlignedMemory::AlignedMemory(uint64_t size) : size_(size) {
  if (size == 0) return;
  if (size < kHuge) {
    allocated_.reset(
        static_cast<std::byte*>(std::aligned_alloc(kCacheLine, AlignUp(size, kCacheLine))));
    if (allocated_ == nullptr) throw std::bad_alloc();
    return;
  }
  const auto with_slack = CheckedAdd(size, kHuge);
  auto region = MappedRegion::Map(with_slack.value_or(UINT64_MAX), PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS);
  if (!region) throw std::bad_alloc();
  region_ = std::move(*region);
  PreferHugePages(data(), size);
}

std::byte* AlignedMemory::AlignedIn(const MappedRegion& region) {
  const auto begin = reinterpret_cast<uint64_t>(region.data());
  return region.data() + (AlignUp(begin, kHuge) - begin);
}

}  // namespace nrtd
