// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "serving/graph/graph.h"

namespace nrtd::serving {

// Gets the outputs of a NeuronOp, or the error. Once. It holds what the runner needs until it is
// destroyed.
using NeuronDone = std::function<void(Result<std::vector<Tensor>> outputs)>;

// Computes NeuronOps. Threadsafe.
class NeuronRunner {
 public:
  virtual ~NeuronRunner() = default;
  // `inputs` in the order of `op.inputs`, of their types and shapes but for the batch; the outputs
  // likewise. Errors of the daemon with its code; kTimeout when `deadline` passes first.
  virtual Result<std::vector<Tensor>> Run(const op::Neuron& op, std::vector<Tensor> inputs,
                                          TimePoint deadline) = 0;
  // The same for a caller that does not wait: `done` is called before this returns, or later by
  // another thread.
  virtual void Start(const op::Neuron& op, std::vector<Tensor> inputs, TimePoint deadline,
                     NeuronDone done) {
    done(Run(op, std::move(inputs), deadline));
  }
  // Whether nothing can be computed any more.
  virtual bool IsLost() const { return false; }
};

using Tensors = std::map<std::string, Tensor>;  // by the signature's names

// The outputs `wanted` of a signature, all of them known to it. `inputs` are all that it has, of
// their types and of shapes that fit. kInvalid with the node for operations that do not fit the
// data; errors of `neuron` with the node. Threadsafe.
Result<Tensors> Execute(const Graph& graph, const Signature& signature, Tensors inputs,
                        const std::vector<std::string>& wanted, NeuronRunner& neuron,
                        TimePoint deadline);

// Execute() for a caller that does not wait: `done` is called as NeuronRunner::Start() calls back.
// `graph`, `signature` and `neuron` outlive that.
using Executed = std::function<void(Result<Tensors> outputs)>;
void StartExecution(const Graph& graph, const Signature& signature, Tensors inputs,
                    const std::vector<std::string>& wanted, NeuronRunner& neuron,
                    TimePoint deadline, Executed done);

// Whether a tensor of this shape is what the spec says.
bool Fits(const Shape& shape, const TensorSpec& spec);

}  // namespace nrtd::serving
