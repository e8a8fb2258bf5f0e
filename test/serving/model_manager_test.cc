// SPDX-License-Identifier: Apache-2.0
#include "serving/model/model_manager.h"

#include <atomic>
#include <filesystem>
#include <functional>
#include <future>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "test/base/scratch_directory.h"
#include "test/must.h"

namespace nrtd::serving {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using State = tensorflow::serving::ModelVersionStatus;
constexpr auto kPatience = std::chrono::seconds(30);

class ModelManagerTest : public ::testing::Test {
 protected:
  ModelManagerTest() {
    ModelManager::Options options;
    options.poll = std::chrono::milliseconds(1);
    options.load_retries = 0;
    manager_ = std::make_unique<ModelManager>(
        options, [this](const std::string& model, int64_t version, const std::string&) {
          return Load(model, version);
        });
  }
  Result<std::shared_ptr<const Servable>> Load(const std::string& model, int64_t version) {
    MutexLock lock(mutex_);
    ++loads_;
    if (while_loading_) while_loading_();
    if (broken_.contains(version)) return Fail(Nerr::kInvalid, "version {} is broken", version);
    auto servable = std::make_shared<Servable>();
    servable->model = model;
    servable->version = version;
    return servable;
  }
  void AddVersion(int64_t version) {
    std::filesystem::create_directories(folder_.File("m/" + std::to_string(version)));
  }
  // Above the one that is served; until its load has failed.
  void AddBrokenVersion(int64_t version) {
    {
      MutexLock lock(mutex_);
      broken_.insert(version);
    }
    AddVersion(version);
    Await(
        [&] { return manager_->Status("m").size() == 2 && manager_->Status("m")[0].error != ""; });
  }
  void Serve(VersionPolicy policy = Latest{}) {
    Must(manager_->SetModels({{"m", folder_.File("m"), std::move(policy), {{"stable", 1}}}}));
    ASSERT_TRUE(manager_->AwaitLoaded(clock_.Now() + kPatience));
  }
  Result<std::shared_ptr<const Servable>> Find(Wanted wanted) {
    return manager_->Find(wanted, clock_.Now() + kPatience);
  }
  int64_t Served() { return Must(Find({"m", {}}))->version; }
  template <typename Condition>
  void Await(const Condition& condition) {
    const TimePoint end = clock_.Now() + kPatience;
    while (!condition() && clock_.Now() < end) std::this_thread::yield();
    EXPECT_TRUE(condition());
  }
  std::vector<std::pair<int64_t, int>> States() {
    std::vector<std::pair<int64_t, int>> states;
    for (const VersionStatus& status : manager_->Status("m"))
      states.emplace_back(status.version, status.state);
    return states;
  }

