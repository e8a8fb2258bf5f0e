// SPDX-License-Identifier: Apache-2.0
//
// The ways in which a network's nodes get cores: one each, shared, and by switching between the
// networks of a group.
#include <thread>

#include "test/integration/daemon_test.h"
#include "test/runtime/neff_builder.h"

namespace nrtd::integration {
namespace {

using runtime::ChainContents;
using runtime::Doubled;
using runtime::NeffBytes;

class LoadingModesTest : public DaemonTest {
 protected:
  uint32_t Group(uint32_t cores) {
    const auto group = client().CreateGroup(cores);
    EXPECT_THAT(group, IsOk());
    return group.h_eg().id();
  }
  static nrt::infer_request Ask(uint32_t network, float value) {
    return InferRequest(network, {{"x", BytesOf(std::vector<float>(4, value))}});
  }
  static float ValueOf(const nrt::infer_response& answer) {
    EXPECT_THAT(answer, IsOk());
    return answer.ofmap_size() == 1 ? FloatsOf(answer.ofmap(0).buf())[0] : 0;
  }
  std::vector<uint32_t> CoresOf(uint32_t network) {
    std::vector<uint32_t> cores;
    const auto listed = client().ListNetworks();
    for (const auto& known : listed.networks()) {
      if (known.id() != network) continue;
      for (const auto& subgraph : known.subgraphs()) cores.push_back(subgraph.virtual_core());
    }
    return cores;
  }
};

TEST_F(LoadingModesTest, SharedNcNodesTakeTurnsInAGroupAsLargeAsTheLargest) {
  const std::string chain = TextOf(NeffBytes(ChainContents({1, 2, 1, 1})));
  const uint32_t too_small = Group(1);
  EXPECT_THAT(client().Load(LoadMessages({.neff = chain, .group = too_small})),
              HasStatus(9, "Insufficient number of VNCs: 1, required: 2"));
  const uint32_t group = Group(2);
  const uint32_t network = Load({.neff = chain, .group = group, .ninfer = 4});
  EXPECT_THAT(CoresOf(network), ::testing::ElementsAre(1, 1, 2, 1, 2));
  ASSERT_THAT(client().Start(network), IsOk());
  EXPECT_EQ(ValueOf(client().Infer(Ask(network, 3))), Doubled(3, 5));
  // ninfer of them in flight, the last one collected first.
  std::vector<uint64_t> cookies;
  for (int i = 0; i < 4; ++i) {
    const auto posted = client().Post(Ask(network, static_cast<float>(i)));
    ASSERT_THAT(posted, IsOk());
    cookies.push_back(posted.cookie());
  }
  for (int i = 3; i >= 0; --i)
    EXPECT_EQ(ValueOf(client().Wait(cookies[i])), Doubled(static_cast<float>(i), 5));
}

TEST_F(LoadingModesTest, ThoseWithoutAGroupOfTheirOwnWantACoreForEverySubgraph) {
  const std::string chain = TextOf(NeffBytes(ChainContents({1, 2, 2})));
  EXPECT_THAT(client().Load(LoadMessages({.neff = chain})),
              HasStatus(9, "Requested number of NCs: 5 exceeds the total available number: 4"));
}

TEST_F(LoadingModesTest, NetworksOfOneGroupRunInTurnAndKeepTheirPlaces) {
  const uint32_t group = Group(2);
  std::vector<uint32_t> networks;
  for (const size_t stages : {1U, 2U})
    networks.push_back(
        Load({.neff = TextOf(NeffBytes(ChainContents({stages, stages}))), .group = group}));
  for (int round = 0; round < 20; ++round) {
    const uint32_t network = networks[round % 2];
    ASSERT_THAT(client().Start(network), IsOk());
    const auto value = static_cast<float>(round);
    EXPECT_EQ(ValueOf(client().Infer(Ask(network, value))), Doubled(value, round % 2 == 0 ? 2 : 4));
    EXPECT_THAT(client().Infer(Ask(networks[(round + 1) % 2], 1)), HasStatus(2, "start it first"));
    ASSERT_THAT(client().Stop(network), IsOk());
  }
}

TEST_F(LoadingModesTest, AHundredSwitchesUnderFourClientsLoseNothing) {
  const std::string chain = TextOf(NeffBytes(ChainContents({2, 1, 1})));
  const uint32_t network = Load({.neff = chain, .group = Group(2), .ninfer = 4});
  ASSERT_THAT(client().Start(network), IsOk());
  std::vector<std::thread> clients;
  for (int c = 0; c < 4; ++c) {
    clients.emplace_back([&, c] {
      RtdClient own(address());
      for (int i = 0; i < 25; ++i) {
        const auto value = static_cast<float>(100 * c + i);
        EXPECT_EQ(ValueOf(own.Infer(Ask(network, value))), Doubled(value, 4));
      }
    });
  }
  for (std::thread& client : clients) client.join();
}

}  // namespace
}  // namespace nrtd::integration
