// SPDX-License-Identifier: Apache-2.0
//
// Writes the seeds of corpus/program_fuzz: program_fuzz_seeds <folder>. Every instruction once (a
// convolution also in parts), in a program of the form that program_fuzz.cc loads, and two programs
// whose engines wait for each other.
#include <cstdio>

#include "base/file.h"
#include "driver_shim/sim/isa.h"

namespace nrtd::sim {
namespace {

Operand Work(std::vector<int64_t> dims, uint64_t offset = 0, DType dtype = DType::kFloat32) {
  return DenseOperand(0, dtype, offset, std::move(dims));
}
// Beyond 2^31 bytes.
Operand Far(std::vector<int64_t> dims, DType dtype = DType::kFloat32) {
  return DenseOperand(2, dtype, (uint64_t{1} << 31) + 4096, std::move(dims));
}
Operand Weights(std::vector<int64_t> dims, DType dtype = DType::kFloat32) {
  return DenseOperand(1, dtype, 0, std::move(dims));
}

std::vector<std::pair<std::string, Instruction>> Instructions() {
  Conv2d conv{Work({1, 4, 8, 8}), Weights({4, 4, 3, 3}, DType::kBFloat16), Weights({4}),
              Work({1, 4, 8, 8}, 4096)};
  conv.pads = {1, 1, 1, 1};
  conv.precision = Precision::kBFloat16;
  conv.fused = Fused{Function::kRelu, 0, 0};
  // Worth two threads, and more of it below the image than in it.
  Conv2d tall{Work({1, 8, 20, 46}), Weights({8, 8, 3, 3}), std::nullopt,
              Work({1, 8, 48, 44}, 131'072)};
  tall.input.strides = {20 * 46 * 8, 1, 46 * 8, 8};
  tall.output.strides = {48 * 44 * 8, 1, 44 * 8, 8};
  tall.pads = {0, 0, 30, 0};
  MatMul product{Work({2, 3, 4}), Work({1, 4, 5}, 1024), Work({1, 1, 5}, 4096),
                 Work({2, 3, 5}, 2048)};
  product.fused = Fused{Function::kGeluErf, 0, 0};
  Pool2d pool{Work({1, 2, 6, 6}), Work({1, 2, 3, 3}, 1024), PoolKind::kMax, {2, 2}, {2, 2}};
  const Operand flags = Work({2, 3}, 512, DType::kBool);
  const Operand numbers = Work({2, 3}, 1024, DType::kInt64);
  return {
      {"conv", conv},
      {"tall_conv", tall},
      {"product", product},
      {"activation", Activation{Work({7}), Work({7}), Function::kClip, -1, 2}},
      {"softmax", Softmax{Work({2, 9}), Work({2, 9}, 256), 1, 0.5F, Work({1, 9}, 512)}},
      {"layer_norm",
       LayerNorm{Work({2, 9}), Weights({9}), Work({9}, 512), Work({2, 9}, 1024), 1e-5F}},
      {"pool", pool},
      {"binary",
       Binary{Work({2, 3}), Work({1, 3}, 64), Work({2, 3}, 128), BinaryFunction::kMultiply}},
      {"integers", Binary{numbers, numbers, numbers, BinaryFunction::kDivide}},
      {"copy", Copy{Work({4, 2}), Work({4, 2}, 512)}},
      {"cast", Copy{Work({2, 3}), numbers}},
      {"gather", Gather{Work({2, 9, 3}), Work({4}, 1024, DType::kInt32), Work({2, 4, 3}, 2048)}},
      {"gather_overlapping",
       Gather{Work({1, 4, 3}), Work({1}, 1024, DType::kInt32), Work({1, 1, 3}, 8)}},
      {"reduce", Reduce{Work({3, 5, 7}), Work({3, 1, 7}, 1024), Reduction::kMaximum}},
      {"compare", Compare{Work({2, 3}), Work({2, 3}, 64), flags, Comparison::kLess}},
      {"far_copy", Copy{Far({4, 2}), Work({4, 2}, 512)}},
      {"far_product", MatMul{Far({1, 3, 4}), Far({1, 4, 5}), std::nullopt, Far({1, 3, 5})}},
      {"far_gather", Gather{Far({2, 9, 3}), Work({4}, 1024, DType::kInt32), Work({2, 4, 3}, 2048)}},
      {"select", Select{flags, Work({2, 3}), Work({2, 3}, 64), Work({2, 3}, 1024)}},
  };
}

using Streams = std::array<std::vector<Instruction>, kEngines>;

Result<void> Write(const std::string& path, Streams streams) {
  ByteVector seed;
  for (size_t e = 0; e < kEngines; ++e) {
    streams[e].push_back(End{});
    const ByteVector stream = EncodeStream({static_cast<Engine>(e), streams[e]});
    seed.resize(seed.size() + 2);
    StoreAt(MutableByteSpan(seed), seed.size() - 2, static_cast<uint16_t>(stream.size()));
    seed.insert(seed.end(), stream.begin(), stream.end());
  }
  return WriteFileAtomically(path, seed);
}

Result<void> WriteAll(const std::string& folder) {
  for (const auto& [name, instruction] : Instructions()) {
    Streams streams;
    for (size_t e = 0; e < kEngines; ++e) {
      if (RunsOn(OpcodeOf(instruction), static_cast<Engine>(e))) streams[e].push_back(instruction);
    }
    NRTD_TRY(Write(folder + "/" + name, std::move(streams)));
  }
  Streams meeting;
  meeting[0] = {SemaphoreSignal{2}, SemaphoreWait{3, 1}, Notify{7}};
  meeting[1] = {SemaphoreWait{2, 1}, Activation{Work({7}), Work({7}), Function::kExp, 0, 0},
                SemaphoreSignal{3}};
  NRTD_TRY(Write(folder + "/meeting", std::move(meeting)));
  Streams circle;
  circle[0] = {SemaphoreWait{3, 1}, SemaphoreSignal{2}};
  circle[1] = {SemaphoreWait{2, 1}, SemaphoreSignal{3}};
  return Write(folder + "/circle", std::move(circle));
}

}  // namespace
}  // namespace nrtd::sim

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: program_fuzz_seeds FOLDER\n");
    return 2;
  }
  const auto written = nrtd::sim::WriteAll(argv[1]);
  if (written) return 0;
  std::fprintf(stderr, "program_fuzz_seeds: %s\n", written.error().text.c_str());
  return 1;
}
