// SPDX-License-Identifier: Apache-2.0
//
// One inference without a socket: what the runtime and the simulated core take by themselves.
//   runtime-bench FILE.neff [Google Benchmark's options]
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include <benchmark/benchmark.h>

#include "base/clock.h"
#include "runtime/runtime.h"

namespace nrtd {
namespace {

template <typename T>
T OrExit(Result<T> result) {
  if (!result) {
    std::fprintf(stderr, "runtime-bench: %s\n", result.error().text.c_str());
    std::exit(1);
  }
  return std::move(*result);
}

struct Loaded {
  explicit Loaded(const char* neff) {
    runtime::MachineOptions options;
    options.platform.simulate = "inf1.xlarge";
    options.pages_per_device = 32;
    options.allow_small_pages = true;
    runtime = std::make_unique<runtime::Runtime>(OrExit(runtime::Machine::Open(options, clock)));
    runtime::LoadRequest request;
    request.neff = std::filesystem::path(neff);
    request.user = FileUser::OfThisProcess();
    network = OrExit(runtime->Find(OrExit(runtime->Load(std::move(request)))));
  }
  SteadyClock clock;
  std::unique_ptr<runtime::Runtime> runtime;
  std::shared_ptr<runtime::Network> network;
};

// From taking a slot to giving it back, inputs and outputs copied as a request's would be.
void Infer(benchmark::State& state, Loaded& loaded, Completion completion) {
  ByteVector input(loaded.network->inputs()[0].bytes);
  ByteVector output(loaded.network->outputs()[0].bytes);
  const Core& core = loaded.runtime->machine().channel(0).core();
  const uint64_t busy_before = core.counters().busy_ns;
  for (auto _ : state) {
    runtime::Inference inference = OrExit(loaded.network->Begin());
    std::memcpy(inference.input(0).data(), input.data(), input.size());
    if (!inference.Submit(completion)) state.SkipWithError("refused");
    if (inference.Wait().code != Nerr::kOk) state.SkipWithError("failed");
    std::memcpy(output.data(), inference.output(0).data(), output.size());
  }
  const auto busy = static_cast<double>(core.counters().busy_ns - busy_before);
  state.counters["core_busy_us"] =
      benchmark::Counter(busy / 1e3, benchmark::Counter::kAvgIterations);
}

}  // namespace
}  // namespace nrtd

int main(int argc, char** argv) {
  using nrtd::Completion;
  benchmark::Initialize(&argc, argv);
  if (argc != 2) {
    std::fprintf(stderr, "usage: runtime-bench FILE.neff [--benchmark_...]\n");
    return 2;
  }
  nrtd::Loaded loaded(argv[1]);
  benchmark::RegisterBenchmark("infer/polled",
                               [&](auto& s) { nrtd::Infer(s, loaded, Completion::kPolled); });
  benchmark::RegisterBenchmark("infer/interrupt",
                               [&](auto& s) { nrtd::Infer(s, loaded, Completion::kInterrupt); });
  benchmark::RunSpecifiedBenchmarks();
  loaded.network.reset();
}
