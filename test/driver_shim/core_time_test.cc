// SPDX-License-Identifier: Apache-2.0
//
// Nothing that a program does keeps a core from looking at its limit for long: transfers, control
// instructions, the check of outputs.
#include <numeric>

#include <malloc.h>

#include "driver_shim/sim/sim_core.h"
#include "test/driver_shim/look_clock.h"
#include "test/driver_shim/sim_fixture.h"

namespace nrtd::sim {
namespace {

class CoreTimeTest : public SimFixture {
 protected:
  static constexpr uint32_t kEntries = 1024;

  void Attach(uint32_t queues) {
    Must(core().AttachRing(kExecutionQueue, execution_.config()));
    Must(core().AttachNotifications(NotificationKind::kError, errors_.config()));
    Must(core().AttachNotifications(NotificationKind::kImplicit, completions_.config()));
    if (queues > 0) Must(core().AttachRing(0, ring_.config()));
  }
  void Activate(ProgramId program, uint32_t queues) {
    const QueueId ids[] = {0};
    Must(core().Activate(program, {ids, queues}));
  }
  void Announce(const std::vector<Descriptor>& descriptors) {
    Must(ring_.Push(descriptors));
    core().RingDoorbell(0, static_cast<uint32_t>(descriptors.size()));
  }
  void Execute(uint64_t tag) {
    const Descriptor run{.kind = DescriptorKind::kExecute, .tag = tag};
    Must(execution_.Push({&run, 1}));
    core().RingDoorbell(kExecutionQueue, 1);
  }
  // A program that triggers so many descriptors at once and does nothing else.
  static ProgramId LoadTrigger(ProgramBuilder& builder, uint32_t descriptors) {
    builder.image_.triggers = {{CoreEngine::kPool, 0, 0, descriptors}};
    builder.Add(Engine::kPool, DmaTrigger{0});
    return builder.LoadWithoutTransfers();
  }
  float* Dram(BusAddress address, uint64_t bytes) {
    return reinterpret_cast<float*>(
        platform_->address_space().TranslateDram(address, bytes, Use::kWrite));
  }

