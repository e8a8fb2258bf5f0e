// SPDX-License-Identifier: Apache-2.0
#include "serving/service/predict.h"

#include <algorithm>
#include <set>

#include <fmt/ranges.h>

#include "serving/tensor/tensor_proto.h"

namespace nrtd::serving {
namespace {

namespace tfs = ::tensorflow::serving;
using grpc::StatusCode;

constexpr const char* kDefaultSignature = "serving_default";
constexpr const char* kMethods[] = {"tensorflow/serving/predict", "tensorflow/serving/classify",
                                    "tensorflow/serving/regress"};
constexpr size_t kMostText = 1024;

template <typename... Args>
grpc::Status Refuse(StatusCode code, fmt::format_string<Args...> format, Args&&... args) {
  std::string text = fmt::format(format, std::forward<Args>(args)...);
  if (text.size() > kMostText) text = text.substr(0, kMostText) + "...TRUNCATED";
  return {code, PrintableText(text, text.size())};
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

const std::string& SignatureName(const tfs::ModelSpec& spec) {
  static const std::string otherwise = kDefaultSignature;
  return spec.signature_name().empty() ? otherwise : spec.signature_name();
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

// TensorFlow's names of types in messages.
std::string TypeText(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return "float";
    case DType::kFloat64:
      return "double";
    case DType::kFloat16:
      return "half";
    default:
      return std::string(DTypeName(dtype));
  }
}

grpc::Status TakeInputs(const Signature& signature, tfs::PredictRequest& request, Tensors* inputs) {
  int index = 0;
  for (const auto& [name, wanted] : signature.inputs) {
    auto tensor = TakeTensor((*request.mutable_inputs())[name]);
    if (!tensor) {
      return Refuse(StatusCode::INVALID_ARGUMENT, "tensor parsing error: {}: {}", name,
                    tensor.error().text);
    }
    if (tensor->dtype() != wanted.spec.dtype) {
      return Refuse(StatusCode::INVALID_ARGUMENT, "Expects arg[{}] to be {} but {} is provided",
                    index, TypeText(wanted.spec.dtype), TypeText(tensor->dtype()));
    }
    if (!Fits(tensor->shape(), wanted.spec)) {
      return Refuse(StatusCode::INVALID_ARGUMENT,
                    "input '{}' has the shape {}, and the signature takes {}", name,
                    ShapeText(tensor->shape()), ShapeText(wanted.spec.shape));
    }
    inputs->insert_or_assign(name, std::move(*tensor));
    ++index;
  }
  return grpc::Status::OK;
}

grpc::Status WantedOutputs(const Signature& signature, const tfs::PredictRequest& request,
                           std::vector<std::string>* outputs) {
  if (request.output_filter().empty()) {
    for (const auto& [name, tensor] : signature.outputs) outputs->push_back(name);
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

grpc::Status Predict(ModelManager& models, TimePoint deadline, tfs::PredictRequest& request,
                     tfs::PredictResponse* response) {
  if (auto checked = CheckSpec(request.has_model_spec(), request.model_spec()); !checked.ok())
    return checked;
  const auto servable = models.Find(WantedBy(request.model_spec()), deadline);
  if (!servable) return StatusOf(servable.error());
  const Graph& graph = (*servable)->graph;
  const std::string& name = SignatureName(request.model_spec());
  const auto signature = graph.signatures.find(name);
  if (signature == graph.signatures.end()) {
    return Refuse(StatusCode::FAILED_PRECONDITION, "Serving signature key \"{}\" not found.", name);
  }
  const std::string& method = signature->second.method;
  if (std::find(std::begin(kMethods), std::end(kMethods), method) == std::end(kMethods)) {
    return Refuse(StatusCode::INTERNAL,
                  "Expected prediction signature method_name to be one of {{{}}}. Was: {}",
                  fmt::join(kMethods, ", "), method);
  }
  Tensors inputs;
  std::vector<std::string> wanted;
  if (auto checked = CheckInputs(signature->second, request); !checked.ok()) return checked;
  if (auto taken = TakeInputs(signature->second, request, &inputs); !taken.ok()) return taken;
  if (auto known = WantedOutputs(signature->second, request, &wanted); !known.ok()) return known;
  auto outputs =
      Execute(graph, signature->second, std::move(inputs), wanted, *(*servable)->neuron, deadline);
  if (!outputs) return StatusOf(outputs.error());
  SetSpec(**servable, response->mutable_model_spec());
  response->mutable_model_spec()->set_signature_name(name);
  for (auto& [key, tensor] : *outputs) SetTyped(tensor, &(*response->mutable_outputs())[key]);
  return grpc::Status::OK;
}

grpc::Status GetModelMetadata(ModelManager& models, TimePoint deadline,
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
  const auto servable = models.Find(WantedBy(request.model_spec()), deadline);
  if (!servable) return StatusOf(servable.error());
  SetSpec(**servable, response->mutable_model_spec());
  (*response->mutable_metadata())["signature_def"].PackFrom((*servable)->signatures);
  return grpc::Status::OK;
}

grpc::Status GetModelStatus(const ModelManager& models, const tfs::GetModelStatusRequest& request,
                            tfs::GetModelStatusResponse* response) {
  if (!request.has_model_spec()) return Refuse(StatusCode::INVALID_ARGUMENT, "Missing ModelSpec");
  const tfs::ModelSpec& spec = request.model_spec();
  for (const VersionStatus& status : models.Status(spec.name())) {
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

}  // namespace nrtd::serving
