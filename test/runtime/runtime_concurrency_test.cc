// SPDX-License-Identifier: Apache-2.0
//
// Clients that load, unload, infer and look at each other's statistics at once: what crashed the
// original.
#include <atomic>

#include "test/runtime/runtime_fixture.h"

namespace nrtd::runtime {
namespace {

class RuntimeConcurrencyTest : public RuntimeFixture {
 protected:
  // What the monitoring tools read.
  uint64_t ReadStatistics() {
    uint64_t sum = 0;
    for (const auto& network : runtime_.ListNetworks()) {
      sum += network->inferences_done() + network->inferences_failed() + network->slots_in_use() +
             NetworkStateName(network->state()).size() + network->failure().size() +
             network->info().name.size() + network->slot_bytes();
      for (const auto& stage : network->stages()) sum += stage->dram_bytes();
    }
    for (const auto& group : runtime_.ListGroups()) sum += group.networks + group.running;
    Machine& machine = runtime_.machine();
    for (uint32_t c = 0; c < machine.core_count(); ++c)
      sum += machine.channel(c).core().counters().busy_ns;
    const Usage usage = UsageOf(machine);
    return sum + usage.dram + usage.host + runtime_.metrics().totals().loads +
           runtime_.metrics().totals().unloads;
  }
};

TEST_F(RuntimeConcurrencyTest, ClientsLoadInferAndUnloadWhileStatisticsAreRead) {
  constexpr int kClients = 4;
  std::atomic<bool> over{false};
  std::atomic<int> wrong{0};
  std::atomic<int> served{0};
  std::thread monitor([&] {
    uint64_t sum = 0;
    while (!over) sum += ReadStatistics();
    EXPECT_GT(sum, 0U);
  });
  std::vector<std::thread> clients;
  for (int t = 0; t < kClients; ++t) {
    clients.emplace_back([&, t] {
      for (int i = 0; i < 15; ++i) {
        auto id = TryLoad(doubling_);
        if (!id) {
          ++wrong;
          continue;
        }
        const auto value = static_cast<float>(t * 100 + i);
        for (int k = 0; k < 5; ++k) {
          if (Infer(*Must(runtime_.Find(*id)), value).value == Doubled(value, 1)) ++served;
        }
        if (!runtime_.Unload(*id)) ++wrong;
      }
    });
  }
  for (std::thread& client : clients) client.join();
  over = true;
  monitor.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(served, kClients * 15 * 5);
  EXPECT_EQ(UsageOf(runtime_.machine()), idle_);
  EXPECT_EQ(FreeRun(), 4U);
}

TEST_F(RuntimeConcurrencyTest, OneOfManyUnloadsOfANetworkSucceeds) {
  for (int i = 0; i < 25; ++i) {
    const NetworkId id = Load(doubling_);
    std::atomic<int> unloaded{0};
    std::atomic<int> not_found{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        const auto result = runtime_.Unload(id);
        if (result) ++unloaded;
        if (!result && result.error().code == Nerr::kInvalidHandle) ++not_found;
        // Whoever returns finds the cores free.
        EXPECT_TRUE(runtime_.ListNetworks().empty());
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(unloaded, 1);
    EXPECT_EQ(not_found, 3);
    EXPECT_TRUE(runtime_.ListGroups().empty());
  }
}

TEST_F(RuntimeConcurrencyTest, UnloadAllBesideAnUnloadFreesTheGroupAsWell) {
  for (int i = 0; i < 40; ++i) {
    const auto group = Must(runtime_.CreateGroup(1));
    const NetworkId id = Load(doubling_, group.id);
    Must(runtime_.Start(id));
    std::thread client([&] { (void)runtime_.Unload(id); });
    runtime_.UnloadAll();
    client.join();
    EXPECT_TRUE(runtime_.ListNetworks().empty());
    EXPECT_TRUE(runtime_.ListGroups().empty());
  }
}

TEST_F(RuntimeConcurrencyTest, UnloadAllBesideAStopAndAStartLeavesNothing) {
  for (int i = 0; i < 40; ++i) {
    const auto group = Must(runtime_.CreateGroup(1));
    const NetworkId id = Load(doubling_, group.id);
    Must(runtime_.Start(id));
    std::thread client([&] {
      (void)runtime_.Stop(id);
      (void)runtime_.Start(id);
    });
    runtime_.UnloadAll();
    client.join();
    EXPECT_TRUE(runtime_.ListNetworks().empty());
    EXPECT_TRUE(runtime_.ListGroups().empty());
    EXPECT_EQ(UsageOf(runtime_.machine()), idle_);
  }
}

TEST_F(RuntimeConcurrencyTest, InferencesPostedDuringAnUnloadLeaveNothing) {
  for (int i = 0; i < 25; ++i) {
    const NetworkId id = Load(doubling_);
    std::thread client([&] {
      while (true) {
        auto network = runtime_.Find(id);
        if (!network) return;
        auto inference = (*network)->Begin();
        if (!inference) {
          if (inference.error().code == Nerr::kQueueFull) continue;
          return;
        }
        Fill(*inference, 1);
        if (!inference->Submit(Completion::kInterrupt)) return;
        network->reset();
        runtime_.cookies().Add(std::move(*inference));
      }
    });
    Must(runtime_.Unload(id));
    client.join();
    EXPECT_EQ(UsageOf(runtime_.machine()), idle_);
  }
}

TEST_F(RuntimeConcurrencyTest, SessionsComeAndGoWithTheirNetworks) {
  std::vector<std::thread> clients;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t) {
    clients.emplace_back([&, t] {
      for (int i = 0; i < 12; ++i) {
        const SessionId session = runtime_.sessions().Open();
        const auto group = runtime_.CreateGroup(1, {session});
        if (!group) {
          ++wrong;
          continue;
        }
        const auto id = TryLoad(doubling_, group->id, session);
        if (!id || !runtime_.Start(*id) ||
            Infer(*Must(runtime_.Find(*id)), static_cast<float>(t)).code != Nerr::kOk)
          ++wrong;
        runtime_.CloseSession(session);
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_TRUE(runtime_.ListGroups().empty());
  EXPECT_EQ(UsageOf(runtime_.machine()), idle_);
}

}  // namespace
}  // namespace nrtd::runtime
