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
  // Takes announced descriptors up to that count without running them, at most `most` of them; they
  // complete as failed, and so does one whose bytes were being moved. False if some are left.
  bool SkipTo(uint64_t consumed, uint64_t most = UINT64_MAX);

  // The result of one step.
  struct Outcome {
    Descriptor descriptor;
    uint32_t bytes = 0;  // moved by this step
    bool whole = false;  // all of the descriptor's bytes are moved, or it failed
    bool ok = false;
  };
  // Moves up to `most_bytes` (> 0) of the copy in progress, or else of the next descriptor that is
  // announced and released. Writes the completion record when the descriptor is whole. Nothing when
  // there is none. A copy may overlap itself: it reads what was there before.
  std::optional<Outcome> Step(uint32_t most_bytes = UINT32_MAX);
  // Takes the next announced descriptor without running it (the execution queue), to be ended by
  // Complete().
  std::optional<Descriptor> Take();
  void Complete(bool ok);

 private:
  std::optional<Descriptor> ReadDescriptor(uint64_t index) const;
  bool Move(uint32_t bytes) const;

  const AddressSpace& space_;
  uint32_t device_;
  std::optional<RingConfig> ring_;
  std::atomic<uint64_t> available_{0};
  uint64_t released_ = 0;
  uint64_t consumed_ = 0;
  CompletionRecord record_;
  std::optional<Descriptor> current_;  // taken by Step(), not whole yet
  uint32_t moved_ = 0;                 // bytes of it
};

}  // namespace nrtd::sim
