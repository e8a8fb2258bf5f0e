// SPDX-License-Identifier: Apache-2.0
#include "runtime/session/peer.h"

#include <array>

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/file.h"
#include "base/unique_fd.h"

namespace nrtd::runtime {
namespace {

TEST(PeerTest, TheOtherEndOfASocketPairIsThisProcess) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
  const UniqueFd one(ends[0]);
  const UniqueFd two(ends[1]);
  const auto peer = ReadPeer(one.get());
  ASSERT_TRUE(peer) << peer.error().text;
  EXPECT_EQ(peer->pid, ::getpid());
  EXPECT_EQ(peer->uid, ::getuid());
  EXPECT_EQ(peer->gid, ::getgid());
  EXPECT_GT(peer->start_ticks, 0U);
}

TEST(PeerTest, WhatIsNoSocketHasNoPeer) {
  EXPECT_FALSE(ReadPeer(STDIN_FILENO + 1000));
}

TEST(PeerTest, TheUnifiedHierarchyNamesTheCgroup) {
  EXPECT_EQ(CgroupOf("4:hugetlb:/old\n1:name=systemd:/sys\n0::/kubepods/pod7/c1\n"),
            "/kubepods/pod7/c1");
  EXPECT_EQ(CgroupOf("4:hugetlb:/old:with:colons\n1:cpu:/b\n"), "/old:with:colons");
  EXPECT_EQ(CgroupOf(""), "");
  EXPECT_EQ(CgroupOf("nonsense\n\n::"), "");
}

// A process may call itself anything.
TEST(PeerTest, TheStartIsReadBehindTheName) {
  const std::string fields = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 21";
  EXPECT_EQ(StartTicksOf("77 (cat) " + fields), 4242U);
  EXPECT_EQ(StartTicksOf("77 (a) b) 1 2) " + fields), 4242U);
  EXPECT_EQ(StartTicksOf("77 (cat) S 1 2"), 0U);
  EXPECT_EQ(StartTicksOf("77 (cat)"), 0U);
  EXPECT_EQ(StartTicksOf(""), 0U);
}

}  // namespace
}  // namespace nrtd::runtime
