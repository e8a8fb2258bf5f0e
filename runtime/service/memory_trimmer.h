// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <functional>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "base/clock.h"
#include "base/sizes.h"

namespace nrtd::service {

// Gives free memory back to the system once no large message has gone for a while (kTrimAfter): the
// next message of a busy client finds its buffers still there, an idle daemon is small. From then
// on whenever the heap has become smaller, until it stays as it is (kHeapWatchedFor).
class MemoryTrimmer {
 public:
  // A heap that is smaller by less is not worth trimming.
  static constexpr uint64_t kWorthTrimming = kMiB;

  struct Heap {
    std::function<uint64_t()> bytes_in_use;
    std::function<void()> trim;
  };

  // Looks and trims on the thread that runs `io`, which outlives this.
  MemoryTrimmer(boost::asio::io_context& io, Heap heap);

  // Memory of a large message, or of a network, was freed. Any thread; takes no lock but for the
  // first one after a pause.
  void Freed();

 private:
  void Schedule(Duration pause);
  void Fire();

  boost::asio::io_context& io_;
  boost::asio::steady_timer timer_;
  const Heap heap_;
  std::atomic<int64_t> last_ns_{0};  // when Freed() was called last
  int64_t trimmed_for_ns_ = 0;       // what that was when it trimmed last
  int64_t trimmed_ns_ = 0;           // when it trimmed last
  uint64_t in_use_ = 0;              // the most since then
  std::atomic<bool> scheduled_{false};
};

}  // namespace nrtd::service
