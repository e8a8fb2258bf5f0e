// SPDX-License-Identifier: Apache-2.0
//
// Which versions of which models are served. A version folder that appears is loaded, and only when
// one of the wanted versions is available go those that are not wanted any more.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "serving/model/servable.h"

namespace nrtd::serving {

// Which of the versions in the folder are wanted.
struct Latest {
  uint32_t count = 1;
};
struct All {};
using Specific = std::set<int64_t>;
using VersionPolicy = std::variant<Latest, All, Specific>;

struct ModelSource {
  std::string name;
  std::string base_path;  // absolute; its folders with numbers for names are versions
  VersionPolicy policy = Latest{};
  std::map<std::string, int64_t> labels;
};

using VersionState = tensorflow::serving::ModelVersionStatus::State;
struct VersionStatus {
  int64_t version = 0;
  VersionState state = tensorflow::serving::ModelVersionStatus::START;
  std::string error;  // of state END, if it could not be loaded
};

// What a request asks for.
struct Wanted {
  std::string model;
  std::variant<std::monostate, int64_t, std::string> version;  // the latest, a number, a label
};

// The folders of `base_path` with numbers for names. kInvalid if it cannot be read.
Result<std::vector<int64_t>> ListVersions(const std::string& base_path);
// Those of `there` that the policy wants.
std::set<int64_t> WantedVersions(const VersionPolicy& policy, const std::vector<int64_t>& there);

// Threadsafe.
class ModelManager {
 public:
  struct Options {
    Duration poll = std::chrono::seconds(1);  // of the folders; zero: once
    int load_retries = 5;                     // after the first failure
    Duration retry_after = std::chrono::minutes(1);
    // A label that is new, or stays where it is, may name a version that is not available.
    bool labels_of_unavailable = false;
  };
  using Loader = std::function<Result<std::shared_ptr<const Servable>>(
      const std::string& model, int64_t version, const std::string& folder)>;

  // `load` is called by a thread of the manager's, one at a time.
  ModelManager(const Options& options, Loader load);
  ~ModelManager();

  // The models from now on. kInvalid: a name twice, a path that is not absolute; kFailedState: a
  // label of a version that is not available (the first models may have any); all else is done.
  Result<void> SetModels(const std::vector<ModelSource>& models);
  // Until every model has a version that is available or has failed for good. False: `deadline`.
  bool AwaitLoaded(TimePoint deadline);
  // The networks of all servables are gone: they are loaded anew. Requests wait meanwhile.
  void LoadAnew();
  // Loads nothing more, and nobody waits any longer.
  void Stop();
  // Stop(), and what is loaded goes. No other call is under way, but LoadAnew().
  void Shutdown();

  // kInvalidHandle: "Latest(name)", "Specific(name, 3)"; kInvalid: an unknown label. Waits until
  // `deadline` for a version that is lost or being loaded anew: kTimeout, or kFail after Stop().
  Result<std::shared_ptr<const Servable>> Find(const Wanted& wanted, TimePoint deadline);
  // kFail with the errors of models of which every version failed for good; `what` says what they
  // are: "1 servable(s) did not become available: ...".
  Result<void> Failures(const std::string& what) const;
  // Whether it is, or was, among the models.
  bool Knows(const std::string& model) const;
  // By falling version; empty for an unknown model.
  std::vector<VersionStatus> Status(const std::string& model) const;

 private:
  struct Version {
    VersionStatus status;
    std::shared_ptr<const Servable> servable;
    bool wanted = true;
    bool anew = false;  // it was available, and will be again
    int attempts = 0;
    TimePoint next_attempt;
  };
  struct Model {
    ModelSource source;
    bool listed = false;  // false: it is to go
    std::map<int64_t, Version> versions;
  };
  // One thing to do, found with the lock and done without.
  struct Step {
    enum class Kind { kNone, kLoad, kUnload } kind = Kind::kNone;
    std::string model;
    int64_t version = 0;
    std::string folder;
  };
  Result<void> CheckLabels(const ModelSource& source) const NRTD_REQUIRES(mutex_);
  void Run();
  void LookAtFolders();
  // A version that is served or wanted becomes as if it had never been loaded; requests for one
  // that was served wait.
  static void ForgetLoad(Version& version);
  void DropAll();
  // The highest of the versions that are wanted; then one that only stays until one of those is
  // `available`. Null: there is none to load.
  Version* NextToLoad(Model& model, bool available) NRTD_REQUIRES(mutex_);
  Step NextStep() NRTD_REQUIRES(mutex_);
  void Load(const Step& step);
  void Unload(const Step& step);
  Version* Lookup(const Wanted& wanted) NRTD_REQUIRES(mutex_);
  bool IsSettled() const NRTD_REQUIRES(mutex_);

  const Options options_;
  const Loader load_;
  SteadyClock clock_;
  mutable Mutex mutex_;
  CondVar changed_;
  std::map<std::string, Model> models_ NRTD_GUARDED_BY(mutex_);
  bool look_ NRTD_GUARDED_BY(mutex_) = false;
  bool anew_ NRTD_GUARDED_BY(mutex_) = false;  // LoadAnew() was called
  bool stopping_ NRTD_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace nrtd::serving
