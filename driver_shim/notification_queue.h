// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include "base/error.h"
#include "driver_shim/ring_format.h"
#include "memory/dma_buffer.h"
#include "memory/hugepage_pool.h"

namespace nrtd {

// The driver's end of one notification queue: the device writes, the driver reads. The queue has no
// flow control, as on the real device: a reader more than `capacity` behind loses entries, and
// finds out by Pop() skipping to a newer phase. One reader at a time, beside the device.
class NotificationQueue {
 public:
  static Result<NotificationQueue> Create(memory::HugePagePool& pool, uint32_t capacity);

  RingConfig config() const;
  // The oldest unread notification, or nothing.
  std::optional<Notification> Pop();
  // Back to the first entry of the first round, for a device that was reset.
  void Clear();

 private:
  NotificationQueue(memory::DmaBuffer buffer, uint32_t capacity);

  memory::DmaBuffer buffer_;
  uint32_t capacity_ = 0;
  uint64_t read_ = 0;
};

}  // namespace nrtd
