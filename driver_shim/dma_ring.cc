// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/dma_ring.h"

#include <atomic>
#include <cstring>

#include "base/sizes.h"

namespace nrtd {
namespace {

constexpr uint32_t kMaxCapacity = 32'768;
constexpr uint64_t kRecordBytes =
    64;  // a cache line of its own: the device writes it while the driver writes entries

uint64_t LoadAcquire(std::byte* address) {
  return std::atomic_ref<uint64_t>(*reinterpret_cast<uint64_t*>(address))
      .load(std::memory_order_acquire);
}

}  // namespace

Result<DmaRing> DmaRing::Create(memory::HugePagePool& pool, uint32_t capacity) {
  if (!IsPowerOfTwo(capacity) || capacity > kMaxCapacity) {
    return Fail(Nerr::kInvalid, "a ring of {} descriptors: expected a power of two up to {}",
                capacity, kMaxCapacity);
  }
  // At most a huge page, so the pool keeps it inside one: the device sees the ring as contiguous.
  const uint64_t bytes = kRecordBytes + uint64_t{capacity} * sizeof(Descriptor);
  NRTD_ASSIGN(memory::DmaBuffer buffer, pool.Allocate(bytes, kRecordBytes));
  return DmaRing(std::move(buffer), capacity);
}

DmaRing::DmaRing(memory::DmaBuffer buffer, uint32_t capacity)
    : buffer_(std::move(buffer)), capacity_(capacity) {
  Clear();
}

std::byte* DmaRing::record() const {
  return buffer_.data();
}

RingConfig DmaRing::config() const {
  return {.entries = buffer_.BusAddress(kRecordBytes),
          .completion = buffer_.BusAddress(0),
          .capacity = capacity_};
}

uint32_t DmaRing::free_entries() const {
  return capacity_ - static_cast<uint32_t>(pushed_ - LoadAcquire(record()));
}

Result<void> DmaRing::Push(std::span<const Descriptor> descriptors) {
  if (descriptors.size() > free_entries()) {
    return Fail(Nerr::kResource, "DMA ring of {} has {} free entries, {} wanted", capacity_,
                free_entries(), descriptors.size());
  }
  auto* entries = reinterpret_cast<Descriptor*>(buffer_.data() + kRecordBytes);
  for (const Descriptor& descriptor : descriptors)
    entries[pushed_++ & (capacity_ - 1)] = descriptor;
  return {};
}

CompletionRecord DmaRing::completion() const {
  CompletionRecord copy;
  copy.completed = LoadAcquire(record() + offsetof(CompletionRecord, completed));
  copy.failed = LoadAcquire(record() + offsetof(CompletionRecord, failed));
  copy.last_failure = LoadAcquire(record() + offsetof(CompletionRecord, last_failure));
  return copy;
}

void DmaRing::Clear() {
  std::memset(buffer_.data(), 0, kRecordBytes);
  pushed_ = 0;
}

}  // namespace nrtd
