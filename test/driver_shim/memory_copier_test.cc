// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/memory_copier.h"

#include <numeric>

#include "base/sizes.h"
#include "test/driver_shim/sim_fixture.h"

namespace nrtd::sim {
namespace {

class MemoryCopierTest : public SimFixture {
 protected:
  std::unique_ptr<MemoryCopier> copier_ = Must(MemoryCopier::Create(device(), *pool_, clock_));
};

TEST_F(MemoryCopierTest, MovesMoreThanOneStagingBufferBothWays) {
  ByteVector source(5 * kMiB + 123);
  for (size_t i = 0; i < source.size(); ++i) source[i] = static_cast<std::byte>(i * 7 + i / 4096);
  Must(copier_->Write(DramAddress(0, 1, 4096), source));
  ByteVector back(source.size());
  Must(copier_->Read(back, DramAddress(0, 1, 4096)));
  EXPECT_EQ(back, source);
}

TEST_F(MemoryCopierTest, ATransferOutOfDramIsAnErrorAndTheNextOneWorks) {
  const ByteVector source(64);
  const auto stray = copier_->Write(DramAddress(0, 0, kDramChannelBytes - 32), source);
  ASSERT_FALSE(stray);
  EXPECT_EQ(stray.error().code, Nerr::kHwError);
  EXPECT_TRUE(copier_->Write(DramAddress(0, 0, 0), source));
}

// The ring once stayed on the device when its memory went, and no other could take its place.
TEST_F(MemoryCopierTest, AnotherOneCanTakeItsPlace) {
  EXPECT_FALSE(MemoryCopier::Create(device(), *pool_, clock_));
  copier_.reset();
  copier_ = Must(MemoryCopier::Create(device(), *pool_, clock_));
  EXPECT_TRUE(copier_->Write(DramAddress(0, 0, 0), ByteVector(64)));
}

TEST_F(MemoryCopierTest, NothingToMoveIsFine) {
  EXPECT_TRUE(copier_->Write(DramAddress(0, 0, 0), {}));
}

}  // namespace
}  // namespace nrtd::sim
