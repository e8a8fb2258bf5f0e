// SPDX-License-Identifier: Apache-2.0
//
// Requests of another size than a network was compiled for.
#pragma once

#include <functional>
#include <vector>

#include "serving/graph/graph.h"

namespace nrtd::serving {

// Runs a network on tensors of exactly its shapes.
using RunCompiled = std::function<Result<std::vector<Tensor>>(std::vector<Tensor> inputs)>;

// Checks the inputs, splits them along the batch axes into pieces of the compiled size, the last
// one filled up with zeros, and puts the outputs together. kInvalid: a type or shape that differs
// elsewhere than in the batch, sizes of the batch that differ between inputs, none at all, or
// another size than compiled where not all outputs have a batch axis.
Result<std::vector<Tensor>> RunInBatches(const op::Neuron& op, std::vector<Tensor> inputs,
                                         const RunCompiled& run);

}  // namespace nrtd::serving
