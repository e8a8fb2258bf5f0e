// SPDX-License-Identifier: Apache-2.0
#include "memory/guarded_copy.h"

#include <csignal>
#include <cstring>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mapped_region.h"
#include "base/unique_fd.h"

namespace nrtd::memory {
namespace {

// A file of so many pages, mapped, that may be cut under the mapping.
class CutFile {
 public:
  explicit CutFile(uint64_t pages) : file_(::memfd_create("cut", MFD_CLOEXEC)) {
    EXPECT_EQ(::ftruncate(file_.get(), static_cast<off_t>(pages * kPage)), 0);
    region_ = MappedRegion::Map(pages * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, &file_).value();
  }
  void CutTo(uint64_t bytes) { EXPECT_EQ(::ftruncate(file_.get(), static_cast<off_t>(bytes)), 0); }
  std::byte* data() const { return region_.data(); }

 private:
  UniqueFd file_;
  MappedRegion region_;
};

TEST(GuardedCopy, CopiesWhatIsThere) {
  CutFile file(2);
  std::vector<std::byte> there(2 * kPage, std::byte{7});
  std::vector<std::byte> back(2 * kPage);
  EXPECT_TRUE(GuardedCopy(file.data(), there.data(), there.size()));
  EXPECT_TRUE(GuardedCopy(back.data(), file.data(), back.size()));
  EXPECT_EQ(back, there);
  EXPECT_TRUE(GuardedCopy(back.data(), file.data(), 0));
}

TEST(GuardedCopy, APageThatIsGoneEndsTheCopyAndNothingElse) {
  CutFile file(3);
  std::vector<std::byte> buffer(3 * kPage, std::byte{1});
  file.CutTo(kPage);
  EXPECT_FALSE(GuardedCopy(buffer.data(), file.data(), buffer.size()));
  EXPECT_FALSE(GuardedCopy(file.data(), buffer.data(), buffer.size()));
  EXPECT_TRUE(GuardedCopy(buffer.data(), file.data(), kPage));
  // And again when the file has grown.
  file.CutTo(3 * kPage);
  EXPECT_TRUE(GuardedCopy(buffer.data(), file.data(), buffer.size()));
}

TEST(GuardedCopy, EveryThreadHasItsOwnWayOut) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t] {
      CutFile file(2);
      std::vector<std::byte> buffer(2 * kPage);
      if (t % 2 == 0) file.CutTo(0);
      for (int i = 0; i < 200; ++i)
        ASSERT_EQ(GuardedCopy(buffer.data(), file.data(), buffer.size()), t % 2 != 0);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(GuardedCopyDeathTest, ABusErrorFromElsewhereIsNotSwallowed) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH(
      {
        CutFile file(2);
        std::byte byte{};
        (void)GuardedCopy(&byte, file.data(), 1);
        file.CutTo(0);
        *const_cast<volatile std::byte*>(file.data()) = byte;
      },
      "");
}

}  // namespace
}  // namespace nrtd::memory
