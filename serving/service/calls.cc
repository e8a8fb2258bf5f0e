// SPDX-License-Identifier: Apache-2.0
#include "serving/service/calls.h"

#include <algorithm>
#include <set>

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
constexpr const char* kEveryThreadIsTaken = "every thread is taken (--grpc_max_threads)";
constexpr size_t kMostText = 1024;
constexpr size_t kMostEscaped = 16;  // what a byte can become
// Of tensorflow_model_server 2.5: 1.15 had no counts of requests.
constexpr const char* kRequestCount = "/tensorflow/serving/request_count";
constexpr const char* kRequestLatency = "/tensorflow/serving/request_latency";
constexpr const char* kRuntimeLatency = "/tensorflow/serving/runtime_latency";
constexpr const char* kQueueDepth = "/neuron/serving/queue_depth";

template <typename... Args>
grpc::Status Refuse(StatusCode code, fmt::format_string<Args...> format, Args&&... args) {
  return {code, SafeText(fmt::format(format, std::forward<Args>(args)...))};
}

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

grpc::Status CheckTypes(const Signature& signature, const Tensors& inputs) {
  int index = 0;
  for (const auto& [name, wanted] : signature.inputs) {
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

grpc::Status StatusOf(const Error& error) {
  const auto code = [&] {
    switch (error.code) {
      case Nerr::kInvalid:
      case Nerr::kInferBadInput:
        return StatusCode::INVALID_ARGUMENT;
      case Nerr::kInvalidHandle:
        return StatusCode::NOT_FOUND;
      case Nerr::kTimeout:
        return StatusCode::DEADLINE_EXCEEDED;
      case Nerr::kResource:
      case Nerr::kResourceNc:
      case Nerr::kQueueFull:
        return StatusCode::RESOURCE_EXHAUSTED;
      case Nerr::kFailedState:
        return StatusCode::FAILED_PRECONDITION;
      case Nerr::kFail:
        return StatusCode::UNAVAILABLE;
      case Nerr::kInferCancelled:
        return StatusCode::CANCELLED;
      default:
        return StatusCode::INTERNAL;
    }
  }();
  return Refuse(code, "{}", error.text);
}

std::string SignatureName(const tfs::ModelSpec& spec) {
  return spec.signature_name().empty() ? kDefaultSignature : spec.signature_name();
}

std::string SafeText(std::string_view text) {
  std::string safe;
  while (true) {
    const size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    safe += PrintableText(line, kMostEscaped * line.size());
    if (end == std::string_view::npos) return safe;
    safe += '\n';
    text.remove_prefix(end + 1);
  }
}

grpc::Status Cut(grpc::Status status) {
  if (status.error_message().size() <= kMostText) return status;
  return {status.error_code(),
          SafeText(status.error_message().substr(0, kMostText)) + "...TRUNCATED"};
}

std::string CodeName(StatusCode code) {
  constexpr const char* kNames[] = {"OK",
                                    "CANCELLED",
                                    "UNKNOWN",
                                    "INVALID_ARGUMENT",
                                    "DEADLINE_EXCEEDED",
                                    "NOT_FOUND",
                                    "ALREADY_EXISTS",
                                    "PERMISSION_DENIED",
                                    "RESOURCE_EXHAUSTED",
                                    "FAILED_PRECONDITION",
                                    "ABORTED",
                                    "OUT_OF_RANGE",
                                    "UNIMPLEMENTED",
                                    "INTERNAL",
                                    "UNAVAILABLE",
                                    "DATA_LOSS",
                                    "UNAUTHENTICATED"};
  const auto number = static_cast<size_t>(code);
  return number < std::size(kNames) ? kNames[number] : fmt::to_string(number);
}

Calls::Calls(ModelManager& models, Metrics& metrics) : models_(models), metrics_(metrics) {
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

grpc::Status Calls::Run(const Servable& servable, const std::string& signature, Tensors inputs,
                        const std::vector<std::string>& wanted, TimePoint deadline,
                        Tensors* outputs) {
  if (auto fit = CheckTypes(servable.graph.signatures.at(signature), inputs); !fit.ok()) return fit;
  CountRunning(servable, 1);
  const TimePoint began = clock_.Now();
  auto result = servable.Run(signature, std::move(inputs), wanted, deadline);
  CountRunning(servable, -1);
  if (!result) return StatusOf(result.error());
  ObserveRun(servable, began);
  *outputs = std::move(*result);
  return grpc::Status::OK;
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
  if (auto ran = Run(*prepared.servable, prepared.signature, std::move(prepared.inputs),
                     prepared.wanted, deadline, &outputs);
      !ran.ok())
    return ran;
  Answer(prepared, outputs, response);
  return grpc::Status::OK;
}

grpc::Status Calls::FindOnQueue(const tfs::PredictRequest& request, TimePoint deadline,
                                std::shared_ptr<const Servable>* servable) {
  constexpr TimePoint kAtOnce = TimePoint::min();
  const grpc::Status found =
      Find(request.has_model_spec(), request.model_spec(), kAtOnce, servable);
  if (found.error_code() != StatusCode::DEADLINE_EXCEEDED) return found;
  if (!rpc::CallQueue::TryHandOver()) return {StatusCode::RESOURCE_EXHAUSTED, kEveryThreadIsTaken};
  return Find(request.has_model_spec(), request.model_spec(), deadline, servable);
}

void Calls::StartPredict(TimePoint deadline, tfs::PredictRequest& request,
                         tfs::PredictResponse* response, Done done) {
  auto prepared = std::make_shared<Prepared>();
  const auto ready = [&]() -> grpc::Status {
    if (auto found = FindOnQueue(request, deadline, &prepared->servable); !found.ok()) return found;
    if (auto refused = Prepare(request, prepared.get()); !refused.ok()) return refused;
    return CheckTypes(prepared->servable->graph.signatures.at(prepared->signature),
                      prepared->inputs);
  };
  if (const grpc::Status status = ready(); !status.ok()) {
    done(status);
    return;
  }
  const Servable& servable = *prepared->servable;
  CountRunning(servable, 1);
  const auto ended = [this, prepared, response, began = clock_.Now(),
                      done = std::move(done)](const Result<Tensors>& outputs) {
    CountRunning(*prepared->servable, -1);
    done(rpc::Guarded([&] {
      if (!outputs) return StatusOf(outputs.error());
      ObserveRun(*prepared->servable, began);
      Answer(*prepared, *outputs, response);
      return grpc::Status::OK;
    }));
  };
  if (!servable.Batches(prepared->signature, prepared->wanted)) {
    servable.Start(prepared->signature, std::move(prepared->inputs), prepared->wanted, deadline,
                   ended);
  } else if (rpc::CallQueue::TryHandOver()) {
    ended(
        servable.Run(prepared->signature, std::move(prepared->inputs), prepared->wanted, deadline));
  } else {
    ended(Fail(Nerr::kResource, "{}", kEveryThreadIsTaken));
  }
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
  return Run(*servable, name, std::move(*inputs), OutputNames(signature->second), deadline,
             outputs);
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
