// SPDX-License-Identifier: Apache-2.0
//
// Nothing that a program does keeps a core longer than a blink once its session has ended.
#include <ctime>

#include "base/sanitized.h"
#include "test/hostile/hostile_test.h"
#include "test/runtime/neff_builder.h"

namespace nrtd::hostile {
namespace {

class ProgramTimeTest : public HostileTest {
 protected:
  static constexpr int64_t kSide = 2048;
  static constexpr uint64_t kScratch = kSide * kSide * sizeof(float);

  // Everything that it reads is one element, repeated.
  static sim::Operand Same(std::vector<int64_t> dims) {
    std::vector<int64_t> strides(dims.size(), 0);
    return {runtime::kStageData, DType::kFloat32, 0, std::move(dims), std::move(strides)};
  }
  static sim::Operand Scratch(std::vector<int64_t> dims) {
    return sim::DenseOperand(runtime::kStageScratch, DType::kFloat32, 0, std::move(dims));
  }
  static std::string NeffOf(const runtime::StageSpec& stage) {
    return integration::TextOf(runtime::PipelineNeff({.stages = {stage}}));
  }

  // Of the daemon.
  std::chrono::nanoseconds CpuTime() {
    clockid_t clock{};
    timespec used{};
    EXPECT_EQ(::clock_getcpuclockid(daemon().pid(), &clock), 0);
    EXPECT_EQ(::clock_gettime(clock, &used), 0);
    return std::chrono::seconds(used.tv_sec) + std::chrono::nanoseconds(used.tv_nsec);
  }

  // Its session ends while the program runs: all cores are free for another client, and the core
  // that it had answers.
  void ExpectCoresFreeSoon(const std::string& neff) {
    RtdClient hostile(address());
    auto session = hostile.OpenSession();
    const auto group = hostile.CreateGroup(4, session->Read().session_id());
    ASSERT_THAT(group, IsOk());
    const auto loaded = hostile.Load(
        integration::LoadMessages({.neff = neff, .group = group.h_eg().id(), .timeout_s = 3600}));
    ASSERT_THAT(loaded, IsOk());
    ASSERT_THAT(hostile.Start(loaded.h_nn().id()), IsOk());
    const std::string x(4 * sizeof(float), '\0');
    ASSERT_THAT(hostile.Post(integration::InferRequest(loaded.h_nn().id(), {{"x", x}})), IsOk());
    const auto used = CpuTime();
    Await("the core works", [&] { return CpuTime() - used > std::chrono::milliseconds(100); });
    const TimePoint begin = clock_.Now();
    session.reset();
    Await("the cores are free", [&] {
      const auto made = client().CreateGroup(4);
      if (made.status().code() != 0) return false;
      return client().DestroyGroup(made.h_eg().id()).status().code() == 0;
    });
    const auto took = clock_.Now() - begin;
    RecordProperty("free_after_us", static_cast<int>(took / std::chrono::microseconds(1)));
    if (!kSanitized) {
      EXPECT_LT(took, std::chrono::seconds(1));
    }
    ExpectReads(Load({.neff = digits_neff()}));
  }

  SteadyClock clock_;
};

// 2^40 products of one element with itself: some 45 s on one core.
TEST_F(ProgramTimeTest, AProductOfMinutesEndsWithItsSession) {
  constexpr int64_t kDepth = int64_t{1} << 18;
  ExpectCoresFreeSoon(
      NeffOf({.scratch_bytes = kScratch,
              .pe = {sim::MatMul{
                  Same({kSide, kDepth}), Same({kDepth, kSide}), {}, Scratch({kSide, kSide})}}}));
}

// A sum along columns that are far apart, as softmax takes it.
TEST_F(ProgramTimeTest, ASoftmaxAcrossPagesEndsWithItsSession) {
  constexpr int64_t kColumns = kSide * kSide / 1024;
  const sim::Operand columns{
      runtime::kStageScratch, DType::kFloat32, 0, {1024, kColumns}, {kColumns, 1}};
  ExpectCoresFreeSoon(
      NeffOf({.scratch_bytes = kScratch,
              .act = std::vector<sim::Instruction>(2000, sim::Softmax{columns, columns, 0})}));
}

// 100,000 small instructions of one form took 235 MB.
TEST_F(ProgramTimeTest, ManySmallInstructionsTakeLittleMemory) {
  constexpr uint32_t kInstructions = 100'000;
  std::vector<sim::Instruction> many;
  for (uint32_t i = 0; i < kInstructions; ++i) {
    const sim::Operand x =
        sim::DenseOperand(runtime::kStageScratch, DType::kFloat32, uint64_t{i} * 64, {4, 4});
    many.emplace_back(sim::Softmax{x, x, 1});
  }
  const std::string neff =
      NeffOf({.scratch_bytes = uint64_t{kInstructions} * 64, .act = std::move(many)});
  const uint64_t before = daemon().StatusBytes("VmRSS");
  const uint32_t network = Load({.neff = neff});
  ASSERT_NE(network, 0U);
  if (!kSanitized) {
    Await("the load's own memory goes back", [&] {
      return daemon().StatusBytes("VmRSS") <
             before + neff.size() + uint64_t{kInstructions} * 400 + 16 * kMiB;
    });
  }
  EXPECT_THAT(client().Unload(network), IsOk());
}

// Every shape is different, so no two instructions share a kernel.
TEST_F(ProgramTimeTest, AProgramOfTooManyKernelsIsRefused) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer's own memory counts too";
  constexpr uint32_t kInstructions = 20'000;
  std::vector<sim::Instruction> many;
  for (uint32_t i = 0; i < kInstructions; ++i) {
    const sim::Operand x = sim::DenseOperand(runtime::kStageScratch, DType::kFloat32, 0,
                                             {1, 1 + static_cast<int64_t>(i)});
    many.emplace_back(sim::Activation{x, x, sim::Function::kTanh, 0, 0});
  }
  const auto loaded = client().Load(integration::LoadMessages(
      {.neff = NeffOf({.scratch_bytes = kScratch, .act = std::move(many)})}));
  EXPECT_THAT(loaded, HasStatus(4, "kernels"));
  ExpectReads(Load({.neff = digits_neff()}));
}

}  // namespace
}  // namespace nrtd::hostile
