// SPDX-License-Identifier: Apache-2.0
//
// Threads against one network. The clock stands still: a wake-up that is lost shows as a test that
// hangs.
#include <atomic>

#include "test/runtime/runtime_fixture.h"

namespace nrtd::runtime {
namespace {

class NetworkConcurrencyTest : public NetworkFixture {
 protected:
  // What one thread's inferences came to.
  struct Tally {
    std::atomic<int> right{0};
    std::atomic<int> refused{0};  // queue full, or not running
    std::atomic<int> wrong{0};
  };

  void InferOnce(Network& network, float value, size_t stages, Completion completion,
                 Tally& tally) {
    auto inference = network.Begin();
    if (!inference) {
      Count(inference.error().code, tally);
      return;
    }
    Fill(*inference, value);
    if (auto submitted = inference->Submit(completion); !submitted) {
      Count(submitted.error().code, tally);
      return;
    }
    const auto outcome = inference->Wait();
    const bool right =
        outcome.code == Nerr::kOk && OutputOf(*inference)[0] == Doubled(value, stages);
    ++(right ? tally.right : tally.wrong);
  }
  static void Count(Nerr code, Tally& tally) {
    ++(code == Nerr::kQueueFull || code == Nerr::kInvalid ? tally.refused : tally.wrong);
  }
};

TEST_F(NetworkConcurrencyTest, ThreadsShareAPipeline) {
  constexpr int kThreads = 4;
  constexpr int kEach = 200;
  const auto network = Load(DoublingSpec(3), Group(3), kThreads);
  Must(network->Start());
  Tally tally;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        InferOnce(*network, static_cast<float>(t * kEach + i), 3,
                  (t + i) % 2 == 0 ? Completion::kPolled : Completion::kInterrupt, tally);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(tally.right, kThreads * kEach);  // a slot for each: never full
  EXPECT_EQ(network->inferences_done(), static_cast<uint64_t>(kThreads * kEach));
}

TEST_F(NetworkConcurrencyTest, MoreThreadsThanSlotsAreRefusedAndNothingElse) {
  const auto network = Load(DoublingSpec(2), Group(2), 2);
  Must(network->Start());
  Tally tally;
  std::vector<std::thread> threads;
  for (int t = 0; t < 5; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 100; ++i)
        InferOnce(*network, static_cast<float>(t + i), 2, Completion::kPolled, tally);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(tally.wrong, 0);
  EXPECT_EQ(tally.right + tally.refused, 500);
  EXPECT_EQ(network->slots_in_use(), 0U);
}

TEST_F(NetworkConcurrencyTest, InferencesGoOnWhileAnotherThreadStopsAndStarts) {
  const auto network = Load(DoublingSpec(2), Group(2), 4);
  Must(network->Start());
  Tally tally;
  std::atomic<bool> over{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; !over || i < 20; ++i) {
        InferOnce(*network, static_cast<float>(t * 10 + i % 10), 2,
                  i % 2 == 0 ? Completion::kPolled : Completion::kInterrupt, tally);
      }
    });
  }
  for (int i = 0; i < 40; ++i) {
    Must(network->Stop());
    Must(network->Start());
    // Somebody gets through before the next stop.
    for (const int before = tally.right; tally.right == before;) std::this_thread::yield();
  }
  over = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(tally.wrong, 0);
  EXPECT_GE(tally.right, 40);
  EXPECT_EQ(network->slots_in_use(), 0U);
}

TEST_F(NetworkConcurrencyTest, DroppedInferencesDoNotHoldUpTheOthers) {
  const auto network = Load(DoublingSpec(2), Group(2), 4);
  Must(network->Start());
  Tally tally;
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 150; ++i) {
        if (t == 0) {
          auto dropped = network->Begin();
          if (!dropped) continue;
          Fill(*dropped, 1);
          Must(dropped->Submit(i % 2 == 0 ? Completion::kPolled : Completion::kInterrupt));
        } else {
          InferOnce(*network, static_cast<float>(i), 2, Completion::kPolled, tally);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(tally.wrong, 0);
  Must(network->Stop());
  Must(network->Retire());
  network->AwaitReleased();
  EXPECT_EQ(network->slots_in_use(), 0U);
}

TEST_F(NetworkConcurrencyTest, ANetworkLoadsOntoACoreThatIsAtWork) {
  const GroupId group = Group(1);
  const auto working = Load(DoublingSpec(1), group, 2);
  Must(working->Start());
  std::atomic<bool> over{false};
  Tally tally;
  std::thread client([&] {
    while (!over) InferOnce(*working, 3, 1, Completion::kPolled, tally);
  });
  for (int i = 0; i < 20; ++i) Load(DoublingSpec(1), group);
  over = true;
  client.join();
  EXPECT_EQ(tally.wrong, 0);
}

TEST_F(NetworkConcurrencyTest, ThreadsTakeTurnsOnAGroup) {
  const GroupId group = Group(1);
  std::atomic<int> wrong{0};
  std::vector<std::shared_ptr<Network>> networks;
  for (int t = 0; t < 3; ++t) networks.push_back(Load(DoublingSpec(1), group));
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      for (int served = 0; served < 10;) {
        if (!networks[t]->Start()) {
          std::this_thread::yield();
          continue;
        }
        const auto value = static_cast<float>(t * 10 + served);
        if (Infer(*networks[t], value).value != Doubled(value, 1)) ++wrong;
        if (!networks[t]->Stop()) ++wrong;
        ++served;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace nrtd::runtime
