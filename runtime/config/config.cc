// SPDX-License-Identifier: Apache-2.0
#include "runtime/config/config.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/log.h"
#include "runtime/model/limits.h"

namespace nrtd::runtime {
namespace {

using Json = nlohmann::json;

constexpr uint64_t kMaxConfigBytes = 1024 * 1024;
constexpr uint32_t kMaxCachedModels = 1024;
constexpr uint32_t kMaxDevices = 1024;
constexpr uint32_t kMaxLogLevel = 7;
constexpr uint32_t kMaxHugePages = 65'536;

size_t LineAt(const std::string& text, size_t offset) {
  const auto end = text.begin() + static_cast<std::ptrdiff_t>(std::min(offset, text.size()));
  return 1 + static_cast<size_t>(std::count(text.begin(), end, '\n'));
}

// One JSON object in a file, read key by key.
class JsonFile {
 public:
  static Result<JsonFile> Open(const std::string& path) {
    JsonFile file;
    file.path_ = path;
    NRTD_ASSIGN(file.text_, ReadTextFile(path, kMaxConfigBytes));
    try {
      file.root_ = Json::parse(file.text_);
    } catch (const Json::parse_error& error) {
      return Fail(Nerr::kInvalid, "{}, line {}: this is no JSON: {}", path,
                  LineAt(file.text_, error.byte > 0 ? error.byte - 1 : 0), error.what());
    }
    if (!file.root_.is_object())
      return Fail(Nerr::kInvalid, "{}, line 1: an object in braces is expected", path);
    return file;
  }

  Result<void> Read(const char* key, uint32_t least, uint32_t most, std::optional<uint32_t>* out) {
    const Json* value = Find(key);
    if (value == nullptr) return {};
    const auto number = Number(*value, least, most);
    if (!number) return Unexpected(key, fmt::format("a number from {} to {}", least, most), *value);
    *out = *number;
    return {};
  }
  // A number that is not 0 is true: so the files of 1.x had it.
  Result<void> Read(const char* key, std::optional<bool>* out) {
    const Json* value = Find(key);
    if (value == nullptr) return {};
    if (value->is_boolean()) {
      *out = value->get<bool>();
    } else if (value->is_number_integer()) {
      *out = value->get<int64_t>() != 0;
    } else {
      return Unexpected(key, "true or false", *value);
    }
    return {};
  }
  Result<void> Read(const char* key, std::optional<std::string>* out) {
    const Json* value = Find(key);
    if (value == nullptr) return {};
    if (!value->is_string()) return Unexpected(key, "a text", *value);
    *out = value->get<std::string>();
    return {};
  }
  Result<void> Read(const char* key, uint32_t most, std::vector<uint32_t>* out) {
    const Json* value = Find(key);
    if (value == nullptr) return {};
    const std::string expected = fmt::format("a list of numbers up to {}, such as [0, 1]", most);
    if (!value->is_array()) return Unexpected(key, expected, *value);
    for (const Json& entry : *value) {
      const auto number = Number(entry, 0, most);
      if (!number) return Unexpected(key, expected, *value);
      out->push_back(*number);
    }
    return {};
  }
  Result<void> Read(const char* key, std::vector<std::string>* out) {
    const Json* value = Find(key);
    if (value == nullptr) return {};
    const char* const expected = "a list of texts, such as [\"mappings=64\"]";
    if (!value->is_array()) return Unexpected(key, expected, *value);
    for (const Json& entry : *value) {
      if (!entry.is_string()) return Unexpected(key, expected, *value);
      out->push_back(entry.get<std::string>());
    }
    return {};
  }
  tl::unexpected<Error> Unexpected(const char* key, const std::string& expected,
                                   const Json& value) const {
    constexpr size_t kShown = 60;
    std::string shown = value.dump();
    if (shown.size() > kShown) shown = shown.substr(0, kShown) + "...";
    return Fail(Nerr::kInvalid, "{}, line {}: key '{}': {} is expected, not {}", path_, LineOf(key),
                key, AsIs(expected), shown);
  }
  tl::unexpected<Error> Missing(const char* key, const char* expected) const {
    return Fail(Nerr::kInvalid, "{}: key '{}' is missing: {} is expected", path_, key, expected);
  }
  bool Has(const char* key) const { return root_.contains(key); }

