// SPDX-License-Identifier: Apache-2.0
//
// The daemon's socket in a folder in which clients may do what they like.
#include <atomic>
#include <string>
#include <thread>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "runtime/service/bound_socket.h"
#include "test/integration/daemon_test.h"

namespace nrtd::hostile {
namespace {

using integration::DaemonTest;
using integration::IsOk;
using integration::RtdClient;
using service::BoundSocket;
using ::testing::HasSubstr;

struct stat StatOf(const std::string& path) {
  struct stat info {};
  EXPECT_EQ(::lstat(path.c_str(), &info), 0) << path;
  return info;
}

bool Exists(const std::string& path) {
  struct stat info {};
  return ::lstat(path.c_str(), &info) == 0;
}

void LeaveSocket(const std::string& path) {
  const UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  path.copy(name.sun_path, sizeof(name.sun_path) - 1);
  ASSERT_EQ(::bind(socket.get(), reinterpret_cast<sockaddr*>(&name), sizeof(name)), 0);
}

class SocketPlaceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(::mkdir(Shared("").c_str(), 0700), 0);
    ASSERT_EQ(::chmod(Shared("").c_str(), 0777), 0);
    folder_.Write("target", "root's");
    ASSERT_EQ(::chmod(folder_.File("target").c_str(), 0600), 0);
  }
  std::string Shared(const std::string& name) const { return folder_.File("shared/" + name); }
  Result<BoundSocket> Bind(const std::string& name) const {
    service::SocketOptions options;
    options.path = Shared(name);
    return BoundSocket::Bind(options);
  }
  void ExpectTargetUntouched() const {
    const struct stat info = StatOf(folder_.File("target"));
    ASSERT_EQ(info.st_mode & 07777, 0600U);
    ASSERT_EQ(info.st_uid, ::getuid());
    ASSERT_EQ(info.st_gid, ::getgid());
    ASSERT_EQ(info.st_size, 6);
  }
  ScratchDirectory folder_;
};

TEST_F(SocketPlaceTest, ASocketIsBornWithItsModeAndGroupAndGoesInTheEnd) {
  const mode_t former = ::umask(0077);
  {
    auto bound = BoundSocket::Bind({.path = Shared("s"), .mode = 0660, .group = ::getgid()});
    ::umask(former);
    ASSERT_TRUE(bound) << bound.error().text;
    const struct stat info = StatOf(Shared("s"));
    EXPECT_TRUE(S_ISSOCK(info.st_mode));
    EXPECT_EQ(info.st_mode & 0777, 0660U);
    EXPECT_EQ(info.st_gid, ::getgid());
  }
  EXPECT_FALSE(Exists(Shared("s")));
  EXPECT_EQ(::rmdir(Shared("").c_str()), 0) << "something was left in the folder";
}

TEST_F(SocketPlaceTest, AnOldSocketIsReplacedAndOtherThingsAreNot) {
  LeaveSocket(Shared("s"));
  EXPECT_TRUE(Bind("s"));
  for (const std::string what : {"link", "file", "folder"}) {
    if (what == "link") {
      ASSERT_EQ(::symlink(folder_.File("target").c_str(), Shared(what).c_str()), 0);
    } else if (what == "file") {
      folder_.Write("shared/file", "");
    } else {
      ASSERT_EQ(::mkdir(Shared(what).c_str(), 0777), 0);
    }
    const auto refused = Bind(what);
    ASSERT_FALSE(refused);
    EXPECT_THAT(refused.error().text, HasSubstr("it exists and is no socket"));
    EXPECT_TRUE(Exists(Shared(what)));
  }
  ExpectTargetUntouched();
}

TEST_F(SocketPlaceTest, ALinkToAnotherDaemonsOldSocketIsNoReasonToRemoveThat) {
  LeaveSocket(folder_.File("anothers"));
  ASSERT_EQ(::symlink(folder_.File("anothers").c_str(), Shared("s").c_str()), 0);
  EXPECT_FALSE(Bind("s"));
  EXPECT_TRUE(Exists(folder_.File("anothers")));
}

TEST_F(SocketPlaceTest, TheSocketOfAnotherDaemonInItsPlaceStays) {
  auto bound = Bind("s");
  ASSERT_TRUE(bound);
  ASSERT_EQ(::unlink(Shared("s").c_str()), 0);
  LeaveSocket(Shared("s"));
  { const BoundSocket gone = std::move(*bound); }
  EXPECT_TRUE(Exists(Shared("s")));
}

TEST_F(SocketPlaceTest, LinksThatAreSwappedInDuringThousandsOfStartsAreNeverFollowed) {
  std::atomic<bool> done{false};
  const std::string place = Shared("s");
  std::thread client([&] {
    for (uint64_t round = 0; !done; ++round) {
      const std::string link = Shared("link" + std::to_string(round % 4));
      (void)::symlink(folder_.File("target").c_str(), link.c_str());
      if (round % 2 == 0) {
        (void)::rename(link.c_str(), place.c_str());
      } else {
        (void)::syscall(SYS_renameat2, AT_FDCWD, link.c_str(), AT_FDCWD, place.c_str(), 2);
      }
      // Now and then what swapped out is left, and then the place is free again.
      if (round % 5 != 0) (void)::unlink(link.c_str());
      (void)::unlink(place.c_str());
    }
  });
  int started = 0;
  for (int i = 0; i < 10'000; ++i) {
    if (Bind("s")) ++started;
    ExpectTargetUntouched();
  }
  done = true;
  client.join();
  ExpectTargetUntouched();
  EXPECT_GT(started, 0);
}

class SocketPlaceDaemonTest : public DaemonTest {};

TEST_F(SocketPlaceDaemonTest, AClientThatReplacesTheSocketHurtsNeitherTheDaemonNorItsClients) {
  ASSERT_EQ(::chmod(folder_.path().c_str(), 0777), 0);
  folder_.Write("target", "root's");
  ASSERT_EQ(::chmod(File("target").c_str(), 0600), 0);
  const uint32_t network = Load({.neff = digits_neff()});
  ASSERT_NE(network, 0U);
  ASSERT_EQ(::unlink(SocketPath().c_str()), 0);
  ASSERT_EQ(::symlink(File("target").c_str(), SocketPath().c_str()), 0);
  ExpectReads(network);
  client_.reset();
  EXPECT_EQ(daemon().Stop(), 0);
  daemon_.reset();
  EXPECT_TRUE(S_ISLNK(StatOf(SocketPath()).st_mode));
  EXPECT_EQ(StatOf(File("target")).st_mode & 0777, 0600U);
  // And another one does not start there before the link has gone.
  integration::DaemonProcess refused(Arguments());
  EXPECT_EQ(refused.AwaitExit(), 1);
  EXPECT_THAT(refused.Log(), HasSubstr("is no socket"));
  EXPECT_EQ(StatOf(File("target")).st_mode & 0777, 0600U);
}

}  // namespace
}  // namespace nrtd::hostile
