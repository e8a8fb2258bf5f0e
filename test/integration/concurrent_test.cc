// SPDX-License-Identifier: Apache-2.0
//
// Many clients at once, and readers of statistics among them.
#include <atomic>
#include <thread>

#include "test/integration/daemon_test.h"
#include "test/runtime/neff_builder.h"

namespace nrtd::integration {
namespace {

class ConcurrentTest : public DaemonTest {
 protected:
  // Reads everything that tools read, until `stop`; counts answers that were no success.
  void ReadStatistics(const std::atomic<bool>& stop, std::atomic<int>& reads,
                      std::atomic<int>& failures) {
    RtdClient own(address());
    while (!stop) {
      for (uint32_t core = 0; core < 4; ++core) failures += own.CoreTime(core).status().code() != 0;
      failures += own.ListNetworks().status().code() != 0;
      failures += own.ListDevices().status().code() != 0;
      failures += own.ListSessions().status().code() != 0;
      failures += own.Health().status().code() != 0;
      failures += own.ListGroups().status().code() != 0;
      ++reads;
    }
  }
};

TEST_F(ConcurrentTest, EightClientsLoadInferAndUnloadWhileStatisticsAreRead) {
  constexpr int kClients = 8;
  constexpr int kRounds = 25;
  const Usage before = ReadUsage(client());
  const auto load = LoadMessages({.neff = digits_neff(), .ninfer = 2});
  const std::string image = digits().images[3];
  const std::vector<float>& reference = digits().references[3];
  std::atomic<int> done{0};
  std::atomic<int> wrong{0};
  const auto work = [&] {
    RtdClient own(address());
    // Four cores for eight clients: whoever is told that there is no room tries again.
    for (int round = 0; round < kRounds;) {
      const auto loaded = own.Load(load);
      if (loaded.status().code() == 9) continue;
      const auto answer = own.Infer(InferRequest(loaded.h_nn().id(), {{"input:0", image}}));
      const bool right = loaded.status().code() == 0 && answer.status().code() == 0 &&
                         RelativeError(FloatsOf(answer.ofmap(0).buf()), reference) <= 1e-5 &&
                         own.Unload(loaded.h_nn().id()).status().code() == 0;
      ++(right ? done : wrong);
      ++round;
    }
  };
  std::atomic<bool> stop{false};
  std::atomic<int> reads{0};
  std::atomic<int> failures{0};
  std::thread reader([&] { ReadStatistics(stop, reads, failures); });
  std::vector<std::thread> clients;
  for (int i = 0; i < kClients; ++i) clients.emplace_back(work);
  for (std::thread& thread : clients) thread.join();
  stop = true;
  reader.join();
  EXPECT_EQ(done, kClients * kRounds);
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(reads, 0);
  EXPECT_EQ(failures, 0);
  EXPECT_EQ(ReadUsage(client()), before);
}

TEST_F(ConcurrentTest, UnloadAllIsHarmlessTwiceAndBesideLoads) {
  EXPECT_THAT(client().UnloadAll(), IsOk());
  const Usage before = ReadUsage(client());
  const uint32_t group = client().CreateGroup(2).h_eg().id();
  Load({.neff = digits_neff(), .group = group});
  const uint32_t running = Load({.neff = digits_neff()});
  ASSERT_THAT(client().Post(InferRequest(running, digits().Input(0))), IsOk());
  EXPECT_THAT(client().UnloadAll(), IsOk());
  EXPECT_EQ(ReadUsage(client()), before);
  EXPECT_THAT(client().UnloadAll(), IsOk());
  EXPECT_EQ(ReadUsage(client()), before);

  constexpr int kRounds = 30;
  const auto load = LoadMessages({.neff = digits_neff()});
  std::atomic<bool> stop{false};
  std::atomic<int> strange{0};
  std::vector<std::thread> loaders;
  for (int i = 0; i < 3; ++i) {
    loaders.emplace_back([&] {
      RtdClient own(address());
      while (!stop) {
        const auto loaded = own.Load(load);
        if (loaded.status().code() != 0) {
          ++strange;
          continue;
        }
        // It may be gone, or going, by now; anything else is strange.
        const int code = own.Unload(loaded.h_nn().id()).status().code();
        if (code != 0 && code != 3 && code != 2) ++strange;
      }
    });
  }
  for (int round = 0; round < kRounds; ++round) EXPECT_THAT(client().UnloadAll(), IsOk());
  stop = true;
  for (std::thread& loader : loaders) loader.join();
  EXPECT_EQ(strange, 0);
  EXPECT_THAT(client().UnloadAll(), IsOk());
  EXPECT_EQ(ReadUsage(client()), before);
  ExpectReads(Load({.neff = digits_neff()}));
}

TEST_F(ConcurrentTest, ClientsOfOneNetworkGetTheirOwnAnswers) {
  constexpr size_t kClients = 4;
  const uint32_t network = Load({.neff = digits_neff(), .ninfer = kClients});
  std::atomic<int> wrong{0};
  digits();  // before the threads share it
  std::vector<std::thread> clients;
  for (size_t c = 0; c < kClients; ++c) {
    clients.emplace_back([&, c] {
      RtdClient own(address());
      for (size_t i = c; i < digits().size(); i += kClients) {
        const auto response = own.Infer(InferRequest(network, digits().Input(i)));
        if (response.status().code() != 0 ||
            RelativeError(FloatsOf(response.ofmap(0).buf()), digits().references[i]) > 1e-5)
          ++wrong;
      }
    });
  }
  for (std::thread& thread : clients) thread.join();
  EXPECT_EQ(wrong, 0);
}

// A call whose core another one drives holds no thread: a burst of them adds a few threads at most,
// which rest afterwards, and the daemon's end wakes them.
TEST_F(ConcurrentTest, CallsThatWaitForABusyCoreHoldNoThreads) {
  constexpr size_t kCalls = 64;
  constexpr int64_t kSide = 256;
  const sim::Operand square =
      sim::DenseOperand(runtime::kStageScratch, DType::kFloat32, 0, {kSide, kSide});
  // Small tensors, so that nothing but the core takes time.
  const runtime::StageSpec slow{
      .scratch_bytes = kSide * kSide * sizeof(float),
      .act = std::vector<sim::Instruction>(15, sim::Softmax{square, square, 0})};
  const uint32_t network = Load({.neff = TextOf(runtime::PipelineNeff({.stages = {slow}})),
                                 .ninfer = kCalls,
                                 .timeout_s = 60});
  ASSERT_NE(network, 0U);
  const nrt::infer_request request =
      InferRequest(network, {{"x", std::string(4 * sizeof(float), '\0')}});
  const size_t before = daemon().Threads();
  const auto burst = [&] {
    std::atomic<bool> stop{false};
    std::atomic<int> wrong{0};
    std::vector<std::jthread> clients;
    for (size_t i = 0; i < kCalls; ++i) {
      clients.emplace_back([&] {
        RtdClient own(address());
        while (!stop) wrong += own.Infer(request).status().code() != 0;
      });
    }
    Await("most calls are at work",
          [&] { return ReadUsage(client()).slots_in_use >= kCalls * 3 / 4; });
    stop = true;
    clients.clear();
    EXPECT_EQ(wrong, 0);
    return daemon().Threads();
  };
  const size_t first = burst();
  EXPECT_LT(first, before + kCalls / 2);
  EXPECT_LT(burst(), before + kCalls / 2);
}

// Starts, stops, inferences and unloads of one network from all sides: any answer is right as long
// as the daemon keeps its books.
TEST_F(ConcurrentTest, StartsStopsAndInferencesFromAllSidesKeepTheBooks) {
  constexpr int kRounds = 50;
  const Usage before = ReadUsage(client());
  const uint32_t group = client().CreateGroup(1).h_eg().id();
  const uint32_t network = Load({.neff = digits_neff(), .group = group});
  const nrt::infer_request request = InferRequest(network, digits().Input(0));
  const std::vector<std::function<int(RtdClient&)>> acts = {
      [&](RtdClient& own) { return own.Start(network).status().code(); },
      [&](RtdClient& own) { return own.Stop(network).status().code(); },
      [&](RtdClient& own) { return own.Infer(request).status().code(); },
      [&](RtdClient& own) { return own.Post(request).status().code(); },
  };
  std::atomic<int> strange{0};
  std::vector<std::thread> threads;
  for (const auto& act : acts) {
    threads.emplace_back([&, act] {
      RtdClient own(address());
      for (int round = 0; round < kRounds; ++round) {
        const int code = act(own);
        // 2: not running, or on its way to another state; 7: posted ones hold the slots.
        if (code != 0 && code != 2 && code != 7) ++strange;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(strange, 0);
  EXPECT_THAT(client().Unload(network), IsOk());
  EXPECT_THAT(client().DestroyGroup(group), IsOk());
  EXPECT_EQ(ReadUsage(client()), before);
}

}  // namespace
}  // namespace nrtd::integration
