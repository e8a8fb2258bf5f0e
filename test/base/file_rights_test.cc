// SPDX-License-Identifier: Apache-2.0
#include "base/file_rights.h"

#include <array>
#include <cstring>
#include <random>
#include <vector>

#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "test/base/scratch_directory.h"

namespace nrtd {
namespace {

constexpr uid_t kOwner = 41000;
constexpr gid_t kGroup = 43000;

struct stat FileOf(mode_t mode) {
  struct stat info {};
  info.st_mode = S_IFREG | mode;
  info.st_uid = kOwner;
  info.st_gid = kGroup;
  return info;
}

struct Entry {
  uint16_t tag;
  uint16_t bits;
  uint32_t id;
};

ByteVector AclOf(const std::vector<Entry>& entries) {
  ByteVector bytes(4 + entries.size() * sizeof(Entry));
  const uint32_t version = POSIX_ACL_XATTR_VERSION;
  std::memcpy(bytes.data(), &version, sizeof(version));
  std::memcpy(bytes.data() + 4, entries.data(), entries.size() * sizeof(Entry));
  return bytes;
}

TEST(FileRights, OnlyOneOfOwnerGroupAndOthersCounts) {
  const FileUser owner = FileUser::Of(kOwner, kGroup);
  const FileUser member = FileUser::Of(kOwner + 1, kGroup);
  const FileUser by_list = FileUser::Of(kOwner + 1, kGroup + 1, {1, kGroup});
  const FileUser other = FileUser::Of(kOwner + 1, kGroup + 1, {1, 2});
  EXPECT_TRUE(MayAccess(owner, FileOf(0600), {}, kMayRead | kMayWrite));
  EXPECT_FALSE(MayAccess(owner, FileOf(0066), {}, kMayRead));
  EXPECT_TRUE(MayAccess(member, FileOf(0040), {}, kMayRead));
  EXPECT_FALSE(MayAccess(member, FileOf(0040), {}, kMayRead | kMayWrite));
  EXPECT_FALSE(MayAccess(member, FileOf(0604), {}, kMayRead));
  EXPECT_TRUE(MayAccess(by_list, FileOf(0040), {}, kMayRead));
  EXPECT_FALSE(MayAccess(by_list, FileOf(0604), {}, kMayRead));
  EXPECT_TRUE(MayAccess(other, FileOf(0004), {}, kMayRead));
  EXPECT_FALSE(MayAccess(other, FileOf(0640), {}, kMayRead));
}

TEST(FileRights, AnUnknownUserHasTheRightsOfEveryone) {
  const FileUser unknown;
  EXPECT_EQ(unknown.Text(), "everyone");
  EXPECT_FALSE(unknown.IsRoot());
  EXPECT_TRUE(MayAccess(unknown, FileOf(0004), {}, kMayRead));
  EXPECT_FALSE(MayAccess(unknown, FileOf(0660), {}, kMayRead));
  struct stat of_root = FileOf(0660);
  of_root.st_uid = 0;
  of_root.st_gid = 0;
  EXPECT_FALSE(MayAccess(unknown, of_root, {}, kMayRead));
}

TEST(FileRights, RootMayEverything) {
  EXPECT_TRUE(MayAccess(FileUser::Of(0, 0), FileOf(0), {}, kMayRead | kMayWrite | kMaySearch));
}

TEST(FileRights, AMalformedListAllowsNothing) {
  const FileUser other = FileUser::Of(kOwner + 1, kGroup + 1);
  const ByteVector good = AclOf({{ACL_USER_OBJ, 6, 0}, {ACL_GROUP_OBJ, 4, 0}, {ACL_OTHER, 4, 0}});
  EXPECT_TRUE(MayAccess(other, FileOf(0644), good, kMayRead));
  for (size_t size = 1; size < good.size(); ++size) {
    if ((size - 4) % sizeof(Entry) == 0) continue;
    EXPECT_FALSE(MayAccess(other, FileOf(0644), ByteSpan(good).first(size), kMayRead)) << size;
  }
  ByteVector of_another_version = good;
  of_another_version[0] = std::byte{1};
  EXPECT_FALSE(MayAccess(other, FileOf(0644), of_another_version, kMayRead));
}

// Files of every mode, and some with access lists, judged for several users by us and by the
// kernel.
class FileRightsOfKernelTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::getuid() != 0) GTEST_SKIP() << "only root becomes another user";
    ASSERT_EQ(::chmod(folder_.path().c_str(), 0755), 0);
  }
  std::string NewFile(mode_t mode) {
    const std::string path = folder_.File(std::to_string(files_.size()));
    folder_.Write(std::to_string(files_.size()), "");
    EXPECT_EQ(::chown(path.c_str(), kOwner, kGroup), 0);
    EXPECT_EQ(::chmod(path.c_str(), mode), 0);
    files_.push_back(path);
    return path;
  }
  static bool Judged(const std::string& path, const FileUser& user, mode_t wanted) {
    struct stat info {};
    EXPECT_EQ(::stat(path.c_str(), &info), 0);
    std::array<std::byte, 4096> acl{};
    const ssize_t size =
        ::getxattr(path.c_str(), "system.posix_acl_access", acl.data(), acl.size());
    return MayAccess(user, info, {acl.data(), static_cast<size_t>(std::max<ssize_t>(0, size))},
                     wanted);
  }
  // How often the kernel thinks otherwise.
  int Differences(const FileUser& user) const {
    const pid_t child = ::fork();
    if (child == 0) {
      int differences = 0;
      if (::setgroups(user.groups.size(), user.groups.data()) != 0 ||
          ::setresgid(user.gid, user.gid, user.gid) != 0 ||
          ::setresuid(user.uid, user.uid, user.uid) != 0)
        ::_exit(99);
      for (const std::string& path : files_) {
        for (const mode_t wanted : {kMayRead, kMayWrite, kMayRead | kMayWrite, kMaySearch}) {
          const bool allowed = ::access(path.c_str(), static_cast<int>(wanted)) == 0;
          if (Judged(path, user, wanted) != allowed) differences = std::min(differences + 1, 98);
        }
      }
      ::_exit(differences);
    }
    int status = -1;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 99;
  }
  void ExpectNoDifferences() const {
    for (const FileUser& user :
         {FileUser::Of(kOwner, 9), FileUser::Of(kOwner + 1, 9), FileUser::Of(kOwner + 2, kGroup),
          FileUser::Of(kOwner + 2, 9, {kGroup + 1}), FileUser::Of(kOwner + 3, 9, {7, kGroup}),
          FileUser::Of(kOwner + 3, kGroup + 2, {kGroup + 1}), FileUser::Of(kOwner + 4, 9)})
      EXPECT_EQ(Differences(user), 0) << user.Text();
  }

  ScratchDirectory folder_;
  std::vector<std::string> files_;
};

