// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/notification_queue.h"

#include "test/driver_shim/sim_fixture.h"

namespace nrtd::sim {
namespace {

class NotificationQueueTest : public SimFixture {
 protected:
  NotificationQueueTest() : program_(device(), *pool_, 4) {}

  // Runs `count` executions that each put one implicit notification into `queue`.
  void Execute(uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) {
      for (const QueueWork& work : program_.work()) {
        Must(rings_[work.queue].Push(work.descriptors));
        core().RingDoorbell(work.queue, 1);
      }
      const Descriptor run{.kind = DescriptorKind::kExecute, .tag = ++tag_};
      Must(execution_.Push({&run, 1}));
      core().RingDoorbell(kExecutionQueue, 1);
      ASSERT_EQ(core().Poll(), Progress::kAdvanced);
    }
  }
  void Attach(const NotificationQueue& queue) {
    Must(core().AttachNotifications(NotificationKind::kImplicit, queue.config()));
    Must(core().AttachRing(kExecutionQueue, execution_.config()));
    for (QueueId q = 0; q < 2; ++q) Must(core().AttachRing(q, rings_[q].config()));
    const QueueId queues[] = {0, 1};
    Must(core().Activate(program_.id(), queues));
  }

  FunctionProgram program_;
  DmaRing execution_ = Must(DmaRing::Create(*pool_, 8));
  DmaRing rings_[2] = {Must(DmaRing::Create(*pool_, 8)), Must(DmaRing::Create(*pool_, 8))};
  uint64_t tag_ = 0;
};

TEST_F(NotificationQueueTest, DeliversInOrderAcrossManyRounds) {
  auto queue = Must(NotificationQueue::Create(*pool_, 4));
  Attach(queue);
  uint64_t expected = 0;
  for (int round = 0; round < 20; ++round) {
    Execute(3);
    for (int i = 0; i < 3; ++i) {
      const auto notification = queue.Pop();
      ASSERT_TRUE(notification);
      EXPECT_EQ(notification->tag, ++expected);
    }
    EXPECT_FALSE(queue.Pop());
  }
}

TEST_F(NotificationQueueTest, AReaderThatFellBehindGoesOnWithNewerEntries) {
  auto queue = Must(NotificationQueue::Create(*pool_, 4));
  Attach(queue);
  Execute(6);  // 5 and 6 overwrote 1 and 2
  std::vector<uint64_t> tags;
  while (const auto notification = queue.Pop()) tags.push_back(notification->tag);
  EXPECT_EQ(tags, (std::vector<uint64_t>{5, 6}));
  Execute(1);
  EXPECT_EQ(queue.Pop()->tag, 7U);
}

TEST_F(NotificationQueueTest, CapacityIsAPowerOfTwo) {
  EXPECT_FALSE(NotificationQueue::Create(*pool_, 0));
  EXPECT_FALSE(NotificationQueue::Create(*pool_, 12));
}

}  // namespace
}  // namespace nrtd::sim
