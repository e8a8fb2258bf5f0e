// SPDX-License-Identifier: Apache-2.0
//
// The 25 calls of nmgr_v1, one test each: its success, its documented errors in their words, and
// what it leaves behind. Malformed requests are test/integration/bad_input_test.cc's.
#include <sys/mman.h>

#include "test/integration/daemon_test.h"
#include "test/memory/client_shm.h"

namespace nrtd::integration {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

constexpr uint32_t kNoSuch = 77;

class CallTest : public DaemonTest {
 protected:
  void SetUp() override {
    DaemonTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    empty_ = ReadUsage(client());
  }
  // Every test leaves the daemon as it found it.
  void TearDown() override {
    if (client_ != nullptr) {
      EXPECT_THAT(client().UnloadAll(), IsOk());
      EXPECT_EQ(ReadUsage(client()), empty_);
    }
    DaemonTest::TearDown();
  }
  nrt::infer_request Image(uint32_t network) { return InferRequest(network, digits().Input(0)); }
  uint32_t Group(uint32_t cores) {
    const auto group = client().CreateGroup(cores);
    EXPECT_THAT(group, IsOk());
    return group.h_eg().id();
  }
  v1::NetworkState StateOf(uint32_t network) {
    const auto listed = client().ListNetworks();
    for (const auto& known : listed.networks())
      if (known.id() == network) return known.state();
    return v1::NETWORK_STATE_UNSPECIFIED;
  }
  nrt::shm_map_response Map(const std::string& path, uint32_t protection) {
    nrt::shm_map_request request;
    request.set_path(path);
    request.set_mmap_prot(protection);
    return client().Map(request);
  }
  const std::string no_model_ = fmt::format("Failed to find model: {}", kNoSuch);
  const std::string no_group_ = fmt::format("Failed to find NeuronCore group: {}", kNoSuch);
  Usage empty_;
};

TEST_F(CallTest, Load) {
  const uint32_t first = Load({.neff = digits_neff()});
  EXPECT_EQ(first, 10'001U);
  EXPECT_EQ(StateOf(first), v1::NETWORK_STATE_RUNNING);  // its own group: started at once
  WriteText(File("digits.neff"), digits_neff());
  const auto by_path = client().Load(LoadFileMessages(File("digits.neff")));
  EXPECT_THAT(by_path, IsOk());
  EXPECT_EQ(by_path.h_nn().id(), 10'002U);
  const Usage two = ReadUsage(client());
  const uint32_t group = Group(2);
  const uint32_t third = Load({.neff = digits_neff(), .group = group});
  EXPECT_EQ(StateOf(third), v1::NETWORK_STATE_STANDBY);
  EXPECT_THAT(client().Unload(third), IsOk());

  EXPECT_THAT(client().Load(LoadMessages({.neff = digits_neff(), .group = kNoSuch})),
              HasStatus(3, no_group_));
  auto messages = LoadMessages({.neff = digits_neff()});
  messages.pop_back();
  EXPECT_THAT(client().Load(messages), HasStatus(2, "Wrong NEFF file size"));
  std::string newer = digits_neff();
  newer[24] = 2;  // the major version
  newer[32] = 0;
  const auto refused = client().Load(LoadMessages({.neff = newer}));
  EXPECT_THAT(refused, HasStatus(10, "NEFF version mismatch supported: 1.1 received: 2.0"));
  EXPECT_EQ(refused.h_nn().id(), 0U);
  // Three cores are taken by two networks and a group of two; the load wants one.
  EXPECT_THAT(client().Load(LoadMessages({.neff = digits_neff()})),
              HasStatus(9, "Requested number of NCs: 1 exceeds the total available number: 0"));
  EXPECT_THAT(client().DestroyGroup(group), IsOk());
  EXPECT_EQ(ReadUsage(client()), two);
}

// Nobody knows the network's id then, and nobody could unload it. (An answer that has left when the
// client gives up cannot be taken back.)
TEST_F(CallTest, ALoadWhoseClientGivesUpLeavesNothing) {
  const auto messages = LoadMessages({.neff = SlowNeff()});
  for (int i = 0; i < 10; ++i) client().LoadAndCancel(messages);
  Await("everything to be freed", [&] { return ReadUsage(client()) == empty_; });
  ExpectReads(Load({.neff = digits_neff()}));
}

TEST_F(CallTest, Unload) {
  const uint32_t network = Load({.neff = digits_neff()});
  EXPECT_THAT(client().Unload(network), IsOk());
  EXPECT_EQ(ReadUsage(client()), empty_);
  EXPECT_THAT(client().Unload(network),
              HasStatus(3, fmt::format("Failed to find model: {}", network)));
  EXPECT_THAT(client().Unload(kNoSuch), HasStatus(3, no_model_));
}

TEST_F(CallTest, Start) {
  const uint32_t group = Group(1);
  const uint32_t one = Load({.neff = digits_neff(), .group = group});
  const uint32_t two = Load({.neff = digits_neff(), .group = group});
  EXPECT_THAT(client().Start(one), IsOk());
  EXPECT_THAT(client().Start(one), IsOk());
  EXPECT_EQ(StateOf(one), v1::NETWORK_STATE_RUNNING);
  EXPECT_THAT(client().Start(two), HasStatus(2, fmt::format("model {} is running", one)));
  EXPECT_EQ(StateOf(two), v1::NETWORK_STATE_STANDBY);
  EXPECT_THAT(client().Start(kNoSuch), HasStatus(3, no_model_));
  ExpectReads(one);
}

TEST_F(CallTest, Stop) {
  const uint32_t group = Group(1);
  const uint32_t one = Load({.neff = digits_neff(), .group = group});
  const uint32_t two = Load({.neff = digits_neff(), .group = group});
  EXPECT_THAT(client().Stop(one), IsOk());  // it stands by already
  ASSERT_THAT(client().Start(one), IsOk());
  EXPECT_THAT(client().Stop(one), IsOk());
  EXPECT_THAT(client().Infer(Image(one)), HasStatus(2, "start it first"));
  EXPECT_THAT(client().Start(two), IsOk());
  ExpectReads(two);
  EXPECT_THAT(client().Stop(kNoSuch), HasStatus(3, no_model_));
}

TEST_F(CallTest, UnloadAll) {
  Load({.neff = digits_neff()});
  Load({.neff = digits_neff(), .group = Group(2)});
  EXPECT_THAT(client().UnloadAll(), IsOk());
  EXPECT_EQ(ReadUsage(client()), empty_);
  EXPECT_THAT(client().UnloadAll(), IsOk());
}

TEST_F(CallTest, Infer) {
  const uint32_t network = Load({.neff = digits_neff()});
  const auto answer = client().Infer(Image(network));
  ASSERT_THAT(answer, IsOk());
  EXPECT_EQ(answer.ofmap(0).name(), "output:0");
  EXPECT_THAT(client().Infer(Image(kNoSuch)), HasStatus(3, no_model_));
  EXPECT_THAT(client().Infer(InferRequest(network, {})),
              HasStatus(2, "Wrong number of ifmaps, expected: 1, received: 0"));
  EXPECT_THAT(client().Infer(InferRequest(network, {{"input:0", "12345"}})),
              HasStatus(2, "Invalid data length for [input:0], received 5, expected 256"));
  EXPECT_EQ(client().ListNetworks().networks(0).inferences_done(), 1U);
  EXPECT_EQ(ReadUsage(client()).slots_in_use, 0U);
}

TEST_F(CallTest, InferPost) {
  const uint32_t network = Load({.neff = SlowNeff(), .ninfer = 2, .timeout_s = 60});
  const auto one = client().Post(SlowInput(network));
  const auto two = client().Post(SlowInput(network));
  ASSERT_THAT(one, IsOk());
  ASSERT_THAT(two, IsOk());
  EXPECT_NE(one.cookie(), 0U);
  EXPECT_NE(one.cookie(), two.cookie());
  EXPECT_THAT(client().Post(SlowInput(network)), HasStatus(7, "in flight"));
  EXPECT_THAT(client().Post(SlowInput(kNoSuch)), HasStatus(3, no_model_));
  EXPECT_THAT(client().Wait(two.cookie()), IsOk());
  EXPECT_THAT(client().Wait(one.cookie()), IsOk());
  EXPECT_EQ(ReadUsage(client()).slots_in_use, 0U);
}

// A cookie that nobody knows would keep its slot. (An answer that has left when the client gives up
// cannot be taken back: at worst it keeps the slot until the network goes.)
TEST_F(CallTest, APostWhoseClientGivesUpIsTakenBack) {
  constexpr uint32_t kNinfer = 64;
  uint32_t network = Load({.neff = digits_neff(), .ninfer = kNinfer});
  Await("an inference that is dropped", [&] {
    if (ReadUsage(client()).slots_in_use > kNinfer / 2) {
      EXPECT_THAT(client().Unload(network), IsOk());
      network = Load({.neff = digits_neff(), .ninfer = kNinfer});
    }
    // The daemon answers the first ones before it can learn that nobody wants them.
    client().PostAndCancel(Image(network), kNinfer / 4);
    return daemon().Log().find("the client gave up: inference") != std::string::npos;
  });
  ExpectReads(network);
}

TEST_F(CallTest, InferWait) {
  const uint32_t network = Load({.neff = digits_neff()});
  const uint64_t cookie = client().Post(Image(network)).cookie();
  const auto answer = client().Wait(cookie);
  ASSERT_THAT(answer, IsOk());
  EXPECT_EQ(answer.ofmap_size(), 1);
  EXPECT_THAT(client().Wait(cookie),
              HasStatus(3, fmt::format("Failed to find inference: {}", cookie)));
  EXPECT_THAT(client().Wait(0), HasStatus(3, "Failed to find inference: 0"));
}

TEST_F(CallTest, InferPoll) {
  const uint32_t network = Load({.neff = SlowNeff(), .timeout_s = 60});
  const uint64_t cookie = client().Post(SlowInput(network)).cookie();
  int pending = 0;
  auto answer = client().Poll(cookie);
  for (; answer.status().code() == 1000; answer = client().Poll(cookie)) ++pending;
  EXPECT_GT(pending, 0);
  ASSERT_THAT(answer, IsOk());
  EXPECT_EQ(answer.ofmap_size(), 1);
  EXPECT_THAT(client().Poll(cookie), HasStatus(3, "Failed to find inference"));
}

TEST_F(CallTest, InferCheckCompletion) {
  const uint32_t network = Load({.neff = SlowNeff(), .ninfer = 2, .timeout_s = 60});
  const uint64_t one = client().Post(SlowInput(network)).cookie();
  const uint64_t two = client().Post(SlowInput(network)).cookie();
  Await("both to end", [&] { return client().CheckCompletion({one, two}).cookie_size() == 2; });
  const auto known = client().CheckCompletion({two, 999, one});
  EXPECT_THAT(known, HasStatus(3, "Failed to find inference: 999"));
  EXPECT_THAT(known.cookie(), UnorderedElementsAre(one, two));
  EXPECT_THAT(client().Wait(one), IsOk());  // asking has not used them up
  EXPECT_THAT(client().Wait(two), IsOk());
}

TEST_F(CallTest, CreateEg) {
  const auto two = client().CreateGroup(2);
  ASSERT_THAT(two, IsOk());
  EXPECT_EQ(two.h_eg().id(), 1U);
  EXPECT_EQ(two.nc_count(), 2U);
  EXPECT_THAT(client().CreateGroup(3),
              HasStatus(9, "Requested number of NCs: 3 exceeds the total available number: 2"));
  EXPECT_EQ(client().CreateGroup(0).nc_count(), 2U);  // as many as there are
  EXPECT_THAT(client().CreateGroup(0),
              HasStatus(9, "Requested number of NCs: 1 exceeds the total available number: 0"));
  EXPECT_THAT(client().CreateGroup(1, kNoSuch), HasStatus(3, "Failed to find session: 77"));
}

TEST_F(CallTest, ACreateEgWhoseClientGivesUpIsTakenBack) {
  Await("a group that is destroyed again", [&] {
    client().UnloadAll();  // those whose answer had left
    client().CreateGroupAndCancel(1);
    return daemon().Log().find("the client gave up: group") != std::string::npos;
  });
}

TEST_F(CallTest, DestroyEg) {
  const uint32_t group = Group(4);
  const uint32_t network = Load({.neff = digits_neff(), .group = group});
  EXPECT_THAT(client().DestroyGroup(group), HasStatus(2, "holds 1 loaded networks"));
  EXPECT_THAT(client().Unload(network), IsOk());
  EXPECT_THAT(client().DestroyGroup(group), IsOk());
  EXPECT_THAT(client().DestroyGroup(group), HasStatus(3, "Failed to find NeuronCore group"));
  EXPECT_THAT(client().DestroyGroup(kNoSuch), HasStatus(3, no_group_));
  EXPECT_EQ(client().CreateGroup(4).nc_count(), 4U);
}

TEST_F(CallTest, ListEgs) {
  auto listed = client().ListGroups();
  EXPECT_THAT(listed, IsOk());
  EXPECT_EQ(listed.mla_count(), 1U);
  EXPECT_EQ(listed.nc_count(), 4U);
  EXPECT_THAT(listed.eg_info(), IsEmpty());
  Group(1);
  Group(2);
  listed = client().ListGroups();
  ASSERT_EQ(listed.eg_info_size(), 2);
  EXPECT_EQ(listed.eg_info(1).nc_count(), 2U);
  EXPECT_EQ(listed.eg_info(1).vnc_start_index(), 1U);
}

TEST_F(CallTest, ShmMap) {
  memory::ClientShm shm(4096);
  EXPECT_THAT(Map(shm.name(), PROT_READ | PROT_WRITE), IsOk());
  EXPECT_THAT(Map(shm.name(), PROT_READ | PROT_WRITE), IsOk());  // counted
  EXPECT_THAT(client().Unmap(shm.name()), IsOk());
  EXPECT_THAT(client().Unmap(shm.name()), IsOk());
  EXPECT_THAT(Map("/nrtd-none", PROT_READ), HasStatus(2, "cannot map shared memory /nrtd-none"));
  EXPECT_THAT(Map("/../etc/passwd", PROT_READ), HasStatus(2, "is no name of shared memory"));
  EXPECT_THAT(Map(shm.name(), PROT_EXEC), HasStatus(2, "protection"));
  nrt::shm_map_request huge;
  huge.mutable_path_hugetlb()->set_path("/nrtd-none");
  huge.mutable_path_hugetlb()->set_size(2 << 20);
  EXPECT_THAT(client().Map(huge), HasStatus(2, "Failed to mmap with hugetlb"));
}

TEST_F(CallTest, ShmUnmap) {
  EXPECT_THAT(client().Unmap("/nrtd-none"), HasStatus(2, "shared memory /nrtd-none is not mapped"));
  const memory::ClientShm shm(4096);
  ASSERT_THAT(Map(shm.name(), PROT_READ), IsOk());
  EXPECT_THAT(client().Unmap(shm.name()), IsOk());
  EXPECT_THAT(client().Unmap(shm.name()), HasStatus(2, "is not mapped"));
}

TEST_F(CallTest, GetVersion) {
  EXPECT_EQ(client().GetVersion().runtime_version().major_num(), 1U);
}

TEST_F(CallTest, ReadNcTimeInUse) {
  const uint32_t network = Load({.neff = digits_neff()});
  const uint64_t before = client().CoreTime(0).nc_time_in_use().time_in_use();
  ExpectReads(network);
  const auto after = client().CoreTime(0);
  EXPECT_THAT(after, IsOk());
  EXPECT_GT(after.nc_time_in_use().time_in_use(), before);
  EXPECT_THAT(client().CoreTime(4), HasStatus(2, "NC 4 does not exist: there are 4"));
}

TEST_F(CallTest, ReadNcCounters) {
  EXPECT_THAT(client().CoreCounters(0), IsOk());
  EXPECT_THAT(client().CoreCounters(4), HasStatus(2, "NC 4 does not exist: there are 4"));
}

TEST_F(CallTest, CountersAndMetrics) {
  ExpectReads(Load({.neff = digits_neff()}));
  (void)client().InferenceCounters();
  EXPECT_THAT(client().AllCounters(), IsOk());
  EXPECT_THAT(client().Metrics(0), IsOk());
  EXPECT_THAT(client().AllHardwareCounters(), IsOk());
}

TEST_F(CallTest, RandomSeed) {
  const uint32_t group = Group(1);
  EXPECT_THAT(client().RandomSeed(group, 5), IsOk());
  EXPECT_THAT(client().RandomSeed(kNoSuch, 5), HasStatus(3, no_group_));
}

TEST_F(CallTest, SetStaticTransferAdjustment) {
  EXPECT_THAT(client().SetTransferAdjustment(3), IsOk());
}

}  // namespace
}  // namespace nrtd::integration
