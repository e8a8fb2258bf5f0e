// SPDX-License-Identifier: Apache-2.0
//
// Paths that clients name: a client gets through the daemon to no file that it could not open
// itself.
#include <filesystem>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/unique_fd.h"
#include "memory/hugepage_counts.h"
#include "test/integration/daemon_test.h"

namespace nrtd::hostile {
namespace {

using integration::DaemonTest;
using integration::HasStatus;
using integration::IsOk;
using integration::LoadFileMessages;
using integration::RtdClient;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr RtdClient::User kNobody{65534, 65534, {}};
constexpr gid_t kTeam = 4711;
constexpr const char* kNotThere = "it does not exist, or uid 65534 or the daemon may not read it";

class ClientPathsTest : public DaemonTest {
 protected:
  void SetUp() override {
    if (::getuid() != 0) GTEST_SKIP() << "only root connects as other users";
    DaemonTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    ASSERT_EQ(::chmod(folder_.path().c_str(), 0755), 0);
    nobody_ = std::make_unique<RtdClient>(SocketPath(), kNobody);
  }
  void TearDown() override {
    nobody_.reset();
    DaemonTest::TearDown();
  }
  std::string NewFile(const std::string& name, const std::string& text, mode_t mode) {
    folder_.Write(name, text);
    EXPECT_EQ(::chmod(File(name).c_str(), mode), 0);
    return File(name);
  }
  nrt::load_response LoadFile(RtdClient& who, const std::string& path) {
    const auto response = who.Load(LoadFileMessages(path, {}));
    if (response.status().code() == 0) {
      EXPECT_THAT(who.Unload(response.h_nn().id()), IsOk());
    }
    return response;
  }
  nrt::shm_map_response MapHugetlb(RtdClient& who, const std::string& path) {
    nrt::shm_map_request request;
    request.mutable_path_hugetlb()->set_path(path);
    request.mutable_path_hugetlb()->set_size(memory::kHugePageSize);
    request.set_mmap_prot(PROT_READ | PROT_WRITE);
    return who.Map(request);
  }
  RtdClient& nobody() { return *nobody_; }

