// SPDX-License-Identifier: Apache-2.0
#include "runtime/model/transfer_plan.h"

#include <random>
#include <stop_token>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/sizes.h"
#include "memory/hugepage_pool.h"
#include "runtime/model/limits.h"
#include "test/base/thread_cpu_time.h"
#include "test/driver_shim/sim_fixture.h"
#include "test/must.h"

namespace nrtd::runtime {
namespace {

using neff::AccessPattern;
using ::testing::HasSubstr;

constexpr uint32_t kHost = 0;  // variables
constexpr uint32_t kDevice = 1;
constexpr uint32_t kOtherDevice = 2;
constexpr uint64_t kHugePage = memory::kHugePageSize;

// A subgraph with one variable in the slot and two in DRAM.
struct Scene {
  neff::Subgraph subgraph;
  uint64_t slot_base = 0;
  BusAddress dram = DramAddress(0, 0, 0);

  Scene() {
    subgraph.name = "sg00";
    subgraph.variables.resize(3);
    AddEngine("pool");
  }
  neff::EngineProgram& AddEngine(const std::string& name) {
    subgraph.engines.emplace_back().engine = name;
    return subgraph.engines.back();
  }
  Scene& Add(size_t engine, uint32_t id, const std::string& queue, AccessPattern from,
             AccessPattern to, std::optional<uint32_t> semaphore = std::nullopt) {
    neff::DmaTrigger trigger;
    trigger.id = id;
    trigger.queue = queue;
    trigger.semaphore = semaphore;
    trigger.desc.from = std::move(from);
    trigger.desc.to = std::move(to);
    subgraph.engines[engine].dma.push_back(std::move(trigger));
    return *this;
  }
  Result<TransferPlan> Plan() const {
    return PlanTransfers(subgraph, [this](const neff::Variable& v) -> Result<TransferEnd> {
      const auto index = static_cast<uint64_t>(&v - subgraph.variables.data());
      if (index == kHost) return TransferEnd{true, slot_base};
      return TransferEnd{false, dram + (index - 1) * 16 * kGiB};
    });
  }
};

AccessPattern Row(uint32_t variable, uint64_t offset, uint64_t bytes) {
  return AccessPattern::Contiguous(variable, offset, bytes);
}

using Moves = std::vector<std::pair<uint64_t, uint64_t>>;  // source and destination of each byte

// Every address that a pattern names, innermost dimension first, one by one.
std::vector<uint64_t> Walk(const AccessPattern& pattern, uint64_t base) {
  std::vector<uint64_t> addresses;
  uint64_t total = 1;
  for (uint64_t size : pattern.sizes) total *= size;
  for (uint64_t i = 0; i < total; ++i) {
    auto address = static_cast<int64_t>(base + pattern.offset);
    uint64_t rest = i;
    for (size_t d = 0; d < pattern.sizes.size(); ++d) {
      address += static_cast<int64_t>(rest % pattern.sizes[d]) * pattern.steps[d];
      rest /= pattern.sizes[d];
    }
    addresses.push_back(static_cast<uint64_t>(address));
  }
  return addresses;
}

Moves Expand(const std::vector<Transfer>& transfers) {
  Moves moves;
  for (const Transfer& transfer : transfers) {
    for (uint32_t i = 0; i < transfer.length; ++i)
      moves.emplace_back(transfer.from.at + i, transfer.to.at + i);
  }
  return moves;
}

// A random pattern over `bytes` bytes, up to 4 dimensions, steps of any sign.
AccessPattern RandomPattern(std::mt19937& random, uint32_t variable, uint64_t bytes) {
  const auto draw = [&](uint64_t low, uint64_t high) {
    return std::uniform_int_distribution<uint64_t>(low, high)(random);
  };
  AccessPattern pattern;
  pattern.variable = variable;
  pattern.offset = 64 * kKiB;  // room for negative steps
  uint64_t rest = bytes;
  const uint64_t dimensions = draw(1, 4);
  for (uint64_t d = 0; d < dimensions; ++d) {
    uint64_t size = rest;
    if (d + 1 < dimensions) {
      std::vector<uint64_t> divisors;
      for (uint64_t k = 1; k <= rest; ++k)
        if (rest % k == 0) divisors.push_back(k);
      size = divisors[draw(0, divisors.size() - 1)];
    }
    rest /= size;
    pattern.sizes.push_back(size);
    const bool dense = d == 0 && draw(0, 3) != 0;
    pattern.steps.push_back(dense ? 1 : static_cast<int64_t>(draw(0, 400)) - 200);
  }
  return pattern;
}

TEST(TransferPlanTest, AnyPatternMovesTheBytesOfTheNaiveWalk) {
  std::mt19937 random(20'231);
  constexpr uint64_t kSizes[] = {1, 7, 12, 48, 60, 64, 96, 128, 210, 256};
  for (int round = 0; round < 2'000; ++round) {
    const uint64_t bytes = kSizes[random() % std::size(kSizes)];
    const AccessPattern from = RandomPattern(random, kHost, bytes);
    const AccessPattern to = RandomPattern(random, kDevice, bytes);
    ASSERT_TRUE(neff::ExtentOf(from) && neff::ExtentOf(to));
    Scene scene;
    // A page boundary somewhere in the middle of the pattern, often.
    scene.slot_base = 2 * kHugePage - 64 * kKiB - random() % 300;
    const bool inward = random() % 2 == 0;
    scene.Add(0, 0, "q", inward ? from : to, inward ? to : from);
    const TransferPlan plan = Must(scene.Plan());
    const auto host = Walk(from, scene.slot_base);
    const auto device = Walk(to, scene.dram);
    Moves expected;
    for (size_t i = 0; i < bytes; ++i) {
      expected.emplace_back(inward ? host[i] : device[i], inward ? device[i] : host[i]);
    }
    ASSERT_EQ(plan.queues.size(), 1U);
    ASSERT_EQ(Expand(plan.queues[0]), expected) << "round " << round;
    ASSERT_EQ(plan.triggers[0].descriptors, plan.queues[0].size());
    for (const Transfer& transfer : plan.queues[0]) {
      const TransferEnd& end = inward ? transfer.from : transfer.to;
      ASSERT_TRUE(end.in_slot);
      ASSERT_GT(transfer.length, 0U);
      ASSERT_EQ(end.at / kHugePage, (end.at + transfer.length - 1) / kHugePage) << "crosses a page";
    }
  }
}

TEST(TransferPlanTest, ARowIsSplitAtThePagesOfTheSlotOnly) {
  Scene scene;
  scene.slot_base = kHugePage / 2;
  scene.Add(0, 0, "q", Row(kHost, 0, 3 * kHugePage), Row(kDevice, 0, 3 * kHugePage));
  const TransferPlan plan = Must(scene.Plan());
  std::vector<uint32_t> lengths;
  for (const Transfer& transfer : plan.queues[0]) lengths.push_back(transfer.length);
  EXPECT_EQ(lengths, (std::vector<uint32_t>{kHugePage / 2, kHugePage, kHugePage, kHugePage / 2}));
}

TEST(TransferPlanTest, DramIsContiguousUpToWhatADescriptorCanSay) {
  Scene scene;
  scene.Add(0, 0, "q", Row(kDevice, 0, 3 * kGiB), Row(kOtherDevice, 0, 3 * kGiB));
  const TransferPlan plan = Must(scene.Plan());
  ASSERT_EQ(plan.queues[0].size(), 3U);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(plan.queues[0][i].length, kGiB);
    EXPECT_EQ(plan.queues[0][i].from.at, scene.dram + i * kGiB);
    EXPECT_FALSE(plan.queues[0][i].from.in_slot);
  }
}

TEST(TransferPlanTest, TheSemaphoreIsOnTheLastPieceOfEachDescriptor) {
  Scene scene;
  scene.Add(0, 0, "q", {kHost, 0, {1, 100}, {10, 3}}, Row(kDevice, 0, 30), 5)
      .Add(0, 0, "q", {kHost, 0, {1, 100}, {10, 2}}, Row(kDevice, 0, 20), 6)
      .Add(0, 1, "q", Row(kHost, 0, 8), Row(kDevice, 0, 8));
  const TransferPlan plan = Must(scene.Plan());
  std::vector<uint8_t> semaphores;
  for (const Transfer& transfer : plan.queues[0]) semaphores.push_back(transfer.semaphore);
  EXPECT_EQ(semaphores,
            (std::vector<uint8_t>{kNoSemaphore, kNoSemaphore, 5, kNoSemaphore, 6, kNoSemaphore}));
  ASSERT_EQ(plan.triggers.size(), 2U);
  EXPECT_EQ(plan.triggers[0].id, 0U);
  EXPECT_EQ(plan.triggers[0].descriptors, 5U);
  EXPECT_EQ(plan.triggers[1].id, 1U);
  EXPECT_EQ(plan.triggers[1].descriptors, 1U);
}

TEST(TransferPlanTest, QueuesAreNumberedInTheOrderOfTheirFirstUse) {
  Scene scene;
  scene.AddEngine("act");
  scene.Add(0, 0, "out", Row(kHost, 0, 4), Row(kDevice, 0, 4))
      .Add(0, 1, "in", Row(kHost, 0, 4), Row(kDevice, 0, 4))
      .Add(1, 0, "act", Row(kHost, 0, 4), Row(kDevice, 0, 4));
  const TransferPlan plan = Must(scene.Plan());
  ASSERT_EQ(plan.queues.size(), 3U);
  EXPECT_EQ(plan.triggers[0].queue, 0U);
  EXPECT_EQ(plan.triggers[1].queue, 1U);
  EXPECT_EQ(plan.triggers[2].queue, 2U);
  EXPECT_EQ(plan.triggers[2].engine, CoreEngine::kAct);
  EXPECT_EQ(plan.triggers[2].id, 0U);  // an id belongs to its engine
}

TEST(TransferPlanTest, AnIdOnTwoQueuesIsRefused) {
  Scene scene;
  scene.Add(0, 3, "a", Row(kHost, 0, 4), Row(kDevice, 0, 4))
      .Add(0, 3, "b", Row(kHost, 0, 4), Row(kDevice, 0, 4));
  const auto refused = scene.Plan();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Nerr::kInvalid);
  EXPECT_THAT(refused.error().text, HasSubstr("DMA id 3 of engine pool"));
}

TEST(TransferPlanTest, AnIdWhoseDescriptorsAreNotTogetherIsRefused) {
  Scene scene;
  scene.Add(0, 3, "a", Row(kHost, 0, 4), Row(kDevice, 0, 4))
      .Add(0, 4, "a", Row(kHost, 0, 4), Row(kDevice, 0, 4))
      .Add(0, 3, "a", Row(kHost, 0, 4), Row(kDevice, 0, 4));
  EXPECT_EQ(scene.Plan().error().code, Nerr::kInvalid);
}

TEST(TransferPlanTest, AnEngineOfLaterChipsIsRefused) {
  Scene scene;
  scene.AddEngine("sp");
  const auto refused = scene.Plan();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Nerr::kUnsupportedVersion);
  EXPECT_THAT(refused.error().text, HasSubstr("'sp'"));
}

