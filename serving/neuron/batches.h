// SPDX-License-Identifier: Apache-2.0
//
// Requests of other sizes than a network was compiled for.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "serving/graph/graph.h"

namespace nrtd::serving {

// Runs the executable for this size of the batch on tensors of exactly its shapes.
using RunCompiled =
    std::function<Result<std::vector<Tensor>>(int64_t batch, std::vector<Tensor> inputs)>;

// Which of the sizes (ascending, at least one) runs next when so many rows are left. The largest as
// long as they fill it; then the largest of those pieces that cost least together, where a run
// costs its size, filled or not, and one more. rows > 0.
int64_t NextPiece(int64_t rows, const std::vector<int64_t>& compiled);

// The compiled size that the inputs fill exactly. Nothing: they have to be split or padded, or do
// not fit at all, as RunInBatches() says.
std::optional<int64_t> FilledSize(const op::Neuron& op, const std::vector<int64_t>& compiled,
                                  const std::vector<Tensor>& inputs);

// Checks the inputs, splits them along the batch axes into pieces of the sizes that are there
// (`compiled`, ascending, some of the op's), and puts the outputs together. kInvalid: a type or
// shape that differs elsewhere than in the batch, sizes of the batch that differ between inputs,
// none at all, or a size that was not compiled where not all outputs have a batch axis.
Result<std::vector<Tensor>> RunInBatches(const op::Neuron& op, const std::vector<int64_t>& compiled,
                                         std::vector<Tensor> inputs, const RunCompiled& run);

}  // namespace nrtd::serving
