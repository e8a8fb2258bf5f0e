// SPDX-License-Identifier: Apache-2.0
//
// The daemon runs inside the limits that these tests count on.
#include "test/hostile/hostile_test.h"

namespace nrtd::hostile {
namespace {

TEST_F(HostileTest, AnHonestClientIsServedInsideTheLimits) {
  const uint32_t network = Load({.neff = digits_neff()});
  ASSERT_NE(network, 0U);
  ExpectReads(network);
  EXPECT_LT(group().PeakMemoryBytes(), kMemoryLimit / 2);
}

}  // namespace
}  // namespace nrtd::hostile
