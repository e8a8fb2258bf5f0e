// SPDX-License-Identifier: Apache-2.0
#include "serving/service/calls.h"

#include <algorithm>
#include <set>
#include <utility>

#include <fmt/ranges.h>

#include "base/log.h"
#include "serving/config/model_config.h"
#include "serving/service/examples.h"
#include "serving/tensor/tensor_proto.h"

namespace nrtd::serving {
namespace {

namespace tfs = ::tensorflow::serving;
using grpc::StatusCode;

constexpr const char* kMethods[] = {"tensorflow/serving/predict", "tensorflow/serving/classify",
                                    "tensorflow/serving/regress"};
// Of tensorflow_model_server 2.5: 1.15 had no counts of requests.
constexpr const char* kRequestCount = "/tensorflow/serving/request_count";
constexpr const char* kRequestLatency = "/tensorflow/serving/request_latency";
constexpr const char* kRuntimeLatency = "/tensorflow/serving/runtime_latency";
constexpr const char* kQueueDepth = "/neuron/serving/queue_depth";

grpc::Status CheckSpec(bool there, const tfs::ModelSpec& spec) {
  if (!there) return Refuse(StatusCode::INVALID_ARGUMENT, "Missing ModelSpec");
  if (spec.name().empty())
    return Refuse(StatusCode::INVALID_ARGUMENT, "ModelSpec has no name specified.");
  return grpc::Status::OK;
}

Wanted WantedBy(const tfs::ModelSpec& spec) {
  Wanted wanted{spec.name(), {}};
  if (spec.has_version()) wanted.version = spec.version().value();
  if (spec.version_choice_case() == tfs::ModelSpec::kVersionLabel)
    wanted.version = spec.version_label();
  return wanted;
}

template <typename Map>
std::set<std::string> Keys(const Map& map) {
  std::set<std::string> keys;
  for (const auto& entry : map) keys.insert(entry.first);
  return keys;
}
std::string Joined(const std::set<std::string>& keys) {
  return fmt::format("{}", fmt::join(keys, ","));
}
std::string Difference(const std::set<std::string>& a, const std::set<std::string>& b) {
  std::set<std::string> only;
  std::set_difference(a.begin(), a.end(), b.begin(), b.end(), std::inserter(only, only.end()));
  return Joined(only);
}

grpc::Status CheckInputs(const Signature& signature, const tfs::PredictRequest& request) {
  const std::set<std::string> given = Keys(request.inputs());
  const std::set<std::string> wanted = Keys(signature.inputs);
  if (given.size() != wanted.size()) {
    return Refuse(StatusCode::INVALID_ARGUMENT,
                  "input size does not match signature: {}!={} len({{{}}}) != len({{{}}}). Sent "
                  "extra: {{{}}}. Missing but required: {{{}}}.",
                  given.size(), wanted.size(), Joined(given), Joined(wanted),
                  Difference(given, wanted), Difference(wanted, given));
  }
  for (const std::string& name : given) {
    if (!wanted.contains(name)) {
      return Refuse(StatusCode::INVALID_ARGUMENT,
                    "input tensor alias not found in signature: {}. Inputs expected to be in the "
                    "set {{{}}}.",
                    name, Joined(wanted));
    }
  }
  return grpc::Status::OK;
}

grpc::Status TakeInputs(tfs::PredictRequest& request, Tensors* inputs) {
  for (auto& [name, proto] : *request.mutable_inputs()) {
    auto tensor = TakeTensor(proto);
    if (!tensor) {
      return Refuse(StatusCode::INVALID_ARGUMENT, "tensor parsing error: {}: {}", name,
                    tensor.error().text);
    }
    inputs->insert_or_assign(name, std::move(*tensor));
  }
  return grpc::Status::OK;
}

// Checks inputs against a signature of the graph.
grpc::Status CheckTypes(const Graph& graph, const std::string& signature, const Tensors& inputs) {
  int index = 0;
  for (const auto& [name, wanted] : graph.signatures.at(signature).inputs) {
    const Tensor& tensor = inputs.at(name);
    if (tensor.dtype() != wanted.spec.dtype) {
      return Refuse(StatusCode::INVALID_ARGUMENT, "Expects arg[{}] to be {} but {} is provided",
                    index, TypeName(wanted.spec.dtype), TypeName(tensor.dtype()));
    }
    if (!Fits(tensor.shape(), wanted.spec)) {
      return Refuse(StatusCode::INVALID_ARGUMENT,
                    "input '{}' has the shape {}, and the signature takes {}", name,
                    ShapeText(tensor.shape()), ShapeText(wanted.spec.shape));
    }
    ++index;
  }
  return grpc::Status::OK;
}

grpc::Status WantedOutputs(const Signature& signature, const tfs::PredictRequest& request,
                           std::vector<std::string>* outputs) {
  if (request.output_filter().empty()) {
    *outputs = OutputNames(signature);
    return grpc::Status::OK;
  }
  std::set<std::string> seen;
  for (const std::string& name : request.output_filter()) {
    if (!signature.outputs.contains(name)) {
      return Refuse(StatusCode::INVALID_ARGUMENT,
                    "output tensor alias not found in signature: {} Outputs expected to be in the "
                    "set {{{}}}.",
                    name, Joined(Keys(signature.outputs)));
    }
    if (!seen.insert(name).second)
      return Refuse(StatusCode::INVALID_ARGUMENT, "duplicate output tensor alias: {}", name);
    outputs->push_back(name);
  }
  return grpc::Status::OK;
}

void SetSpec(const Servable& servable, tfs::ModelSpec* spec) {
  spec->set_name(servable.model);
  spec->mutable_version()->set_value(servable.version);
}

grpc::Status CheckMethod(const Signature& signature) {
  if (std::find(std::begin(kMethods), std::end(kMethods), signature.method) != std::end(kMethods))
    return grpc::Status::OK;
  return Refuse(StatusCode::INTERNAL,
                "Expected prediction signature method_name to be one of {{{}}}. Was: {}",
                fmt::join(kMethods, ", "), signature.method);
}

}  // namespace

std::string SignatureName(const tfs::ModelSpec& spec) {
  return spec.signature_name().empty() ? kDefaultSignature : spec.signature_name();
}

Calls::Calls(ModelManager& models, Metrics& metrics, rpc::CallQueue& queue)
    : models_(models), metrics_(metrics), queue_(queue) {
  metrics_.DeclareCounter(kRequestCount);
  metrics_.DeclareHistogram(kRequestLatency, kLatencyBuckets);
  metrics_.DeclareHistogram(kRuntimeLatency, kLatencyBuckets);
  metrics_.DeclareGauge(kQueueDepth, [this] {
    Metrics::Readings readings;
    MutexLock lock(mutex_);
    for (const auto& [model, count] : running_)
      readings.push_back({{{"model_name", model}}, count});
    return readings;
  });
}

void Calls::Count(const std::string& model, const std::string& api, const std::string& entrypoint,
                  TimePoint began, const grpc::Status& status) {
  // Names that nobody serves are the clients' invention, and there is no end of them.
  const std::string name = models_.Knows(model) ? model : "";
  metrics_.Count(kRequestCount, {{"model_name", name}, {"status", CodeName(status.error_code())}});
  if (!status.ok()) return;
  const std::chrono::duration<double, std::micro> took = clock_.Now() - began;
  metrics_.Observe(kRequestLatency,
                   {{"model_name", name}, {"API", api}, {"entrypoint", entrypoint}}, took.count());
}

grpc::Status Calls::Find(bool has_spec, const tfs::ModelSpec& spec, TimePoint deadline,
                         std::shared_ptr<const Servable>* servable) {
  if (auto checked = CheckSpec(has_spec, spec); !checked.ok()) return checked;
  auto found = models_.Find(WantedBy(spec), deadline);
  if (!found) return StatusOf(found.error());
  *servable = std::move(*found);
  return grpc::Status::OK;
}

void Calls::CountRunning(const Servable& servable, int64_t by) {
  MutexLock lock(mutex_);
  running_[servable.model] += by;
}

void Calls::ObserveRun(const Servable& servable, TimePoint began) {
  const std::chrono::duration<double, std::micro> took = clock_.Now() - began;
  metrics_.Observe(kRuntimeLatency,
                   {{"model_name", servable.model}, {"API", "Predict"}, {"runtime", "neuron"}},
                   took.count());
}

grpc::Status Calls::FindAgain(const std::string& signature, const Tensors& inputs,
                              TimePoint deadline, std::shared_ptr<const Servable>* servable) {
  auto found = models_.Find({(*servable)->model, (*servable)->version}, deadline);
  if (!found) return StatusOf(found.error());
  const Signature& before = (*servable)->graph.signatures.at(signature);
  const auto& signatures = (*found)->graph.signatures;
  const auto now = signatures.find(signature);
  if (now == signatures.end() || Keys(now->second.inputs) != Keys(before.inputs) ||
      Keys(now->second.outputs) != Keys(before.outputs)) {
    return Refuse(StatusCode::FAILED_PRECONDITION,
                  "Serving signature key \"{}\" changed when the model was loaded again.",
                  signature);
  }
  *servable = std::move(*found);
  return CheckTypes((*servable)->graph, signature, inputs);
}

grpc::Status Calls::Run(std::shared_ptr<const Servable> servable, const std::string& signature,
                        const Tensors& inputs, const std::vector<std::string>& wanted,
                        TimePoint deadline, Tensors* outputs) {
  if (auto fit = CheckTypes(servable->graph, signature, inputs); !fit.ok()) return fit;
  for (bool again = false;; again = true) {
    CountRunning(*servable, 1);
    const TimePoint began = clock_.Now();
    auto result = servable->Run(signature, inputs, wanted, deadline);
    CountRunning(*servable, -1);
    if (result) {
      ObserveRun(*servable, began);
      *outputs = std::move(*result);
      return grpc::Status::OK;
    }
    if (again || !servable->IsLost()) return StatusOf(result.error());
    if (auto found = FindAgain(signature, inputs, deadline, &servable); !found.ok()) return found;
  }
}

grpc::Status Calls::Prepare(tfs::PredictRequest& request, Prepared* prepared) {
  prepared->signature = SignatureName(request.model_spec());
  const auto& signatures = prepared->servable->graph.signatures;
  const auto signature = signatures.find(prepared->signature);
  if (signature == signatures.end()) {
    return Refuse(StatusCode::FAILED_PRECONDITION, "Serving signature key \"{}\" not found.",
                  prepared->signature);
  }
  if (auto known = CheckMethod(signature->second); !known.ok()) return known;
  if (auto checked = CheckInputs(signature->second, request); !checked.ok()) return checked;
  if (auto taken = TakeInputs(request, &prepared->inputs); !taken.ok()) return taken;
  return WantedOutputs(signature->second, request, &prepared->wanted);
}

void Calls::Answer(const Prepared& prepared, const Tensors& outputs,
                   tfs::PredictResponse* response) {
  SetSpec(*prepared.servable, response->mutable_model_spec());
  response->mutable_model_spec()->set_signature_name(prepared.signature);
  for (const auto& [name, tensor] : outputs)
    SetTyped(tensor, &(*response->mutable_outputs())[name]);
}

grpc::Status Calls::Predict(TimePoint deadline, tfs::PredictRequest& request,
                            tfs::PredictResponse* response) {
  Prepared prepared;
  if (auto found =
          Find(request.has_model_spec(), request.model_spec(), deadline, &prepared.servable);
      !found.ok())
    return found;
  if (auto ready = Prepare(request, &prepared); !ready.ok()) return ready;
  Tensors outputs;
  if (auto ran = Run(prepared.servable, prepared.signature, prepared.inputs, prepared.wanted,
                     deadline, &outputs);
      !ran.ok())
    return ran;
  Answer(prepared, outputs, response);
  return grpc::Status::OK;
}

// An asynchronous Predict. Owns itself.
class Calls::StartedPredict final : private rpc::Task {
 public:
  StartedPredict(Calls& calls, TimePoint deadline, tfs::PredictRequest& request,
                 tfs::PredictResponse* response, Done done)
      : calls_(calls),
        deadline_(deadline),
        request_(request),
        response_(response),
        done_(std::move(done)) {}