TEST_F(FileRightsOfKernelTest, EveryModeIsJudgedAsByTheKernel) {
  for (mode_t mode = 0; mode <= 0777; ++mode) NewFile(mode);
  ExpectNoDifferences();
}

TEST_F(FileRightsOfKernelTest, AccessListsAreJudgedAsByTheKernel) {
  std::mt19937 random(1);
  const auto bits = [&] { return static_cast<uint16_t>(random() % 8); };
  for (int i = 0; i < 400; ++i) {
    const std::string path = NewFile(0600);
    const ByteVector acl = AclOf({{ACL_USER_OBJ, bits(), 0},
                                  {ACL_USER, bits(), kOwner + 1},
                                  {ACL_USER, bits(), kOwner + 2},
                                  {ACL_GROUP_OBJ, bits(), 0},
                                  {ACL_GROUP, bits(), kGroup + 1},
                                  {ACL_GROUP, bits(), kGroup + 2},
                                  {ACL_MASK, bits(), 0},
                                  {ACL_OTHER, bits(), 0}});
    if (::setxattr(path.c_str(), "system.posix_acl_access", acl.data(), acl.size(), 0) != 0)
      GTEST_SKIP() << path << " can have no access list: " << std::strerror(errno);
  }
  ExpectNoDifferences();
}

}  // namespace
}  // namespace nrtd
