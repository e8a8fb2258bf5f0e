// SPDX-License-Identifier: Apache-2.0
//
// The seam between driver and device: what one NeuronCore offers to software. A simulated core
// (driver_shim/sim) and a real one stand side by side behind it.
//
// How an execution goes: the driver writes descriptors into attached rings and rings their
// doorbells; the core runs the active program, whose instructions release the descriptors; a
// notification in host memory ends it.
//
// Who runs it: Poll(). On hardware, Poll() looks for notifications that have arrived; on a
// simulated core, Poll() *is* the core's work, done on the calling thread. Whoever waits for an
// execution may therefore poll it himself, without handing over to another thread; CoreChannel
// decides who polls.
//
// Threads: RingDoorbell, Interrupt, counters and semaphore reads may be called from any thread at
// any time. All others, Poll() included, by one thread at a time; CoreChannel keeps that order.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "driver_shim/program.h"
#include "driver_shim/ring_format.h"

namespace nrtd {

struct CoreId {
  uint32_t device = 0;  // index in the chain
  uint32_t core = 0;    // 0..3 within the device
  bool operator==(const CoreId&) const = default;
};

using ProgramId = uint32_t;  // 0 is none

// Since the device was opened. Cycles are of the core's clock, kCoreClockHz.
struct CoreCounters {
  struct PerEngine {
    uint64_t instructions = 0;
    uint64_t tensor_instructions = 0;  // those that compute, among them
    uint64_t busy_cycles = 0;
    uint64_t wait_cycles = 0;  // blocked on a semaphore
  };
  PerEngine engine[kCoreEngines];
  uint64_t macs = 0;
  uint64_t busy_ns = 0;  // an execution was being worked on
  uint64_t executions = 0;
  uint64_t dma_bytes = 0;
};
inline constexpr uint64_t kCoreClockHz = 1'000'000'000;

enum class Progress {
  kIdle,      // nothing to do: no execution is pending
  kAdvanced,  // an execution ended; its notification is in host memory
  kBlocked,   // an execution is under way but needs something that has not come (descriptors, a
              // semaphore)
  kYielded,   // an execution is under way and could go on: the limit has passed, or Interrupt()
};

// How long one Poll() may work.
struct PollLimit {
  Clock* clock = nullptr;  // null: as long as there is something to do
  TimePoint until = {};
  bool Passed() const { return clock != nullptr && clock->Now() >= until; }
};

class Core {
 public:
  virtual ~Core() = default;
  virtual CoreId id() const = 0;

  // Checks and prepares a program whose variables are in place (weights in DRAM already). Any
  // number may be loaded. kInvalid: malformed, with engine, instruction and operand.
  // kUnsupportedVersion: another instruction set. Errors of CheckWanted(image.stop).
  virtual Result<ProgramId> LoadProgram(const ProgramImage& image) = 0;
  // The variables of a loaded program that are sealed (PlacedVariable::sealed) and that no
  // execution reads: what was made of them at the load is kept by that memory.
  virtual std::vector<uint32_t> TakenOver(ProgramId) const { return {}; }
  // What the loaded program takes of the host's memory besides its variables and packed weights.
  virtual uint64_t PreparedBytes(ProgramId) const { return 0; }
  // The program is not active.
  virtual void UnloadProgram(ProgramId program) = 0;

  // Makes a loaded program the one that executions run; `queues[i]` is the core's queue for the
  // program's queue i.
  virtual Result<void> Activate(ProgramId program, std::span<const QueueId> queues) = 0;
  virtual void Deactivate() = 0;

  // The ring's memory is mapped for the device and stays so until DetachRing or Reset. kInvalid: no
  // such queue, taken, capacity not a power of two, memory not mapped.
  virtual Result<void> AttachRing(QueueId queue, const RingConfig& ring) = 0;
  virtual void DetachRing(QueueId queue) = 0;
  virtual Result<void> AttachNotifications(NotificationKind kind, const RingConfig& ring) = 0;

  // `count` more descriptors are in the ring. Never blocks.
  virtual void RingDoorbell(QueueId queue, uint32_t count) = 0;

  // Works until an execution has ended or nothing can go on; at most until the limit has passed.
  // The limit and Interrupt() are checked at least every 50 ms of the thread's CPU time, whatever
  // the program does. Each call gets some work done, unless a simulated core that has computed for
  // long waits for others until the limit has passed.
  virtual Progress Poll(const PollLimit& limit) = 0;
  Progress Poll() { return Poll({}); }

  // A Poll() in progress yields at its next look, later ones at once, until Reset(). Called before
  // the core is reset.
  virtual void Interrupt() = 0;

  virtual uint32_t ReadSemaphore(uint32_t index) const = 0;

  // Drops the execution under way and everything queued, clears semaphores, detaches rings and
  // notifications, deactivates. Loaded programs stay.
  virtual void Reset() = 0;

  virtual CoreCounters counters() const = 0;
};

}  // namespace nrtd