  void Start() {
    const grpc::Status begun = rpc::Guarded([this] {
      const grpc::Status ready = GetReady();
      return ready.ok() ? StartRun() : ready;
    });
    if (!begun.ok()) End(begun);
  }

 private:
  grpc::Status GetReady() {
    if (auto found = Find(); !found.ok()) return found;
    if (auto refused = Prepare(request_, &prepared_); !refused.ok()) return refused;
    return CheckTypes(prepared_.servable->graph, prepared_.signature, prepared_.inputs);
  }
  // Hands the queue over only if it has to wait.
  grpc::Status Find() {
    constexpr TimePoint kAtOnce = TimePoint::min();
    const auto find = [&](TimePoint deadline) {
      return calls_.Find(request_.has_model_spec(), request_.model_spec(), deadline,
                         &prepared_.servable);
    };
    const grpc::Status found = find(kAtOnce);
    if (found.error_code() != StatusCode::DEADLINE_EXCEEDED) return found;
    return rpc::CallQueue::TryHandOver() ? find(deadline_) : EveryThreadIsTaken();
  }
  static grpc::Status EveryThreadIsTaken() {
    return {StatusCode::RESOURCE_EXHAUSTED, "every thread is taken (--grpc_max_threads)"};
  }

  // Returns an error, or arranges for EndRun(), which may have run already.
  grpc::Status StartRun() {
    const std::shared_ptr<const Servable> servable = prepared_.servable;
    const bool batches = servable->Batches(prepared_.signature, prepared_.wanted);
    if (batches && !rpc::CallQueue::TryHandOver()) return EveryThreadIsTaken();
    calls_.CountRunning(*servable, 1);
    is_counted_ = true;
    began_ = calls_.Now();
    // The callback keeps this run's servable alive until the runner returns from it. By then the
    // request may be running again on another servable.
    const auto ended = [this, servable](const Result<Tensors>& outputs) { EndRun(outputs); };
    if (batches) {
      ended(servable->Run(prepared_.signature, prepared_.inputs, prepared_.wanted, deadline_));
    } else {
      servable->Start(prepared_.signature, prepared_.inputs, prepared_.wanted, deadline_, ended);
    }
    return grpc::Status::OK;
  }
  void EndRun(const Result<Tensors>& outputs) {
    StopCounting();
    if (!outputs && prepared_.servable->IsLost() && !std::exchange(again_, true)) {
      calls_.queue_.Post(*this);
      return;
    }
    End(rpc::Guarded([&] {
      if (!outputs) return StatusOf(outputs.error());
      calls_.ObserveRun(*prepared_.servable, began_);
      Answer(prepared_, *outputs, response_);
      return grpc::Status::OK;
    }));
  }
  void Run() override {
    const grpc::Status begun = rpc::Guarded([this] {
      if (!rpc::CallQueue::TryHandOver()) return EveryThreadIsTaken();
      const grpc::Status found =
          calls_.FindAgain(prepared_.signature, prepared_.inputs, deadline_, &prepared_.servable);
      return found.ok() ? StartRun() : found;
    });
    if (!begun.ok()) End(begun);
  }
  void StopCounting() {
    if (std::exchange(is_counted_, false)) calls_.CountRunning(*prepared_.servable, -1);
  }
  void End(const grpc::Status& status) {
    StopCounting();
    done_(status);
    delete this;
  }