TEST(TransferPlanTest, AQueueTakesExactlyTheLimitOfTransfers) {
  const auto scattered = [](uint64_t bytes) {
    Scene scene;
    scene.Add(0, 0, "q", {kHost, 0, {1, 2}, {1, bytes}}, Row(kDevice, 0, bytes));
    return scene.Plan();
  };
  EXPECT_EQ(Must(scattered(kMaxTransfers)).queues[0].size(), kMaxTransfers);
  const auto refused = scattered(kMaxTransfers + 1);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Nerr::kInvalid);
  EXPECT_THAT(refused.error().text, HasSubstr("more than 16384 transfers"));
}

// A program went on computing with the weights that were there before.
TEST(TransferPlanTest, ADescriptorIntoAFileVariableIsRefused) {
  Scene scene;
  scene.subgraph.variables[kDevice].type = neff::VariableType::kFile;
  scene.subgraph.variables[kDevice].name = "conv1.weight";
  scene.Add(0, 0, "out", Row(kDevice, 0, 4), Row(kHost, 0, 4));
  EXPECT_TRUE(scene.Plan());
  scene.Add(0, 1, "in", Row(kHost, 0, 4), Row(kDevice, 0, 4));
  const auto refused = scene.Plan();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Nerr::kInvalid);
  EXPECT_THAT(refused.error().text, HasSubstr("queue 'in' writes variable 'conv1.weight', a file"));
}

