// SPDX-License-Identifier: Apache-2.0
//
// Requests whose batch size differs from the sizes a network was compiled for.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "serving/graph/graph.h"

namespace nrtd::serving {

// Runs the executable for this batch size. The tensors have exactly its shapes.
using RunCompiled =
    std::function<Result<std::vector<Tensor>>(int64_t batch, std::vector<Tensor> inputs)>;

// Returns which of the compiled sizes (ascending, at least one) to run next when `rows` > 0 rows
// are left: the largest size while the rows fill it, and then the largest piece of the cheapest way
// to cover the rest. A run costs its size, filled or not, plus one.
int64_t NextPiece(int64_t rows, const std::vector<int64_t>& compiled);

// Returns the compiled size that the inputs fill exactly. Returns nothing if they must be split or
// padded, or do not fit at all, as RunInBatches() reports.
std::optional<int64_t> FilledSize(const op::Neuron& op, const std::vector<int64_t>& compiled,
                                  const std::vector<Tensor>& inputs);

// Checks the inputs, splits them along their batch axes into pieces of the sizes in `compiled`
// (ascending, a subset of the op's), and concatenates the outputs. kInvalid if a type or a shape
// does not match in another dimension than the batch, if the inputs differ in batch size or have no
// rows, or if the size was not compiled and some output has no batch axis.
Result<std::vector<Tensor>> RunInBatches(const op::Neuron& op, const std::vector<int64_t>& compiled,
                                         std::vector<Tensor> inputs, const RunCompiled& run);

}  // namespace nrtd::serving
