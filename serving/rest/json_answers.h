// SPDX-License-Identifier: Apache-2.0
//
// The bodies of answers of TensorFlow Serving's REST API.
#pragma once

#include <string>

#include "proto/tensorflow_serving/apis.pb.h"
#include "serving/graph/executor.h"
#include "serving/rest/json_form.h"

namespace nrtd::serving {

// kInvalid for rows: a scalar, or outputs of different numbers of rows.
Result<std::string> PredictBody(JsonForm form, const Tensors& outputs);
std::string ClassifyBody(const tensorflow::serving::ClassificationResult& result);
std::string RegressBody(const tensorflow::serving::RegressionResult& result);
std::string ErrorBody(const std::string& text);

}  // namespace nrtd::serving
