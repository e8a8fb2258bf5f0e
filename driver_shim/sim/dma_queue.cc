// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/sim/dma_queue.h"

#include <cstring>

#include "base/sizes.h"

namespace nrtd::sim {

Result<void> DmaQueue::Attach(const RingConfig& ring) {
  if (ring_) return Fail(Nerr::kInvalid, "the queue has a ring already");
  if (!IsPowerOfTwo(ring.capacity)) {
    return Fail(Nerr::kInvalid, "ring capacity {} is not a power of two", ring.capacity);
  }
  const AddressSpace::Access access(space_);
  if (access.Translate(device_, ring.entries, ring.capacity * sizeof(Descriptor), Use::kRead) ==
          nullptr ||
      access.Translate(device_, ring.completion, sizeof(CompletionRecord), Use::kWrite) ==
          nullptr) {
    return Fail(Nerr::kInvalid, "ring at {:#x} is not in memory mapped for device {}", ring.entries,
                device_);
  }
  ring_ = ring;
  return {};
}

void DmaQueue::Detach() {
  ring_.reset();
  available_.store(0, std::memory_order_relaxed);
  released_ = consumed_ = 0;
  record_ = {};
}

std::optional<DmaQueue::Outcome> DmaQueue::Step() {
  if (consumed_ >= released_) return std::nullopt;
  const auto descriptor = Take();
  if (!descriptor) return std::nullopt;
  const bool ok = descriptor->kind == DescriptorKind::kCopy && Move(*descriptor);
  Complete(ok);
  return Outcome{*descriptor, ok};
}

std::optional<Descriptor> DmaQueue::Take() {
  if (!ring_ || !HasAvailable()) return std::nullopt;
  const auto descriptor = ReadDescriptor(consumed_);
  if (descriptor) ++consumed_;
  return descriptor;
}

void DmaQueue::SkipTo(uint64_t consumed) {
  while (consumed_ < consumed && Take()) Complete(false);
  released_ = consumed_;
}

void DmaQueue::Complete(bool ok) {
  if (!ring_) return;
  if (!ok) {
    ++record_.failed;
    record_.last_failure = record_.completed;
  }
  ++record_.completed;
  const AddressSpace::Access access(space_);
  std::byte* record =
      access.Translate(device_, ring_->completion, sizeof(CompletionRecord), Use::kWrite);
  if (record == nullptr)
    return;  // unmapped under a ring that is still attached: the driver gave up on it
  const auto store = [record](size_t offset, uint64_t value) {
    std::atomic_ref<uint64_t>(*reinterpret_cast<uint64_t*>(record + offset))
        .store(value, std::memory_order_release);
  };
  if (!ok) {
    store(offsetof(CompletionRecord, last_failure), record_.last_failure);
    store(offsetof(CompletionRecord, failed), record_.failed);
  }
  store(offsetof(CompletionRecord, completed), record_.completed);
}

std::optional<Descriptor> DmaQueue::ReadDescriptor(uint64_t index) const {
  const AddressSpace::Access access(space_);
  const BusAddress address = ring_->entries + (index & (ring_->capacity - 1)) * sizeof(Descriptor);
  const std::byte* entry = access.Translate(device_, address, sizeof(Descriptor), Use::kRead);
  if (entry == nullptr) return std::nullopt;
  Descriptor descriptor;
  std::memcpy(&descriptor, entry, sizeof(descriptor));
  return descriptor;
}

bool DmaQueue::Move(const Descriptor& descriptor) const {
  const AddressSpace::Access access(space_);
  const std::byte* source =
      access.Translate(device_, descriptor.source, descriptor.length, Use::kRead);
  std::byte* destination =
      access.Translate(device_, descriptor.destination, descriptor.length, Use::kWrite);
  if (source == nullptr || destination == nullptr) return false;
  std::memmove(destination, source, descriptor.length);
  return true;
}

}  // namespace nrtd::sim
