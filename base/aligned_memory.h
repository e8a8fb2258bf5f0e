// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <utility>

#include "base/mapped_region.h"
#include "base/sizes.h"

namespace nrtd {

// Uninitialised memory for numbers, aligned to a cache line. Of kLeastMapped and more it is a
// mapping of its own and goes back to the system at once: an allocator would keep hundreds of
// megabytes of a network that is long unloaded, below some small block that lives on. From 2 MiB it
// begins with a huge page, and is made of them where the system has them. (Not for sanitizers,
// which watch the ends of what the allocator gives.) Movable; data() does not change when it moves.
class AlignedMemory {
 public:
  static constexpr uint64_t kLeastMapped = 128 * kKiB;

  AlignedMemory() = default;
  AlignedMemory(AlignedMemory&& other) noexcept { *this = std::move(other); }
  AlignedMemory& operator=(AlignedMemory&& other) noexcept;
  // Throws std::bad_alloc.
  explicit AlignedMemory(uint64_t size);

  std::byte* data() const { return region_ ? AlignedIn(region_, size_) : allocated_.get(); }
  uint64_t size() const { return size_; }

 private:
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };
  static std::byte* AlignedIn(const MappedRegion& region, uint64_t size);

  uint64_t size_ = 0;
  std::unique_ptr<std::byte, Free> allocated_;
  MappedRegion region_;  // larger by a huge page where it is to begin with one
};

}  // namespace nrtd
