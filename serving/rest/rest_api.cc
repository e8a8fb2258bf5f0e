// SPDX-License-Identifier: Apache-2.0
#include "serving/rest/rest_api.h"

#include <algorithm>
#include <charconv>
#include <new>

#include <google/protobuf/util/json_util.h>

#include "serving/rest/json_answers.h"
#include "serving/rest/json_inputs.h"

namespace nrtd::serving {
namespace {

namespace tfs = ::tensorflow::serving;
using grpc::StatusCode;

char Lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

// Takes `prefix` off the front, in any case.
bool Take(std::string_view prefix, std::string_view* text) {
  if (text->size() < prefix.size()) return false;
  for (size_t i = 0; i < prefix.size(); ++i)
    if (Lower((*text)[i]) != prefix[i]) return false;
  text->remove_prefix(prefix.size());
  return true;
}

std::string_view TakeUntil(std::string_view ends, std::string_view* text) {
  const size_t length = std::min(text->find_first_of(ends), text->size());
  const std::string_view taken = text->substr(0, length);
  text->remove_prefix(length);
  return taken;
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = Lower(c);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

std::string PercentDecoded(std::string_view text) {
  std::string decoded;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && HexDigit(text[i + 1]) >= 0 &&
        HexDigit(text[i + 2]) >= 0) {
      decoded += static_cast<char>(HexDigit(text[i + 1]) * 16 + HexDigit(text[i + 2]));
      i += 2;
    } else {
      decoded += text[i];
    }
  }
  return decoded;
}

bool IsDigits(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

grpc::Status Refuse(StatusCode code, const std::string& text) {
  return {code, SafeText(text)};
}

grpc::Status SpecOf(const RestPath& path, tfs::ModelSpec* spec) {
  if (path.model.empty())
    return Refuse(StatusCode::INVALID_ARGUMENT, "Missing model name in request.");
  spec->set_name(path.model);
  if (path.label) spec->set_version_label(*path.label);
  if (!path.version) return grpc::Status::OK;
  int64_t version = 0;
  const auto [end, error] =
      std::from_chars(path.version->data(), path.version->data() + path.version->size(), version);
  if (error != std::errc()) {
    return Refuse(StatusCode::INVALID_ARGUMENT,
                  fmt::format("Failed to convert version: {} to numeric.", *path.version));
  }
  spec->mutable_version()->set_value(version);
  return grpc::Status::OK;
}

std::string MessageText(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  options.always_print_primitive_fields = true;
  options.preserve_proto_field_names = true;
  std::string text;
  (void)google::protobuf::util::MessageToJsonString(message, &text, options);
  return text;
}

HttpAnswer StatusAnswer(const grpc::Status& status) {
  return {HttpCode(status.error_code()), "application/json", ErrorBody(status.error_message())};
}

}  // namespace

std::optional<RestPath> ParseRestPath(std::string_view method, std::string_view target) {
  const bool is_post = method == "POST";
  if (!is_post && method != "GET") return std::nullopt;
  RestPath path;
  if (!Take("/v1/models", &target)) return std::nullopt;
  if (target.empty()) return is_post ? std::nullopt : std::optional(path);
  if (target[0] != '/' || target.size() == 1 || target[1] == '/' || target[1] == ':')
    return std::nullopt;
  target.remove_prefix(1);
  path.model = PercentDecoded(TakeUntil("/:", &target));
  if (Take("/versions/", &target)) {
    path.version = TakeUntil("/:", &target);
    if (!IsDigits(*path.version)) return std::nullopt;
  } else if (Take("/labels/", &target)) {
    path.label = PercentDecoded(TakeUntil("/:", &target));
    if (path.label->empty()) return std::nullopt;
  }
  if (is_post) {
    if (target != ":predict" && target != ":classify" && target != ":regress") return std::nullopt;
    path.verb = target.substr(1);
    return path;
  }
  path.is_metadata = Take("/metadata", &target);
  return target.empty() ? std::optional(path) : std::nullopt;
}

int HttpCode(StatusCode code) {
  switch (code) {
    case StatusCode::OK:
      return 200;
    case StatusCode::CANCELLED:
      return 499;
    case StatusCode::INVALID_ARGUMENT:
    case StatusCode::FAILED_PRECONDITION:
    case StatusCode::OUT_OF_RANGE:
      return 400;
    case StatusCode::DEADLINE_EXCEEDED:
      return 504;
    case StatusCode::NOT_FOUND:
      return 404;
    case StatusCode::ALREADY_EXISTS:
    case StatusCode::ABORTED:
      return 409;
    case StatusCode::PERMISSION_DENIED:
      return 403;
    case StatusCode::RESOURCE_EXHAUSTED:
      return 429;
    case StatusCode::UNIMPLEMENTED:
      return 501;
    case StatusCode::UNAVAILABLE:
      return 503;
    case StatusCode::UNAUTHENTICATED:
      return 401;
    default:
      return 500;
  }
}

HttpAnswer RestApi::Answer(const HttpRequest& request) {
  constexpr std::string_view kMethods[] = {"GET", "POST", "HEAD", "PUT", "DELETE"};
  if (std::find(std::begin(kMethods), std::end(kMethods), request.method) == std::end(kMethods))
    return ErrorPage(501, "Not Implemented");
  const std::string path = request.target.substr(0, request.target.find('?'));
  if (!options_.metrics_path.empty() && path == options_.metrics_path) {
    if (path == request.target) return {200, "text/plain", metrics_.Page()};
    return {400, "text/plain",
            fmt::format("Unexpected path: {}. Should be {}", request.target, path)};
  }
  std::string_view rest = request.target;
  if (!Take("/v1/", &rest)) return ErrorPage(404, "Not Found");
  try {
    return AnswerApi(request);
  } catch (const std::bad_alloc&) {
    return StatusAnswer({StatusCode::RESOURCE_EXHAUSTED, "not enough memory for this request"});
  }
}

HttpAnswer RestApi::AnswerApi(const HttpRequest& request) {
  const TimePoint began = calls_.Now();
  const auto path = ParseRestPath(request.method, request.target);
  std::string body;
  const grpc::Status status =
      !path                ? Refuse(StatusCode::INVALID_ARGUMENT,
                                    fmt::format("Malformed request: {} {}", request.method, request.target))
      : path->verb.empty() ? Get(*path, &body)
                           : Post(*path, request.body, &body);
  calls_.Count(path ? path->model : "", path ? path->verb : "", "REST", began, status);
  return status.ok() ? HttpAnswer{200, "application/json", std::move(body)} : StatusAnswer(status);
}

grpc::Status RestApi::Get(const RestPath& path, std::string* answer) {
  tfs::ModelSpec spec;
  if (auto known = SpecOf(path, &spec); !known.ok()) return known;
  const TimePoint deadline = calls_.Now() + options_.timeout;
  if (!path.is_metadata) {
    tfs::GetModelStatusRequest request;
    tfs::GetModelStatusResponse response;
    *request.mutable_model_spec() = spec;
    if (auto found = calls_.GetModelStatus(request, &response); !found.ok()) return found;
    *answer = MessageText(response);
    return grpc::Status::OK;
  }
  tfs::GetModelMetadataRequest request;
  tfs::GetModelMetadataResponse response;
  *request.mutable_model_spec() = spec;
  request.add_metadata_field("signature_def");
  if (auto found = calls_.GetModelMetadata(deadline, request, &response); !found.ok()) return found;
  tfs::SignatureDefMap signatures;
  response.metadata().at("signature_def").UnpackTo(&signatures);
  *answer = fmt::format("{{\n\"model_spec\":{},\n\"metadata\": {{\"signature_def\": {}}}\n}}\n",
                        MessageText(response.model_spec()), MessageText(signatures));
  return grpc::Status::OK;
}

grpc::Status RestApi::Post(const RestPath& path, const std::string& body, std::string* answer) {
  tfs::ModelSpec spec;
  if (auto known = SpecOf(path, &spec); !known.ok()) return known;
  const TimePoint deadline = calls_.Now() + options_.timeout;
  constexpr size_t kLarge = 4 << 20;
  std::optional<MutexLock> alone;
  if (body.size() > kLarge) alone.emplace(large_);
  const auto document = ParseJson(body);
  if (!document) return StatusOf(document.error());
  if (!document->IsObject()) {
    return Refuse(StatusCode::INVALID_ARGUMENT,
                  fmt::format("JSON Value: {} Is not object", JsonText(*document)));
  }
  const auto signature = document->FindMember("signature_name");
  if (signature != document->MemberEnd()) {
    if (!signature->value.IsString()) {
      return Refuse(StatusCode::INVALID_ARGUMENT,
                    fmt::format("JSON Value: {} not formatted correctly. 'signature_name' key must "
                                "be a string value.",
                                JsonText(*document)));
    }
    spec.set_signature_name(signature->value.GetString(), signature->value.GetStringLength());
  }
  if (path.verb == "predict") return Predict(spec, *document, deadline, answer);
  auto examples = ExamplesOf(*document, path.verb);
  if (!examples) return StatusOf(examples.error());
  if (path.verb == "classify") {
    tfs::ClassificationRequest request;
    tfs::ClassificationResponse response;
    *request.mutable_model_spec() = spec;
    *request.mutable_input() = std::move(*examples);
    if (auto ran = calls_.Classify(deadline, request, &response); !ran.ok()) return ran;
    *answer = ClassifyBody(response.result());
    return grpc::Status::OK;
  }
  tfs::RegressionRequest request;
  tfs::RegressionResponse response;
  *request.mutable_model_spec() = spec;
  *request.mutable_input() = std::move(*examples);
  if (auto ran = calls_.Regress(deadline, request, &response); !ran.ok()) return ran;
  *answer = RegressBody(response.result());
  return grpc::Status::OK;
}

grpc::Status RestApi::Predict(const tfs::ModelSpec& spec, const rapidjson::Value& body,
                              TimePoint deadline, std::string* answer) {
  std::shared_ptr<const Servable> servable;
  if (auto found = calls_.Find(true, spec, deadline, &servable); !found.ok()) return found;
  const std::string name = SignatureName(spec);
  const auto signature = servable->graph.signatures.find(name);
  if (signature == servable->graph.signatures.end()) {
    return Refuse(StatusCode::INVALID_ARGUMENT,
                  fmt::format("Serving signature name: \"{}\" not found in signature def", name));
  }
  auto inputs = InputsOf(body, spec.signature_name(), signature->second);
  if (!inputs) return StatusOf(inputs.error());
  Tensors outputs;
  if (auto ran = calls_.Run(servable, name, inputs->tensors, OutputNames(signature->second),
                            deadline, &outputs);
      !ran.ok())
    return ran;
  auto text = PredictBody(inputs->form, outputs);
  if (!text) return StatusOf(text.error());
  *answer = std::move(*text);
  return grpc::Status::OK;
}

}  // namespace nrtd::serving
