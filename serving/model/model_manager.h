// SPDX-License-Identifier: Apache-2.0
//
// Loads and unloads versions of models. New version folders are loaded as they appear. Versions
// that are no longer wanted are unloaded only when a wanted one is available.
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

// Policies that choose among the versions in a model's folder.
struct Latest {
  uint32_t count = 1;
};
struct All {};
using Specific = std::set<int64_t>;
using VersionPolicy = std::variant<Latest, All, Specific>;

struct ModelSource {
  std::string name;
  std::string base_path;  // absolute; each folder with a number as its name is a version
  VersionPolicy policy = Latest{};
  std::map<std::string, int64_t> labels;
};

using VersionState = tensorflow::serving::ModelVersionStatus::State;
struct VersionStatus {
  int64_t version = 0;
  VersionState state = tensorflow::serving::ModelVersionStatus::START;
  std::string error;  // why it could not be loaded, if its state is END
};

// The model that a request names.
struct Wanted {
  std::string model;
  std::variant<std::monostate, int64_t, std::string> version;  // latest, number or label
};

// Lists the versions in `base_path`. kInvalid if it cannot be read.
Result<std::vector<int64_t>> ListVersions(const std::string& base_path);
// Returns the versions of `there` that the policy selects.
std::set<int64_t> WantedVersions(const VersionPolicy& policy, const std::vector<int64_t>& there);

// Threadsafe.
class ModelManager {
 public:
  struct Options {
    Duration poll = std::chrono::seconds(1);  // period of looking at the folders; zero: once
    int load_retries = 5;                     // after the first failure
    Duration retry_after = std::chrono::minutes(1);
    // Allows a new or unchanged label to name a version that is not available.
    bool labels_of_unavailable = false;
  };
  using Loader = std::function<Result<std::shared_ptr<const Servable>>(
      const std::string& model, int64_t version, const std::string& folder)>;

  // `load` is called on the manager's thread, one call at a time.
  ModelManager(const Options& options, Loader load);
  ~ModelManager();

  // Replaces the set of models. kInvalid for a duplicate name or a relative path. kFailedState if a
  // label names a version that is not available (the first set may); everything else is applied.
  Result<void> SetModels(const std::vector<ModelSource>& models);
  // Waits until every model has an available version or has failed permanently. Returns false if
  // `deadline` passed first.
  bool AwaitLoaded(TimePoint deadline);
  // Reloads all servables because their networks are lost. Requests wait meanwhile.
  void LoadAnew();
  // Stops loading and fails all waiting requests.
  void Stop();
  // Stop(), and unloads everything. No other call may be in flight, except LoadAnew().
  void Shutdown();

  // Finds the servable for a request. Waits until `deadline` for a version that is lost or being
  // reloaded: kTimeout, or kFail after Stop(). kInvalidHandle ("Latest(name)", "Specific(name, 3)")
  // if there is none; kInvalid for an unknown label.
  Result<std::shared_ptr<const Servable>> Find(const Wanted& wanted, TimePoint deadline);
  // kFail with the errors of models whose versions have all failed permanently, as
  // "1 <what> did not become available: ...".
  Result<void> Failures(const std::string& what) const;
  // Whether the model is or was configured.
  bool Knows(const std::string& model) const;
  // The highest version first; empty for an unknown model.
  std::vector<VersionStatus> Status(const std::string& model) const;

 private:
  struct Version {
    VersionStatus status;
    std::shared_ptr<const Servable> servable;
    bool wanted = true;
    bool anew = false;  // it was available and is to be reloaded
    int attempts = 0;
    TimePoint next_attempt;
  };
  struct Model {
    ModelSource source;
    bool listed = false;  // false: it is to be removed
    std::map<int64_t, Version> versions;
  };
  // The next action of the manager's thread. Chosen under the lock and carried out without it.
  struct Step {
    enum class Kind { kNone, kLoad, kUnload } kind = Kind::kNone;
    std::string model;
    int64_t version = 0;
    std::string folder;
  };
  Result<void> CheckLabels(const ModelSource& source) const NRTD_REQUIRES(mutex_);
  void Run();
  void LookAtFolders();
  // Resets a version that is served or wanted, so that it is loaded again. Requests for a version
  // that was served wait.
  static void ForgetLoad(Version& version);
  void DropAll();
  // Returns the version to load next: the highest wanted one, or one that is kept only until a
  // wanted one is `available`; or null.
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
