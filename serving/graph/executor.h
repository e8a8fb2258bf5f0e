// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/clock.h"
#include "serving/graph/graph.h"

namespace nrtd::serving {

// Computes NeuronOps. Threadsafe.
class NeuronRunner {
 public:
  virtual ~NeuronRunner() = default;
  // `inputs` in the order of `op.inputs`, of their types and shapes but for the batch; the outputs
  // likewise. Errors of the daemon with its code; kTimeout when `deadline` passes first.
  virtual Result<std::vector<Tensor>> Run(const op::Neuron& op, std::vector<Tensor> inputs,
                                          TimePoint deadline) = 0;
};

using Tensors = std::map<std::string, Tensor>;  // by the signature's names

// The outputs `wanted` of a signature, all of them known to it. `inputs` are all that it has, of
// their types and of shapes that fit. kInvalid with the node for operations that do not fit the
// data; errors of `neuron` with the node. Threadsafe.
Result<Tensors> Execute(const Graph& graph, const Signature& signature, Tensors inputs,
                        const std::vector<std::string>& wanted, NeuronRunner& neuron,
                        TimePoint deadline);

// Whether a tensor of this shape is what the spec says.
bool Fits(const Shape& shape, const TensorSpec& spec);

}  // namespace nrtd::serving
