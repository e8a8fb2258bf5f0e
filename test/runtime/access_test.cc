// SPDX-License-Identifier: Apache-2.0
#include "runtime/session/access.h"

#include <memory>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/session/session_table.h"

namespace nrtd::runtime {
namespace {

Peer PeerOf(pid_t pid, uint64_t start_ticks, uid_t uid = 1000, gid_t gid = 1000) {
  Peer peer;
  peer.pid = pid;
  peer.uid = uid;
  peer.gid = gid;
  peer.start_ticks = start_ticks;
  return peer;
}

TEST(AccessTest, ConnectionsOfOneProcessHaveOneKeyAndAUsedAgainPidAnother) {
  SessionTable table;
  const Client one = table.Connect(PeerOf(4711, 100));
  const Client two = table.Connect(PeerOf(4711, 100));
  const Client later = table.Connect(PeerOf(4711, 101));
  const Client neighbour = table.Connect(PeerOf(4712, 100));
  EXPECT_NE(one.connection, two.connection);
  EXPECT_EQ(one.process, two.process);
  EXPECT_NE(one.process, later.process);
  EXPECT_NE(one.process, neighbour.process);
  EXPECT_NE(one.process, kAnyProcess);
}

// A pid, a number in pidfs and a connection may be the same number; the keys are not.
TEST(AccessTest, KeysOfDifferentKindsNeverCollide) {
  Peer unknown;
  const ProcessKey by_connection = ProcessKeyOf(unknown, kFirstConnection);
  Peer in_pidfs = PeerOf(4711, 100);
  in_pidfs.pidfs_inode = (uint64_t{4711} << 40) | 100;
  const ProcessKey by_pidfs = ProcessKeyOf(in_pidfs, kFirstConnection);
  const ProcessKey by_pid = ProcessKeyOf(PeerOf(4711, 100), kFirstConnection);
  EXPECT_EQ(std::set({by_connection, by_pidfs, by_pid, kAnyProcess, kNoProcess}).size(), 5U);
  EXPECT_TRUE(IsConnectionAlone(by_connection));
  EXPECT_FALSE(IsConnectionAlone(by_pidfs));
  EXPECT_FALSE(IsConnectionAlone(by_pid));
  EXPECT_FALSE(IsConnectionAlone(kAnyProcess));
  EXPECT_FALSE(IsConnectionAlone(kNoProcess));
}

// Numbers that do not fit are not cut, which could make two processes one.
TEST(AccessTest, NumbersThatDoNotFitAKeyAreTheConnectionsAlone) {
  EXPECT_TRUE(IsConnectionAlone(ProcessKeyOf(PeerOf(4711, uint64_t{1} << 40), 1)));
  EXPECT_TRUE(IsConnectionAlone(ProcessKeyOf(PeerOf(1 << 22, 100), 1)));
  Peer in_pidfs;
  in_pidfs.pidfs_inode = uint64_t{1} << 62;
  EXPECT_TRUE(IsConnectionAlone(ProcessKeyOf(in_pidfs, 1)));
}

TEST(AccessTest, ConnectionsOfOneProcessShareAPidfd) {
  SessionTable table;
  std::vector<Client> clients;
  for (int i = 0; i < 3; ++i) {
    Peer peer = PeerOf(4711, i < 2 ? 100 : 101);
    peer.pidfd = std::make_shared<const UniqueFd>();
    clients.push_back(table.Connect(std::move(peer)));
  }
  EXPECT_EQ(clients[0].peer.pidfd, clients[1].peer.pidfd);
  EXPECT_NE(clients[0].peer.pidfd, clients[2].peer.pidfd);
}

// In another container's pid namespace the kernel names no pid.
TEST(AccessTest, ProcessesThatCannotBeSeenAreToldApartByTheirConnections) {
  SessionTable table;
  const Client one = table.Connect(PeerOf(0, 0));
  const Client two = table.Connect(PeerOf(0, 0));
  EXPECT_NE(one.process, two.process);
  EXPECT_NE(one.process, kAnyProcess);
  EXPECT_NE(one.process, kNoProcess);
}

TEST(AccessTest, WithoutIsolationEverybodyAsksInAnybodysName) {
  SessionTable table;
  const AccessRules rules;
  EXPECT_EQ(rules.AskingAs(table.Connect(PeerOf(1, 1))), kAnyProcess);
}

TEST(AccessTest, OperatorsAreKnownByUserOrGroup) {
  SessionTable table;
  AccessRules rules;
  rules.isolation = Isolation::kSession;
  rules.operator_uids = {7};
  rules.operator_gids = {8};
  const Client client = table.Connect(PeerOf(1, 1));
  EXPECT_EQ(rules.AskingAs(client), client.process);
  EXPECT_EQ(rules.AskingAs(table.Connect(PeerOf(2, 1, 7))), kAnyProcess);
  EXPECT_EQ(rules.AskingAs(table.Connect(PeerOf(3, 1, 1000, 8))), kAnyProcess);
}

// A client that has gone says nothing of its user: it must not be taken for root.
TEST(AccessTest, AClientThatHasGoneIsNoOperator) {
  AccessRules rules;
  rules.isolation = Isolation::kSession;
  rules.operator_uids = {0};
  Client gone;
  gone.process = kNoProcess;
  EXPECT_EQ(rules.AskingAs(gone), kNoProcess);
}

TEST(AccessTest, WhatIsMadeBelongsToTheSessionElseToTheConnectionIfThatIsReclaimed) {
  SessionTable table;
  const Client client = table.Connect(PeerOf(1, 1));
  AccessRules rules;
  EXPECT_EQ(rules.OwnerFor(client, 0).session, 0U);
  EXPECT_EQ(rules.OwnerFor(client, 5).session, 5U);
  rules.reclaim_on_disconnect = true;
  EXPECT_EQ(rules.OwnerFor(client, 0).session, client.connection);
  EXPECT_EQ(rules.OwnerFor(client, 5).session, 5U);
  EXPECT_EQ(rules.OwnerFor(client, 5).process, client.process);
}

TEST(AccessTest, AConnectionIsOpenUntilItIsClosedOnce) {
  SessionTable table;
  const Client client = table.Connect(PeerOf(1, 1));
  EXPECT_TRUE(table.Contains(client.connection));
  EXPECT_TRUE(table.Contains(client.connection, client.process));
  EXPECT_FALSE(table.Contains(client.connection, client.process + 1));
  EXPECT_TRUE(table.Disconnect(client.connection));
  EXPECT_FALSE(table.Disconnect(client.connection));
  EXPECT_FALSE(table.Contains(client.connection));
}

TEST(AccessTest, SessionsAreOfTheProcessThatOpenedThem) {
  SessionTable table;
  const Client client = table.Connect(PeerOf(1, 1));
  const SessionId session = table.Open(client);
  table.Describe(session, {});
  EXPECT_TRUE(table.Contains(session, client.process));
  EXPECT_FALSE(table.Contains(session, client.process + 1));
  EXPECT_TRUE(table.Contains(session));
}

}  // namespace
}  // namespace nrtd::runtime
