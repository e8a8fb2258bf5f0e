// SPDX-License-Identifier: Apache-2.0
#include "serving/model/model_manager.h"

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "base/log.h"

namespace nrtd::serving {
namespace {

using Status = tensorflow::serving::ModelVersionStatus;

std::string RequestText(const Wanted& wanted) {
  if (const auto* version = std::get_if<int64_t>(&wanted.version))
    return fmt::format("Specific({}, {})", Printable(wanted.model), *version);
  return fmt::format("Latest({})", Printable(wanted.model));
}

}  // namespace

Result<std::vector<int64_t>> ListVersions(const std::string& base_path) {
  std::error_code error;
  std::vector<int64_t> versions;
  for (std::filesystem::directory_iterator entry(base_path, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    int64_t version = 0;
    const char* const last = name.data() + name.size();
    const auto [parsed, failed] = std::from_chars(name.data(), last, version);
    std::error_code ignored;
    if (failed == std::errc() && parsed == last && version >= 0 && entry->is_directory(ignored))
      versions.push_back(version);
  }
  if (error) return Fail(Nerr::kInvalid, "cannot read {}: {}", base_path, error.message());
  std::sort(versions.begin(), versions.end());
  return versions;
}

std::set<int64_t> WantedVersions(const VersionPolicy& policy, const std::vector<int64_t>& there) {
  if (std::holds_alternative<All>(policy)) return {there.begin(), there.end()};
  std::set<int64_t> wanted;
  if (const auto* latest = std::get_if<Latest>(&policy)) {
    const size_t count = std::min<size_t>(std::max(latest->count, 1U), there.size());
    return {there.end() - static_cast<ptrdiff_t>(count), there.end()};
  }
  for (const int64_t version : there)
    if (std::get<Specific>(policy).contains(version)) wanted.insert(version);
  return wanted;
}

ModelManager::ModelManager(const Options& options, Loader load)
    : options_(options), load_(std::move(load)), thread_([this] { Run(); }) {}

ModelManager::~ModelManager() {
  Shutdown();
}

void ModelManager::Shutdown() {
  Stop();
  if (thread_.joinable()) thread_.join();
  DropAll();
}

void ModelManager::Stop() {
  MutexLock lock(mutex_);
  stopping_ = true;
  changed_.NotifyAll();
}

Result<void> ModelManager::SetModels(const std::vector<ModelSource>& models) {
  std::set<std::string> names;
  for (const ModelSource& model : models) {
    if (!names.insert(model.name).second)
      return Fail(Nerr::kInvalid, "Illegal to list model {} multiple times in config list",
                  model.name);
    if (!model.base_path.starts_with('/')) {
      return Fail(Nerr::kInvalid,
                  "Expected model {} to have an absolute path or URI; got base_path()={}",
                  model.name, model.base_path);
    }
  }
  MutexLock lock(mutex_);
  // Labels that may not be set stay as they were; all else is taken, as in the original.
  Result<void> labels;
  std::vector<ModelSource> allowed = models;
  for (ModelSource& source : allowed) {
    auto checked = CheckLabels(source);
    if (checked) continue;
    labels = std::move(checked);
    const auto model = models_.find(source.name);
    source.labels =
        model == models_.end() ? std::map<std::string, int64_t>() : model->second.source.labels;
  }
  for (auto& [name, model] : models_) model.listed = false;
  for (const ModelSource& source : allowed) {
    Model& model = models_[source.name];
    model.source = source;
    model.listed = true;
  }
  look_ = true;
  changed_.NotifyAll();
  return labels;
}

Result<void> ModelManager::CheckLabels(const ModelSource& source) const {
  if (models_.empty()) return {};
  const auto model = models_.find(source.name);
  for (const auto& [label, number] : source.labels) {
    const bool is_known = model != models_.end();
    if (is_known) {
      const auto version = model->second.versions.find(number);
      const bool is_available = version != model->second.versions.end() &&
                                version->second.status.state == Status::AVAILABLE;
      const auto& labels = model->second.source.labels;
      const auto before = labels.find(label);
      const bool moves = before != labels.end() && before->second != number;
      if (is_available || (options_.labels_of_unavailable && !moves)) continue;
    } else if (options_.labels_of_unavailable) {
      continue;
    }
    return Fail(Nerr::kFailedState,
                "Request to assign label to version {} of model {}, which is not currently "
                "available for inference",
                number, source.name);
  }
  return {};
}

Result<void> ModelManager::Failures(const std::string& what) const {
  std::string failures;
  size_t count = 0;
  MutexLock lock(mutex_);
  for (const auto& [name, model] : models_) {
    const VersionStatus* failed = nullptr;
    bool is_served = false;
    for (const auto& [number, version] : model.versions) {
      if (version.status.state == Status::END && !version.status.error.empty())
        failed = &version.status;
      is_served = is_served || version.servable != nullptr || version.anew;
    }
    if (!model.listed || is_served || failed == nullptr) continue;
    failures += fmt::format("{{{{name: {} version: {}}} due to error: {}}}, ", Printable(name),
                            failed->version, failed->error);
    ++count;
  }
  if (count == 0) return {};
  return Fail(Nerr::kFail, "{} {} did not become available: {{{}}}", count, AsIs(what),
              AsIs(failures));
}

bool ModelManager::Knows(const std::string& model) const {
  MutexLock lock(mutex_);
  return models_.contains(model);
}

bool ModelManager::IsSettled() const {
  return !look_ && std::all_of(models_.begin(), models_.end(), [&](const auto& entry) {
    if (!entry.second.listed) return true;
    const auto& versions = entry.second.versions;
    return std::any_of(versions.begin(), versions.end(), [&](const auto& version) {
      const Version& v = version.second;
      return v.servable != nullptr ||
             (v.status.state == Status::END && v.attempts > options_.load_retries);
    });
  });
}

bool ModelManager::AwaitLoaded(TimePoint deadline) {
  MutexLock lock(mutex_);
  while (!IsSettled() && clock_.Now() < deadline && !stopping_)
    clock_.WaitUntil(changed_, mutex_, deadline);
  return IsSettled();
}

void ModelManager::ForgetLoad(Version& version) {
  if (version.servable == nullptr && !version.anew && !version.wanted) return;
  version.anew = version.anew || version.servable != nullptr;
  version.attempts = 0;
  version.next_attempt = {};
  version.status.state = Status::START;
  version.status.error.clear();
}

void ModelManager::LoadAnew() {
  MutexLock lock(mutex_);
  for (auto& [name, model] : models_) {
    for (auto& [number, version] : model.versions) ForgetLoad(version);
  }
  anew_ = true;
  changed_.NotifyAll();
}

// By this manager's thread, since the last owner of a servable waits for its networks.
void ModelManager::DropAll() {
  std::vector<std::shared_ptr<const Servable>> doomed;
  MutexLock lock(mutex_);
  anew_ = false;
  for (auto& [name, model] : models_) {
    for (auto& [number, version] : model.versions) {
      // One that was being loaded when the networks went is no better.
      ForgetLoad(version);
      doomed.push_back(std::move(version.servable));
    }
  }
  lock.Unlock();
}

ModelManager::Version* ModelManager::Lookup(const Wanted& wanted) {
  const auto found = models_.find(wanted.model);
  if (found == models_.end()) return nullptr;
  Model& model = found->second;
  const auto is_served = [](const Version& v) { return v.servable != nullptr || v.anew; };
  if (std::holds_alternative<std::monostate>(wanted.version)) {
    for (auto version = model.versions.rbegin(); version != model.versions.rend(); ++version)
      if (is_served(version->second)) return &version->second;
    return nullptr;
  }
  const auto version = model.versions.find(std::get<int64_t>(wanted.version));
  return version != model.versions.end() && is_served(version->second) ? &version->second : nullptr;
}

Result<std::shared_ptr<const Servable>> ModelManager::Find(const Wanted& asked,
                                                           TimePoint deadline) {
  Wanted wanted = asked;
  MutexLock lock(mutex_);
  if (const auto* label = std::get_if<std::string>(&asked.version)) {
    const auto model = models_.find(asked.model);
    const bool known = model != models_.end() && model->second.source.labels.contains(*label);
    if (!known) return Fail(Nerr::kInvalid, "Unrecognized servable version label: {}", *label);
    wanted.version = model->second.source.labels.at(*label);
  }
  while (true) {
    const Version* const version = Lookup(wanted);
    if (version == nullptr) {
      return Fail(Nerr::kInvalidHandle, "Servable not found for request: {}",
                  AsIs(RequestText(wanted)));
    }
    if (version->servable != nullptr && !version->anew && !version->servable->IsLost())
      return version->servable;
    if (stopping_ || clock_.Now() >= deadline) {
      return Fail(stopping_ ? Nerr::kFail : Nerr::kTimeout,
                  "neuron-rtd is not there: {} is loaded again when it comes back",
                  AsIs(RequestText(wanted)));
    }
    clock_.WaitUntil(changed_, mutex_, deadline);
  }
}

std::vector<VersionStatus> ModelManager::Status(const std::string& model) const {
  MutexLock lock(mutex_);
  std::vector<VersionStatus> statuses;
  const auto found = models_.find(model);
  if (found == models_.end()) return statuses;
  const auto& versions = found->second.versions;
  for (auto version = versions.rbegin(); version != versions.rend(); ++version)
    statuses.push_back(version->second.status);
  return statuses;
}

// A folder that cannot be read, or has no version, changes nothing: what is served stays.
void ModelManager::LookAtFolders() {
  std::vector<ModelSource> sources;
  {
    MutexLock lock(mutex_);
    for (const auto& [name, model] : models_)
      if (model.listed) sources.push_back(model.source);
  }
  for (const ModelSource& source : sources) {
    const auto there = ListVersions(source.base_path);
    if (!there || there->empty()) {
      LogForClient(LogLevel::kWarning, "ModelServer", "no version of model {} to serve in {}{}",
                   source.name, source.base_path, AsIs(there ? "" : ": " + there.error().text));
      continue;
    }
    const std::set<int64_t> wanted = WantedVersions(source.policy, *there);
    MutexLock lock(mutex_);
    Model& model = models_[source.name];
    for (const int64_t number : wanted) {
      const auto [version, is_new] = model.versions.try_emplace(number);
      // One that was unloaded is wanted again.
      if (!version->second.wanted && version->second.servable == nullptr)
        version->second = Version();
      version->second.status.version = number;
      version->second.wanted = true;
    }
    for (auto& [number, version] : model.versions) version.wanted = wanted.contains(number);
  }
}

ModelManager::Version* ModelManager::NextToLoad(Model& model, bool available) {
  const TimePoint now = clock_.Now();
  for (const bool wanted : {true, false}) {
    for (auto entry = model.versions.rbegin(); entry != model.versions.rend(); ++entry) {
      Version& version = entry->second;
      const bool stays = version.anew && !available && model.listed;
      const bool may_load = version.wanted == wanted && (wanted || stays);
      if (may_load && version.servable == nullptr && version.attempts <= options_.load_retries &&
          version.next_attempt <= now)
        return &version;
    }
  }
  return nullptr;
}

ModelManager::Step ModelManager::NextStep() {
  for (auto& [name, model] : models_) {
    bool available = false;
    for (auto& [number, version] : model.versions) {
      if (!model.listed) version.wanted = false;
      available = available || (version.wanted && version.servable != nullptr);
    }
    if (Version* const version = NextToLoad(model, available)) {
      version->status.state = Status::LOADING;
      return {Step::Kind::kLoad, name, version->status.version,
              model.source.base_path + "/" + fmt::to_string(version->status.version)};
    }
    for (auto& [number, version] : model.versions) {
      const bool served = version.servable != nullptr || version.anew;
      if (!version.wanted && served && (available || !model.listed))
        return {Step::Kind::kUnload, name, number, ""};
    }
  }
  return {};
}

void ModelManager::Load(const Step& step) {
  Log(LogLevel::kInfo, "ModelServer", "loading {} version {} from {}", step.model, step.version,
      step.folder);
  auto servable = load_(step.model, step.version, step.folder);
  MutexLock lock(mutex_);
  Version& version = models_[step.model].versions[step.version];
  ++version.attempts;
  if (servable) {
    version.servable = std::move(*servable);
    version.anew = false;
    version.status.state = Status::AVAILABLE;
    version.status.error.clear();
    Log(LogLevel::kInfo, "ModelServer", "{} version {} is served", step.model, step.version);
  } else {
    version.status.state = Status::END;
    version.status.error = servable.error().text;
    version.next_attempt = clock_.Now() + options_.retry_after;
    Log(LogLevel::kError, "ModelServer", "cannot load {} version {} ({} of {} attempts): {}",
        step.model, step.version, version.attempts, options_.load_retries + 1,
        AsIs(servable.error().text));
  }
  changed_.NotifyAll();
}

void ModelManager::Unload(const Step& step) {
  std::shared_ptr<const Servable> doomed;  // its last user unloads the networks
  {
    MutexLock lock(mutex_);
    Version& version = models_[step.model].versions[step.version];
    doomed = std::move(version.servable);
    version.servable = nullptr;
    version.anew = false;
    version.status.state = Status::END;
  }
  Log(LogLevel::kInfo, "ModelServer", "{} version {} is not served any more", step.model,
      step.version);
}

void ModelManager::Run() {
  while (true) {
    LookAtFolders();
    Step step;
    bool anew = false;
    {
      MutexLock lock(mutex_);
      look_ = false;
      changed_.NotifyAll();
      const TimePoint next_look =
          options_.poll == Duration::zero() ? TimePoint::max() : clock_.Now() + options_.poll;
      while (!stopping_ && !look_ && !anew_) {
        step = NextStep();
        if (step.kind != Step::Kind::kNone || clock_.Now() >= next_look) break;
        // A load that failed is tried again later.
        clock_.WaitUntil(changed_, mutex_,
                         std::min(next_look, clock_.Now() + std::chrono::seconds(1)));
      }
      if (stopping_) return;
      anew = anew_;
    }
    if (anew) DropAll();
    if (step.kind == Step::Kind::kLoad) Load(step);
    if (step.kind == Step::Kind::kUnload) Unload(step);
  }
}

}  // namespace nrtd::serving
