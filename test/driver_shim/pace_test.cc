// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/sim/pace.h"

#include <gmock/gmock.h>

#include "driver_shim/dma_ring.h"
#include "driver_shim/notification_queue.h"
#include "test/driver_shim/sim_fixture.h"

namespace nrtd::sim {
namespace {

Operand Floats(uint32_t var_id, std::vector<int64_t> dims) {
  return DenseOperand(var_id, DType::kFloat32, 0, std::move(dims));
}

TEST(Pace, ProductsTakeWhatThePeakRateSays) {
  MatMul product{Floats(0, {1000, 1000}), Floats(1, {1000, 1000}), std::nullopt,
                 Floats(2, {1000, 1000}), Precision::kBFloat16};
  EXPECT_EQ(PaceNs(Engine::kPe, product), 125'000U);  // 2e9 operations at 16e12 a second
  product.precision = Precision::kFloat32;
  EXPECT_EQ(PaceNs(Engine::kPe, product), 500'000U);
}

TEST(Pace, ElementsTakeWhatTheEngineDoesInACycle) {
  const Activation relu{Floats(0, {512'000}), Floats(0, {512'000}), Function::kRelu};
  EXPECT_EQ(PaceNs(Engine::kAct, relu), 1000U);
  EXPECT_EQ(PaceNs(Engine::kPool, relu), 2000U);
  EXPECT_EQ(PaceNs(Engine::kPool, SemaphoreSignal{1}), 0U);
}

TEST(Pace, ConstantsComeThroughDramButTablesDoNot) {
  constexpr uint64_t kTenMs = uint64_t{512} << 20;  // at 50 GiB a second
  ProgramContext context;
  context.variables = {{0, kTenMs, true, false}, {1, 64, true, true}, {2, kTenMs, true, true}};
  ProgramPace pace;
  EXPECT_EQ(pace.Ns(context), 10'000'000U);
  const Gather look_up{Floats(0, {1, 1000, 16}), DenseOperand(1, DType::kInt32, 0, {4}),
                       Floats(2, {1, 4, 16})};
  pace.Add({Engine::kPool, {look_up, End{}}});
  EXPECT_EQ(pace.Ns(context), PaceNs(Engine::kPool, look_up));
}

class PacedCoreTest : public SimFixture {
 protected:
  PacedCoreTest() {
    PlatformOptions options;
    options.simulate = "inf1.xlarge";
    options.sim_paced = true;
    platform_ = Must(SimPlatform::Create(options));
    for (const memory::PoolPage& page : pool_->pages())
      Must(device().MapHostMemory(page.bus_address, page.data, page.length));
  }

  // A program that does next to nothing, but for which the chip would have to read 100 MiB, has
  // been announced to the core.
  void Announce() {
    ProgramBuilder builder(device());
    const uint32_t x = builder.Variable(64, true);
    (void)builder.Variable(uint64_t{100} << 20, false);
    builder.Add(Engine::kAct, Activation{Floats(x, {16}), Floats(x, {16}), Function::kRelu});
    const ProgramId program = builder.LoadWithoutTransfers();
    Must(core().AttachRing(kExecutionQueue, ring_.config()));
    Must(core().AttachNotifications(NotificationKind::kImplicit, done_.config()));
    Must(core().Activate(program, {}));
    const Descriptor run{.kind = DescriptorKind::kExecute, .tag = 1};
    Must(ring_.Push({&run, 1}));
    core().RingDoorbell(kExecutionQueue, 1);
  }

  static constexpr uint64_t kPaceNs = 1'953'125;  // 100 MiB at 50 GiB a second
  DmaRing ring_ = Must(DmaRing::Create(*pool_, 8));
  NotificationQueue done_ = Must(NotificationQueue::Create(*pool_, 8));
};

TEST_F(PacedCoreTest, AnExecutionTakesAsLongAsTheChipWouldNeed) {
  Announce();
  SteadyClock clock;
  const TimePoint begun = clock.Now();
  EXPECT_EQ(core().Poll(), Progress::kAdvanced);
  EXPECT_GE(clock.Now() - begun, Duration(kPaceNs));
  const auto notification = done_.Pop();
  ASSERT_TRUE(notification);
  EXPECT_GE(notification->device_time, kPaceNs);
  EXPECT_GE(core().counters().busy_ns, kPaceNs);
}

// The chip would have worked all the time, whatever this machine did meanwhile.
TEST_F(PacedCoreTest, TimeInWhichNobodyPolledIsTheChipsTimeToo) {
  Announce();
  SteadyClock clock;
  const TimePoint begun = clock.Now();
  EXPECT_EQ(core().Poll({&clock, begun}), Progress::kYielded);
  while (clock.Now() - begun < 2 * Duration(kPaceNs)) {
  }
  EXPECT_EQ(core().Poll(), Progress::kAdvanced);
  const auto notification = done_.Pop();
  ASSERT_TRUE(notification);
  EXPECT_GE(notification->device_time, kPaceNs);
  EXPECT_GE(core().counters().busy_ns, kPaceNs);
}

}  // namespace
}  // namespace nrtd::sim
