// SPDX-License-Identifier: Apache-2.0
//
// The defects that the original shipped, each by its name: none of them is here.
#include <thread>

#include "test/integration/client_process.h"
#include "test/integration/daemon_test.h"
#include "test/memory/client_shm.h"
#include "test/runtime/neff_builder.h"
#include "test/tools/run_binary.h"

namespace nrtd::integration {
namespace {

using ::testing::HasSubstr;

class DefectsTest : public DaemonTest {
 protected:
  void Together(int count, const std::function<void(int)>& each) {
    std::vector<std::thread> threads;
    for (int i = 0; i < count; ++i) threads.emplace_back(each, i);
    for (std::thread& thread : threads) thread.join();
  }
  void LoadInferUnload(RtdClient& who, int rounds) {
    for (int i = 0; i < rounds; ++i) {
      const auto loaded = who.Load(LoadMessages({.neff = digits_neff()}));
      if (loaded.status().code() == 9) continue;  // all cores are taken now
      ASSERT_THAT(loaded, IsOk());
      EXPECT_THAT(who.Infer(InferRequest(loaded.h_nn().id(), digits().Input(0))), IsOk());
      EXPECT_THAT(who.Unload(loaded.h_nn().id()), IsOk());
    }
  }
};

TEST_F(DefectsTest, CrashWhenSeveralClientsLoadAtOnce) {
  (void)digits_neff();
  (void)digits();
  const Usage before = ReadUsage(client());
  Together(8, [&](int) {
    RtdClient own(address());
    LoadInferUnload(own, 10);
  });
  EXPECT_EQ(ReadUsage(client()), before);
}

TEST_F(DefectsTest, CrashWhenStatisticsAreReadDuringLoadOrUnload) {
  (void)digits_neff();
  (void)digits();
  Together(4, [&](int thread) {
    RtdClient own(address());
    if (thread < 2) {
      LoadInferUnload(own, 20);
      return;
    }
    for (int i = 0; i < 40; ++i) {
      EXPECT_THAT(own.AllCounters(), IsOk());
      EXPECT_THAT(own.Metrics(1), IsOk());
      EXPECT_THAT(own.ListNetworks(), IsOk());
    }
  });
  EXPECT_EQ(client().Health().state(), "ok");
}

TEST_F(DefectsTest, CrashOnASecondUnloadAll) {
  Load({.neff = digits_neff()});
  EXPECT_THAT(client().UnloadAll(), IsOk());
  EXPECT_THAT(client().UnloadAll(), IsOk());
  ExpectReads(Load({.neff = digits_neff()}));
}

TEST_F(DefectsTest, QueueFullAlthoughOneSlotWasFree) {
  constexpr uint32_t kSlots = 3;
  const uint32_t network = Load({.neff = digits_neff(), .ninfer = kSlots, .timeout_s = 60});
  const auto request = InferRequest(network, digits().Input(0));
  std::vector<uint64_t> cookies;
  for (uint32_t i = 0; i < kSlots; ++i) {
    const auto posted = client().Post(request);
    ASSERT_THAT(posted, IsOk());
    cookies.push_back(posted.cookie());
  }
  for (int i = 0; i < 200; ++i) {
    ASSERT_THAT(client().Post(request), HasStatus(7, "")) << i;
    ASSERT_THAT(client().Wait(cookies.front()), IsOk()) << i;
    cookies.erase(cookies.begin());
    const auto posted = client().Post(request);
    ASSERT_THAT(posted, IsOk()) << "one slot was free, round " << i;
    cookies.push_back(posted.cookie());
  }
}

TEST_F(DefectsTest, LeakOnUnload) {
  const Usage before = ReadUsage(client());
  LoadInferUnload(client(), 1);
  const size_t files = daemon().OpenFiles();
  LoadInferUnload(client(), 50);
  EXPECT_EQ(ReadUsage(client()), before);
  EXPECT_EQ(daemon().OpenFiles(), files);
}

TEST_F(DefectsTest, InferenceWithMissingInputsAllowedToRun) {
  const uint32_t network = Load({.neff = digits_neff()});
  EXPECT_THAT(client().Infer(InferRequest(network, {})),
              HasStatus(2, "Wrong number of ifmaps, expected: 1, received: 0"));
  EXPECT_THAT(client().Post(InferRequest(network, {})),
              HasStatus(2, "Wrong number of ifmaps, expected: 1, received: 0"));
  EXPECT_EQ(client().ListNetworks().networks(0).inferences_done(), 0U);
  ExpectReads(network);
}

TEST_F(DefectsTest, NetworksOfCpuNodesOnlyFailToLoad) {
  ASSERT_THAT(client().CreateGroup(4), IsOk());  // no core is left, and none is needed
  const uint32_t network = Load({.neff = TextOf(runtime::NeffBytes(runtime::HostOnlyContents()))});
  const auto answer = client().Infer(InferRequest(network, {{"x", BytesOf({1, 2, 3, 4, 5, 6})}}));
  ASSERT_THAT(answer, IsOk());
  EXPECT_EQ(FloatsOf(answer.ofmap(0).buf()), (std::vector<float>{1, 4, 2, 5, 3, 6}));
  const v1::Network listed = client().ListNetworks().networks(0);
  EXPECT_EQ(listed.core_count(), 0U);
  ASSERT_EQ(listed.subgraphs_size(), 1);
  EXPECT_TRUE(listed.subgraphs(0).on_host());
}

TEST_F(DefectsTest, InputsThatTheCompilerFoldedAwayBreakTheInputCount) {
  const compiler::Case model = compiler::LoadCase("unused_input");
  const uint32_t network = Load({.neff = CompileModel(model.model)});
  Tensors inputs;
  for (const auto& [name, array] : model.inputs) inputs.emplace_back(name, TextOf(array.data));
  EXPECT_THAT(client().Infer(InferRequest(network, inputs)), IsOk());
}

TEST_F(DefectsTest, AClientThatDiesKeepsItsCores) {
  WriteText(File("slow.neff"), SlowNeff());
  const memory::ClientShm shm(4096);
  ClientProcess process(address(), File("slow.neff"), shm.name());
  ASSERT_NE(process.AwaitReady().session, 0U);
  EXPECT_LT(client().CreateGroup(0).nc_count(), 4U);
  EXPECT_THAT(client().UnloadAll(), IsOk());
  process.Kill();
  Await("the cores to be free", [&] {
    const auto all = client().CreateGroup(4);
    return all.status().code() == 0;
  });
}

// A NEFF's tar begins behind its header; ustar's fields.
constexpr size_t kTarBegin = 1024;
constexpr size_t kTarBlock = 512;
constexpr size_t kModeAt = 100;
constexpr size_t kSizeAt = 124;
constexpr size_t kChecksumAt = 148;

// The same files, which nobody may read.
std::string WithoutPermissions(std::string neff) {
  for (size_t at = kTarBegin; at + kTarBlock <= neff.size() && neff[at] != '\0';) {
    neff.replace(at + kModeAt, 7, "0000000");
    neff.replace(at + kChecksumAt, 8, "        ");
    unsigned sum = 0;
    for (size_t i = 0; i < kTarBlock; ++i) sum += static_cast<unsigned char>(neff[at + i]);
    neff.replace(at + kChecksumAt, 6, fmt::format("{:06o}", sum));
    neff[at + kChecksumAt + 6] = '\0';
    const size_t size = std::stoul(neff.substr(at + kSizeAt, 11), nullptr, 8);
    at += kTarBlock + (size + kTarBlock - 1) / kTarBlock * kTarBlock;
  }
  return neff;
}

TEST_F(DefectsTest, FileModesInsideANeffRespectedOnUnpack) {
  const std::string plain = TextOf(runtime::PipelineNeff(runtime::DoublingSpec(1)));
  const std::string locked = WithoutPermissions(plain);
  ASSERT_NE(locked, plain);
  const uint32_t network = Load({.neff = locked});
  const std::vector<float> x = {1, 2, 3, 4};
  EXPECT_THAT(client().Infer(InferRequest(network, {{"x", BytesOf(x)}})), IsOk());
}

// One that begins 8 bytes before the end of its variable of 16 and goes on for 16.
TEST_F(DefectsTest, DescriptorsAllowedToPointPastAnAllocation) {
  const std::string good = TextOf(runtime::PipelineNeff(runtime::DoublingSpec(1)));
  const Usage before = ReadUsage(client());
  int changed = 0;
  for (const char* field : {"\"from_off\":0", "\"to_off\":0"}) {
    for (size_t at = good.find(field); at != std::string::npos; at = good.find(field, at + 1)) {
      std::string bad = good;
      bad[at + std::string(field).size() - 1] = '8';
      EXPECT_THAT(client().Load(LoadMessages({.neff = bad})), HasStatus(2, "")) << field;
      ++changed;
    }
  }
  EXPECT_GE(changed, 4);
  EXPECT_EQ(ReadUsage(client()), before);
}

TEST_F(DefectsTest, NeuronTopSlowsInferenceAndStuttersBeyond40Models) {
  const auto group = client().CreateGroup(1);
  ASSERT_THAT(group, IsOk());
  const std::string neff = TextOf(runtime::PipelineNeff(runtime::DoublingSpec(1)));
  constexpr int kModels = 50;
  uint32_t network = 0;
  for (int i = 0; i < kModels; ++i)
    network = Load({.neff = neff, .group = group.h_eg().id(), .ninfer = 1});
  ASSERT_THAT(client().Start(network), IsOk());
  const std::vector<float> x = {1, 2, 3, 4};
  for (int i = 0; i < 5; ++i) {
    const auto run = ::nrtd::testing::RunBinary("neuron-top", {"-a", address(), "--once"});
    EXPECT_EQ(run.exit_code, 0) << run.err;
    EXPECT_THAT(run.out, HasSubstr(fmt::to_string(network)));
    EXPECT_THAT(client().Infer(InferRequest(network, {{"x", BytesOf(x)}})), IsOk());
  }
}

TEST_F(DefectsTest, ErrorsVisibleOnlyInSyslog) {
  EXPECT_THAT(client().Load(LoadMessages({.neff = "no NEFF"})), HasStatus(2, "NEFF"));
  EXPECT_TRUE(daemon().AwaitLog("[NMGR:Load] pid"));
}

class LargeDefectsTest : public DefectsTest {
 protected:
  void SetUp() override {
    NRTD_REQUIRE_HUGE_PAGES(64);
    daemon_ = std::make_unique<DaemonProcess>(std::vector<std::string>{
        "--sim", "inf1.6xlarge", "-g", address(), "-x", "--hugepages", "16"});
    ASSERT_TRUE(daemon_->AwaitListening()) << daemon_->Log();
    client_ = std::make_unique<RtdClient>(address());
  }
};

// The last of eight stages, on the second device, reads the network's own input.
TEST_F(LargeDefectsTest, PipelineInputsNeededBeyondTheFirstFourCoresFail) {
  constexpr size_t kStages = 8;
  neff::NeffContents contents = runtime::PipelineContents(runtime::DoublingSpec(kStages));
  neff::Subgraph& last = contents.kelfs.begin()->second.subgraphs.at(kStages - 1);
  last.variables.at(0).name = "x";
  const uint32_t network = Load({.neff = TextOf(runtime::NeffBytes(contents))});
  const std::vector<float> x = {1, 2, 3, 4};
  const auto answer = client().Infer(InferRequest(network, {{"x", BytesOf(x)}}));
  ASSERT_THAT(answer, IsOk());
  EXPECT_EQ(FloatsOf(answer.ofmap(0).buf()), (std::vector<float>{3, 5, 7, 9}));
}

}  // namespace
}  // namespace nrtd::integration
