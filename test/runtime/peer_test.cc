// SPDX-License-Identifier: Apache-2.0
#include "runtime/session/peer.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/unique_fd.h"

namespace nrtd::runtime {
namespace {

constexpr std::array kAllSupport = {PidfdSupport::kNone, PidfdSupport::kAnonymous,
                                    PidfdSupport::kPidfs};

bool KernelHasPidfs() {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) return false;
  const UniqueFd one(ends[0]);
  const UniqueFd two(ends[1]);
  const auto peer = ReadPeer(one.get());
  return peer && peer->pidfs_inode != 0;
}

// A listening socket in the abstract namespace, which needs no folder.
class Door {
 public:
  Door() : listening_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un any{};
    any.sun_family = AF_UNIX;
    size_ = sizeof(name_);
    if (::bind(listening_.get(), reinterpret_cast<sockaddr*>(&any), sizeof(any.sun_family)) != 0 ||
        ::listen(listening_.get(), 8) != 0 ||
        ::getsockname(listening_.get(), reinterpret_cast<sockaddr*>(&name_), &size_) != 0)
      throw std::runtime_error(std::string("socket: ") + std::strerror(errno));
  }
  UniqueFd Connect() const {
    UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&name_), size_) != 0)
      throw std::runtime_error(std::string("connect: ") + std::strerror(errno));
    return socket;
  }
  UniqueFd Accept() const {
    return UniqueFd(::accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  }

 private:
  UniqueFd listening_;
  sockaddr_un name_{};
  socklen_t size_ = 0;
};

