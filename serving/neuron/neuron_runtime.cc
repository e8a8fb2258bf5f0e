// SPDX-License-Identifier: Apache-2.0
#include "serving/neuron/neuron_runtime.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <string_view>

#include "base/log.h"
#include "rpc/call_queue.h"
#include "serving/neuron/batches.h"
#include "tools/client/address.h"

namespace nrtd::serving {
namespace {

constexpr auto kRetryPause = std::chrono::milliseconds(500);
constexpr std::string_view kGroupSizes = "NEURONCORE_GROUP_SIZES";
constexpr std::string_view kMaxInfers = "NEURON_MAX_NUM_INFERS";
constexpr std::string_view kInferTimeout = "NEURON_FRAMEWORK_INFER_TIMEOUT_SEC";

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

uint32_t CoresOf(const op::Neuron& op) {
  // The second number is what one copy takes; older ones have none.
  const int64_t cores = op.model_config.size() > 1 ? op.model_config[1] : 1;
  return cores >= 1 && cores <= 64 ? static_cast<uint32_t>(cores) : 1;
}

// The plugin's: one more than the cores of the pipeline keep busy.
uint32_t NinferOf(const op::Neuron& op, const NeuronOptions& options) {
  if (options.ninfer) return *options.ninfer;
  return CoresOf(op) + 1;
}

uint32_t TimeoutOf(const op::Neuron& op, const NeuronOptions& options) {
  const bool has_own =
      op.model_config.size() >= 4 && op.model_config[3] > 0 && op.model_config[3] <= 86'400;
  return has_own ? static_cast<uint32_t>(op.model_config[3]) : options.infer_timeout_s;
}

nrt::infer_request RequestOf(const op::Neuron& op, uint32_t network, std::vector<Tensor> inputs) {
  nrt::infer_request request;
  request.mutable_h_nn()->set_id(network);
  for (size_t i = 0; i < inputs.size(); ++i) {
    nrt::infer_io& io = *request.add_ifmap();
    io.set_name(op.inputs[i].name);
    *io.mutable_buf() = std::move(inputs[i]).TakeBytes();
  }
  return request;
}

// Takes them out of the response.
Result<std::vector<Tensor>> OutputsOf(const op::Neuron& op, int64_t batch,
                                      nrt::infer_response& response) {
  std::vector<Tensor> outputs;
  for (const op::NeuronTensor& wanted : op.outputs) {
    nrt::infer_io* found = nullptr;
    for (nrt::infer_io& io : *response.mutable_ofmap())
      if (io.name() == wanted.name) found = &io;
    if (found == nullptr)
      return Fail(Nerr::kFail, "the daemon answered without the output '{}'", wanted.name);
    Shape shape = wanted.shape;
    if (wanted.batch_axis >= 0) shape[static_cast<size_t>(wanted.batch_axis)] = batch;
    NRTD_ASSIGN(Tensor output,
                Tensor::Make(wanted.dtype, std::move(shape), std::move(*found->mutable_buf())));
    outputs.push_back(std::move(output));
  }
  return outputs;
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

void Copies::Add(Copy copy) {
  MutexLock lock(mutex_);
  copies_.push_back(std::move(copy));
}

std::vector<uint32_t> Copies::networks() const {
  std::vector<uint32_t> networks;
  MutexLock lock(mutex_);
  for (const Copy& copy : copies_) networks.push_back(copy.network);
  return networks;
}

std::optional<Copies::Copy> Copies::TakeBest() {
  const auto best = std::max_element(copies_.begin(), copies_.end(),
                                     [](const Copy& a, const Copy& b) { return a.free < b.free; });
  if (best->free == 0) return std::nullopt;
  --best->free;
  return *best;
}

std::optional<Copies::Copy> Copies::TryTake() {
  MutexLock lock(mutex_);
  return TakeBest();
}

Result<Copies::Copy> Copies::Take(TimePoint deadline) {
  MutexLock lock(mutex_);
  while (true) {
    if (auto taken = TakeBest()) return *taken;
    if (clock_.Now() >= deadline)
      return Fail(Nerr::kTimeout, "every place of the network was taken until the deadline");
    clock_.WaitUntil(freed_, mutex_, deadline);
  }
}

void Copies::GiveBack(const Copy& taken) {
  MutexLock lock(mutex_);
  for (Copy& copy : copies_)
    if (copy.network == taken.network) ++copy.free;
  freed_.NotifyOne();
}

Result<void> NeuronModel::Change(uint32_t running, uint32_t wanted) {
  // One that has been unloaded since is none to stop.
  if (running != 0) (void)runtime_->daemon().Stop(running);
  return runtime_->daemon().Start(wanted);
}

Result<void> NeuronModel::LoadExecutable(const op::Neuron& op, const op::Executable& executable,
                                         const std::shared_ptr<const CorePlace>& place) {
  const NeuronOptions& settings = runtime_->options();
  client::LoadOptions options;
  options.neff_bytes = *executable.neff;
  options.session_id = runtime_->session_id();
  options.ninfer = NinferOf(op, settings);
  options.timeout_s = TimeoutOf(op, settings);
  Variants& variants = ops_[op.number];
  Copies& copies = variants.by_batch[executable.batch];
  copies.SetPlace(place);
  for (const std::shared_ptr<CoreGroup>& group : place->copies) {
    options.group_id = group->id();
    NRTD_ASSIGN(const uint32_t network, runtime_->daemon().Load(options));
    copies.Add({network, *options.ninfer, group});
    NRTD_TRY(group->Enter(network, TimePoint::max(),
                          [&](uint32_t running) { return Change(running, network); }));
    group->Leave();
  }
  variants.batches.push_back(executable.batch);
  std::sort(variants.batches.begin(), variants.batches.end());
  return {};
}

Result<void> NeuronModel::LoadOp(const op::Neuron& op) {
  Variants& variants = ops_.emplace_back();
  for (const op::Executable& executable : op.executables) {
    const bool first = &executable == &op.executables.front();
    auto place = runtime_->groups().Take(CoresOf(op), /*may_share=*/first);
    Result<void> loaded;
    if (place) {
      loaded = LoadExecutable(op, executable, *place);
    } else {
      loaded = tl::unexpected<Error>(std::move(place.error()));
    }
    if (loaded) continue;
    if (first || loaded.error().code != Nerr::kResource) return loaded;
    Log(LogLevel::kWarning, "ModelServer", "no room for a batch of {}, which is left out: {}",
        executable.batch, AsIs(loaded.error().text));
    Unload(variants.by_batch[executable.batch]);
    variants.by_batch.erase(executable.batch);
  }
  return {};
}

Result<std::unique_ptr<NeuronModel>> NeuronModel::Load(const Graph& graph,
                                                       std::shared_ptr<NeuronRuntime> runtime) {
  std::unique_ptr<NeuronModel> model(new NeuronModel(std::move(runtime)));
  for (const uint32_t index : graph.neuron_ops) {
    const Node& node = graph.nodes[index];
    NRTD_TRY(model->LoadOp(std::get<op::Neuron>(node.operation)).map_error([&](Error error) {
      return std::move(error).In(fmt::format("node '{}'", Printable(node.name)));
    }));
  }
  return model;
}

void NeuronModel::Unload(const Copies& copies) {
  for (const uint32_t network : copies.networks()) {
    if (auto unloaded = runtime_->daemon().Unload(network); !unloaded)
      Log(LogLevel::kWarning, "ModelServer", "{}", AsIs(unloaded.error().text));
  }
}

NeuronModel::~NeuronModel() {
  rpc::CallQueue::HandOver();  // it waits for the daemon
  if (runtime_->is_lost()) return;
  for (const Variants& variants : ops_)
    for (const auto& [batch, copies] : variants.by_batch) Unload(copies);
}

Result<std::vector<Tensor>> NeuronModel::Run(const op::Neuron& op, std::vector<Tensor> inputs,
                                             TimePoint deadline) {
  Variants& variants = ops_[op.number];
  return RunInBatches(
      op, variants.batches, std::move(inputs), [&](int64_t batch, std::vector<Tensor> piece) {
        return RunOnOne(op, batch, variants.by_batch.at(batch), std::move(piece), deadline);
      });
}

Result<std::vector<Tensor>> NeuronModel::RunOnOne(const op::Neuron& op, int64_t batch,
                                                  Copies& copies, std::vector<Tensor> inputs,
                                                  TimePoint deadline) {
  NRTD_ASSIGN(const Copies::Copy copy, copies.Take(deadline));
  auto entered = copy.group->Enter(copy.network, deadline,
                                   [&](uint32_t running) { return Change(running, copy.network); });
  auto outputs =
      entered.and_then([&] { return Infer(op, copy.network, batch, std::move(inputs), deadline); });
  if (entered) copy.group->Leave();
  copies.GiveBack(copy);
  return outputs;
}

std::optional<Copies::Copy> NeuronModel::TryEnter(Copies& copies) {
  const std::optional<Copies::Copy> copy = copies.TryTake();
  if (!copy || copy->group->TryEnter(copy->network)) return copy;
  copies.GiveBack(*copy);
  return std::nullopt;
}

void NeuronModel::Start(const op::Neuron& op, std::vector<Tensor> inputs, TimePoint deadline,
                        NeuronDone done) {
  Variants& variants = ops_[op.number];
  if (const auto batch = FilledSize(op, variants.batches, inputs)) {
    Copies& copies = variants.by_batch.at(*batch);
    if (const auto copy = TryEnter(copies)) {
      StartOn(*copy, op, *batch, copies, std::move(inputs), deadline, std::move(done));
      return;
    }
  }
  if (rpc::CallQueue::TryHandOver()) {
    done(Run(op, std::move(inputs), deadline));
  } else {
    done(Fail(Nerr::kResource, "every thread waits for a core"));
  }
}

void NeuronModel::StartOn(const Copies::Copy& copy, const op::Neuron& op, int64_t batch,
                          Copies& copies, std::vector<Tensor> inputs, TimePoint deadline,
                          NeuronDone done) {
  const nrt::infer_request request = RequestOf(op, copy.network, std::move(inputs));
  const TimePoint began = clock_.Now();
  runtime_->daemon().StartInfer(
      deadline - began, request,
      [this, copy, &op, batch, &copies, began, done = std::move(done)](
          Result<void> ended, nrt::infer_response& response) {
        copy.group->Leave();
        copies.GiveBack(copy);
        if (ended) CountInference(began);
        done(ended.and_then([&] { return OutputsOf(op, batch, response); }));
      });
}

Result<std::vector<Tensor>> NeuronModel::Infer(const op::Neuron& op, uint32_t network,
                                               int64_t batch, std::vector<Tensor> inputs,
                                               TimePoint deadline) {
  const nrt::infer_request request = RequestOf(op, network, std::move(inputs));
  nrt::infer_response response;
  const TimePoint began = clock_.Now();
  NRTD_TRY(runtime_->daemon().InferWithin(deadline - began, request, response));
  CountInference(began);
  return OutputsOf(op, batch, response);
}

void NeuronModel::CountInference(TimePoint began) {
  if (const auto& tell = runtime_->options().on_inference) tell(clock_.Now() - began);
}

}  // namespace nrtd::serving