  std::unique_ptr<RtdClient> nobody_;
};

TEST_F(ClientPathsTest, ANeffOfRootsIsNotLoadedForAnother) {
  const std::string path = NewFile("root.neff", digits_neff(), 0600);
  EXPECT_THAT(LoadFile(nobody(), path), HasStatus(2, "cannot open " + path + ": " + kNotThere));
  EXPECT_THAT(LoadFile(client(), path), IsOk());
  // Known by now, and still not the client's.
  EXPECT_THAT(LoadFile(nobody(), path), HasStatus(2, kNotThere));
  ASSERT_EQ(::chmod(path.c_str(), 0644), 0);
  EXPECT_THAT(LoadFile(nobody(), path), IsOk());
}

TEST_F(ClientPathsTest, NothingOfAnotherFileStandsInTheAnswer) {
  const std::string secret = NewFile("secret", "TOPSECRETTOPSECRET", 0600);
  const auto missing = LoadFile(nobody(), File("absent")).status();
  const auto refused = LoadFile(nobody(), secret).status();
  EXPECT_EQ(refused.code(), missing.code());
  EXPECT_EQ(refused.details(), "cannot open " + secret + ": " + kNotThere);
  EXPECT_EQ(missing.details(), "cannot open " + File("absent") + ": " + kNotThere);
  const std::string readable = NewFile("readable", std::string(2000, 'E'), 0644);
  EXPECT_EQ(LoadFile(nobody(), readable).status().details(), "not a NEFF: " + readable);
}

TEST_F(ClientPathsTest, FoldersOnTheWayMustBeSearchable) {
  std::filesystem::create_directory(File("shut"));
  ASSERT_EQ(::chmod(File("shut").c_str(), 0700), 0);
  const std::string path = NewFile("shut/open.neff", digits_neff(), 0644);
  EXPECT_THAT(LoadFile(nobody(), path), HasStatus(2, kNotThere));
  EXPECT_THAT(LoadFile(nobody(), File("shut/absent.neff")), HasStatus(2, kNotThere));
  EXPECT_THAT(LoadFile(client(), path), IsOk());
}

TEST_F(ClientPathsTest, LinksLeadNoFurtherThanTheClientCouldGo) {
  const std::string path = NewFile("root.neff", digits_neff(), 0600);
  NewFile("open.neff", digits_neff(), 0644);
  std::filesystem::create_symlink(path, File("link.neff"));
  std::filesystem::create_symlink("open.neff", File("fine.neff"));
  EXPECT_THAT(LoadFile(nobody(), File("link.neff")), HasStatus(2, kNotThere));
  EXPECT_THAT(LoadFile(nobody(), File("fine.neff")), IsOk());
}

TEST_F(ClientPathsTest, ProcIsNotThere) {
  const std::string path = NewFile("open.neff", digits_neff(), 0644);
  const std::string self = "/proc/" + std::to_string(::getpid());
  const UniqueFd open(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  for (const std::string& way : {self + "/root" + path, self + "/fd/" + std::to_string(open.get()),
                                 "/proc/self/root" + path})
    EXPECT_THAT(LoadFile(nobody(), way), HasStatus(2, kNotThere)) << way;
  EXPECT_THAT(LoadFile(client(), self + "/root" + path), HasStatus(2, "does not exist"));
}

TEST_F(ClientPathsTest, SupplementaryGroupsCount) {
  const std::string path = NewFile("team.neff", digits_neff(), 0640);
  ASSERT_EQ(::chown(path.c_str(), 0, kTeam), 0);
  EXPECT_THAT(LoadFile(nobody(), path), HasStatus(2, kNotThere));
  RtdClient member(SocketPath(), {65534, 65534, {kTeam}});
  EXPECT_THAT(LoadFile(member, path), IsOk());
}

// The system would open what stands before it.
TEST_F(ClientPathsTest, ANulInAPathIsRefused) {
  const std::string path = NewFile("open.neff", digits_neff(), 0644) + std::string("\0.neff", 6);
  EXPECT_THAT(LoadFile(client(), path), HasStatus(2, "is NUL"));
  EXPECT_THAT(MapHugetlb(client(), path), HasStatus(2, "is NUL"));
  nrt::shm_map_request request;
  request.set_path(std::string("/a\0b", 4));
  EXPECT_THAT(client().Map(request), HasStatus(2, "is NUL"));
  EXPECT_THAT(client().Unmap(request.path()), HasStatus(2, "is NUL"));
}

// By TCP nobody is known.
TEST_F(ClientPathsTest, ByTcpOnlyFilesOfEveryoneAreOpened) {
  client_.reset();
  nobody_.reset();
  ASSERT_EQ(daemon().Stop(), 0);
  const std::string by_tcp = "127.0.0.1:" + std::to_string(20000 + ::getpid() % 10000);
  daemon_ = std::make_unique<integration::DaemonProcess>(
      std::vector<std::string>{"--sim", "inf1.xlarge", "-g", by_tcp, "-x", "--hugepages", "16"});
  ASSERT_TRUE(daemon().AwaitListening()) << daemon().Log();
  RtdClient anyone(by_tcp);
  EXPECT_THAT(LoadFile(anyone, NewFile("open.neff", digits_neff(), 0644)), IsOk());
  EXPECT_THAT(LoadFile(anyone, NewFile("root.neff", digits_neff(), 0640)),
              HasStatus(2, "it does not exist, or everyone or the daemon may not read it"));
}

// A sparse file costs its owner nothing.
TEST_F(ClientPathsTest, AHugeSparseFileIsRefusedByItsHeader) {
  const std::string path = NewFile("sparse.neff", "", 0644);
  std::filesystem::resize_file(path, 2ULL << 30);
  const uint64_t before = daemon().StatusBytes("VmHWM");
  EXPECT_THAT(LoadFile(nobody(), path), HasStatus(2, "not a NEFF"));
  NewFile("sparse.neff", digits_neff().substr(0, 1024), 0644);
  std::filesystem::resize_file(path, 2ULL << 30);
  EXPECT_THAT(LoadFile(nobody(), path), HasStatus(2, "Wrong NEFF file size"));
  EXPECT_LT(daemon().StatusBytes("VmHWM") - before, 16ULL << 20);
}

class HugetlbPathsTest : public ClientPathsTest {
 protected:
  void SetUp() override {
    // The daemon inherits this thread's mounts.
    mount_ = std::make_unique<memory::PrivateMount>(mount_point_.path(), "hugetlbfs",
                                                    "pagesize=2M,mode=0700");
    if (!mount_->mounted()) GTEST_SKIP() << "mounting a hugetlbfs takes root";
    NRTD_REQUIRE_HUGE_PAGES(integration::kTestHugePages + 1);
    ClientPathsTest::SetUp();
  }
  ScratchDirectory mount_point_;
  std::unique_ptr<memory::PrivateMount> mount_;
};

TEST_F(HugetlbPathsTest, AHugetlbFileInAFolderOfRootsIsNotMappedForAnother) {
  const std::string path = mount_point_.File("tensors");
  const UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  ASSERT_TRUE(file);
  ASSERT_EQ(::fchmod(file.get(), 0666), 0);
  ASSERT_EQ(::ftruncate(file.get(), memory::kHugePageSize), 0);
  ASSERT_EQ(::chmod(mount_point_.path().c_str(), 0700), 0);
  const auto refused = MapHugetlb(nobody(), path).status();
  EXPECT_EQ(refused.code(), 2U);
  EXPECT_EQ(refused.details(),
            "Failed to mmap with hugetlb: " + path +
                ": it does not exist, or uid 65534 or the daemon may not read and write it");
  EXPECT_THAT(MapHugetlb(client(), path), IsOk());
}

}  // namespace
}  // namespace nrtd::hostile
