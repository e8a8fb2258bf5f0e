// SPDX-License-Identifier: Apache-2.0
#include "base/open_as_user.h"

#include <atomic>
#include <csignal>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/sanitized.h"
#include "test/base/scratch_directory.h"

namespace nrtd {
namespace {

constexpr uid_t kUser = 41000;
constexpr gid_t kGroup = 43000;
constexpr const char* kNotThere = "it does not exist, or uid 41000 or the daemon may not read it";
constexpr const char* kNotThereToWrite =
    "it does not exist, or uid 41000 or the daemon may not read and write it";

// A folder that everyone may search, and things in it.
class OpenAsUserTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::getuid() != 0) GTEST_SKIP() << "only root gives files away";
    ASSERT_EQ(::chmod(folder_.path().c_str(), 0755), 0);
  }
  std::string File(const std::string& name) const { return folder_.File(name); }
  std::string NewFile(const std::string& name, mode_t mode, uid_t uid = 0, gid_t gid = 0) const {
    folder_.Write(name, name);
    EXPECT_EQ(::chown(File(name).c_str(), uid, gid), 0);
    EXPECT_EQ(::chmod(File(name).c_str(), mode), 0);
    return File(name);
  }
  std::string NewFolder(const std::string& name, mode_t mode, uid_t uid = 0, gid_t gid = 0) const {
    EXPECT_EQ(::mkdir(File(name).c_str(), 0700), 0);
    EXPECT_EQ(::chown(File(name).c_str(), uid, gid), 0);
    EXPECT_EQ(::chmod(File(name).c_str(), mode), 0);
    return File(name);
  }
  std::string NewLink(const std::string& name, const std::string& target, uid_t uid = 0) const {
    EXPECT_EQ(::symlink(target.c_str(), File(name).c_str()), 0);
    EXPECT_EQ(::lchown(File(name).c_str(), uid, uid), 0);
    return File(name);
  }
  // What stands in the file, or why it cannot be opened.
  static std::string Read(const std::string& path, const FileUser& user = FileUser::Of(kUser, 9),
                          FileAccess access = FileAccess::kRead,
                          LastLink last_link = LastLink::kFollow) {
    const auto file = OpenAsUser(path, access, user, last_link);
    if (!file) {
      EXPECT_EQ(file.error().code, Nerr::kInvalid);
      return file.error().text;
    }
    EXPECT_TRUE(S_ISREG(file->info.st_mode));
    std::string text(100, 0);
    text.resize(static_cast<size_t>(::read(file->fd.get(), text.data(), text.size())));
    return text;
  }
  ScratchDirectory folder_;
};

TEST_F(OpenAsUserTest, AFileIsTheUsersByOwnerGroupOrMode) {
  const std::string own = NewFile("own", 0400, kUser);
  const std::string groups = NewFile("groups", 0040, 0, kGroup);
  const std::string all = NewFile("all", 0004);
  const std::string roots = NewFile("roots", 0600);
  EXPECT_EQ(Read(own), "own");
  EXPECT_EQ(Read(own, FileUser::Of(kUser + 1, 9)),
            "it does not exist, or uid 41001 or the daemon may not read it");
  EXPECT_EQ(Read(groups), kNotThere);
  EXPECT_EQ(Read(groups, FileUser::Of(kUser, kGroup)), "groups");
  EXPECT_EQ(Read(groups, FileUser::Of(kUser, 9, {1, kGroup})), "groups");
  EXPECT_EQ(Read(all), "all");
  EXPECT_EQ(Read(all, {}), "all");
  EXPECT_EQ(Read(roots), kNotThere);
  EXPECT_EQ(Read(roots, {}), "it does not exist, or everyone or the daemon may not read it");
  EXPECT_EQ(Read(roots, FileUser::Of(0, 0)), "roots");
}

TEST_F(OpenAsUserTest, WritingTakesTheRightToWrite) {
  const std::string readable = NewFile("readable", 0644);
  const std::string writable = NewFile("writable", 0666);
  EXPECT_EQ(Read(readable, FileUser::Of(kUser, 9), FileAccess::kReadWrite), kNotThereToWrite);
  EXPECT_EQ(Read(writable, FileUser::Of(kUser, 9), FileAccess::kReadWrite), "writable");
}

TEST_F(OpenAsUserTest, EveryFolderOnTheWayMustBeSearchable) {
  NewFolder("open", 0711);
  NewFolder("open/shut", 0700);
  NewFolder("open/shut/inner", 0777);
  NewFolder("open/readable", 0744);
  const std::string inside = NewFile("open/shut/inner/file", 0666);
  EXPECT_EQ(Read(inside), kNotThere);
  EXPECT_EQ(Read(inside, FileUser::Of(0, 0)), "open/shut/inner/file");
  EXPECT_EQ(Read(NewFile("open/file", 0644)), "open/file");
  EXPECT_EQ(Read(NewFile("open/readable/file", 0644)), kNotThere);
  EXPECT_EQ(Read(File("open/shut/../file")), kNotThere);
  EXPECT_EQ(Read(File("open/./../open//file")), "open/file");
}

