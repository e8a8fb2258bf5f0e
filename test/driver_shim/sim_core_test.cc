// SPDX-License-Identifier: Apache-2.0
//
// One simulated core, stepped by hand: no channel, no thread.
#include "driver_shim/sim/sim_core.h"

#include <limits>

#include <gmock/gmock.h>

#include "test/driver_shim/sim_fixture.h"

namespace nrtd::sim {
namespace {

class SimCoreTest : public SimFixture {
 protected:
  void AttachAll() {
    Must(core().AttachRing(kExecutionQueue, execution_.config()));
    Must(core().AttachNotifications(NotificationKind::kError, errors_.config()));
    Must(core().AttachNotifications(NotificationKind::kImplicit, completions_.config()));
    Must(core().AttachNotifications(NotificationKind::kExplicit, markers_.config()));
    for (QueueId q = 0; q < 2; ++q) Must(core().AttachRing(q, rings_[q].config()));
  }
  void Activate(ProgramId program) {
    const QueueId queues[] = {0, 1};
    Must(core().Activate(program, queues));
  }
  void Announce(uint32_t queue, const Descriptor& descriptor) {
    Must(rings_[queue].Push({&descriptor, 1}));
    core().RingDoorbell(queue, 1);
  }
  void Execute(uint64_t tag) {
    const Descriptor run{.kind = DescriptorKind::kExecute, .tag = tag};
    Must(execution_.Push({&run, 1}));
    core().RingDoorbell(kExecutionQueue, 1);
  }
  void Submit(const FunctionProgram& program, uint64_t tag) {
    for (const QueueWork& work : program.work()) Announce(work.queue, work.descriptors[0]);
    Execute(tag);
  }