  SteadyClock clock_;
  ScratchDirectory folder_;
  Mutex mutex_;
  std::set<int64_t> broken_ NRTD_GUARDED_BY(mutex_);
  std::atomic<int> loads_ = 0;  // that have begun
  std::function<void()> while_loading_;
  std::unique_ptr<ModelManager> manager_;
};

TEST_F(ModelManagerTest, TheLatestVersionIsServed) {
  AddVersion(2);
  AddVersion(10);
  std::filesystem::create_directories(folder_.File("m/tmp-11"));
  folder_.Write("m/12", "a file is no version");
  Serve();
  EXPECT_EQ(Served(), 10);
  EXPECT_THAT(States(), ElementsAre(std::pair(10, State::AVAILABLE)));
}

TEST_F(ModelManagerTest, ANewVersionTakesOverAndTheOldOneGoes) {
  AddVersion(1);
  Serve();
  const auto under_way = Must(Find({"m", {}}));
  AddVersion(2);
  Await([&] { return Served() == 2; });
  Await([&] {
    return States() == std::vector<std::pair<int64_t, int>>{{2, State::AVAILABLE}, {1, State::END}};
  });
  EXPECT_EQ(under_way->version, 1);
  EXPECT_THAT(Find({"m", int64_t{1}}).error().text,
              HasSubstr("Servable not found for request: Specific(m, 1)"));
}

TEST_F(ModelManagerTest, ABrokenVersionChangesNothingAndItsStatusSaysWhy) {
  AddVersion(1);
  Serve();
  AddBrokenVersion(2);
  EXPECT_EQ(Served(), 1);
  EXPECT_EQ(manager_->Status("m")[0].state, State::END);
  EXPECT_EQ(manager_->Status("m")[0].error, "version 2 is broken");
}

TEST_F(ModelManagerTest, ThePolicySaysWhichVersions) {
  for (const int64_t version : {1, 2, 3}) AddVersion(version);
  Serve(All{});
  Await([&] { return States().size() == 3 && Find({"m", int64_t{1}}).has_value(); });
  EXPECT_EQ(Must(Find({"m", std::string("stable")}))->version, 1);
  EXPECT_THAT(Find({"m", std::string("canary")}).error().text,
              HasSubstr("Unrecognized servable version label: canary"));
  EXPECT_THAT(WantedVersions(Latest{2}, {1, 2, 3}), ElementsAre(2, 3));
  EXPECT_THAT(WantedVersions(Specific{1, 7}, {1, 2, 3}), ElementsAre(1));
}

TEST_F(ModelManagerTest, AModelThatIsNotListedAnyMoreGoes) {
  AddVersion(1);
  Serve();
  Must(manager_->SetModels({}));
  Await([&] { return !Find({"m", {}}).has_value(); });
  EXPECT_THAT(Find({"m", {}}).error().text, HasSubstr("Servable not found for request: Latest(m)"));
}

TEST_F(ModelManagerTest, RequestsWaitWhileNetworksAreLoadedAnew) {
  AddVersion(1);
  Serve();
  {
    MutexLock lock(mutex_);
    broken_.insert(1);
  }
  manager_->LoadAnew();
  EXPECT_THAT(manager_->Find({"m", {}}, clock_.Now()).error().text,
              HasSubstr("neuron-rtd is not there"));
  {
    MutexLock lock(mutex_);
    broken_.clear();
  }
  manager_->LoadAnew();
  EXPECT_EQ(Served(), 1);
}

TEST_F(ModelManagerTest, AVersionThatABrokenOneWasToReplaceIsLoadedAnew) {
  AddVersion(1);
  Serve();
  AddBrokenVersion(2);
  manager_->LoadAnew();
  EXPECT_EQ(Served(), 1);
}

TEST_F(ModelManagerTest, RequestsWaitForAModelWhoseNetworksWentWhileItWasLoaded) {
  AddVersion(1);
  std::promise<void> go_on;
  while_loading_ = [&] {
    if (loads_ == 1) {
      manager_->LoadAnew();
    } else {
      go_on.get_future().wait();
    }
  };
  Must(manager_->SetModels({{"m", folder_.File("m"), Latest{}, {}}}));
  Await([&] { return loads_ == 2; });
  EXPECT_THAT(manager_->Find({"m", {}}, clock_.Now()).error().text,
              HasSubstr("neuron-rtd is not there"));
  go_on.set_value();
  EXPECT_EQ(Served(), 1);
}

TEST_F(ModelManagerTest, ALoadThatFailsSinceNetworksWentIsDoneAgainAtOnce) {
  AddVersion(1);
  while_loading_ = [this]() NRTD_REQUIRES(mutex_) {
    if (loads_ == 1) {
      broken_.insert(1);
      manager_->LoadAnew();
    } else {
      broken_.clear();
    }
  };
  Must(manager_->SetModels({{"m", folder_.File("m"), Latest{}, {}}}));
  Await([&] { return Find({"m", {}}).has_value(); });
}

TEST_F(ModelManagerTest, WrongConfigurationsAreRefusedWhole) {
  EXPECT_THAT(
      manager_->SetModels({{"m", "relative", {}, {}}}).error().text,
      HasSubstr("Expected model m to have an absolute path or URI; got base_path()=relative"));
  EXPECT_THAT(manager_->SetModels({{"m", "/a", {}, {}}, {"m", "/b", {}, {}}}).error().text,
              HasSubstr("Illegal to list model m multiple times in config list"));
}

}  // namespace
}  // namespace nrtd::serving
