// SPDX-License-Identifier: Apache-2.0
//
// Whatever instructions a NEFF holds: a program is refused when it is loaded, or its execution
// ends, well or with an error notification; on cores of one thread and of two, which take
// instructions apart. The input is the three engines' streams, each behind its length (u16).
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "base/clock.h"
#include "base/sizes.h"
#include "driver_shim/core_channel.h"
#include "driver_shim/sim/sim_platform.h"
#include "memory/hugepage_pool.h"

namespace nrtd::sim {
namespace {

// Room for outputs that are worth two threads.
constexpr uint64_t kWorkBytes = 512 * kKiB;
constexpr uint64_t kWeightBytes = 16 * kKiB;
// A variable whose offsets do not fit into 32 bits with a sign. Scratch memory: what an input
// leaves of it is given back.
constexpr uint64_t kFarBytes = 2 * kGiB + kMiB;
const BusAddress kFar = DramAddress(0, 1, 0);
// An input that computes for long finds nothing new. More than two threads take to share one.
constexpr uint64_t kMostElements = 3'000'000;

template <typename T>
T Must(Result<T> result) {
  if (!result) {
    std::fprintf(stderr, "%s\n", result.error().text.c_str());
    std::abort();
  }
  return std::move(*result);
}

struct Machine {
  SteadyClock clock;
  std::unique_ptr<memory::HugePagePool> pool;
  std::unique_ptr<SimPlatform> platform;
  std::unique_ptr<CoreChannel> channel;

  explicit Machine(unsigned threads) {
    memory::PoolOptions options;
    options.pages_per_device = 2;
    options.only_small_pages = true;
    pool = Must(memory::HugePagePool::Create(options));
    PlatformOptions platform_options;
    platform_options.simulate = "inf1.xlarge";
    platform_options.sim_threads = threads;
    platform = Must(SimPlatform::Create(platform_options));
    for (const memory::PoolPage& page : pool->pages()) {
      if (!platform->device(0).MapHostMemory(page.bus_address, page.data, page.length))
        std::abort();
    }
    channel = Must(CoreChannel::Create(platform->device(0).core(0), *pool, clock));
  }
};

// Elements that the instructions of a stream look at, roughly.
uint64_t Work(ByteSpan bytes) {
  const auto stream = DecodeStream(bytes);
  if (!stream) return 0;
  uint64_t work = 0;
  for (const Instruction& instruction : stream->instructions)
    work += std::min(WorkOf(instruction), uint64_t{1} << 40);
  return work;
}

void RunOn(Machine& machine, const ProgramImage& image) {
  SimCore& core = machine.platform->device(0).core(0);
  const auto id = core.LoadProgram(image);
  if (!id) return;
  {
    ProgramRings program(*id);
    if (!machine.channel->Start(program, {})) std::abort();
    Execution execution;
    if (machine.channel->Submit(execution, program, {}, Completion::kPolled)) {
      constexpr auto kPatience = std::chrono::seconds(20);
      if (!machine.channel->Wait(execution, machine.clock.Now() + kPatience)) {
        std::fprintf(stderr, "broken promise: an execution does not end\n");
        std::abort();
      }
    }
    machine.channel->Stop(program);
  }
  core.UnloadProgram(*id);
  machine.platform->device(0).DiscardDram(kFar, kFarBytes);
}

void RunOne(ByteSpan input) {
  ProgramImage image;
  image.variables = {{0, kWorkBytes, DramAddress(0, 0, 0), true, true},
                     {1, kWeightBytes, DramAddress(0, 0, kWorkBytes), true, false},
                     {2, kFarBytes, kFar, true, true}};
  image.output_var_ids = {0};
  uint64_t work = 0;
  for (ByteSpan& stream : image.instructions) {
    const size_t size =
        input.size() < 2 ? 0 : std::min<size_t>(LoadAt<uint16_t>(input, 0), input.size() - 2);
    stream = input.subspan(std::min<size_t>(2, input.size()), size);
    input = input.subspan(std::min(input.size(), 2 + size));
    work += Work(stream);
  }
  if (work > kMostElements) return;
  static Machine alone(1);
  RunOn(alone, image);
  static Machine pair(2);
  RunOn(pair, image);
}

}  // namespace
}  // namespace nrtd::sim

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  nrtd::sim::RunOne(nrtd::ByteSpan(reinterpret_cast<const std::byte*>(data), size));
  return 0;
}
