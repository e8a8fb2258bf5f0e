// SPDX-License-Identifier: Apache-2.0
//
// The DMA of one subgraph: the descriptors of its engine JSONs, taken apart into contiguous pieces,
// with one side in the slot's host memory and the other in device DRAM. The same for every slot
// until BindToSlot() puts addresses in.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <vector>

#include "base/error.h"
#include "driver_shim/program.h"
#include "memory/dma_buffer.h"
#include "neff/subgraph.h"
#include "scheduler/slot.h"

namespace nrtd::runtime {

struct TransferEnd {
  bool in_slot = false;
  uint64_t at = 0;  // offset in the slot, or bus address
};

struct Transfer {
  TransferEnd from;
  TransferEnd to;
  uint32_t length = 0;
  uint8_t semaphore = kNoSemaphore;  // set on the last piece of a descriptor
};

struct TransferPlan {
  std::vector<std::vector<Transfer>>
      queues;  // by the program's queue numbers, in the order of triggering
  std::vector<TriggerBinding> triggers;
};

// Where a variable lies: in the slot or in DRAM. kInvalid for a variable that DMA cannot reach.
using LocateVariable = std::function<Result<TransferEnd>(const neff::Variable&)>;

// Asks `locate` once for each variable. kInvalid: descriptors of one id on several queues, or into
// a `file` variable (what is made of its values is kept); an engine that a NeuronCore of Inferentia
// 1 does not have, more pieces than kMaxTransfers. Errors of CheckWanted(stop).
Result<TransferPlan> PlanTransfers(const neff::Subgraph& subgraph, const LocateVariable& locate,
                                   const std::stop_token& stop = {});

// The plan's descriptors for a slot whose host memory is `memory`.
std::vector<scheduler::CorePlan::Queue> BindToSlot(const TransferPlan& plan,
                                                   const memory::DmaBuffer& memory);

}  // namespace nrtd::runtime