// Each id once was compared with all before it: ten times as many took a hundred times as long.
TEST(TransferPlanTest, ManyIdsTakeNoLongerEachThanFew) {
  const auto time_of = [](uint32_t ids) {
    Scene scene;
    scene.subgraph.engines[0].dma.reserve(ids);
    for (uint32_t id = 0; id < ids; ++id) {
      scene.Add(0, id, std::to_string(id / kMaxTransfers), Row(kDevice, 0, 4),
                Row(kOtherDevice, 0, 4));
    }
    const auto begin = ThreadCpuTime();
    EXPECT_EQ(Must(scene.Plan()).triggers.size(), ids);
    return ThreadCpuTime() - begin;
  };
  EXPECT_LT(time_of(200'000), 40 * time_of(20'000));
}

TEST(TransferPlanTest, PlanningEndsWhenNobodyWantsItAnyMore) {
  Scene scene;
  scene.Add(0, 0, "q", Row(kHost, 0, 4), Row(kDevice, 0, 4));
  std::stop_source gone;
  gone.request_stop();
  const auto refused = PlanTransfers(
      scene.subgraph, [](const neff::Variable&) -> Result<TransferEnd> { return TransferEnd{}; },
      gone.get_token());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Nerr::kInvalidHandle);
}

TEST(TransferPlanTest, AVariableThatCannotBeReachedIsRefusedWithItsReason) {
  Scene scene;
  scene.Add(0, 0, "q", Row(kHost, 0, 4), Row(kDevice, 0, 4));
  const auto refused = PlanTransfers(scene.subgraph, [](const neff::Variable&) {
    return Result<TransferEnd>(Fail(Nerr::kInvalid, "not there"));
  });
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().text, "not there");
}

