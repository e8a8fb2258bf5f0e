// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <stop_token>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "base/sealed_memory.h"
#include "driver_shim/ring_format.h"

namespace nrtd {

// The three engines of a NeuronCore, in the order in which arrays of them are indexed.
enum class CoreEngine : uint8_t { kPe = 0, kAct = 1, kPool = 2 };
inline constexpr size_t kCoreEngines = 3;
// As a NEFF calls them.
inline constexpr std::array<std::string_view, kCoreEngines> kCoreEngineNames = {"pe", "act",
                                                                                "pool"};

// A variable of the subgraph after placement. Variables without DRAM (`input`, `output`: they lie
// in each inference's host buffers) have in_dram false and address 0.
struct PlacedVariable {
  uint32_t var_id = 0;
  uint64_t size = 0;
  BusAddress address = 0;
  bool in_dram = false;
  bool writable = false;
  // If all its bytes are a part of sealed memory, that and where: what is made of them can be
  // shared with others who have the same part, and kept by that memory.
  const SealedMemory* sealed = nullptr;
  uint64_t sealed_offset = 0;
};

// "Instruction DmaTrigger(id) on this engine releases `descriptors` descriptors of queue `queue`",
// in program order. `queue` counts the program's own queues from 0; Core::Activate maps them to the
// core's.
struct TriggerBinding {
  CoreEngine engine = CoreEngine::kPool;
  uint32_t id = 0;
  uint32_t queue = 0;
  uint32_t descriptors = 0;
};

// What loaded programs may take of the host's memory for instructions and kernels, all together.
// Threadsafe; outlives the programs.
class PreparedBudget {
 public:
  explicit PreparedBudget(uint64_t limit = ~uint64_t{0}) : limit_(limit) {}
  uint64_t limit() const { return limit_.load(std::memory_order_relaxed); }
  // For programs that are loaded from now on.
  void SetLimit(uint64_t limit) { limit_.store(limit, std::memory_order_relaxed); }
  uint64_t used() const { return used_.load(std::memory_order_relaxed); }

 private:
  friend class PreparedCharge;
  std::atomic<uint64_t> limit_;
  std::atomic<uint64_t> used_{0};
};

// Of one program: packed weights and variables apart. The largest networks known need some 20 MiB.
inline constexpr uint64_t kMaxPreparedBytes = uint64_t{96} << 20;

// What one program takes; returned when this goes.
class PreparedCharge {
 public:
  explicit PreparedCharge(PreparedBudget* budget) : budget_(budget) {}
  ~PreparedCharge() {
    if (budget_ != nullptr) budget_->used_.fetch_sub(bytes_, std::memory_order_relaxed);
  }
  PreparedCharge(const PreparedCharge&) = delete;
  PreparedCharge& operator=(const PreparedCharge&) = delete;

  // Before the memory is allocated. kResource beyond kMaxPreparedBytes or the budget's limit.
  Result<void> Take(uint64_t bytes) {
    if (bytes > kMaxPreparedBytes || bytes_ > kMaxPreparedBytes - bytes) {
      return Fail(Nerr::kResource,
                  "prepared program: its instructions and kernels need more than {} bytes",
                  kMaxPreparedBytes);
    }
    if (budget_ != nullptr &&
        budget_->used_.fetch_add(bytes, std::memory_order_relaxed) + bytes > budget_->limit()) {
      budget_->used_.fetch_sub(bytes, std::memory_order_relaxed);
      return Fail(Nerr::kResource,
                  "prepared program: all loaded programs together may take {} bytes for "
                  "instructions and kernels; unload a network",
                  budget_->limit());
    }
    bytes_ += bytes;
    return {};
  }
  uint64_t bytes() const { return bytes_; }

 private:
  PreparedBudget* const budget_;
  uint64_t bytes_ = 0;
};

// One subgraph, placed on a device: what Core::LoadProgram takes. The spans are read during the
// call only.
struct ProgramImage {
  std::array<ByteSpan, kCoreEngines> instructions;
  std::vector<PlacedVariable> variables;
  std::vector<TriggerBinding> triggers;
  std::vector<uint32_t>
      output_var_ids;  // float32 tmp-buf variables that are outputs: checked for NaN at the end
  // Nobody wants the program any more: looked at between instructions, since preparing those of a
  // gigabyte of weights takes seconds.
  std::stop_token stop = {};
  // Charged for the prepared program while it is loaded; null: not charged.
  PreparedBudget* budget = nullptr;
};

}  // namespace nrtd
