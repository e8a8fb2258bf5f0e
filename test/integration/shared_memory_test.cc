// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <cstring>
#include <thread>

#include <sys/mman.h>

#include "base/mapped_region.h"
#include "test/integration/daemon_test.h"
#include "test/memory/client_shm.h"

namespace nrtd::integration {
namespace {

using memory::ClientShm;

constexpr size_t kImageBytes = 8 * 8 * sizeof(float);
constexpr size_t kOutputBytes = Digits::kClasses * sizeof(float);

class SharedMemoryTest : public DaemonTest {
 protected:
  void SetUp() override {
    DaemonTest::SetUp();
    if (!IsSkipped() && !HasFatalFailure()) network_ = Load({.neff = digits_neff()});
  }

  nrt::shm_map_response Map(const std::string& path) {
    nrt::shm_map_request request;
    request.set_path(path);
    request.set_mmap_prot(PROT_READ | PROT_WRITE);
    return client().Map(request);
  }
  void Put(std::byte* memory, size_t image) {
    std::memcpy(memory, digits().images[image].data(), kImageBytes);
  }
  static std::vector<float> Get(const std::byte* memory) {
    return FloatsOf({reinterpret_cast<const char*>(memory), kOutputBytes});
  }
  // An empty path stands for inline.
  nrt::infer_request Request(size_t image, const std::string& input, const std::string& output) {
    nrt::infer_request request = InferRequest(network_, digits().Input(image));
    if (!input.empty()) *request.mutable_ifmap(0) = SharedTensor("input:0", input);
    if (!output.empty()) *request.add_shm_ofmap() = SharedTensor("output:0", output);
    return request;
  }
  double Error(const std::vector<float>& output, size_t image) {
    return RelativeError(output, digits().references[image]);
  }

