// SPDX-License-Identifier: Apache-2.0
//
// Tensors in the bodies of TensorFlow Serving's REST API.
#pragma once

#include <string>

#include "proto/tensorflow_serving/apis.pb.h"
#include "serving/graph/executor.h"
#include "serving/rest/json.h"

namespace nrtd::serving {

// "instances" gives rows and is answered by "predictions", "inputs" columns and "outputs".
enum class JsonForm : uint8_t { kRow, kColumn };

// The inputs of a signature in a predict request's body, which is an object. kInvalid in the
// original's words; half, bfloat16 and uint16, which it refuses, are numbers like others.
struct JsonInputs {
  JsonForm form;
  Tensors tensors;
};
Result<JsonInputs> InputsOf(const rapidjson::Value& body, const std::string& signature_name,
                            const Signature& signature);

// The body of an answer. kInvalid for rows: a scalar, or outputs of different numbers of rows.
Result<std::string> PredictBody(JsonForm form, const Tensors& outputs);

// "examples" and "context" of a classify or regress request's body. kInvalid.
Result<tensorflow::serving::Input> ExamplesOf(const rapidjson::Value& body,
                                              const std::string& method);
std::string ClassifyBody(const tensorflow::serving::ClassificationResult& result);
std::string RegressBody(const tensorflow::serving::RegressionResult& result);
std::string ErrorBody(const std::string& text);

}  // namespace nrtd::serving