// A process that runs `body`, says so, and then lives until End().
class Child {
 public:
  // With `pid` it gets that one, if it is free and this process may choose.
  explicit Child(const std::function<void()>& body, uint64_t flags = 0, pid_t pid = 0) {
    std::array<int, 2> ready{};
    std::array<int, 2> end{};
    if (::pipe2(ready.data(), O_CLOEXEC) != 0 || ::pipe2(end.data(), O_CLOEXEC) != 0)
      throw std::runtime_error("pipe");
    end_ = UniqueFd(end[1]);
    const UniqueFd end_of_child(end[0]);
    const UniqueFd ready_here(ready[0]);
    UniqueFd ready_there(ready[1]);
    clone_args arguments{};
    arguments.flags = flags;
    arguments.exit_signal = SIGCHLD;
    if (pid != 0) {
      arguments.set_tid = reinterpret_cast<uint64_t>(&pid);
      arguments.set_tid_size = 1;
    }
    pid_ = static_cast<pid_t>(::syscall(SYS_clone3, &arguments, sizeof(arguments)));
    if (pid_ < 0) return;
    char byte = 0;
    if (pid_ == 0) {
      end_ = UniqueFd();
      try {
        body();
        (void)!::write(ready_there.get(), &byte, 1);
        (void)!::read(end_of_child.get(), &byte, 1);
      } catch (...) {
      }
      ::_exit(0);
    }
    ready_there = UniqueFd();
    started_ = ::read(ready_here.get(), &byte, 1) == 1;
  }
  ~Child() { End(); }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  pid_t pid() const { return pid_; }
  bool started() const { return started_; }
  // It has ended and has been waited for.
  void End() {
    end_ = UniqueFd();
    if (pid_ > 0) ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

 private:
  pid_t pid_ = -1;
  bool started_ = false;
  UniqueFd end_;
};

bool Ended(const Peer& peer) {
  pollfd entry{.fd = peer.pidfd->get(), .events = POLLIN, .revents = 0};
  return ::poll(&entry, 1, 0) == 1;
}

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

TEST(PeerTest, ConnectionsOfAProcessHaveOneKeyHoweverMuchTheKernelKnows) {
  const Door door;
  const Child child([&] {
    (void)door.Connect().Release();
    (void)door.Connect().Release();
  });
  ASSERT_TRUE(child.started());
  const UniqueFd one = door.Accept();
  const UniqueFd two = door.Accept();
  const UniqueFd own = door.Connect();
  const UniqueFd own_accepted = door.Accept();
  for (const PidfdSupport support : kAllSupport) {
    const auto first = ReadPeer(one.get(), support);
    const auto second = ReadPeer(two.get(), support);
    const auto other = ReadPeer(own_accepted.get(), support);
    ASSERT_TRUE(first && second && other);
    EXPECT_EQ(first->pid, child.pid());
    EXPECT_GT(first->start_ticks, 0U);
    EXPECT_FALSE(IsConnectionAlone(ProcessKeyOf(*first, 1)));
    EXPECT_EQ(ProcessKeyOf(*first, 1), ProcessKeyOf(*second, 2));
    EXPECT_NE(ProcessKeyOf(*first, 1), ProcessKeyOf(*other, 1));
  }
}

TEST(PeerTest, ThePidfdBecomesReadableWhenTheProcessEnds) {
  const Door door;
  Child child([&] { (void)door.Connect().Release(); });
  ASSERT_TRUE(child.started());
  const UniqueFd accepted = door.Accept();
  const auto peer = ReadPeer(accepted.get());
  ASSERT_TRUE(peer) << peer.error().text;
  if (!peer->pidfd) GTEST_SKIP() << "this kernel has no SO_PEERPIDFD";
  EXPECT_FALSE(Ended(*peer));
  child.End();
  EXPECT_TRUE(Ended(*peer));
}

TEST(PeerTest, OlderKernelsGiveNoPidfd) {
  const Door door;
  const UniqueFd connected = door.Connect();
  const UniqueFd accepted = door.Accept();
  const auto peer = ReadPeer(accepted.get(), PidfdSupport::kNone);
  ASSERT_TRUE(peer) << peer.error().text;
  EXPECT_EQ(peer->pidfd, nullptr);
  EXPECT_EQ(peer->pidfs_inode, 0U);
}

// A process connects, leaves its connection to a child and ends before the daemon looks.
TEST(PeerTest, AProcessThatHasEndedIsNotLookedUpByItsPid) {
  const Door door;
  Child child([&] { (void)door.Connect().Release(); });
  ASSERT_TRUE(child.started());
  const UniqueFd accepted = door.Accept();
  child.End();
  for (const PidfdSupport support : kAllSupport) {
    const auto peer = ReadPeer(accepted.get(), support);
    ASSERT_TRUE(peer) << peer.error().text;
    EXPECT_EQ(peer->start_ticks, 0U);
    EXPECT_EQ(peer->cgroup, "");
    if (support != PidfdSupport::kPidfs) {
      EXPECT_TRUE(IsConnectionAlone(ProcessKeyOf(*peer, 1)));
    }
  }
}

// The connection outlives its process, whose pid is another's by the time that the daemon looks.
TEST(PeerTest, AUsedAgainPidInheritsNoRights) {
  const Door door;
  Child first([&] { (void)door.Connect().Release(); });
  ASSERT_TRUE(first.started());
  const pid_t pid = first.pid();
  const UniqueFd of_first = door.Accept();
  first.End();
  const Child second([&] { (void)door.Connect().Release(); }, 0, pid);
  if (second.pid() != pid) GTEST_SKIP() << "cannot choose a pid (CAP_SYS_ADMIN), or it is taken";
  ASSERT_TRUE(second.started());
  const UniqueFd of_second = door.Accept();
  for (const PidfdSupport support : {PidfdSupport::kAnonymous, PidfdSupport::kPidfs}) {
    const auto old = ReadPeer(of_first.get(), support);
    const auto now = ReadPeer(of_second.get(), support);
    ASSERT_TRUE(old && now);
    EXPECT_EQ(old->pid, now->pid);
    if (!now->pidfd) GTEST_SKIP() << "this kernel has no SO_PEERPIDFD";
    EXPECT_NE(ProcessKeyOf(*old, 1), ProcessKeyOf(*now, 2));
    EXPECT_EQ(old->start_ticks, 0U);
    EXPECT_GT(now->start_ticks, 0U);
  }
}

TEST(PeerTest, AProcessInAPidNamespaceOfItsOwnIsKnown) {
  const Door door;
  const Child child([&] { (void)door.Connect().Release(); }, CLONE_NEWPID);
  if (child.pid() < 0) GTEST_SKIP() << "cannot make a pid namespace (CAP_SYS_ADMIN)";
  ASSERT_TRUE(child.started());
  const UniqueFd accepted = door.Accept();
  for (const PidfdSupport support : kAllSupport) {
    const auto peer = ReadPeer(accepted.get(), support);
    ASSERT_TRUE(peer) << peer.error().text;
    EXPECT_EQ(peer->pid, child.pid());
    EXPECT_GT(peer->start_ticks, 0U);
    EXPECT_FALSE(IsConnectionAlone(ProcessKeyOf(*peer, 1)));
  }
}

// As the daemon in one container sees clients in another.
TEST(PeerTest, AProcessOutsideOfOurPidNamespaceIsKnownByItsNumberInPidfs) {
  if (!KernelHasPidfs()) GTEST_SKIP() << "this kernel has no pidfs (Linux 6.9)";
  struct Seen {
    pid_t pid;
    scheduler::ProcessKey one, two, without_pidfs_one, without_pidfs_two;
    bool alive;
  };
  const Door door;
  const UniqueFd connected = door.Connect();
  const UniqueFd connected_too = door.Connect();
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const UniqueFd from(ends[0]);
  const UniqueFd to(ends[1]);
  const Child daemon(
      [&] {
        const UniqueFd one = door.Accept();
        const UniqueFd two = door.Accept();
        const Peer first = ReadPeer(one.get()).value();
        const Peer second = ReadPeer(two.get()).value();
        const auto key = [](const UniqueFd& socket, scheduler::SessionId connection) {
          return ProcessKeyOf(ReadPeer(socket.get(), PidfdSupport::kAnonymous).value(), connection);
        };
        const Seen seen{first.pid,   ProcessKeyOf(first, 1), ProcessKeyOf(second, 2), key(one, 1),
                        key(two, 2), !Ended(first)};
        (void)!::write(to.get(), &seen, sizeof(seen));
      },
      CLONE_NEWPID);
  if (daemon.pid() < 0) GTEST_SKIP() << "cannot make a pid namespace (CAP_SYS_ADMIN)";
  ASSERT_TRUE(daemon.started());
  Seen seen{};
  ASSERT_EQ(::read(from.get(), &seen, sizeof(seen)), static_cast<ssize_t>(sizeof(seen)));
  EXPECT_EQ(seen.pid, 0);
  EXPECT_TRUE(seen.alive);
  EXPECT_EQ(seen.one, seen.two);
  EXPECT_FALSE(IsConnectionAlone(seen.one));
  EXPECT_TRUE(IsConnectionAlone(seen.without_pidfs_one));
  EXPECT_NE(seen.without_pidfs_one, seen.without_pidfs_two);
}

TEST(PeerTest, SupplementaryGroupsAreThoseOfTheMomentOfConnecting) {
  if (::getuid() != 0) GTEST_SKIP() << "only root chooses its groups";
  const Door door;
  const std::vector<gid_t> groups = {7, 4711, 70000};
  const Child child([&] {
    if (::setgroups(groups.size(), groups.data()) != 0) throw std::runtime_error("setgroups");
    (void)door.Connect().Release();
    if (::setgroups(0, nullptr) != 0) throw std::runtime_error("setgroups");
  });
  ASSERT_TRUE(child.started());
  const UniqueFd accepted = door.Accept();
  const auto peer = ReadPeer(accepted.get());
  ASSERT_TRUE(peer) << peer.error().text;
  EXPECT_EQ(peer->groups, groups);
}

TEST(PeerTest, AProcessInTooManyGroupsIsRefused) {
  if (::getuid() != 0) GTEST_SKIP() << "only root chooses its groups";
  const Door door;
  for (const size_t count : {kMaxPeerGroups, kMaxPeerGroups + 1}) {
    std::vector<gid_t> groups(count);
    for (size_t i = 0; i < count; ++i) groups[i] = static_cast<gid_t>(1000 + i);
    const Child child([&] {
      if (::setgroups(groups.size(), groups.data()) != 0) throw std::runtime_error("setgroups");
      (void)door.Connect().Release();
    });
    ASSERT_TRUE(child.started());
    const UniqueFd accepted = door.Accept();
    const auto peer = ReadPeer(accepted.get());
    ASSERT_EQ(peer.has_value(), count == kMaxPeerGroups);
    if (!peer) {
      EXPECT_EQ(peer.error().code, Nerr::kResource);
      EXPECT_EQ(peer.error().text, "its process is in 1025 supplementary groups, more than 1024");
    }
  }
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
