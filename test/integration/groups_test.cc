// SPDX-License-Identifier: Apache-2.0
#include "test/integration/daemon_test.h"

namespace nrtd::integration {
namespace {

class GroupsTest : public DaemonTest {
 protected:
  v1::NetworkState StateOf(uint32_t network) {
    const auto listed = client().ListNetworks();
    for (const v1::Network& known : listed.networks()) {
      if (known.id() == network) return known.state();
    }
    return v1::NETWORK_STATE_UNSPECIFIED;
  }
  nrt::infer_response Infer(uint32_t network) {
    return client().Infer(InferRequest(network, digits().Input(0)));
  }
};

TEST_F(GroupsTest, GroupsTakeNeighbouringCoresAndAreListed) {
  const auto one = client().CreateGroup(1);
  ASSERT_THAT(one, IsOk());
  EXPECT_EQ(one.h_eg().id(), 1U);
  EXPECT_EQ(one.nc_count(), 1U);
  EXPECT_THAT(client().CreateGroup(4),
              HasStatus(9, "Requested number of NCs: 4 exceeds the total available number: 3"));
  // 0, which is also what a request without the field says: all that is left.
  const auto rest = client().CreateGroup(0);
  ASSERT_THAT(rest, IsOk());
  EXPECT_EQ(rest.nc_count(), 3U);
  EXPECT_THAT(client().CreateGroup(0),
              HasStatus(9, "Requested number of NCs: 1 exceeds the total available number: 0"));

  const nrt::out_list_egs listed = client().ListGroups();
  EXPECT_THAT(listed, IsOk());
  EXPECT_EQ(listed.mla_count(), 1U);
  EXPECT_EQ(listed.nc_count(), 4U);
  ASSERT_EQ(listed.eg_info_size(), 2);
  EXPECT_EQ(listed.eg_info(0).eg().id(), one.h_eg().id());
  EXPECT_EQ(listed.eg_info(0).nc_count(), 1U);
  EXPECT_EQ(listed.eg_info(1).eg().id(), rest.h_eg().id());
  EXPECT_EQ(listed.eg_info(1).nc_count(), 3U);
  EXPECT_EQ(listed.eg_info(1).mla_start_index(), 0U);
  EXPECT_EQ(listed.eg_info(1).vnc_start_index(), listed.eg_info(1).nc_start_index());
  const uint32_t first = listed.eg_info(0).vnc_start_index();
  const uint32_t second = listed.eg_info(1).vnc_start_index();
  EXPECT_TRUE(first < second || first >= second + 3) << first << " and " << second;
}

TEST_F(GroupsTest, AnExplicitGroupIsStartedAndStoppedByItsClient) {
  const uint32_t group = client().CreateGroup(1).h_eg().id();
  const uint32_t network = Load({.neff = digits_neff(), .group = group});
  EXPECT_EQ(StateOf(network), v1::NETWORK_STATE_STANDBY);
  EXPECT_THAT(Infer(network), HasStatus(2, "start it first"));
  EXPECT_THAT(client().Stop(network), IsOk());  // it is stopped
  for (int round = 0; round < 3; ++round) {
    EXPECT_THAT(client().Start(network), IsOk());
    EXPECT_EQ(StateOf(network), v1::NETWORK_STATE_RUNNING);
    EXPECT_THAT(client().Start(network), IsOk());  // it is running
    ExpectReads(network, static_cast<size_t>(round));
    EXPECT_THAT(client().Stop(network), IsOk());
    EXPECT_EQ(StateOf(network), v1::NETWORK_STATE_STANDBY);
    EXPECT_THAT(Infer(network), HasStatus(2, "start it first"));
  }
}

TEST_F(GroupsTest, OneNetworkOfAGroupRunsAndClientsSwitch) {
  const uint32_t group = client().CreateGroup(2).h_eg().id();
  const uint32_t first = Load({.neff = digits_neff(), .group = group});
  const uint32_t second = Load({.neff = CompileCase("relu"), .group = group});
  const compiler::Case relu = compiler::LoadCase("relu");
  const auto& [input_name, input] = *relu.inputs.begin();
  const auto relu_request = InferRequest(second, {{input_name, TextOf(input.data)}});

  ASSERT_THAT(client().Start(first), IsOk());
  EXPECT_THAT(client().Start(second), HasStatus(2, fmt::format("model {} is running", first)));
  EXPECT_EQ(StateOf(second), v1::NETWORK_STATE_STANDBY);
  ExpectReads(first);
  for (int round = 0; round < 3; ++round) {
    ASSERT_THAT(client().Stop(first), IsOk());
    ASSERT_THAT(client().Start(second), IsOk());
    const auto response = client().Infer(relu_request);
    ASSERT_THAT(response, IsOk());
    EXPECT_EQ(response.ofmap(0).buf(), TextOf(relu.outputs.begin()->second.data));
    EXPECT_THAT(client().Start(first), HasStatus(2, "is running"));
    ASSERT_THAT(client().Stop(second), IsOk());
    ASSERT_THAT(client().Start(first), IsOk());
    ExpectReads(first);
  }
}

TEST_F(GroupsTest, AGroupIsDestroyedOnceItsNetworksAreGone) {
  const uint32_t group = client().CreateGroup(4).h_eg().id();
  const uint32_t network = Load({.neff = digits_neff(), .group = group});
  ASSERT_THAT(client().Start(network), IsOk());
  EXPECT_THAT(client().DestroyGroup(group), HasStatus(2, "holds 1 loaded networks"));
  ExpectReads(network);
  ASSERT_THAT(client().Unload(network), IsOk());
  ASSERT_THAT(client().DestroyGroup(group), IsOk());
  EXPECT_THAT(client().DestroyGroup(group), HasStatus(3, fmt::format("{}", group)));
  EXPECT_THAT(client().Load(LoadMessages({.neff = digits_neff(), .group = group})),
              HasStatus(3, fmt::format("{}", group)));
  // Its cores are free again.
  const auto again = client().CreateGroup(4);
  ASSERT_THAT(again, IsOk());
  EXPECT_NE(again.h_eg().id(), group);
}

TEST_F(GroupsTest, AnImplicitGroupIsItsNetworksAlone) {
  const uint32_t network = Load({.neff = digits_neff()});
  EXPECT_EQ(StateOf(network), v1::NETWORK_STATE_RUNNING);
  ASSERT_EQ(client().ListGroups().eg_info_size(), 1);
  const nrt::eg_info group = client().ListGroups().eg_info(0);
  EXPECT_EQ(group.nc_count(), 1U);
  EXPECT_THAT(client().Load(LoadMessages({.neff = digits_neff(), .group = group.eg().id()})),
              HasStatus(2, "takes no other"));
  EXPECT_THAT(client().DestroyGroup(group.eg().id()), HasStatus(2, ""));
  ExpectReads(network);
  ASSERT_THAT(client().Unload(network), IsOk());
  EXPECT_EQ(client().ListGroups().eg_info_size(), 0);
}

TEST_F(GroupsTest, WhenEveryCoreIsTakenALoadIsRefusedAndAnUnloadMakesRoom) {
  std::vector<uint32_t> networks;
  for (int i = 0; i < 4; ++i) networks.push_back(Load({.neff = digits_neff()}));
  EXPECT_THAT(client().Load(LoadMessages({.neff = digits_neff()})),
              HasStatus(9, "Requested number of NCs: 1 exceeds the total available number: 0"));
  for (size_t i = 0; i < networks.size(); ++i) ExpectReads(networks[i], i);
  ASSERT_THAT(client().Unload(networks[2]), IsOk());
  ExpectReads(Load({.neff = digits_neff()}));
}

}  // namespace
}  // namespace nrtd::integration
