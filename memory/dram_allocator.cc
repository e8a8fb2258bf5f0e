// SPDX-License-Identifier: Apache-2.0
#include "memory/dram_allocator.h"

#include "base/mutex.h"
#include "base/sizes.h"
#include "memory/range_allocator.h"

namespace nrtd::memory {

class DramState {
 public:
  DramState(uint64_t base, uint64_t size) : base_(base), size_(size), ranges_(base, size) {}

  uint64_t base() const { return base_; }
  uint64_t size() const { return size_; }

  Result<uint64_t> Allocate(uint64_t size, uint64_t alignment, std::string_view what) {
    MutexLock lock(mutex_);
    const auto address = ranges_.Allocate({.size = size, .alignment = alignment});
    if (address) return *address;
    return Fail(Nerr::kResource,
                "Failed to allocate buffer in MLA DRAM for {}: wanted {} bytes aligned to {}, free "
                "{} of {}, largest free block {}; unload a network, or use a smaller batch size or "
                "more NeuronCores",
                what, size, alignment, ranges_.free_bytes(), size_, ranges_.largest_free());
  }

  void Free(uint64_t address, uint64_t size) {
    MutexLock lock(mutex_);
    ranges_.Free(address, size);
  }

  Fragmentation GetFragmentation() {
    MutexLock lock(mutex_);
    Fragmentation figures{.free_bytes = ranges_.free_bytes(),
                          .largest_free = ranges_.largest_free(),
                          .blocks = ranges_.free_blocks()};
    if (figures.free_bytes != 0) {
      figures.ratio =
          1 - static_cast<double>(figures.largest_free) / static_cast<double>(figures.free_bytes);
    }
    return figures;
  }

 private:
  const uint64_t base_;
  const uint64_t size_;
  Mutex mutex_;
  RangeAllocator ranges_ NRTD_GUARDED_BY(mutex_);
};

DramBlock::DramBlock(DramBlock&& other) noexcept
    : state_(std::move(other.state_)),
      address_(std::exchange(other.address_, 0)),
      size_(std::exchange(other.size_, 0)) {}

DramBlock& DramBlock::operator=(DramBlock&& other) noexcept {
  if (this != &other) {
    Release();
    state_ = std::move(other.state_);
    address_ = std::exchange(other.address_, 0);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

void DramBlock::Release() {
  if (state_) state_->Free(address_, size_);
  state_.reset();
}

Result<DramAllocator> DramAllocator::Create(uint64_t base, uint64_t size) {
  if (size == 0 || !CheckedAdd(base, size))
    return Fail(Nerr::kInvalid, "no DRAM range: base {:#x}, size {}", base, size);
  return DramAllocator(std::make_shared<DramState>(base, size));
}

Result<DramBlock> DramAllocator::Allocate(uint64_t size, uint64_t alignment,
                                          std::string_view what) {
  if (size == 0) return Fail(Nerr::kInvalid, "DRAM buffer for {} has no bytes", what);
  if (!IsPowerOfTwo(alignment)) {
    return Fail(Nerr::kInvalid, "DRAM buffer for {}: alignment {} is not a power of two", what,
                alignment);
  }
  NRTD_ASSIGN(const uint64_t address, state_->Allocate(size, alignment, what));
  return DramBlock(state_, address, size);
}

uint64_t DramAllocator::base() const {
  return state_->base();
}
uint64_t DramAllocator::size() const {
  return state_->size();
}
uint64_t DramAllocator::used_bytes() const {
  return state_->size() - state_->GetFragmentation().free_bytes;
}
Fragmentation DramAllocator::GetFragmentation() const {
  return state_->GetFragmentation();
}

}  // namespace nrtd::memory