// A user must not learn what exists where he may not look, by text or by code.
TEST_F(OpenAsUserTest, WhatIsThereCannotBeToldFromWhatIsNot) {
  NewFolder("shut", 0700);
  NewFolder("open", 0755);
  for (const std::string folder : {"shut/", "open/"}) {
    const mode_t mode = folder == "shut/" ? 0777 : 0;
    NewFile(folder + "file", mode & 0666);
    NewFile(folder + "empty", mode & 0666);
    ASSERT_EQ(::truncate(File(folder + "empty").c_str(), 0), 0);
    NewFolder(folder + "folder", mode);
    NewFolder(folder + "folder/shut", mode);
    ASSERT_EQ(::mkfifo(File(folder + "fifo").c_str(), 0), 0);
    ASSERT_EQ(::chmod(File(folder + "fifo").c_str(), mode & 0666), 0);
    ASSERT_EQ(::mknod(File(folder + "device").c_str(), S_IFCHR | (mode & 0666), 0x103), 0);
    NewLink(folder + "link", "file");
    NewLink(folder + "dangling", "nothing");
    NewLink(folder + "loop", "loop");
    NewLink(folder + "outside", "/proc/self/exe");
  }
  for (const std::string folder : {"shut/", "open/"}) {
    for (const std::string name :
         {"missing", "missing/deeper",   "file",        "file/deeper",
          "file/",   "file/.",           "file/..",     "empty",
          "folder",  "folder/",          "folder/shut", "folder/shut/deeper",
          "fifo",    "fifo/x",           "device",      "link",
          "link/x",  "dangling",         "loop",        "loop/x",
          "outside", "folder/../missing"}) {
      const std::string path = File(folder + name);
      EXPECT_EQ(Read(path), kNotThere) << path;
      EXPECT_EQ(Read(path, FileUser::Of(kUser, 9), FileAccess::kReadWrite), kNotThereToWrite)
          << path;
    }
    EXPECT_EQ(Read(File(folder + std::string(300, 'n'))), kNotThere);
  }
}

TEST_F(OpenAsUserTest, OnlyRegularFilesAreOpenedAndNothingWaits) {
  const std::string fifo = File("fifo");
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0), 0);
  ASSERT_EQ(::chmod(fifo.c_str(), 0666), 0);
  EXPECT_EQ(Read(fifo), "it is no regular file");
  EXPECT_EQ(Read(NewFolder("folder", 0777)), "it is a folder");
  EXPECT_EQ(Read("/dev/null"), "it is no regular file");
  EXPECT_EQ(Read("/"), "it is a folder");
  const UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  File("socket").copy(name.sun_path, sizeof(name.sun_path) - 1);
  ASSERT_EQ(::bind(socket.get(), reinterpret_cast<sockaddr*>(&name), sizeof(name)), 0);
  ASSERT_EQ(::chmod(File("socket").c_str(), 0666), 0);
  EXPECT_EQ(Read(File("socket")), "it is no regular file");
}

