// SPDX-License-Identifier: Apache-2.0
//
// What a client holds is shown, and an operator can take it away.
#include <csignal>
#include <fstream>

#include "test/hostile/hostile_test.h"
#include "test/integration/client_process.h"
#include "test/memory/client_shm.h"
#include "test/tools/run_binary.h"

namespace nrtd::hostile {
namespace {

class EvictTest : public HostileTest {
 protected:
  const v1::Account* AccountOf(const v1::ListClientsResponse& clients, pid_t pid) {
    for (const v1::Account& account : clients.accounts()) {
      if (account.name().starts_with(fmt::format("pid {} ", pid))) return &account;
    }
    return nullptr;
  }
  uint64_t Amount(const v1::Account& account, const std::string& name) {
    for (const v1::Holding& holding : account.holdings()) {
      if (holding.name() == name) return holding.amount();
    }
    ADD_FAILURE() << "no holding " << name;
    return 0;
  }
};

TEST_F(EvictTest, WhatAClientHoldsIsShownAndGoesWhenAnOperatorEvictsIt) {
  const std::string neff = File("digits.neff");
  integration::WriteText(neff, digits_neff());
  const memory::ClientShm shared(4096);
  integration::ClientProcess greedy(address(), neff, shared.name());
  ASSERT_NE(greedy.AwaitReady().network, 0U);
  const auto clients = client().ListClients();
  const v1::Account* account = AccountOf(clients, greedy.pid());
  ASSERT_NE(account, nullptr);
  EXPECT_EQ(Amount(*account, "networks"), 1U);
  EXPECT_EQ(Amount(*account, "sessions"), 1U);
  EXPECT_EQ(Amount(*account, "mappings"), 1U);
  EXPECT_GE(Amount(*account, "network-bytes"), 1U);
  EXPECT_EQ(account->mappings_size(), 1);
  const auto evicted = nrtd::testing::RunBinary(
      "neuron-cli", {"-a", address(), "evict", fmt::to_string(account->client_id())});
  EXPECT_EQ(evicted.exit_code, 0) << evicted.err;
  Await("the client's end", [&] {
    const integration::Usage usage = integration::ReadUsage(client());
    return usage.networks == 0 && usage.groups == 0;
  });
  EXPECT_EQ(AccountOf(client().ListClients(), greedy.pid()), nullptr);
}

TEST_F(EvictTest, ALimitThatAnOptionSetsHolds) {
  EXPECT_EQ(daemon_->Stop(), 0);
  StartLimited({"--client-limit", "cores=2", "--client-limit", "networks=1"});
  EXPECT_THAT(client().CreateGroup(3), HasStatus(9, "total available number: 2"));
  EXPECT_EQ(client().CreateGroup(0).nc_count(), 2U);
  EXPECT_THAT(client().CreateGroup(1), HasStatus(9, ""));
  client().UnloadAll();
  EXPECT_NE(Load({.neff = digits_neff()}), 0U);
  EXPECT_THAT(client().Load(integration::LoadMessages({.neff = digits_neff()})),
              HasStatus(4, "--client-limit networks="));
}

}  // namespace
}  // namespace nrtd::hostile
