// SPDX-License-Identifier: Apache-2.0
//
// The bodies of requests to TensorFlow Serving's REST API.
#pragma once

#include <string>

#include "proto/tensorflow_serving/apis.pb.h"
#include "serving/graph/executor.h"
#include "serving/rest/json.h"
#include "serving/rest/json_form.h"

namespace nrtd::serving {

// The inputs of a signature in a predict request's body, which is an object. kInvalid in the
// original's words; half, bfloat16 and uint16, which it refuses, are numbers like others.
struct JsonInputs {
  JsonForm form;
  Tensors tensors;
};
Result<JsonInputs> InputsOf(const rapidjson::Value& body, const std::string& signature_name,
                            const Signature& signature);

// "examples" and "context" of a classify or regress request's body. kInvalid.
Result<tensorflow::serving::Input> ExamplesOf(const rapidjson::Value& body,
                                              const std::string& method);

}  // namespace nrtd::serving
