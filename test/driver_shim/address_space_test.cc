// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/sim/address_space.h"

#include <array>
#include <thread>

#include <gtest/gtest.h>
#include <sys/mman.h>

#include "base/sizes.h"

namespace nrtd::sim {
namespace {

class AddressSpaceTest : public ::testing::Test {
 protected:
  AddressSpaceTest() : space_(std::move(*AddressSpace::Create(2))) {}
  std::byte* Translate(uint32_t device, BusAddress address, uint64_t length, Use use = Use::kRead) {
    return AddressSpace::Access(*space_).Translate(device, address, length, use);
  }
  std::unique_ptr<AddressSpace> space_;
  std::array<std::byte, 4096> memory_{};
};

TEST_F(AddressSpaceTest, HostMemoryIsReachableOnlyInsideItsMapping) {
  ASSERT_TRUE(space_->MapHost(0, 0x10000, memory_.data(), memory_.size()));
  EXPECT_EQ(Translate(0, 0x10000, 4096), memory_.data());
  EXPECT_EQ(Translate(0, 0x10010, 16), memory_.data() + 16);
  EXPECT_EQ(Translate(0, 0x10000, 4097), nullptr);
  EXPECT_EQ(Translate(0, 0x10fff, 2), nullptr);
  EXPECT_EQ(Translate(0, 0x0ffff, 1), nullptr);
  EXPECT_EQ(Translate(0, 0x11000, 1), nullptr);
}

TEST_F(AddressSpaceTest, AMappingBelongsToOneDevice) {
  ASSERT_TRUE(space_->MapHost(0, 0x10000, memory_.data(), memory_.size()));
  EXPECT_EQ(Translate(1, 0x10000, 1), nullptr);
}

TEST_F(AddressSpaceTest, OverlappingMappingsAreRefused) {
  ASSERT_TRUE(space_->MapHost(0, 0x10000, memory_.data(), 4096));
  for (BusAddress address : {0x0f001, 0x10000, 0x10fff}) {
    const auto mapped = space_->MapHost(0, address, memory_.data(), 4096);
    ASSERT_FALSE(mapped) << address;
    EXPECT_EQ(mapped.error().code, Nerr::kInvalid);
  }
  EXPECT_TRUE(space_->MapHost(0, 0x0f000, memory_.data(), 4096));
  EXPECT_TRUE(space_->MapHost(0, 0x11000, memory_.data(), 4096));
}

TEST_F(AddressSpaceTest, HostMemoryMayNotLieInTheDramWindow) {
  EXPECT_FALSE(space_->MapHost(0, kDramWindow, memory_.data(), 16));
  EXPECT_FALSE(space_->MapHost(0, kDramWindow - 8, memory_.data(), 16));
  EXPECT_FALSE(space_->MapHost(0, 0x1000, memory_.data(), 0));
}

TEST_F(AddressSpaceTest, UnmappedMemoryIsOutOfReach) {
  ASSERT_TRUE(space_->MapHost(0, 0x10000, memory_.data(), 4096));
  space_->UnmapHost(0, 0x10000);
  EXPECT_EQ(Translate(0, 0x10000, 1), nullptr);
}

TEST_F(AddressSpaceTest, UnmappingWaitsForTransfersUnderWay) {
  ASSERT_TRUE(space_->MapHost(0, 0x10000, memory_.data(), 4096));
  std::atomic<bool> transfer_over{false};
  std::thread unmapper;
  {
    const AddressSpace::Access access(*space_);
    std::byte* data = access.Translate(0, 0x10000, 4096, Use::kWrite);
    unmapper = std::thread([&] {
      space_->UnmapHost(0, 0x10000);
      EXPECT_TRUE(transfer_over.load());
    });
    for (int i = 0; i < 4096; ++i) data[i] = std::byte{1};
    transfer_over.store(true);
  }
  unmapper.join();
}

TEST_F(AddressSpaceTest, EveryDeviceReachesTheDramOfEveryOther) {
  std::byte* there = Translate(0, DramAddress(1, 1, 64), 8);
  ASSERT_NE(there, nullptr);
  EXPECT_EQ(there, Translate(1, DramAddress(1, 1, 64), 8));
  EXPECT_NE(there, Translate(1, DramAddress(1, 0, 64), 8));
}

TEST_F(AddressSpaceTest, DramEndsAtItsChannel) {
  EXPECT_NE(Translate(0, DramAddress(0, 0, kDramChannelBytes - 1), 1), nullptr);
  EXPECT_EQ(Translate(0, DramAddress(0, 0, kDramChannelBytes - 1), 2), nullptr);
  EXPECT_EQ(Translate(0, DramAddress(0, 2, 0), 1), nullptr);
  EXPECT_EQ(Translate(0, DramAddress(2, 0, 0), 1), nullptr);
  EXPECT_EQ(Translate(0, ~uint64_t{0}, 1), nullptr);
}

TEST_F(AddressSpaceTest, DiscardedDramReadsAsZeroAndItsNeighboursDoNot) {
  std::byte* data = space_->TranslateDram(DramAddress(0, 0, 0), 12 * kKiB, Use::kWrite);
  for (uint64_t i = 0; i < 12 * kKiB; ++i) data[i] = std::byte{7};
  space_->DiscardDram(DramAddress(0, 0, 1), 9 * kKiB);  // whole pages inside: only [4K, 8K)
  EXPECT_EQ(data[4 * kKiB - 1], std::byte{7});
  EXPECT_EQ(data[4 * kKiB], std::byte{0});
  EXPECT_EQ(data[8 * kKiB - 1], std::byte{0});
  EXPECT_EQ(data[8 * kKiB], std::byte{7});
}

TEST_F(AddressSpaceTest, MemoryInThePlaceOfDramIsReadInsideItsBoundsAndNeverWritten) {
  const auto pages = MappedRegion::Map(2 * kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS);
  const ByteSpan bytes = pages->bytes().first(kPage + 100);
  const BusAddress at = DramAddress(0, 0, 16 * kPage);
  EXPECT_FALSE(space_->MapDram(at + 8, bytes));
  EXPECT_FALSE(space_->MapDram(at, pages->bytes().subspan(8, 100)));
  EXPECT_FALSE(space_->MapDram(DramAddress(0, 0, kDramChannelBytes - kPage), bytes));
  EXPECT_FALSE(space_->MapDram(0x10000, bytes));
  const std::byte* before = Translate(0, at - 1, 1);
  ASSERT_TRUE(space_->MapDram(at, bytes));
  EXPECT_FALSE(space_->MapDram(at + kPage, bytes)) << "it would hide a part of the other";
  EXPECT_EQ(Translate(0, at, bytes.size()), bytes.data());
  EXPECT_EQ(Translate(1, at + 5, 10), bytes.data() + 5);
  EXPECT_EQ(Translate(0, at, bytes.size() + 1), nullptr);
  EXPECT_EQ(Translate(0, at - 1, 2), nullptr);
  EXPECT_EQ(Translate(0, at - kPage, 10 * kPage), nullptr);
  EXPECT_EQ(Translate(0, at, 1, Use::kWrite), nullptr);
  EXPECT_EQ(Translate(0, at - 1, 1, Use::kWrite), before);
  EXPECT_EQ(Translate(0, at + bytes.size(), 1, Use::kWrite), before + 1 + bytes.size());
  space_->DiscardDram(at, bytes.size());
  EXPECT_EQ(Translate(0, at, bytes.size() + 1, Use::kWrite), before + 1);
}

}  // namespace
}  // namespace nrtd::sim
