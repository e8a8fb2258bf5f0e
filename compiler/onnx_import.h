// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/error.h"
#include "compiler/ir.h"
#include "compiler/onnx_model.h"

namespace nrtd::compiler {

// The operator set versions whose differences are handled (ai.onnx).
inline constexpr int64_t kMinOpset = 11;
inline constexpr int64_t kMaxOpset = 17;

// Reads, checks and infers. Exceptions of ONNX and protobuf end here. kInvalid, with what to do:
// a file that is no ONNX model; a model that ONNX's checker or shape inference refuses; an operator
// set outside the versions above; inputs whose shape is not fixed (all of them in one error);
// operators that are not supported (all of them in one error: name, count, nodes); external data.
// With a batch, that is the first dimension of the inputs, instead of a symbol or of what the first
// input has.
Result<OnnxModel> ReadOnnx(const std::string& path, std::optional<uint32_t> batch = std::nullopt);

// ReadOnnx(), then the graph of BuildGraph() (operators/operator.h).
Result<Graph> ImportOnnx(const std::string& path, std::optional<uint32_t> batch = std::nullopt);

}  // namespace nrtd::compiler
