// SPDX-License-Identifier: Apache-2.0
//
// The device's end of one DMA ring: takes descriptors in order, as far as the doorbell allows and
// as many as were released, and moves the bytes.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>

#include "base/error.h"
#include "driver_shim/ring_format.h"
#include "driver_shim/sim/address_space.h"

namespace nrtd::sim {

// Threads: Doorbell() any; everything else the one thread that polls.
class DmaQueue {
 public:
  // `device` is whose mappings apply.
  DmaQueue(const AddressSpace& space, uint32_t device) : space_(space), device_(device) {}

  // kInvalid when taken already, not a power of two, or not in mapped memory.
  Result<void> Attach(const RingConfig& ring);
  void Detach();
  bool attached() const { return ring_.has_value(); }

  void Doorbell(uint32_t count) { available_.fetch_add(count, std::memory_order_release); }
  // `count` more descriptors may run.
  void Release(uint64_t count) { released_ += count; }
  // Everything that the doorbell announces may run: a queue that no engine triggers.
  void ReleaseAvailable() { released_ = available_.load(std::memory_order_acquire); }

  // Are there descriptors that were announced and not taken?
  bool HasAvailable() const { return consumed_ < available_.load(std::memory_order_acquire); }
  // Are there released descriptors that have not been announced yet?
  bool Starved() const { return consumed_ < released_; }

  // Descriptors taken since the ring was attached.
  uint64_t consumed() const { return consumed_; }
  // Takes announced descriptors up to that count without running them; they complete as failed.
  void SkipTo(uint64_t consumed);

  // What became of one descriptor.
  struct Outcome {
    Descriptor descriptor;
    bool ok = false;
  };
  // Takes the next descriptor that is announced and released and, if it is a copy, moves its bytes
  // and writes the completion record. Nothing when there is none.
  std::optional<Outcome> Step();
  // Takes the next announced descriptor without running it (the execution queue), to be ended by
  // Complete().
  std::optional<Descriptor> Take();
  void Complete(bool ok);

 private:
  std::optional<Descriptor> ReadDescriptor(uint64_t index) const;
  bool Move(const Descriptor& descriptor) const;

  const AddressSpace& space_;
  uint32_t device_;
  std::optional<RingConfig> ring_;
  std::atomic<uint64_t> available_{0};
  uint64_t released_ = 0;
  uint64_t consumed_ = 0;
  CompletionRecord record_;
};

}  // namespace nrtd::sim
