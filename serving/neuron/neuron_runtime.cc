// SPDX-License-Identifier: Apache-2.0
#include "serving/neuron/neuron_runtime.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <string_view>

#include "base/log.h"
#include "tools/client/address.h"

namespace nrtd::serving {
namespace {

constexpr auto kRetryPause = std::chrono::milliseconds(500);
constexpr std::string_view kGroupSizes = "NEURONCORE_GROUP_SIZES";
constexpr std::string_view kMaxInfers = "NEURON_MAX_NUM_INFERS";
constexpr std::string_view kInferTimeout = "NEURON_FRAMEWORK_INFER_TIMEOUT_SEC";
constexpr std::string_view kSharedMemory = "NEURON_RTD_SHM_MAP";

std::string Variable(std::string_view name) {
  const char* const value = std::getenv(std::string(name).c_str());
  return value == nullptr ? "" : value;
}

Result<uint32_t> ParseCount(std::string_view name, std::string_view text) {
  uint32_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [parsed, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || parsed != end || number == 0)
    return Fail(Nerr::kInvalid, "{}: '{}' is no number of at least 1", name, text);
  return number;
}

Result<void> ReadCount(std::string_view name, uint32_t* value) {
  const std::string text = Variable(name);
  if (text.empty()) return {};
  NRTD_ASSIGN(*value, ParseCount(name, text));
  return {};
}

// "2x1": two copies of one core each; "1": one.
Result<GroupSize> ParseGroup(const std::string& text) {
  GroupSize group;
  const size_t times = text.find('x');
  if (times != std::string::npos) {
    NRTD_ASSIGN(group.copies, ParseCount(kGroupSizes, text.substr(0, times)));
  }
  NRTD_ASSIGN(group.cores,
              ParseCount(kGroupSizes, times == std::string::npos ? text : text.substr(times + 1)));
  return group;
}

// Brackets and blanks are left alone, as people write lists.
Result<std::vector<GroupSize>> ParseGroupSizes(const std::string& text) {
  std::vector<GroupSize> groups;
  std::string entry;
  for (const char c : text + ",") {
    if (c == ' ' || c == '[' || c == ']') continue;
    if (c != ',') {
      entry += c;
    } else if (!entry.empty()) {
      NRTD_ASSIGN(const GroupSize group, ParseGroup(entry));
      groups.push_back(group);
      entry.clear();
    }
  }
  return groups;
}

}  // namespace

Result<NeuronOptions> NeuronOptions::FromEnvironment() {
  NeuronOptions options;
  NRTD_ASSIGN(options.address, client::ResolveAddress(""));
  NRTD_ASSIGN(options.group_sizes, ParseGroupSizes(Variable(kGroupSizes)));
  if (uint32_t ninfer = 0; !Variable(kMaxInfers).empty()) {
    NRTD_TRY(ReadCount(kMaxInfers, &ninfer));
    options.ninfer = ninfer;
  }
  NRTD_TRY(ReadCount(kInferTimeout, &options.infer_timeout_s));
  options.shared_memory = Variable(kSharedMemory) != "no";
  return options;
}

Result<std::shared_ptr<NeuronRuntime>> NeuronRuntime::Connect(const NeuronOptions& options,
                                                              std::function<void()> on_lost) {
  client::ConnectOptions connect;
  connect.timeout = options.connect_timeout;
  connect.wait_for_daemon = true;
  connect.own_connection = true;
  connect.queue = options.queue;
  NRTD_ASSIGN(client::Daemon daemon, client::Daemon::Connect(options.address, connect));
  std::shared_ptr<NeuronRuntime> runtime(new NeuronRuntime(options, std::move(daemon)));
  NRTD_ASSIGN(runtime->session_, runtime->daemon_.OpenSession(
                                     "tensorflow_model_server_neuron",
                                     [watched = runtime.get(), lost = std::move(on_lost)] {
                                       watched->lost_ = true;
                                       Log(LogLevel::kError, "ModelServer", "lost neuron-rtd at {}",
                                           watched->options_.address);
                                       lost();
                                     }));
  NRTD_ASSIGN(runtime->groups_,
              CoreGroups::Make(runtime->daemon_, runtime->session_id(), options.group_sizes)
                  .map_error([&](Error error) { return std::move(error).In(kGroupSizes); }));
  return runtime;
}

void NeuronRuntime::ShareNoMemory(const Error& why) {
  if (!shares_memory_.exchange(false)) return;
  Log(LogLevel::kInfo, "ModelServer",
      "tensors go by gRPC from now on, which takes more CPU time: the daemon shares no memory: {}",
      AsIs(why.text));
}

Result<std::shared_ptr<NeuronRuntime>> RuntimeKeeper::Get() {
  if (runtime_ != nullptr && !runtime_->is_lost()) return runtime_;
  std::string said;
  while (!stopping_) {
    auto made = NeuronRuntime::Connect(options_, on_lost_);
    if (made) {
      if (!said.empty())
        Log(LogLevel::kInfo, "ModelServer", "neuron-rtd answers at {}", options_.address);
      runtime_ = *made;
      return runtime_;
    }
    if (std::exchange(said, made.error().text) != made.error().text)
      Log(LogLevel::kWarning, "ModelServer", "waiting for neuron-rtd: {}", AsIs(said));
    // It waited itself where nothing answered; a daemon that answers and refuses gets a rest.
    if (made.error().code != Nerr::kTimeout) std::this_thread::sleep_for(kRetryPause);
  }
  return Fail(Nerr::kFail, "the model server is ending");
}

}  // namespace nrtd::serving
