// SPDX-License-Identifier: Apache-2.0
//
// Whatever bytes a client of the model server sends: paths, JSON bodies and tensors of gRPC
// requests end as tensors of the size that their shape says, or as an error of printable text. The
// first byte says what the others are.
#include <cstdlib>
#include <string>

#include "base/printable.h"
#include "proto/tensorflow_serving/apis.pb.h"
#include "serving/rest/json_answers.h"
#include "serving/rest/json_inputs.h"
#include "serving/rest/rest_api.h"
#include "serving/service/calls.h"
#include "serving/service/examples.h"
#include "serving/tensor/tensor_proto.h"

namespace nrtd::serving {
namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

void CheckTensors(const Tensors& tensors) {
  for (const auto& [name, tensor] : tensors) {
    const auto count = ElementCount(tensor.shape());
    Require(count && tensor.bytes().size() == *count * DTypeSize(tensor.dtype()));
  }
}

// Of one input, or of several of different types.
Signature SignatureOf(bool several) {
  Signature signature;
  signature.inputs["a"].spec = {DType::kFloat32, {-1, 2}, false};
  if (!several) return signature;
  signature.inputs["b"].spec = {DType::kInt8, {-1}, false};
  signature.inputs["c"].spec = {DType::kBool, {-1}, false};
  signature.inputs["d"].spec = {DType::kUInt64, {-1}, false};
  return signature;
}

void ReadBody(const std::string& text, bool several) {
  const auto document = ParseJson(text);
  if (!document || !document->IsObject()) return;
  const Signature signature = SignatureOf(several);
  if (const auto inputs = InputsOf(*document, "", signature)) {
    CheckTensors(inputs->tensors);
    if (const auto body = PredictBody(inputs->form, inputs->tensors)) Require(!!ParseJson(*body));
  } else {
    Require(!!ParseJson(ErrorBody(SafeText(inputs.error().text))));
  }
  if (const auto examples = ExamplesOf(*document, "classify")) {
    if (const auto tensors = TensorsOf(*examples, signature)) CheckTensors(*tensors);
  }
}

void ReadPath(const std::string& target) {
  const auto path = ParseRestPath("POST", target);
  if (path) Require(!path->model.empty() && !path->verb.empty());
  (void)ParseRestPath("GET", target);
}

void ReadRequest(const std::string& bytes) {
  tensorflow::serving::PredictRequest request;
  if (!request.ParseFromString(bytes)) return;
  for (auto& [name, proto] : *request.mutable_inputs()) {
    const auto tensor = TakeTensor(proto);
    if (tensor) CheckTensors({{name, *tensor}});
    if (!tensor) Require(IsPrintable(tensor.error().text));
  }
}

}  // namespace
}  // namespace nrtd::serving

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace nrtd::serving;
  if (size == 0) return 0;
  const std::string bytes(reinterpret_cast<const char*>(data + 1), size - 1);
  switch (data[0] % 4) {
    case 0:
    case 1:
      ReadBody(bytes, data[0] % 4 == 1);
      break;
    case 2:
      ReadPath(bytes);
      break;
    default:
      ReadRequest(bytes);
  }
  return 0;
}
