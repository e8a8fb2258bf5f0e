// SPDX-License-Identifier: Apache-2.0
//
// Classify and Regress: tensorflow.Examples in, classes or values out.
#pragma once

#include <cstdint>

#include "proto/tensorflow_serving/apis.pb.h"
#include "serving/graph/executor.h"

namespace nrtd::serving {

// Each input of the signature takes the feature of its name of every example, one row each; a
// feature of the context stands for one that an example does not have. kInvalid: no examples, a
// feature that is missing, has bytes, or another number of values than a row; an input whose rows
// have no fixed size.
Result<Tensors> TensorsOf(const tensorflow::serving::Input& input, const Signature& signature);

// Of an output "scores", or the only one, float32 [batch, classes]; labels stay empty, since no
// network computes strings. kInvalid: another type or shape, or not `rows` rows.
Result<tensorflow::serving::ClassificationResult> ClassesOf(const Tensors& outputs, int64_t rows);
// Of the only output, float32 [batch] or [batch, 1]. kInvalid likewise.
Result<tensorflow::serving::RegressionResult> ValuesOf(const Tensors& outputs, int64_t rows);

int64_t ExampleCount(const tensorflow::serving::Input& input);

}  // namespace nrtd::serving
