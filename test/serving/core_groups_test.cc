// SPDX-License-Identifier: Apache-2.0
#include "serving/neuron/core_groups.h"

#include <future>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "test/must.h"

namespace nrtd::serving {
namespace {

using ::testing::ElementsAre;

class CoreGroupTest : public ::testing::Test {
 protected:
  Result<void> Enter(uint32_t network, TimePoint deadline = TimePoint::max()) {
    return group_.Enter(network, deadline, [&](uint32_t running) -> Result<void> {
      changes_.push_back(running);
      return {};
    });
  }
  static TimePoint Now() { return SteadyClock().Now(); }

  CoreGroup group_{7};
  std::vector<uint32_t> changes_;
};

TEST_F(CoreGroupTest, InferencesOfOneNetworkAreInsideTogether) {
  Must(Enter(1));
  Must(Enter(1));
  EXPECT_THAT(changes_, ElementsAre(0));
  EXPECT_EQ(Enter(2, Now()).error().code, Nerr::kTimeout);
  Must(Enter(1));  // nobody waits any more
}

TEST_F(CoreGroupTest, WhoWaitsForAnotherNetworkComesBeforeThoseThatComeLater) {
  Must(Enter(1));
  std::thread other([&] {
    Must(Enter(2));
    group_.Leave();
  });
  // As soon as the other one waits.
  while (Enter(1, Now())) group_.Leave();
  group_.Leave();
  other.join();
  EXPECT_THAT(changes_, ElementsAre(0, 1));
}

TEST_F(CoreGroupTest, OthersKeepTheirDeadlinesWhileTheNetworkChanges) {
  std::promise<void> began;
  std::promise<void> may_end;
  std::thread slow([&] {
    Must(group_.Enter(1, TimePoint::max(), [&](uint32_t) -> Result<void> {
      began.set_value();
      may_end.get_future().wait();
      return {};
    }));
  });
  began.get_future().wait();
  EXPECT_EQ(Enter(1, Now()).error().code, Nerr::kTimeout);
  EXPECT_EQ(Enter(2, Now()).error().code, Nerr::kTimeout);
  may_end.set_value();
  slow.join();
  Must(Enter(1));
  EXPECT_TRUE(changes_.empty());
}

TEST_F(CoreGroupTest, AfterAFailedChangeNoNetworkRuns) {
  Must(Enter(1));
  group_.Leave();
  EXPECT_EQ(group_
                .Enter(2, TimePoint::max(),
                       [](uint32_t) -> Result<void> { return Fail(Nerr::kFail, "no"); })
                .error()
                .code,
            Nerr::kFail);
  Must(Enter(1));
  EXPECT_THAT(changes_, ElementsAre(0, 0));
}

}  // namespace
}  // namespace nrtd::serving