  Calls& calls_;
  const TimePoint deadline_;
  tfs::PredictRequest& request_;
  tfs::PredictResponse* const response_;
  const Done done_;
  Prepared prepared_;
  TimePoint began_;
  bool is_counted_ = false;  // in the gauge of running requests
  bool again_ = false;       // this is the second run
};

void Calls::StartPredict(TimePoint deadline, tfs::PredictRequest& request,
                         tfs::PredictResponse* response, Done done) {
  (new StartedPredict(*this, deadline, request, response, std::move(done)))->Start();
}

grpc::Status Calls::RunExamples(const tfs::ModelSpec& spec, bool has_spec, const tfs::Input& input,
                                const std::string& method, TimePoint deadline, tfs::ModelSpec* used,
                                Tensors* outputs) {
  std::shared_ptr<const Servable> servable;
  if (auto found = Find(has_spec, spec, deadline, &servable); !found.ok()) return found;
  const std::string name = SignatureName(spec);
  const auto signature = servable->graph.signatures.find(name);
  if (signature == servable->graph.signatures.end())
    return Refuse(StatusCode::INVALID_ARGUMENT, "No signature was found with the name: {}", name);
  if (signature->second.method != "tensorflow/serving/" + method) {
    return Refuse(StatusCode::INVALID_ARGUMENT,
                  "Expected {} signature method_name to be tensorflow/serving/{}. Was: {}",
                  method == "classify" ? "classification" : "regression", method,
                  signature->second.method);
  }
  auto inputs = TensorsOf(input, signature->second);
  if (!inputs) return StatusOf(inputs.error());
  SetSpec(*servable, used);
  used->set_signature_name(name);
  return Run(servable, name, *inputs, OutputNames(signature->second), deadline, outputs);
}

grpc::Status Calls::Classify(TimePoint deadline, const tfs::ClassificationRequest& request,
                             tfs::ClassificationResponse* response) {
  Tensors outputs;
  if (auto ran = RunExamples(request.model_spec(), request.has_model_spec(), request.input(),
                             "classify", deadline, response->mutable_model_spec(), &outputs);
      !ran.ok())
    return ran;
  auto classes = ClassesOf(outputs, ExampleCount(request.input()));
  if (!classes) return StatusOf(classes.error());
  *response->mutable_result() = std::move(*classes);
  return grpc::Status::OK;
}

grpc::Status Calls::Regress(TimePoint deadline, const tfs::RegressionRequest& request,
                            tfs::RegressionResponse* response) {
  Tensors outputs;
  if (auto ran = RunExamples(request.model_spec(), request.has_model_spec(), request.input(),
                             "regress", deadline, response->mutable_model_spec(), &outputs);
      !ran.ok())
    return ran;
  auto values = ValuesOf(outputs, ExampleCount(request.input()));
  if (!values) return StatusOf(values.error());
  *response->mutable_result() = std::move(*values);
  return grpc::Status::OK;
}

grpc::Status Calls::GetModelMetadata(TimePoint deadline,
                                     const tfs::GetModelMetadataRequest& request,
                                     tfs::GetModelMetadataResponse* response) {
  if (auto checked = CheckSpec(request.has_model_spec(), request.model_spec()); !checked.ok())
    return checked;
  if (request.metadata_field().empty()) {
    return Refuse(StatusCode::INVALID_ARGUMENT,
                  "GetModelMetadataRequest must specify at least one metadata_field");
  }
  for (const std::string& field : request.metadata_field()) {
    if (field != "signature_def")
      return Refuse(StatusCode::INVALID_ARGUMENT, "Metadata field {} is not supported", field);
  }
  std::shared_ptr<const Servable> servable;
  if (auto found = Find(true, request.model_spec(), deadline, &servable); !found.ok()) return found;
  SetSpec(*servable, response->mutable_model_spec());
  (*response->mutable_metadata())["signature_def"].PackFrom(servable->signatures);
  return grpc::Status::OK;
}

grpc::Status Calls::GetModelStatus(const tfs::GetModelStatusRequest& request,
                                   tfs::GetModelStatusResponse* response) {
  if (!request.has_model_spec()) return Refuse(StatusCode::INVALID_ARGUMENT, "Missing ModelSpec");
  const tfs::ModelSpec& spec = request.model_spec();
  for (const VersionStatus& status : models_.Status(spec.name())) {
    if (spec.has_version() && spec.version().value() != status.version) continue;
    tfs::ModelVersionStatus& entry = *response->add_model_version_status();
    entry.set_version(status.version);
    entry.set_state(status.state);
    entry.mutable_status()->set_error_message(status.error);
    if (!status.error.empty()) entry.mutable_status()->set_error_code(tensorflow::error::UNKNOWN);
  }
  if (!response->model_version_status().empty()) return grpc::Status::OK;
  if (spec.has_version()) {
    return Refuse(StatusCode::NOT_FOUND, "Could not find version {} of model {}",
                  spec.version().value(), spec.name());
  }
  return Refuse(StatusCode::NOT_FOUND, "Could not find any versions of model {}", spec.name());
}

grpc::Status Calls::ReloadConfig(TimePoint deadline, const tfs::ReloadConfigRequest& request,
                                 tfs::ReloadConfigResponse* response) {
  const auto status = [&]() -> grpc::Status {
    if (!request.config().has_model_config_list()) {
      return Refuse(StatusCode::INVALID_ARGUMENT,
                    "ServerModelConfig type not supported by HandleReloadConfigRequest. Only "
                    "ModelConfigList is currently supported");
    }
    const auto sources = SourcesOf(request.config());
    if (!sources) return StatusOf(sources.error());
    if (auto set = models_.SetModels(*sources); !set) return StatusOf(set.error());
    if (!models_.AwaitLoaded(deadline))
      return Refuse(StatusCode::DEADLINE_EXCEEDED, "models are still being loaded");
    if (auto failed = models_.Failures("model(s)"); !failed)
      return Refuse(StatusCode::UNKNOWN, "{}", failed.error().text);
    return grpc::Status::OK;
  }();
  if (!status.ok())
    Log(LogLevel::kError, "ModelServer", "ReloadConfig failed: {}", AsIs(status.error_message()));
  response->mutable_status()->set_error_code(
      static_cast<tensorflow::error::Code>(status.error_code()));
  response->mutable_status()->set_error_message(status.error_message());
  return status;
}

}  // namespace nrtd::serving
