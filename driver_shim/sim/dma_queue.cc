// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/sim/dma_queue.h"

#include <algorithm>
#include <cstring>
#include <utility>

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
  current_.reset();
}

std::optional<DmaQueue::Outcome> DmaQueue::Step(uint32_t most_bytes) {
  if (!current_) {
    if (consumed_ >= released_) return std::nullopt;
    current_ = Take();
    if (!current_) return std::nullopt;
    moved_ = 0;
  }
  Outcome outcome{.descriptor = *current_};
  outcome.bytes = std::min(most_bytes, current_->length - moved_);
  outcome.ok = current_->kind == DescriptorKind::kCopy && Move(outcome.bytes);
  moved_ += outcome.bytes;
  outcome.whole = !outcome.ok || moved_ == current_->length;
  if (outcome.whole) {
    current_.reset();
    Complete(outcome.ok);
  }
  return outcome;
}

std::optional<Descriptor> DmaQueue::Take() {
  if (!ring_ || !HasAvailable()) return std::nullopt;
  const auto descriptor = ReadDescriptor(consumed_);
  if (descriptor) ++consumed_;
  return descriptor;
}

bool DmaQueue::SkipTo(uint64_t consumed, uint64_t most) {
  if (std::exchange(current_, std::nullopt)) Complete(false);
  while (consumed_ < consumed) {
    if (most-- == 0) return false;
    if (!Take()) break;
    Complete(false);
  }
  released_ = consumed_;
  return true;
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

// The next `bytes` of the copy in progress. The whole of it is translated every time: mappings may
// go between two steps.
bool DmaQueue::Move(uint32_t bytes) const {
  const uint32_t length = current_->length;
  const AddressSpace::Access access(space_);
  const std::byte* source = access.Translate(device_, current_->source, length, Use::kRead);
  std::byte* destination = access.Translate(device_, current_->destination, length, Use::kWrite);
  if (source == nullptr || destination == nullptr) return false;
  // From the end if the start of the copy would overwrite what is still to be read.
  const bool backwards = destination > source && destination - source < int64_t{length};
  const uint32_t at = backwards ? length - moved_ - bytes : moved_;
  std::memmove(destination + at, source + at, bytes);
  return true;
}

}  // namespace nrtd::sim
