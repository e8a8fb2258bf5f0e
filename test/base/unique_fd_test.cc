// SPDX-License-Identifier: Apache-2.0
#include "base/unique_fd.h"

#include <type_traits>

#include <fcntl.h>
#include <gtest/gtest.h>

namespace nrtd {
namespace {

static_assert(!std::is_copy_constructible_v<UniqueFd>);
static_assert(!std::is_copy_assignable_v<UniqueFd>);
static_assert(std::is_nothrow_move_constructible_v<UniqueFd>);

UniqueFd OpenNull() {
  return UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
}

bool IsOpen(int fd) {
  return ::fcntl(fd, F_GETFD) >= 0;
}

TEST(UniqueFd, ClosesWhenDestroyed) {
  int number = -1;
  {
    const UniqueFd fd = OpenNull();
    number = fd.get();
    EXPECT_TRUE(fd);
    EXPECT_TRUE(IsOpen(number));
  }
  EXPECT_FALSE(IsOpen(number));
}

TEST(UniqueFd, IsEmptyUntilItOwnsSomething) {
  const UniqueFd fd;
  EXPECT_FALSE(fd);
  EXPECT_EQ(fd.get(), -1);
}

TEST(UniqueFd, DescriptorZeroIsOne) {
  UniqueFd fd(0);
  EXPECT_TRUE(fd);
  EXPECT_EQ(fd.Release(), 0);
}

TEST(UniqueFd, AMoveLeavesTheSourceEmpty) {
  UniqueFd source = OpenNull();
  const int number = source.get();
  const UniqueFd target(std::move(source));
  EXPECT_FALSE(source);
  EXPECT_EQ(target.get(), number);
  EXPECT_TRUE(IsOpen(number));
}

TEST(UniqueFd, AssignmentClosesWhatWasThere) {
  UniqueFd target = OpenNull();
  const int old_number = target.get();
  UniqueFd source = OpenNull();
  const int new_number = source.get();
  target = std::move(source);
  EXPECT_FALSE(IsOpen(old_number));
  EXPECT_TRUE(IsOpen(new_number));
  EXPECT_EQ(target.get(), new_number);
}

TEST(UniqueFd, SelfAssignmentKeepsIt) {
  UniqueFd fd = OpenNull();
  UniqueFd& same = fd;
  fd = std::move(same);
  EXPECT_TRUE(fd);
  EXPECT_TRUE(IsOpen(fd.get()));
}

TEST(UniqueFd, ReleaseHandsOverWithoutClosing) {
  UniqueFd fd = OpenNull();
  const UniqueFd taken(fd.Release());
  EXPECT_FALSE(fd);
  EXPECT_TRUE(IsOpen(taken.get()));
}

}  // namespace
}  // namespace nrtd
