// SPDX-License-Identifier: Apache-2.0
#include "base/aligned_memory.h"

#include <new>

#include "base/sanitized.h"
#include "base/sizes.h"

namespace nrtd {
namespace {

constexpr uint64_t kCacheLine = 64;

}  // namespace

AlignedMemory::AlignedMemory(uint64_t size) : size_(size) {
  if (size == 0) return;
  const bool huge = size >= kTransparentHugePage;
  const auto with_slack = CheckedAdd(size, huge ? kTransparentHugePage : 0);
  if (!with_slack) throw std::bad_alloc();
  if (size < kLeastMapped || kSanitized) {
    const uint64_t alignment = huge ? kTransparentHugePage : kCacheLine;
    allocated_.reset(
        static_cast<std::byte*>(std::aligned_alloc(alignment, AlignUp(size, alignment))));
    if (allocated_ == nullptr) throw std::bad_alloc();
    return;
  }
  auto region = MappedRegion::Allocate(*with_slack);
  if (!region) throw std::bad_alloc();
  region_ = std::move(*region);
  if (huge) PreferHugePages(data(), size);
}

AlignedMemory& AlignedMemory::operator=(AlignedMemory&& other) noexcept {
  size_ = std::exchange(other.size_, 0);
  allocated_ = std::move(other.allocated_);
  region_ = std::move(other.region_);
  return *this;
}

std::byte* AlignedMemory::AlignedIn(const MappedRegion& region, uint64_t size) {
  if (size < kTransparentHugePage) return region.data();
  const auto begin = reinterpret_cast<uint64_t>(region.data());
  return region.data() + (AlignUp(begin, kTransparentHugePage) - begin);
}

}  // namespace nrtd