TEST(TransferPlanTest, BindingPutsTheSlotsBusAddressesIn) {
  memory::PoolOptions options;
  options.pages_per_device = 4;
  options.only_small_pages = true;
  const auto pool = Must(memory::HugePagePool::Create(options));
  const memory::DmaBuffer slot = Must(pool->Allocate(2 * kHugePage, kHugePage));
  Scene scene;
  scene.slot_base = kHugePage - 4;
  scene.Add(0, 0, "in", Row(kHost, 0, 8), Row(kDevice, 0, 8), 1)
      .Add(0, 1, "out", Row(kDevice, 0, 8), Row(kHost, 0, 8));
  const auto queues = BindToSlot(Must(scene.Plan()), slot);
  ASSERT_EQ(queues.size(), 2U);
  ASSERT_EQ(queues[0].descriptors.size(), 2U);
  EXPECT_EQ(queues[0].queue, 0U);
  EXPECT_EQ(queues[0].descriptors[0].source, slot.BusAddress(kHugePage - 4));
  EXPECT_EQ(queues[0].descriptors[0].destination, scene.dram);
  EXPECT_EQ(queues[0].descriptors[0].length, 4U);
  EXPECT_EQ(queues[0].descriptors[0].semaphore, kNoSemaphore);
  EXPECT_EQ(queues[0].descriptors[1].source, slot.BusAddress(kHugePage));
  EXPECT_EQ(queues[0].descriptors[1].destination, scene.dram + 4);
  EXPECT_EQ(queues[0].descriptors[1].semaphore, 1U);
  EXPECT_EQ(queues[1].queue, 1U);
  EXPECT_EQ(queues[1].descriptors[0].source, scene.dram);
  EXPECT_EQ(queues[1].descriptors[1].destination, slot.BusAddress(kHugePage));
  EXPECT_EQ(queues[1].descriptors[1].kind, DescriptorKind::kCopy);
}

}  // namespace
}  // namespace nrtd::runtime
