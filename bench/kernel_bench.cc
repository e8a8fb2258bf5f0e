// SPDX-License-Identifier: Apache-2.0
//
// The simulated core's kernels of our own for small tensors (driver_shim/sim/kernels/small.h)
// beside oneDNN's, one thread: where the limits in that header come from. Each line names the
// instruction and its size; "small" and "library" compute the same.
#include <cstdio>
#include <cstdlib>
#include <random>

#include <benchmark/benchmark.h>

#include "driver_shim/sim/kernels/make_kernel.h"

namespace nrtd::sim {
namespace {

constexpr uint32_t kActivations = 1;
constexpr uint32_t kWeights = 2;
constexpr uint64_t kOutputAt = uint64_t{4} << 20;  // bytes

// Memory that stands for two variables.
class Memory {
 public:
  Memory() : activations_(2 << 20), weights_(2 << 20) {
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    for (float& value : activations_) value = normal(random);
    for (float& value : weights_) value = normal(random);
  }
  KernelContext Context(bool small) {
    return {.resolve =
                [this](const Operand& operand) {
                  auto& values = operand.var_id == kWeights ? weights_ : activations_;
                  return reinterpret_cast<std::byte*>(values.data()) + operand.offset;
                },
            .constant = [](uint32_t var_id) { return var_id == kWeights; },
            .weights = &cache_,
            .scratch = &scratch_,
            .own_kernels = small};
  }

 private:
  std::vector<float> activations_;
  std::vector<float> weights_;
  WeightCache cache_;
  Scratch scratch_;
};

Operand Input(std::vector<int64_t> dims) {
  return DenseOperand(kActivations, DType::kFloat32, 0, std::move(dims));
}
Operand Output(std::vector<int64_t> dims) {
  return DenseOperand(kActivations, DType::kFloat32, kOutputAt, std::move(dims));
}
Operand Weights(std::vector<int64_t> dims) {
  return DenseOperand(kWeights, DType::kFloat32, 0, std::move(dims));
}

Instruction Convolution(int64_t channels, int64_t outputs, int64_t side) {
  Conv2d conv;
  conv.input = Input({1, channels, side, side});
  conv.weights = Weights({outputs, channels, 3, 3});
  conv.output = Output({1, outputs, side, side});
  conv.pads = {1, 1, 1, 1};
  conv.precision = Precision::kBFloat16;
  return conv;
}
Instruction Product(int64_t rows, int64_t depth, int64_t columns) {
  return MatMul{Input({rows, depth}), Weights({depth, columns}), std::nullopt,
                Output({rows, columns}), Precision::kBFloat16};
}
Instruction Relu(int64_t count) {
  return Activation{Input({count}), Output({count}), Function::kRelu};
}
Instruction SoftmaxOf(int64_t rows, int64_t columns) {
  return Softmax{Input({rows, columns}), Output({rows, columns}), 1};
}
Instruction MaxPool(int64_t channels, int64_t side) {
  Pool2d pool;
  pool.input = Input({1, channels, side, side});
  pool.output = Output({1, channels, side / 2, side / 2});
  pool.kernel = {2, 2};
  pool.strides = {2, 2};
  return pool;
}

void Add(Memory& memory, const std::string& name, const Instruction& instruction) {
  for (const bool small : {true, false}) {
    const auto run = [&memory, small, instruction](benchmark::State& state) {
      UseOneThread();
      auto kernel = MakeKernel(instruction, memory.Context(small));
      if (!kernel) {
        state.SkipWithError(kernel.error().text.c_str());
        return;
      }
      for (auto _ : state) benchmark::DoNotOptimize((*kernel)->Run());
      if (const uint64_t macs = MacCount(instruction); macs != 0) {
        state.counters["macs/s"] =
            benchmark::Counter(static_cast<double>(macs) * static_cast<double>(state.iterations()),
                               benchmark::Counter::kIsRate);
      }
    };
    benchmark::RegisterBenchmark((name + (small ? "/small" : "/library")).c_str(), run);
  }
}

}  // namespace
}  // namespace nrtd::sim

int main(int argc, char** argv) {
  using namespace nrtd::sim;
  benchmark::Initialize(&argc, argv);
  if (argc != 1) {
    std::fprintf(stderr, "usage: kernel-bench [--benchmark_...]\n");
    return 2;
  }
  Memory memory;
  for (const auto [channels, outputs, side] : {std::array<int64_t, 3>{1, 8, 8},
                                               {8, 16, 4},
                                               {8, 16, 8},
                                               {16, 16, 8},
                                               {16, 32, 8},
                                               {32, 32, 8},
                                               {32, 64, 8},
                                               {64, 64, 16}}) {
    Add(memory, fmt::format("conv3x3/{}x{}x{}->{}", channels, side, side, outputs),
        Convolution(channels, outputs, side));
  }
  for (const auto [rows, depth, columns] : {std::array<int64_t, 3>{1, 32, 10},
                                            {1, 64, 32},
                                            {1, 256, 256},
                                            {1, 512, 512},
                                            {1, 2048, 1000},
                                            {4, 2048, 1000},
                                            {8, 2048, 1000},
                                            {16, 2048, 1000},
                                            {16, 64, 64},
                                            {32, 128, 64},
                                            {128, 128, 64}}) {
    Add(memory, fmt::format("matmul/{}x{}x{}", rows, depth, columns),
        Product(rows, depth, columns));
  }
  for (const int64_t count : {64, 512, 4096, 16384})
    Add(memory, fmt::format("relu/{}", count), Relu(count));
  for (const int64_t columns : {10, 64, 256, 1024})
    Add(memory, fmt::format("softmax/1x{}", columns), SoftmaxOf(1, columns));
  for (const int64_t side : {4, 8, 16, 32})
    Add(memory, fmt::format("maxpool2x2/8x{}x{}", side, side), MaxPool(8, side));
  benchmark::RunSpecifiedBenchmarks();
}