  void WarnOfOthers() const {
    for (const auto& [key, value] : root_.items()) {
      if (!known_.contains(key)) {
        Log(LogLevel::kWarning, "NRTD:Config", "{}, line {}: key '{}' is not known and left alone",
            path_, LineOf(key), key);
      }
    }
  }

 private:
  static std::optional<uint32_t> Number(const Json& value, uint32_t least, uint32_t most) {
    if (!value.is_number_unsigned()) return std::nullopt;
    const auto number = value.get<uint64_t>();
    if (number < least || number > most) return std::nullopt;
    return static_cast<uint32_t>(number);
  }
  const Json* Find(const char* key) {
    known_.insert(key);
    const auto found = root_.find(key);
    return found == root_.end() ? nullptr : &*found;
  }
  size_t LineOf(const std::string& key) const { return LineAt(text_, text_.find('"' + key + '"')); }

  std::string path_;
  std::string text_;
  Json root_;
  std::set<std::string, std::less<>> known_;
};

}  // namespace

Result<Config> ReadConfig(const std::string& path) {
  NRTD_ASSIGN(JsonFile file, JsonFile::Open(path));
  constexpr uint32_t kAnyId = UINT32_MAX - 1;
  Config config;
  NRTD_TRY(file.Read("model_cache_count", 0, kMaxCachedModels, &config.model_cache_count));
  NRTD_TRY(file.Read("default_timeout", 1, kMaxTimeoutSeconds, &config.default_timeout));
  NRTD_TRY(file.Read("default_ninfer", 1, kMaxNinfer, &config.default_ninfer));
  NRTD_TRY(file.Read("io_dma_data_host", &config.io_dma_data_host));
  NRTD_TRY(file.Read("log_level", 0, kMaxLogLevel, &config.log_level));
  NRTD_TRY(file.Read("hugepages", 8, kMaxHugePages, &config.hugepages));
  NRTD_TRY(file.Read("isolation", &config.isolation));
  if (config.isolation && *config.isolation != "none" && *config.isolation != "session")
    return file.Unexpected("isolation", "\"none\" or \"session\"", *config.isolation);
  NRTD_TRY(file.Read("operator_uids", kAnyId, &config.operator_uids));
  NRTD_TRY(file.Read("operator_gids", kAnyId, &config.operator_gids));
  NRTD_TRY(file.Read("reclaim_on_disconnect", &config.reclaim_on_disconnect));
  NRTD_TRY(file.Read("socket_mode", &config.socket_mode));
  NRTD_TRY(file.Read("socket_group", &config.socket_group));
  NRTD_TRY(file.Read("lock_directory", &config.lock_directory));
  NRTD_TRY(file.Read("state_directory", &config.state_directory));
  NRTD_TRY(file.Read("client_limits", &config.client_limits));
  NRTD_TRY(file.Read("total_limits", &config.total_limits));
  NRTD_TRY(file.Read("call_rate", 0, kMaxCallRate, &config.call_rate));
  file.WarnOfOthers();
  return config;
}

Result<Instance> ReadInstance(const std::string& path) {
  NRTD_ASSIGN(JsonFile file, JsonFile::Open(path));
  Instance instance;
  std::optional<std::string> name;
  std::optional<std::string> server_port;
  NRTD_TRY(file.Read("name", &name));
  NRTD_TRY(file.Read("server_port", &server_port));
  NRTD_TRY(file.Read("devices", kMaxDevices, &instance.devices));
  if (!file.Has("devices")) NRTD_TRY(file.Read("infa_devices", kMaxDevices, &instance.devices));
  if (!server_port)
    return file.Missing("server_port", "where to listen, \"unix:/run/neuron.sock0\"");
  if (instance.devices.empty()) return file.Missing("devices", "a list of numbers, such as [0, 1]");
  file.WarnOfOthers();
  instance.name = name.value_or(std::filesystem::path(path).stem().string());
  instance.server_port = *server_port;
  return instance;
}

Result<std::string> FindInstanceFile(const std::string& name) {
  if (name.find('/') != std::string::npos) return name;
  for (const char* directory : kInstanceDirectories) {
    std::string path = fmt::format("{}/{}.json", directory, name);
    std::error_code ignored;
    if (std::filesystem::exists(path, ignored)) return path;
  }
  return Fail(Nerr::kInvalid, "there is no instance '{}': looked for {}.json in {}", name, name,
              fmt::join(kInstanceDirectories, " and "));
}

}  // namespace nrtd::runtime