  DmaRing execution_ = Must(DmaRing::Create(*pool_, 8));
  DmaRing ring_ = Must(DmaRing::Create(*pool_, kEntries));
  NotificationQueue errors_ = Must(NotificationQueue::Create(*pool_, 8));
  NotificationQueue completions_ = Must(NotificationQueue::Create(*pool_, 8));
};

TEST_F(CoreTimeTest, AnyNumberOfLargeTransfersOfOneTriggerIsMovedInPieces) {
  constexpr uint32_t kLength = 64U << 20;
  constexpr uint32_t kTransfers = kSanitized ? 2 : 20;
  ProgramBuilder builder(device());
  const uint32_t var = builder.Variable(2 * uint64_t{kLength}, true);
  const ProgramId id = LoadTrigger(builder, kTransfers);
  Attach(1);
  Activate(id, 1);
  const BusAddress from = builder.Address(var);
  Announce(std::vector<Descriptor>(
      kTransfers, {.source = from, .destination = from + kLength, .length = kLength}));
  Execute(1);
  LookClock clock;
  EXPECT_EQ(clock.Poll(core()), Progress::kAdvanced);
  EXPECT_TRUE(completions_.Pop());
  EXPECT_EQ(core().counters().dma_bytes, uint64_t{kLength} * kTransfers);
  clock.ExpectLooks();
}

TEST_F(CoreTimeTest, ATransferThatWasYieldedInTheMiddleIsCompletedOnceAndWhole) {
  constexpr uint32_t kLength = 5U << 20;
  ProgramBuilder builder(device());
  const uint32_t var = builder.Variable(3 * uint64_t{kLength}, true);
  const ProgramId id = LoadTrigger(builder, 2);
  Attach(1);
  Activate(id, 1);
  const BusAddress at = builder.Address(var);
  float* values = Dram(at, 3 * uint64_t{kLength});
  constexpr size_t kCount = kLength / sizeof(float);
  std::iota(values, values + kCount, 1.0F);
  // To memory of its own, and then onto itself, one float further.
  Announce({{.source = at, .destination = at + 2 * uint64_t{kLength}, .length = kLength},
            {.source = at, .destination = at + sizeof(float), .length = kLength}});
  Execute(1);
  LookClock clock(/*passes=*/true);
  int yields = 0;
  while (clock.Poll(core()) == Progress::kYielded) {
    ++yields;
    EXPECT_EQ(ring_.completion().completed, static_cast<uint64_t>(yields / 5)) << yields;
  }
  EXPECT_GE(yields, 8);
  EXPECT_EQ(ring_.completion().completed, 2U);
  EXPECT_TRUE(completions_.Pop());
  for (size_t i = 0; i < kCount; ++i) {
    ASSERT_EQ(values[2 * kCount + i], static_cast<float>(i + 1));
    ASSERT_EQ(values[i + 1], static_cast<float>(i + 1));
  }
}

TEST_F(CoreTimeTest, AResetInTheMiddleOfATransferLeavesNothingOfItForTheNextOne) {
  constexpr uint32_t kLength = 5U << 20;
  ProgramBuilder builder(device());
  const uint32_t var = builder.Variable(2 * uint64_t{kLength}, true);
  const ProgramId id = LoadTrigger(builder, 1);
  for (int round = 0; round < 2; ++round) {
    Attach(1);
    Activate(id, 1);
    const BusAddress at = builder.Address(var);
    Announce({{.source = at, .destination = at + kLength, .length = kLength}});
    Execute(1);
    LookClock clock(/*passes=*/true);
    ASSERT_EQ(clock.Poll(core()), Progress::kYielded);
    if (round == 1) {
      while (clock.Poll(core()) == Progress::kYielded) {
      }
      EXPECT_TRUE(completions_.Pop());
      EXPECT_EQ(ring_.completion().completed, 1U);
    }
    core().Reset();
    execution_.Clear();
    ring_.Clear();
    completions_.Clear();
  }
}

TEST_F(CoreTimeTest, ControlInstructionsAloneAreLookedBetween) {
  constexpr int kSignals = 100'000;
  ProgramBuilder builder(device());
  for (int i = 0; i < kSignals; ++i)
    builder.Add(Engine::kAct, SemaphoreSignal{1}).Add(Engine::kAct, Notify{1});
  const ProgramId id = builder.LoadWithoutTransfers();
  Attach(0);
  Activate(id, 0);
  Execute(1);
  LookClock clock;
  EXPECT_EQ(clock.Poll(core()), Progress::kAdvanced);
  clock.ExpectLooks();
  EXPECT_GT(clock.looks(), 50U);
  // The interrupt is seen too.
  Execute(2);
  LookClock passed(/*passes=*/true);
  EXPECT_EQ(passed.Poll(core()), Progress::kYielded);
  core().Interrupt();
  EXPECT_EQ(core().Poll(), Progress::kYielded);
}

TEST_F(CoreTimeTest, LargeOutputsAreCheckedForNaNInPieces) {
  constexpr uint64_t kBytes = (kSanitized ? uint64_t{64} : uint64_t{2048}) << 20;
  ProgramBuilder builder(device());
  const uint32_t var = builder.Variable(kBytes, true);
  builder.image_.output_var_ids = {var};
  const ProgramId id = builder.LoadWithoutTransfers();
  Attach(0);
  Activate(id, 0);
  Dram(builder.Address(var), kBytes)[kBytes / sizeof(float) - 1] =
      std::numeric_limits<float>::quiet_NaN();
  Execute(1);
  LookClock clock;
  EXPECT_EQ(clock.Poll(core()), Progress::kAdvanced);
  const auto error = errors_.Pop();
  ASSERT_TRUE(error);
  EXPECT_EQ(error->code, NotificationCode::kNumerical);
  clock.ExpectLooks();
}

TEST_F(CoreTimeTest, DescriptorsOfAFailedExecutionAreSkippedInPieces) {
  ProgramBuilder builder(device());
  const uint32_t var = builder.Variable(4096, true);
  constexpr uint32_t kTransfers = 900;
  const ProgramId id = LoadTrigger(builder, kTransfers);
  Attach(1);
  Activate(id, 1);
  std::vector<Descriptor> all(
      kTransfers,
      {.source = builder.Address(var), .destination = builder.Address(var) + 64, .length = 64});
  all[1].source = 0x42;
  Announce(all);
  Execute(1);
  LookClock clock(/*passes=*/true);
  while (clock.Poll(core()) == Progress::kYielded) {
  }
  EXPECT_EQ(errors_.Pop()->code, NotificationCode::kDmaAddress);
  EXPECT_EQ(ring_.completion().completed, kTransfers);
}

// A prepared program is charged before it is made; instructions of one form share a kernel.
TEST_F(CoreTimeTest, ManySmallInstructionsOfOneFormTakeAtMost400BytesEach) {
  constexpr uint32_t kInstructions = kSanitized ? 10'000 : 100'000;
  ProgramBuilder builder(device());
  const uint32_t var = builder.Variable(uint64_t{kInstructions} * 64, true);
  for (uint32_t i = 0; i < kInstructions; ++i) {
    const Operand x = DenseOperand(var, DType::kFloat32, uint64_t{i} * 64, {4, 4});
    builder.Add(Engine::kAct, Softmax{x, x, 1});
  }
  PreparedBudget budget(uint64_t{256} << 20);
  builder.image_.budget = &budget;
  const size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
  const ProgramId id = builder.LoadWithoutTransfers();
  const size_t after = mallinfo2().uordblks + mallinfo2().hblkhd;
  EXPECT_LE(budget.used(), uint64_t{kInstructions} * 400);
  EXPECT_GE(budget.used(), uint64_t{kInstructions} * 40);
  // The builder has encoded the program meanwhile, in 200 bytes an instruction.
  if (!kSanitized) {
    EXPECT_LT(after - before, uint64_t{kInstructions} * 600);
  }
  core().UnloadProgram(id);
  EXPECT_EQ(budget.used(), 0U);
  PreparedBudget small(uint64_t{kInstructions} * 10);
  builder.image_.budget = &small;
  const auto refused = core().LoadProgram(builder.image_);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Nerr::kResource);
  EXPECT_EQ(small.used(), 0U);
}

}  // namespace
}  // namespace nrtd::sim
