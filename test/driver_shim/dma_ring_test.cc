// SPDX-License-Identifier: Apache-2.0
//
// The driver's DmaRing against the device's DmaQueue: wrap, full, addresses out of region,
// descriptors not announced.
#include "driver_shim/dma_ring.h"

#include "driver_shim/sim/dma_queue.h"
#include "test/driver_shim/sim_fixture.h"

namespace nrtd::sim {
namespace {

class DmaRingTest : public SimFixture {
 protected:
  DmaRingTest()
      : space_(Must(AddressSpace::Create(1))),
        queue_(*space_, 0),
        ring_(Must(DmaRing::Create(*pool_, 4))),
        data_(Must(pool_->Allocate(4096))) {
    for (const memory::PoolPage& page : pool_->pages()) {
      Must(space_->MapHost(0, page.bus_address, page.data, page.length));
    }
  }
  Descriptor CopyByte(uint64_t from, uint64_t to) {
    return {.source = data_.BusAddress(from), .destination = data_.BusAddress(to), .length = 1};
  }
  uint32_t RunAll() {
    queue_.ReleaseAvailable();
    uint32_t count = 0;
    while (queue_.Step()) ++count;
    return count;
  }
  std::unique_ptr<AddressSpace> space_;
  DmaQueue queue_;
  DmaRing ring_;
  memory::DmaBuffer data_;
};

TEST_F(DmaRingTest, CapacityIsAPowerOfTwo) {
  for (uint32_t capacity : {0U, 3U, 65'536U}) {
    const auto ring = DmaRing::Create(*pool_, capacity);
    ASSERT_FALSE(ring) << capacity;
    EXPECT_EQ(ring.error().code, Nerr::kInvalid);
  }
}

TEST_F(DmaRingTest, AFullRingTakesNothingAndSaysSo) {
  Must(queue_.Attach(ring_.config()));
  const std::vector<Descriptor> three(3, CopyByte(0, 1));
  Must(ring_.Push(three));
  const auto overfull = ring_.Push(three);
  ASSERT_FALSE(overfull);
  EXPECT_EQ(overfull.error().code, Nerr::kResource);
  EXPECT_EQ(ring_.free_entries(), 1U);
  Must(ring_.Push({three.data(), 1}));
  EXPECT_EQ(ring_.free_entries(), 0U);
}

TEST_F(DmaRingTest, WrapsManyTimesInOrder) {
  Must(queue_.Attach(ring_.config()));
  for (uint32_t round = 0; round < 100; ++round) {
    // Three of four: the ring's end falls into another place each round.
    for (uint32_t i = 0; i < 3; ++i) {
      data_.data()[i] = static_cast<std::byte>(round + i);
      const Descriptor copy = CopyByte(i, 100 + i);
      Must(ring_.Push({&copy, 1}));
    }
    queue_.Doorbell(3);
    ASSERT_EQ(RunAll(), 3U);
    for (uint32_t i = 0; i < 3; ++i)
      ASSERT_EQ(data_.data()[100 + i], static_cast<std::byte>(round + i));
    ASSERT_EQ(ring_.completion().completed, 3U * (round + 1));
    ASSERT_EQ(ring_.free_entries(), 4U);
  }
}

TEST_F(DmaRingTest, NothingRunsBeforeTheDoorbell) {
  Must(queue_.Attach(ring_.config()));
  const Descriptor copy = CopyByte(0, 1);
  Must(ring_.Push({&copy, 1}));
  EXPECT_EQ(RunAll(), 0U);
  queue_.Doorbell(1);
  EXPECT_EQ(RunAll(), 1U);
}

TEST_F(DmaRingTest, ReleasedDescriptorsRunWhenTheyAreAnnounced) {
  Must(queue_.Attach(ring_.config()));
  queue_.Release(2);
  EXPECT_TRUE(queue_.Starved());
  const std::vector<Descriptor> two(2, CopyByte(0, 1));
  Must(ring_.Push(two));
  queue_.Doorbell(2);
  EXPECT_TRUE(queue_.Step());
  EXPECT_TRUE(queue_.Step());
  EXPECT_FALSE(queue_.Starved());
}

TEST_F(DmaRingTest, AnAddressOutOfRegionFailsThatDescriptorOnly) {
  Must(queue_.Attach(ring_.config()));
  Descriptor stray = CopyByte(0, 1);
  stray.destination = 0x1234;
  Descriptor too_long = CopyByte(0, 1);
  too_long.length = 0x40000000;
  const Descriptor good = CopyByte(2, 3);
  data_.data()[2] = std::byte{9};
  for (const Descriptor& descriptor : {stray, too_long, good}) Must(ring_.Push({&descriptor, 1}));
  queue_.Doorbell(3);
  EXPECT_EQ(RunAll(), 3U);
  EXPECT_EQ(ring_.completion().completed, 3U);
  EXPECT_EQ(ring_.completion().failed, 2U);
  EXPECT_EQ(ring_.completion().last_failure, 1U);
  EXPECT_EQ(data_.data()[3], std::byte{9});
}

TEST_F(DmaRingTest, SkippedDescriptorsCompleteAsFailedAndMoveNothing) {
  Must(queue_.Attach(ring_.config()));
  data_.data()[0] = std::byte{5};
  const std::vector<Descriptor> two(2, CopyByte(0, 1));
  Must(ring_.Push(two));
  queue_.Doorbell(2);
  queue_.SkipTo(2);
  EXPECT_EQ(ring_.completion().failed, 2U);
  EXPECT_EQ(ring_.free_entries(), 4U);
  EXPECT_EQ(data_.data()[1], std::byte{0});
}

TEST_F(DmaRingTest, ARingOutsideMappedMemoryIsRefused) {
  RingConfig config = ring_.config();
  config.entries = 0x1000;
  EXPECT_FALSE(queue_.Attach(config));
  config = ring_.config();
  config.completion = 0x1000;
  EXPECT_FALSE(queue_.Attach(config));
  config = ring_.config();
  config.capacity = 3;
  EXPECT_FALSE(queue_.Attach(config));
}

TEST_F(DmaRingTest, AQueueTakesOneRingUntilItIsDetached) {
  Must(queue_.Attach(ring_.config()));
  EXPECT_FALSE(queue_.Attach(ring_.config()));
  queue_.Detach();
  ring_.Clear();
  EXPECT_TRUE(queue_.Attach(ring_.config()));
  EXPECT_EQ(RunAll(), 0U);
}

TEST_F(DmaRingTest, MemoryUnmappedUnderARingStopsItWithoutACrash) {
  Must(queue_.Attach(ring_.config()));
  const Descriptor copy = CopyByte(0, 1);
  Must(ring_.Push({&copy, 1}));
  queue_.Doorbell(1);
  for (const memory::PoolPage& page : pool_->pages()) space_->UnmapHost(0, page.bus_address);
  EXPECT_EQ(RunAll(), 0U);
  EXPECT_EQ(ring_.completion().completed, 0U);
}

}  // namespace
}  // namespace nrtd::sim
