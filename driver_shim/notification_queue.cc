// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/notification_queue.h"

#include <atomic>
#include <cstring>

#include "base/sizes.h"

namespace nrtd {

Result<NotificationQueue> NotificationQueue::Create(memory::HugePagePool& pool, uint32_t capacity) {
  if (!IsPowerOfTwo(capacity) || capacity > 32'768) {
    return Fail(Nerr::kInvalid, "a queue of {} notifications: expected a power of two up to 32768",
                capacity);
  }
  const uint64_t bytes = uint64_t{capacity} * sizeof(Notification);
  NRTD_ASSIGN(memory::DmaBuffer buffer, pool.Allocate(bytes));
  return NotificationQueue(std::move(buffer), capacity);
}

NotificationQueue::NotificationQueue(memory::DmaBuffer buffer, uint32_t capacity)
    : buffer_(std::move(buffer)), capacity_(capacity) {
  Clear();
}

RingConfig NotificationQueue::config() const {
  return {.entries = buffer_.BusAddress(0), .completion = 0, .capacity = capacity_};
}

std::optional<Notification> NotificationQueue::Pop() {
  std::byte* entry = buffer_.data() + (read_ & (capacity_ - 1)) * sizeof(Notification);
  auto* phase_address = reinterpret_cast<uint32_t*>(entry + offsetof(Notification, phase));
  const uint32_t phase = std::atomic_ref<uint32_t>(*phase_address).load(std::memory_order_acquire);
  const auto round = static_cast<uint32_t>(read_ / capacity_) + 1;
  if (phase < round) return std::nullopt;
  // Overrun: this entry is of a later round already. Go on there; what lay between is gone.
  if (phase > round) read_ = uint64_t{phase - 1} * capacity_ + (read_ & (capacity_ - 1));
  Notification notification;
  std::memcpy(&notification, entry, sizeof(notification));
  ++read_;
  return notification;
}

void NotificationQueue::Clear() {
  std::memset(buffer_.data(), 0, uint64_t{capacity_} * sizeof(Notification));
  read_ = 0;
}

}  // namespace nrtd
