// SPDX-License-Identifier: Apache-2.0
//
// Networks on fewer cores than they have subgraphs: their nodes take turns.
#include "test/runtime/runtime_fixture.h"

namespace nrtd::runtime {
namespace {

class SharedCoresTest : public NetworkFixture {};

TEST_F(SharedCoresTest, EveryNumberOfCoresGivesTheSameAnswers) {
  const auto chain = ChainContents({1, 2, 1, 1});
  for (uint32_t cores = 2; cores <= 4; ++cores) {
    const GroupId group = Group(cores);
    {
      const auto network = Load(chain, group, 3);
      Must(network->Start());
      for (int i = 0; i < 5; ++i)
        EXPECT_EQ(Infer(*network, static_cast<float>(i)).value, Doubled(static_cast<float>(i), 5));
    }
    Must(groups_.Destroy(group));
  }
}

TEST_F(SharedCoresTest, InferencesInFlightEndInTheOrderOfTheirSubmission) {
  const auto network = Load(ChainContents({1, 1, 1}), Group(1), 8);
  Must(network->Start());
  for (int round = 0; round < 10; ++round) {
    std::vector<Inference> posted;
    for (int i = 0; i < 8; ++i) {
      posted.push_back(Must(network->Begin()));
      Fill(posted.back(), static_cast<float>(i));
      Must(posted.back().Submit(i % 2 == 0 ? Completion::kInterrupt : Completion::kPolled));
    }
    EXPECT_EQ(posted.back().Wait().code, Nerr::kOk);
    for (int i = 0; i < 8; ++i) {
      if (i < 7) {
        EXPECT_TRUE(posted[i].Done()) << i;
        EXPECT_EQ(posted[i].Wait().code, Nerr::kOk);
      }
      EXPECT_EQ(OutputOf(posted[i])[0], Doubled(static_cast<float>(i), 3));
    }
  }
}

TEST_F(SharedCoresTest, ClientsAtOnceLoseNothing) {
  const auto network = Load(ChainContents({2, 1, 2}), Group(2), 4);
  Must(network->Start());
  std::vector<std::future<int>> clients;
  for (int c = 0; c < 4; ++c) {
    clients.push_back(std::async(std::launch::async, [&network, c] {
      int right = 0;
      for (int i = 0; i < 200; ++i) {
        const auto value = static_cast<float>(c * 1000 + i);
        right += Infer(*network, value).value == Doubled(value, 5) ? 1 : 0;
      }
      return right;
    }));
  }
  for (auto& client : clients) EXPECT_EQ(client.get(), 200);
  EXPECT_EQ(network->inferences_done(), 800U);
}

TEST_F(SharedCoresTest, StoppingGivesTheCoresToTheNextNetworkOfTheGroup) {
  const GroupId group = Group(1);
  const auto shared = Load(ChainContents({1, 1}), group);
  const auto other = Load(DoublingSpec(1), group);
  for (int round = 0; round < 3; ++round) {
    Must(shared->Start());
    EXPECT_FALSE(other->Start());
    EXPECT_EQ(Infer(*shared, 1).value, Doubled(1, 2));
    Must(shared->Stop());
    Must(other->Start());
    EXPECT_EQ(Infer(*other, 1).value, Doubled(1, 1));
    Must(other->Stop());
  }
}

}  // namespace
}  // namespace nrtd::runtime
