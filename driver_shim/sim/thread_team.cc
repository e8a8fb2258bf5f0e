// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/sim/thread_team.h"

#include <system_error>

#include "base/log.h"
#include "driver_shim/sim/kernels/kernel.h"

namespace nrtd::sim {
namespace {

// How often a thread looks before it lets others run: some microseconds.
constexpr int kLooks = 2000;

void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

template <typename Done>
void SpinUntil(const Done& done) {
  for (int looks = 0; !done(); ++looks) {
    if (looks < kLooks) {
      Pause();
    } else {
      std::this_thread::yield();
    }
  }
}

}  // namespace

ThreadTeam::~ThreadTeam() {
  stop_ = true;
  awake_ = 1;
  awake_.notify_all();
  for (std::thread& helper : helpers_) helper.join();
}

void ThreadTeam::Start() {
  started_ = true;
  try {
    for (unsigned part = 1; part < size_; ++part)
      helpers_.emplace_back([this, part] { Work(part); });
  } catch (const std::system_error& error) {
    Log(LogLevel::kWarning, "TDRV:Core",
        "a simulated core computes on {} threads instead of {}: {}", helpers_.size() + 1, size_,
        error.what());
  }
}

void ThreadTeam::RunErased(Call call, const void* task) {
  if (!started_) Start();
  const auto helpers = static_cast<unsigned>(helpers_.size());
  call_ = call;
  task_ = task;
  left_.store(helpers, std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
  if (helpers > 0 && awake_.exchange(1, std::memory_order_acq_rel) == 0) awake_.notify_all();
  call(task, 0);
  for (unsigned part = helpers + 1; part < size_; ++part) call(task, part);
  SpinUntil([this] { return left_.load(std::memory_order_acquire) == 0; });
}

void ThreadTeam::Work(unsigned part) {
  UseOneThread();
  const ZeroDenormals zeros;
  uint64_t seen = 0;
  while (true) {
    SpinUntil([&] {
      if (generation_.load(std::memory_order_acquire) != seen || stop_) return true;
      // Work that came before this look is seen by the next one: it has set awake_ again.
      if (awake_.load(std::memory_order_acquire) == 0) awake_.wait(0);
      return false;
    });
    if (stop_) return;
    seen = generation_.load(std::memory_order_acquire);
    call_(task_, part);
    left_.fetch_sub(1, std::memory_order_release);
  }
}

}  // namespace nrtd::sim
