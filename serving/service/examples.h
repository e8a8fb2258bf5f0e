// SPDX-License-Identifier: Apache-2.0
//
// Classify and Regress: tensorflow.Examples in, classes or values out.
#pragma once

#include <cstdint>

#include "proto/tensorflow_serving/apis.pb.h"
#include "serving/graph/executor.h"

namespace nrtd::serving {

// Builds each input of the signature from the feature of the same name, one row per example. If an
// example lacks a feature, the context's is used. kInvalid if there are no examples, if a feature
// is missing, holds bytes, or does not have as many values as a row, or if the rows of an input
// have no fixed size.
Result<Tensors> TensorsOf(const tensorflow::serving::Input& input, const Signature& signature);

// Converts the output "scores", or the only one, float32 [rows, classes]. Labels stay empty because
// no network computes strings. kInvalid if the type or shape differs.
Result<tensorflow::serving::ClassificationResult> ClassesOf(const Tensors& outputs, int64_t rows);
// Converts the only output, float32 [rows] or [rows, 1]. kInvalid if the type or shape differs.
Result<tensorflow::serving::RegressionResult> ValuesOf(const Tensors& outputs, int64_t rows);

int64_t ExampleCount(const tensorflow::serving::Input& input);

}  // namespace nrtd::serving