  DmaRing execution_ = Must(DmaRing::Create(*pool_, 8));
  DmaRing rings_[2] = {Must(DmaRing::Create(*pool_, 8)), Must(DmaRing::Create(*pool_, 8))};
  NotificationQueue errors_ = Must(NotificationQueue::Create(*pool_, 8));
  NotificationQueue completions_ = Must(NotificationQueue::Create(*pool_, 8));
  NotificationQueue markers_ = Must(NotificationQueue::Create(*pool_, 8));
};

TEST_F(SimCoreTest, RunsAProgramFromHostMemoryToHostMemory) {
  FunctionProgram program(device(), *pool_, 4);
  AttachAll();
  Activate(program.id());
  const float in[] = {-1, 2, -3, 4};
  std::memcpy(program.in(), in, sizeof(in));
  EXPECT_EQ(core().Poll(), Progress::kIdle);
  Submit(program, 99);
  EXPECT_EQ(core().Poll(), Progress::kAdvanced);
  EXPECT_EQ(std::vector<float>(program.out(), program.out() + 4), (std::vector<float>{0, 2, 0, 4}));
  const auto done = completions_.Pop();
  ASSERT_TRUE(done);
  EXPECT_EQ(done->tag, 99U);
  EXPECT_EQ(done->code, NotificationCode::kNone);
  EXPECT_GT(done->device_time, 0U);
  EXPECT_FALSE(errors_.Pop());
  EXPECT_EQ(core().Poll(), Progress::kIdle);
}

TEST_F(SimCoreTest, CountsWhatHappened) {
  FunctionProgram program(device(), *pool_, 4);
  AttachAll();
  Activate(program.id());
  for (uint64_t tag = 1; tag <= 3; ++tag) {
    Submit(program, tag);
    core().Poll();
  }
  const CoreCounters counters = core().counters();
  EXPECT_EQ(counters.executions, 3U);
  EXPECT_EQ(counters.dma_bytes, 3U * 2 * 16);
  // ACT: wait, relu, signal; POOL: trigger, wait, trigger, wait; PE has End only, which is not
  // counted.
  EXPECT_EQ(counters.engine[1].instructions, 9U);
  EXPECT_EQ(counters.engine[2].instructions, 12U);
  EXPECT_EQ(counters.engine[0].instructions, 0U);
  EXPECT_GT(counters.busy_ns, 0U);
  EXPECT_GE(counters.busy_ns, counters.engine[1].busy_cycles);
}

TEST_F(SimCoreTest, WaitsForDescriptorsThatWereNotAnnouncedYet) {
  FunctionProgram program(device(), *pool_, 4);
  AttachAll();
  Activate(program.id());
  Execute(1);
  EXPECT_EQ(core().Poll(), Progress::kBlocked);
  Announce(ProgramBuilder::kIn, program.descriptor(0));
  EXPECT_EQ(core().Poll(), Progress::kBlocked);
  EXPECT_EQ(core().ReadSemaphore(ProgramBuilder::kIn), 1U);
  Announce(ProgramBuilder::kOut, program.descriptor(1));
  EXPECT_EQ(core().Poll(), Progress::kAdvanced);
  EXPECT_EQ(completions_.Pop()->tag, 1U);
}

TEST_F(SimCoreTest, ADescriptorOutOfRegionEndsItsExecutionAndTheNextOneIsWell) {
  FunctionProgram program(device(), *pool_, 4);
  AttachAll();
  Activate(program.id());
  Descriptor stray = program.descriptor(0);
  stray.source = 0x42;
  Announce(ProgramBuilder::kIn, stray);
  Announce(ProgramBuilder::kOut, program.descriptor(1));
  Execute(1);
  EXPECT_EQ(core().Poll(), Progress::kAdvanced);
  const auto error = errors_.Pop();
  ASSERT_TRUE(error);
  EXPECT_EQ(error->code, NotificationCode::kDmaAddress);
  EXPECT_EQ(error->tag, 1U);
  EXPECT_FALSE(completions_.Pop());

  const float in[] = {-1, 5, -3, 6};
  std::memcpy(program.in(), in, sizeof(in));
  Submit(program, 2);
  EXPECT_EQ(core().Poll(), Progress::kAdvanced);
  EXPECT_EQ(completions_.Pop()->tag, 2U);
  EXPECT_EQ(std::vector<float>(program.out(), program.out() + 4), (std::vector<float>{0, 5, 0, 6}));
}

TEST_F(SimCoreTest, NaNInAnOutputIsReportedAndTheOutputIsDelivered) {
  FunctionProgram program(device(), *pool_, 4, Function::kAbs);  // relu would make NaN 0
  AttachAll();
  Activate(program.id());
  program.in()[0] = 1;
  program.in()[2] = std::numeric_limits<float>::quiet_NaN();
  Submit(program, 1);
  core().Poll();
  const auto error = errors_.Pop();
  ASSERT_TRUE(error);
  EXPECT_EQ(error->code, NotificationCode::kNumerical);
  EXPECT_TRUE(completions_.Pop());
  EXPECT_EQ(program.out()[0], 1.0F);
}

TEST_F(SimCoreTest, AProgramWhoseSemaphoreNeverComesEndsWithAnError) {
  ProgramBuilder builder(device());
  builder.Add(Engine::kAct, SemaphoreWait{5, 1});
  builder.Add(Engine::kPe, SemaphoreWait{6, 1});
  const ProgramId id = builder.LoadWithoutTransfers();
  AttachAll();
  Must(core().Activate(id, {}));
  Execute(7);
  EXPECT_EQ(core().Poll(), Progress::kAdvanced);
  EXPECT_EQ(errors_.Pop()->code, NotificationCode::kDeadlock);
}

TEST_F(SimCoreTest, EnginesMeetThroughSemaphoresInEitherDirection) {
  // Markers show the order: ACT 1, PE 2, POOL 3, ACT 4, although ACT is looked at first in none of
  // the rounds.
  ProgramBuilder builder(device());
  builder.Add(Engine::kAct, Notify{1})
      .Add(Engine::kAct, SemaphoreSignal{0})
      .Add(Engine::kAct, SemaphoreWait{2, 1})
      .Add(Engine::kAct, Notify{4})
      .Add(Engine::kPe, SemaphoreWait{0, 1})
      .Add(Engine::kPe, Notify{2})
      .Add(Engine::kPe, SemaphoreSignal{1})
      .Add(Engine::kPool, SemaphoreWait{1, 1})
      .Add(Engine::kPool, Notify{3})
      .Add(Engine::kPool, SemaphoreSignal{2});
  const ProgramId id = builder.LoadWithoutTransfers();
  AttachAll();
  Must(core().Activate(id, {}));
  Execute(7);
  EXPECT_EQ(core().Poll(), Progress::kAdvanced);
  std::vector<uint32_t> order;
  while (const auto marker = markers_.Pop()) order.push_back(marker->value);
  EXPECT_EQ(order, (std::vector<uint32_t>{1, 2, 3, 4}));
}

TEST_F(SimCoreTest, AnExecutionWithoutAProgramIsAnErrorNotACrash) {
  AttachAll();
  Execute(3);
  EXPECT_EQ(core().Poll(), Progress::kAdvanced);
  EXPECT_EQ(errors_.Pop()->code, NotificationCode::kNoProgram);
}

TEST_F(SimCoreTest, ResetInFlightDropsTheExecutionAndLeavesTheProgramLoadable) {
  FunctionProgram program(device(), *pool_, 4);
  AttachAll();
  Activate(program.id());
  Execute(1);
  ASSERT_EQ(core().Poll(), Progress::kBlocked);
  core().Reset();
  execution_.Clear();
  for (DmaRing& ring : rings_) ring.Clear();
  completions_.Clear();
  AttachAll();
  Activate(program.id());
  EXPECT_EQ(core().Poll(), Progress::kIdle);
  Submit(program, 2);
  EXPECT_EQ(core().Poll(), Progress::kAdvanced);
  EXPECT_EQ(completions_.Pop()->tag, 2U);
}

TEST_F(SimCoreTest, AHungCoreStaysHungUntilReset) {
  FunctionProgram program(device(), *pool_, 4);
  AttachAll();
  Activate(program.id());
  core().faults().hang = true;
  EXPECT_EQ(core().Poll(), Progress::kIdle);
  Submit(program, 1);
  EXPECT_EQ(core().Poll(), Progress::kBlocked);
  EXPECT_EQ(core().Poll(), Progress::kBlocked);
  core().Reset();
  EXPECT_EQ(core().Poll(), Progress::kIdle);
}

TEST_F(SimCoreTest, ActivationChecksProgramAndQueues) {
  FunctionProgram program(device(), *pool_, 4);
  const QueueId queues[] = {0, 1};
  EXPECT_FALSE(core().Activate(77, queues));
  EXPECT_FALSE(core().Activate(program.id(), queues));  // no rings attached
  AttachAll();
  EXPECT_FALSE(core().Activate(program.id(), {queues, 1}));
  EXPECT_TRUE(core().Activate(program.id(), queues));
}

TEST_F(SimCoreTest, MalformedProgramsAreRefusedAtLoad) {
  ProgramImage image;
  const auto load = core().LoadProgram(image);
  ASSERT_FALSE(load);
  EXPECT_EQ(load.error().code, Nerr::kInvalid);

  ProgramBuilder outside(device());
  const uint32_t var = outside.Variable(64, true);
  outside.image_.variables[0].address = DramAddress(0, 0, kDramChannelBytes - 4);
  outside.Add(Engine::kAct,
              Activation{DenseOperand(var, DType::kFloat32, 0, {4}),
                         DenseOperand(var, DType::kFloat32, 0, {4}), Function::kRelu});
  EXPECT_THROW(outside.LoadWithoutTransfers(), std::runtime_error);
}

TEST_F(SimCoreTest, TransfersMustBeTriggeredOnceInTheOrderOfTheJson) {
  const auto load = [this](std::vector<uint32_t> ids) {
    ProgramBuilder builder(device());
    for (uint32_t id : ids) builder.Add(Engine::kPool, DmaTrigger{id});
    builder.Load();
  };
  EXPECT_NO_THROW(load({0, 1}));
  EXPECT_THROW(load({1, 0}), std::runtime_error);
  EXPECT_THROW(load({0, 0}), std::runtime_error);
  EXPECT_THROW(load({0}), std::runtime_error);
}

}  // namespace
}  // namespace nrtd::sim