  uint32_t network_ = 0;
};

TEST_F(SharedMemoryTest, InputsAndOutputsGoEitherWayAfterTheClientHasUnlinkedItsFiles) {
  ClientShm input(kImageBytes);
  ClientShm output(kOutputBytes);
  for (ClientShm* shm : {&input, &output}) {
    ASSERT_THAT(Map(shm->name()), IsOk());
    shm->Unlink();
  }
  for (size_t image = 0; image < 20; ++image) {
    Put(input.data(), image);
    const auto in_shared = client().Infer(Request(image, input.name(), ""));
    ASSERT_THAT(in_shared, IsOk());
    EXPECT_LE(Error(FloatsOf(in_shared.ofmap(0).buf()), image), 1e-5);

    std::memset(output.data(), 0, kOutputBytes);
    const auto out_shared = client().Infer(Request(image, "", output.name()));
    ASSERT_THAT(out_shared, IsOk());
    EXPECT_EQ(out_shared.ofmap_size(), 0);
    EXPECT_LE(Error(Get(output.data()), image), 1e-5);

    std::memset(output.data(), 0, kOutputBytes);
    const auto both = client().Infer(Request(image, input.name(), output.name()));
    ASSERT_THAT(both, IsOk());
    EXPECT_EQ(both.ofmap_size(), 0);
    EXPECT_LE(Error(Get(output.data()), image), 1e-5);
  }
}

// The original died of SIGBUS.
TEST_F(SharedMemoryTest, AFileThatIsCutAllTheTimeHarmsNobodyElse) {
  ClientShm input(kImageBytes);
  ClientShm output(kOutputBytes);
  for (ClientShm* shm : {&input, &output}) ASSERT_THAT(Map(shm->name()), IsOk());
  std::atomic<bool> stop{false};
  std::thread cutter([&] {
    while (!stop) {
      for (ClientShm* shm : {&input, &output}) {
        shm->Truncate(0);
        shm->Truncate(4096);
      }
    }
  });
  int refused = 0;
  for (int i = 0; i < 2000; ++i) {
    const int code = client().Infer(Request(0, input.name(), output.name())).status().code();
    if (code != 0) {
      ASSERT_EQ(code, 1002);
      ++refused;
    }
    if (i % 100 == 0) ExpectReads(network_);
  }
  stop = true;
  cutter.join();
  RecordProperty("refused", refused);
  ExpectReads(network_);
}

TEST_F(SharedMemoryTest, APostedInferenceWritesWhereTheWaitSays) {
  ClientShm input(kImageBytes);
  ClientShm output(kOutputBytes);
  ASSERT_THAT(Map(input.name()), IsOk());
  ASSERT_THAT(Map(output.name()), IsOk());
  Put(input.data(), 3);
  const auto posted = client().Post(Request(3, input.name(), output.name()));
  ASSERT_THAT(posted, IsOk());
  // The inputs are the daemon's once the post was answered.
  Put(input.data(), 4);
  nrt::infer_wait_request wait;
  wait.set_cookie(posted.cookie());
  *wait.add_shm_ofmap() = SharedTensor("output:0", output.name());
  const auto response = client().Wait(wait);
  ASSERT_THAT(response, IsOk());
  EXPECT_EQ(response.ofmap_size(), 0);
  EXPECT_LE(Error(Get(output.data()), 3), 1e-5);
}

TEST_F(SharedMemoryTest, AfterUnmapItIsUnknown) {
  ClientShm shm(kImageBytes);
  ASSERT_THAT(Map(shm.name()), IsOk());
  Put(shm.data(), 0);
  ASSERT_THAT(client().Infer(Request(0, shm.name(), "")), IsOk());
  ASSERT_THAT(client().Unmap(shm.name()), IsOk());
  EXPECT_THAT(client().Infer(Request(0, shm.name(), "")), HasStatus(1002, shm.name()));
  EXPECT_THAT(client().Infer(Request(0, "", shm.name())), HasStatus(1002, shm.name()));
  EXPECT_THAT(client().Post(Request(0, shm.name(), "")), HasStatus(1002, shm.name()));
  EXPECT_THAT(client().Unmap(shm.name()), HasStatus(2, "is not mapped"));
  EXPECT_EQ(ReadUsage(client()).slots_in_use, 0U);
  ExpectReads(network_);
}

TEST_F(SharedMemoryTest, AFileThatIsTooSmallOrWasCutIsABadInput) {
  ClientShm small(kOutputBytes - 1);
  ASSERT_THAT(Map(small.name()), IsOk());
  EXPECT_THAT(client().Infer(Request(0, small.name(), "")), HasStatus(1002, small.name()));
  EXPECT_THAT(client().Infer(Request(0, "", small.name())), HasStatus(1002, small.name()));
  ClientShm cut(1 << 20);
  ASSERT_THAT(Map(cut.name()), IsOk());
  Put(cut.data(), 0);
  ASSERT_THAT(client().Infer(Request(0, cut.name(), "")), IsOk());
  cut.Truncate(0);
  EXPECT_THAT(client().Infer(Request(0, cut.name(), "")), HasStatus(1002, "truncated"));
  EXPECT_THAT(client().Infer(Request(0, "", cut.name())), HasStatus(1002, "truncated"));
  EXPECT_EQ(ReadUsage(client()).slots_in_use, 0U);
  ExpectReads(network_);
}

TEST_F(SharedMemoryTest, WhatCannotBeMappedIsRefusedSoThatTheClientSendsInline) {
  EXPECT_THAT(Map("/nrtd-no-such-file"), HasStatus(2, "it does not exist"));
  EXPECT_THAT(Map("/../etc/passwd"), HasStatus(2, "no name of shared memory"));
  EXPECT_THAT(Map(""), HasStatus(2, ""));
  EXPECT_THAT(client().Map({}), HasStatus(2, "names no path"));
  ClientShm empty(0);
  EXPECT_THAT(Map(empty.name()), HasStatus(2, "empty"));
  nrt::shm_map_request executable;
  executable.set_path(empty.name());
  executable.set_mmap_prot(PROT_READ | PROT_EXEC);
  EXPECT_THAT(client().Map(executable), HasStatus(2, "protection"));
  nrt::shm_map_request hugetlb;
  hugetlb.mutable_path_hugetlb()->set_path("/dev/shm" + empty.name());
  hugetlb.mutable_path_hugetlb()->set_size(memory::kHugePageSize);
  EXPECT_THAT(client().Map(hugetlb), HasStatus(2, "Failed to mmap with hugetlb"));
  ExpectReads(network_);
}

TEST_F(SharedMemoryTest, AReadOnlyMappingTakesNoOutputs) {
  ClientShm shm(kImageBytes);
  nrt::shm_map_request request;
  request.set_path(shm.name());
  request.set_mmap_prot(PROT_READ);
  ASSERT_THAT(client().Map(request), IsOk());
  Put(shm.data(), 6);
  const auto response = client().Infer(Request(6, shm.name(), ""));
  ASSERT_THAT(response, IsOk());
  EXPECT_LE(Error(FloatsOf(response.ofmap(0).buf()), 6), 1e-5);
  EXPECT_THAT(client().Infer(Request(6, "", shm.name())), HasStatus(1002, "read-only"));
}

class HugetlbTest : public SharedMemoryTest {
 protected:
  void SetUp() override {
    // The daemon inherits this thread's mounts.
    mount_ =
        std::make_unique<memory::PrivateMount>(mount_point_.path(), "hugetlbfs", "pagesize=2M");
    if (!mount_->mounted()) GTEST_SKIP() << "mounting a hugetlbfs takes root";
    NRTD_REQUIRE_HUGE_PAGES(kTestHugePages + 2);
    SharedMemoryTest::SetUp();
  }
  nrt::shm_map_response MapHugetlb(const std::string& path, uint32_t size) {
    nrt::shm_map_request request;
    request.mutable_path_hugetlb()->set_path(path);
    request.mutable_path_hugetlb()->set_size(size);
    request.set_mmap_prot(PROT_READ | PROT_WRITE);
    return client().Map(request);
  }

  ScratchDirectory mount_point_;
  std::unique_ptr<memory::PrivateMount> mount_;
};

TEST_F(HugetlbTest, InputsAndOutputsGoThroughAHugetlbFile) {
  const std::string path = mount_point_.File("tensors");
  const UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  ASSERT_TRUE(file);
  ASSERT_EQ(::ftruncate(file.get(), memory::kHugePageSize), 0);
  const auto region =
      Must(MappedRegion::Map(memory::kHugePageSize, PROT_READ | PROT_WRITE, MAP_SHARED, &file));
  ASSERT_THAT(MapHugetlb(path, memory::kHugePageSize), IsOk());
  ASSERT_EQ(::unlink(path.c_str()), 0);
  for (size_t image = 0; image < 5; ++image) {
    Put(region.data(), image);
    const auto response = client().Infer(Request(image, path, path));
    ASSERT_THAT(response, IsOk());
    EXPECT_EQ(response.ofmap_size(), 0);
    EXPECT_LE(Error(Get(region.data()), image), 1e-5);
  }
  EXPECT_THAT(client().Unmap(path), IsOk());
  EXPECT_THAT(client().Infer(Request(0, path, "")), HasStatus(1002, path));
  EXPECT_THAT(MapHugetlb(path, memory::kHugePageSize), HasStatus(2, "Failed to mmap with hugetlb"));
}

}  // namespace
}  // namespace nrtd::integration
