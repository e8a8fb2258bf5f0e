// SPDX-License-Identifier: Apache-2.0
#include "runtime/runtime.h"

#include "runtime/model/limits.h"
#include "test/runtime/runtime_fixture.h"

namespace nrtd::runtime {
namespace {

using std::chrono::seconds;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class RuntimeTest : public RuntimeFixture {
 protected:
  void ExpectNothingLoaded() {
    EXPECT_TRUE(runtime_.ListNetworks().empty());
    EXPECT_TRUE(runtime_.ListGroups().empty());
    EXPECT_EQ(UsageOf(runtime_.machine()), idle_);
    EXPECT_EQ(FreeRun(), 4U);
  }
  uint64_t Post(NetworkId id, float value) {
    Inference inference = Must(Must(runtime_.Find(id))->Begin());
    Fill(inference, value);
    Must(inference.Submit(Completion::kInterrupt));
    return runtime_.cookies().Add(std::move(inference));
  }
};

TEST_F(RuntimeTest, NetworksAreNumberedFrom10001AndNeverTwice) {
  EXPECT_EQ(Load(doubling_), 10'001U);
  EXPECT_EQ(Load(doubling_), 10'002U);
  Must(runtime_.Unload(10'001));
  EXPECT_EQ(Load(doubling_), 10'003U);
}

TEST_F(RuntimeTest, WithoutAGroupANetworkGetsItsOwnAndRuns) {
  const NetworkId id = Load(PipelineNeff(DoublingSpec(2)));
  const auto network = Must(runtime_.Find(id));
  EXPECT_EQ(network->state(), NetworkState::kRunning);
  EXPECT_EQ(Infer(*network, 3).value, Doubled(3, 2));
  const auto groups = runtime_.ListGroups();
  ASSERT_EQ(groups.size(), 1U);
  EXPECT_TRUE(groups[0].implicit);
  EXPECT_EQ(groups[0].cores.count, 2U);
  EXPECT_EQ(groups[0].networks, 1U);
  EXPECT_EQ(groups[0].running, id);
  EXPECT_EQ(network->info().name, "pipeline");
  EXPECT_EQ(network->info().uuid.size(), 32U);
}

TEST_F(RuntimeTest, InAGroupANetworkStandsByUntilItIsStarted) {
  const auto group = Must(runtime_.CreateGroup(2));
  const NetworkId first = Load(doubling_, group.id);
  const NetworkId second = Load(PipelineNeff(DoublingSpec(2)), group.id);
  EXPECT_EQ(Must(runtime_.Find(first))->state(), NetworkState::kStandby);
  Must(runtime_.Start(first));
  EXPECT_EQ(runtime_.Start(second).error().code, Nerr::kInvalid);
  EXPECT_EQ(Infer(*Must(runtime_.Find(first)), 1).value, Doubled(1, 1));
  Must(runtime_.Stop(first));
  Must(runtime_.Start(second));
  EXPECT_EQ(Infer(*Must(runtime_.Find(second)), 1).value, Doubled(1, 2));
}

TEST_F(RuntimeTest, UnloadGivesEverythingBack) {
  const NetworkId id = Load(PipelineNeff(DoublingSpec(3)));
  Must(runtime_.Unload(id));
  ExpectNothingLoaded();
}

TEST_F(RuntimeTest, ANetworkThatIsGoneIsNotFoundInTheDocumentedWords) {
  const NetworkId id = Load(doubling_);
  Must(runtime_.Unload(id));
  for (const auto& result : {runtime_.Unload(id), runtime_.Start(id), runtime_.Stop(id)}) {
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, Nerr::kInvalidHandle);
    EXPECT_EQ(result.error().text, "Failed to find model: 10001");
  }
  EXPECT_FALSE(runtime_.Find(id));
  EXPECT_FALSE(runtime_.Find(0));
}

TEST_F(RuntimeTest, UnloadAllTwiceIsHarmless) {
  runtime_.UnloadAll();
  Load(doubling_);
  const auto group = Must(runtime_.CreateGroup(2));
  Load(doubling_, group.id);
  runtime_.UnloadAll();
  ExpectNothingLoaded();
  runtime_.UnloadAll();
  ExpectNothingLoaded();
  EXPECT_EQ(Infer(*Must(runtime_.Find(Load(doubling_))), 2).value, Doubled(2, 1));
}

TEST_F(RuntimeTest, AGroupThatHoldsNetworksIsNotDestroyed) {
  const auto group = Must(runtime_.CreateGroup(1));
  const NetworkId id = Load(doubling_, group.id);
  EXPECT_EQ(runtime_.DestroyGroup(group.id).error().code, Nerr::kInvalid);
  Must(runtime_.Unload(id));
  Must(runtime_.DestroyGroup(group.id));
  EXPECT_EQ(TryLoad(doubling_, group.id).error().code, Nerr::kInvalidHandle);
}

TEST_F(RuntimeTest, TheGroupOfANetworkOfItsOwnTakesNoOther) {
  Load(doubling_);
  const auto refused = TryLoad(doubling_, 1);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Nerr::kInvalid);
  EXPECT_EQ(runtime_.ListGroups()[0].networks, 1U);
}

TEST_F(RuntimeTest, ARefusedLoadLeavesNothingBehind) {
  struct Case {
    ByteVector neff;
    Nerr code;
    std::string text;
  };
  neff::NeffContents later = PipelineContents(DoublingSpec(1));
  later.header.version_major = 2;
  later.header.version_minor = 0;
  neff::NeffContents foreign = PipelineContents(DoublingSpec(1));
  foreign.kelfs["kelf-0.json"].target = "cayman";
  neff::NeffContents malformed = PipelineContents(DoublingSpec(1));
  malformed.kelfs["kelf-0.json"].subgraphs[0].engines[1].instructions =
      neff::Blob::Own(ByteVector(64));
  PipelineSpec hungry = DoublingSpec(1);
  hungry.stages[0].scratch_bytes = uint64_t{5} << 30;
  ByteVector cut = doubling_;
  cut.pop_back();
  const Case cases[] = {
      {cut, Nerr::kInvalid, "Wrong NEFF file size"},
      {ByteVector(), Nerr::kInvalid, "Wrong NEFF file size"},
      {NeffBytes(later), Nerr::kUnsupportedVersion,
       "NEFF version mismatch supported: 1.1 received: 2.0"},
      {NeffBytes(foreign), Nerr::kUnsupportedVersion, "cayman"},
      {NeffBytes(malformed), Nerr::kInvalid, "sg00"},
      {PipelineNeff(hungry), Nerr::kResource, "Failed to allocate buffer in MLA DRAM for"},
      {PipelineNeff(DoublingSpec(5)), Nerr::kResourceNc,
       "Requested number of NCs: 5 exceeds the total available number: 4"},
  };
  for (const Case& c : cases) {
    const auto refused = TryLoad(c.neff);
    ASSERT_FALSE(refused) << c.text;
    EXPECT_EQ(refused.error().code, c.code) << refused.error().text;
    EXPECT_THAT(refused.error().text, HasSubstr(c.text));
    ExpectNothingLoaded();
  }
  EXPECT_EQ(runtime_.metrics().totals().loads, 0U);
}

TEST_F(RuntimeTest, ARefusedLoadLeavesItsExplicitGroupUsable) {
  const auto group = Must(runtime_.CreateGroup(1));
  const auto refused = TryLoad(PipelineNeff(DoublingSpec(2)), group.id);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().text,
              testing::StartsWith("Insufficient number of VNCs: 1, required: 2; "));
  EXPECT_EQ(runtime_.ListGroups()[0].networks, 0U);
  const NetworkId id = Load(doubling_, group.id);
  Must(runtime_.Start(id));
  EXPECT_EQ(Infer(*Must(runtime_.Find(id)), 2).value, Doubled(2, 1));
}

TEST_F(RuntimeTest, ParametersHaveDefaultsAndLimits) {
  const auto load = [&](uint32_t ninfer, uint32_t timeout) {
    LoadRequest request;
    request.neff = doubling_;
    request.ninfer = ninfer;
    request.timeout_seconds = timeout;
    return runtime_.Load(std::move(request));
  };
  const auto params = Must(runtime_.Find(Must(load(0, 0))))->info().params;
  EXPECT_EQ(params.ninfer, 4U);
  EXPECT_EQ(params.timeout, seconds(2));
  const auto given = Must(runtime_.Find(Must(load(7, 9))))->info().params;
  EXPECT_EQ(given.ninfer, 7U);
  EXPECT_EQ(given.timeout, seconds(9));
  EXPECT_EQ(load(kMaxNinfer + 1, 0).error().code, Nerr::kInvalid);
  EXPECT_EQ(load(0, kMaxTimeoutSeconds + 1).error().code, Nerr::kInvalid);
  EXPECT_TRUE(load(kMaxNinfer, kMaxTimeoutSeconds));
}

TEST_F(RuntimeTest, PostedInferencesThatNobodyCollectsDoNotHoldUpAnUnload) {
  const NetworkId id = Load(doubling_);
  std::vector<uint64_t> cookies;
  for (int i = 0; i < 4; ++i) cookies.push_back(Post(id, static_cast<float>(i)));
  Must(runtime_.Unload(id));
  for (uint64_t cookie : cookies)
    EXPECT_EQ(runtime_.cookies().Take(cookie).error().code, Nerr::kInvalidHandle);
  ExpectNothingLoaded();
}

TEST_F(RuntimeTest, AnInferenceThatIsReadDuringAnUnloadKeepsItsMemoryButNotTheCores) {
  const NetworkId id = Load(doubling_);
  auto inference = std::make_unique<Inference>(Must(Must(runtime_.Find(id))->Begin()));
  Fill(*inference, 4);
  Must(inference->Submit(Completion::kPolled));
  auto unloaded = std::async(std::launch::async, [&] { return runtime_.Unload(id); });
  // First the inference ends, then the unload waits for its slot, at most kDrainMargin.
  while (!inference->Done()) std::this_thread::yield();
  while (unloaded.wait_for(std::chrono::milliseconds(1)) != std::future_status::ready)
    time_.Advance(kDrainMargin);
  EXPECT_TRUE(unloaded.get());
  EXPECT_EQ(FreeRun(), 4U);
  EXPECT_EQ(inference->Wait().code, Nerr::kOk);
  EXPECT_EQ(OutputOf(*inference)[0], Doubled(4, 1));
  inference.reset();
  ExpectNothingLoaded();
}

// An unload that waits for a hung inference, until time moves on.
class SlowUnloadTest : public RuntimeTest {
 protected:
  SlowUnloadTest() {
    FaultsOf(0).hang = true;
    Must(stuck_->Submit(Completion::kInterrupt));
    unload_ = std::async(std::launch::async, [this] { return runtime_.Unload(id_); });
    time_.AwaitWaiters(1);
  }
  template <typename T>
  static bool IsWaiting(const std::future<T>& future) {
    return future.wait_for(std::chrono::milliseconds(50)) == std::future_status::timeout;
  }

  const scheduler::GroupInfo group_ = Must(runtime_.CreateGroup(1));
  const NetworkId id_ = [this] {
    const NetworkId id = Load(doubling_, group_.id);
    Must(runtime_.Start(id));
    return id;
  }();
  std::unique_ptr<Inference> stuck_ =
      std::make_unique<Inference>(Must(Must(runtime_.Find(id_))->Begin()));
  std::future<Result<void>> unload_;
};

TEST_F(SlowUnloadTest, ASecondUnloadReturnsWhenTheFirstIsDoneAndFindsNothing) {
  auto second = std::async(std::launch::async, [this] { return runtime_.Unload(id_); });
  EXPECT_TRUE(IsWaiting(second));
  time_.Advance(seconds(60));
  stuck_.reset();
  EXPECT_TRUE(unload_.get());
  EXPECT_EQ(second.get().error().code, Nerr::kInvalidHandle);
}

TEST_F(SlowUnloadTest, UnloadAllWaitsForItAndTakesTheGroupAlong) {
  auto all = std::async(std::launch::async, [this] { runtime_.UnloadAll(); });
  EXPECT_TRUE(IsWaiting(all));
  time_.Advance(seconds(60));
  stuck_.reset();
  EXPECT_TRUE(unload_.get());
  all.get();
  ExpectNothingLoaded();
}

TEST_F(SlowUnloadTest, AnInferencePostedMeanwhileDoesNotHoldItUp) {
  const uint64_t cookie = runtime_.cookies().Add(std::move(*stuck_));
  time_.Advance(seconds(60));
  const bool ended = Ends(unload_);
  EXPECT_TRUE(ended);
  if (!ended) time_.Advance(seconds(60));
  EXPECT_TRUE(unload_.get());
  EXPECT_EQ(runtime_.cookies().Take(cookie).error().code, Nerr::kInvalidHandle);
}

TEST_F(RuntimeTest, AFailedNetworkCanBeUnloadedAndItsCoresUsedAgain) {
  const NetworkId id = Load(doubling_);
  for (int round = 0; round < 2; ++round) {
    FaultsOf(0).hang = true;
    auto answer =
        std::async(std::launch::async, [&] { return Infer(*Must(runtime_.Find(id)), 1).code; });
    time_.AwaitWaiters(1);
    time_.Advance(seconds(3));
    EXPECT_EQ(answer.get(), Nerr::kTimeout);
  }
  EXPECT_EQ(runtime_.Start(id).error().code, Nerr::kFailedState);
  Must(runtime_.Unload(id));
  ExpectNothingLoaded();
  const NetworkId next = Load(doubling_);
  EXPECT_EQ(Infer(*Must(runtime_.Find(next)), 2).value, Doubled(2, 1));
}

TEST_F(RuntimeTest, CountersCountWhatHappened) {
  const auto group = Must(runtime_.CreateGroup(1));
  const NetworkId id = Load(doubling_, group.id);
  Must(runtime_.Start(id));
  Must(runtime_.Stop(id));
  Must(runtime_.Unload(id));
  EXPECT_FALSE(runtime_.Unload(id));
  EXPECT_EQ(runtime_.metrics().totals().loads, 1U);
  EXPECT_EQ(runtime_.metrics().totals().starts, 1U);
  EXPECT_EQ(runtime_.metrics().totals().stops, 1U);
  EXPECT_EQ(runtime_.metrics().totals().unloads, 1U);
}

TEST_F(RuntimeTest, APipelineMayCrossDevices) {
  Runtime wide(OpenMachine(time_, "inf1.6xlarge"));
  LoadRequest request;
  request.neff = PipelineNeff(DoublingSpec(6));
  const NetworkId id = Must(wide.Load(std::move(request)));
  EXPECT_EQ(Infer(*Must(wide.Find(id)), 1).value, Doubled(1, 6));
}

TEST_F(RuntimeTest, LeavingARuntimeWithEverythingAtWorkIsClean) {
  auto runtime = std::make_unique<Runtime>(OpenMachine(time_, "inf1.xlarge"));
  LoadRequest request;
  request.neff = doubling_;
  const NetworkId id = Must(runtime->Load(std::move(request)));
  Inference inference = Must(Must(runtime->Find(id))->Begin());
  Fill(inference, 1);
  Must(inference.Submit(Completion::kInterrupt));
  runtime->cookies().Add(std::move(inference));
  runtime.reset();
}

}  // namespace
}  // namespace nrtd::runtime