// open() without O_NONBLOCK would wait for 45 s.
TEST_F(OpenAsUserTest, AFileOnWhichSomebodyHoldsALeaseIsNotWaitedFor) {
  const std::string path = NewFile("file", 0666);
  const UniqueFd held(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  void (*const former)(int) = ::signal(SIGIO, SIG_IGN);
  if (::fcntl(held.get(), F_SETLEASE, F_WRLCK) != 0) GTEST_SKIP() << "no leases here";
  EXPECT_EQ(Read(path), "a process holds a lease on it");
  ASSERT_EQ(::fcntl(held.get(), F_SETLEASE, F_UNLCK), 0);
  EXPECT_EQ(Read(path), "file");
  ::signal(SIGIO, former);
}

TEST_F(OpenAsUserTest, LinksAreFollowedUnderTheSameRules) {
  NewFolder("shut", 0700);
  NewFile("shut/file", 0666);
  NewFolder("data", 0755);
  NewFile("data/file", 0644);
  // As a ConfigMap is laid out.
  NewLink("..data", "data");
  EXPECT_EQ(Read(NewLink("file", "..data/file")), "data/file");
  EXPECT_EQ(Read(NewLink("absolute", File("..data/./../data/file"))), "data/file");
  EXPECT_EQ(Read(NewLink("with_slash", File("..data/"))), "it is a folder");
  EXPECT_EQ(Read(File("..data/file")), "data/file");
  EXPECT_EQ(Read(NewLink("into", "shut/file")), kNotThere);
  EXPECT_EQ(Read(NewLink("through", "shut/../data/file")), kNotThere);
  EXPECT_EQ(Read(File("into"), FileUser::Of(0, 0)), "shut/file");
  EXPECT_EQ(Read(File("file"), FileUser::Of(kUser, 9), FileAccess::kRead, LastLink::kRefuse),
            kNotThere);
  EXPECT_EQ(Read(File("..data/file"), FileUser::Of(kUser, 9), FileAccess::kRead, LastLink::kRefuse),
            "data/file");
}

TEST_F(OpenAsUserTest, FortyLinksAreFollowedAndNoMore) {
  NewFile("0", 0644);
  for (int i = 1; i <= 41; ++i) NewLink(std::to_string(i), std::to_string(i - 1));
  EXPECT_EQ(Read(File("40")), "0");
  EXPECT_EQ(Read(File("41")), kNotThere);
}

// fs.protected_symlinks: in /tmp and the like one user's link is no other's.
TEST_F(OpenAsUserTest, InASharedStickyFolderOnlyTrustedLinksAreFollowed) {
  NewFile("file", 0644);
  NewFolder("shared", 01777);
  EXPECT_EQ(Read(NewLink("shared/roots", "../file", 0)), "file");
  EXPECT_EQ(Read(NewLink("shared/own", "../file", kUser)), "file");
  EXPECT_EQ(Read(NewLink("shared/anothers", "../file", kUser + 1)), kNotThere);
  EXPECT_EQ(Read(File("shared/own"), {}),
            "it does not exist, or everyone or the daemon may not "
            "read it");
}

TEST_F(OpenAsUserTest, ProcAndSysAreNotThere) {
  const std::string self = "/proc/" + std::to_string(::getpid());
  const std::string path = NewFile("file", 0666);
  const UniqueFd open(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  for (const std::string& way :
       {std::string("/proc/self/exe"), std::string("/proc/version"), self + "/root" + path,
        self + "/cwd", self + "/fd/" + std::to_string(open.get()),
        "/dev/fd/" + std::to_string(open.get()), std::string("/sys/kernel/mm/hugepages"),
        std::string("/dev/../proc/version"), NewLink("link", self + "/root" + path),
        NewLink("version", "/proc/version"), NewLink("proc", "/proc") + "/version"}) {
    EXPECT_EQ(Read(way), kNotThere) << way;
    EXPECT_THAT(Read(way, FileUser::Of(0, 0)), ::testing::StartsWith("it does not exist")) << way;
  }
}

TEST_F(OpenAsUserTest, PathsThatNameNothingAreRefused) {
  NewFile("file", 0644);
  EXPECT_EQ(Read(""), "the path is not absolute");
  EXPECT_EQ(Read("file"), "the path is not absolute");
  EXPECT_EQ(Read("/" + std::string(5000, 'x')),
            "the path has 5001 bytes, at most 4095 are possible");
  const std::string cut = File("file") + std::string("\0.neff", 6);
  EXPECT_EQ(Read(cut),
            fmt::format("byte {} of the path is NUL, which no path can have", File("file").size()));
}

TEST_F(OpenAsUserTest, TheDaemonsOwnRightsAreNeededToo) {
  NewFile("file", 0400, kUser);
  NewFolder("shut", 0700, kUser);
  NewFile("shut/file", 0644, kUser);
  const pid_t child = ::fork();
  if (child == 0) {
    if (::setresuid(kUser + 1, kUser + 1, kUser + 1) != 0) ::_exit(2);
    ::_exit(Read(File("file")) == kNotThere && Read(File("shut/file")) == kNotThere ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST_F(OpenAsUserTest, WithoutDescriptorsItIsAResourceThatIsMissing) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer needs descriptors itself";
  const std::string path = NewFile("file", 0644);
  const pid_t child = ::fork();
  if (child == 0) {
    while (UniqueFd(::dup(0)).Release() >= 0) {
    }
    const auto refused = OpenAsUser(path, FileAccess::kRead, FileUser::Of(kUser, 9));
    ::_exit(!refused && refused.error().code == Nerr::kResource ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

// The owner of a folder swaps what stands in it, all the time.
TEST_F(OpenAsUserTest, WhatIsSwappedMeanwhileOpensNothingElse) {
  NewFolder("shut", 0700);
  NewFile("shut/secret", 0644);
  NewFile("secret", 0600);
  NewFolder("mine", 0755, kUser);
  NewFolder("mine/folder", 0755, kUser);
  NewFile("mine/folder/secret", 0644, kUser);
  NewLink("mine/link", File("shut"), kUser);
  std::atomic<bool> done{false};
  std::thread swapper([&] {
    while (!done) {
      (void)::syscall(SYS_renameat2, AT_FDCWD, File("mine/folder").c_str(), AT_FDCWD,
                      File("mine/link").c_str(), 2 /* RENAME_EXCHANGE */);
    }
  });
  std::map<std::string, int> seen;
  for (int i = 0; i < 20'000; ++i) ++seen[Read(File("mine/folder/secret"))];
  done = true;
  swapper.join();
  for (const auto& [text, count] : seen)
    EXPECT_TRUE(text == kNotThere || text == "mine/folder/secret") << text;
}

}  // namespace
}  // namespace nrtd
