// SPDX-License-Identifier: Apache-2.0
//
// What driver and device share in memory: descriptors, completion records, notifications. Producers
// and consumers agree on free-running 64-bit counters; an entry's place in a ring is counter %
// capacity, capacities are powers of two.
#pragma once

#include <cstdint>
#include <type_traits>

namespace nrtd {

// An address as a device sees it: of host memory that was mapped for the device, or of device DRAM.
// The two never overlap (kDramWindow).
using BusAddress = uint64_t;

// Device DRAM lies above every address that a host page or a user-space pointer can have.
// Layout: kDramWindow | device << 40 | channel << 32 | offset, channels of 4 GiB (REFERENCE: 2
// channels a device).
inline constexpr BusAddress kDramWindow = uint64_t{1} << 60;
inline constexpr uint32_t kDramChannels = 2;
inline constexpr uint64_t kDramChannelBytes = uint64_t{4} << 30;
constexpr BusAddress DramAddress(uint32_t device, uint32_t channel, uint64_t offset) {
  return kDramWindow | uint64_t{device} << 40 | uint64_t{channel} << 32 | offset;
}

inline constexpr uint8_t kNoSemaphore = 0xff;

enum class DescriptorKind : uint16_t {
  kCopy = 0,  // move `length` bytes from source to destination, then increment the semaphore
  kExecute =
      1,  // execution queue only: run the active program once; `tag` comes back in the notification
};

// One element of a DMA ring. Written by the driver, read by the device after the doorbell.
struct Descriptor {
  BusAddress source = 0;
  BusAddress destination = 0;
  uint32_t length = 0;
  DescriptorKind kind = DescriptorKind::kCopy;
  uint8_t semaphore = kNoSemaphore;
  uint8_t reserved = 0;
  uint64_t tag = 0;
};
static_assert(sizeof(Descriptor) == 32 && std::is_trivially_copyable_v<Descriptor>);

// Written by the device after each descriptor, read by the driver (acquire on `completed`). A
// descriptor that failed is completed too.
struct CompletionRecord {
  uint64_t completed = 0;     // descriptors done since the ring was attached
  uint64_t failed = 0;        // how many of them failed
  uint64_t last_failure = 0;  // index of the latest failed one
};

// Where a ring lies. The device reads descriptors at `entries` and writes the record at
// `completion`.
struct RingConfig {
  BusAddress entries = 0;
  BusAddress completion = 0;
  uint32_t capacity = 0;  // entries, a power of two
};

// The queues of a core: 3 DMA engines of 16 queues, which the core's engines trigger, and one queue
// of executions.
using QueueId = uint32_t;
inline constexpr QueueId kDmaQueues = 48;
inline constexpr QueueId kExecutionQueue = 48;
inline constexpr QueueId kQueues = 49;

enum class NotificationKind : uint16_t {
  kError = 0,     // the execution failed; `code` says why
  kEvent = 1,     // a semaphore was written from outside
  kExplicit = 2,  // a Notify instruction; `value` is its operand
  kImplicit = 3,  // the execution reached the end of all streams
};
inline constexpr uint32_t kNotificationKinds = 4;

enum class NotificationCode : uint16_t {
  kNone = 0,
  kNumerical = 1,   // an output holds NaN; the execution completed
  kDmaAddress = 2,  // a descriptor left the memory mapped for the device
  kDeadlock = 3,    // every stream waits for a semaphore that nothing can signal
  kBadProgram = 4,  // an instruction failed
  kNoProgram = 5,   // an execution was asked for while no program was active
  kBadIndex = 6,    // an instruction found an index outside of its table: `detail`
};

// One element of a notification queue, written by the device; valid when `phase` equals the round's
// phase, which starts at 1 and counts up each time the queue wraps.
struct Notification {
  uint32_t phase = 0;  // stored last, with release order
  NotificationKind kind = NotificationKind::kImplicit;
  NotificationCode code = NotificationCode::kNone;
  uint32_t engine = 0;       // of the instruction at fault
  uint32_t value = 0;        // Notify's operand, or the index of the instruction at fault
  uint64_t tag = 0;          // of the execution
  uint64_t device_time = 0;  // ns the core worked on this execution
  int64_t detail = 0;        // of kBadIndex: the index
};
static_assert(sizeof(Notification) == 40 && std::is_trivially_copyable_v<Notification>);

}  // namespace nrtd
