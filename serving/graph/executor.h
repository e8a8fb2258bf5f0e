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

// Called once with the outputs of a NeuronOp or an error. Keeps the runner alive until it is
// destroyed.
using NeuronDone = std::function<void(Result<std::vector<Tensor>> outputs)>;

// Computes NeuronOps. Threadsafe.
class NeuronRunner {
 public:
  virtual ~NeuronRunner() = default;
  // `inputs` are in the order of `op.inputs` and match their types and shapes except for the batch
  // size; so do the outputs. Returns errors of the daemon with their codes, or kTimeout.
  virtual Result<std::vector<Tensor>> Run(const op::Neuron& op, std::vector<Tensor> inputs,
                                          TimePoint deadline) = 0;
  // Run() for a caller that does not wait: calls `done` before it returns, or later on another
  // thread.
  virtual void Start(const op::Neuron& op, std::vector<Tensor> inputs, TimePoint deadline,
                     NeuronDone done) {
    done(Run(op, std::move(inputs), deadline));
  }
  // Whether the networks were lost with the daemon, so that every further run fails.
  virtual bool IsLost() const { return false; }
};

using Tensors = std::map<std::string, Tensor>;  // by the signature's names

// Computes the outputs `wanted` of a signature. `inputs` has all inputs of the signature with their
// types and matching shapes. kInvalid if an operation does not fit the data; errors name the node.
// Threadsafe.
Result<Tensors> Execute(const Graph& graph, const Signature& signature, Tensors inputs,
                        const std::vector<std::string>& wanted, NeuronRunner& neuron,
                        TimePoint deadline);

// Execute() for a caller that does not wait: calls `done` as NeuronRunner::Start() does. `graph`,
// `signature` and `neuron` must live until then.
using Executed = std::function<void(Result<Tensors> outputs)>;
void StartExecution(const Graph& graph, const Signature& signature, Tensors inputs,
                    const std::vector<std::string>& wanted, NeuronRunner& neuron,
                    TimePoint deadline, Executed done);

// Whether a shape matches a spec.
bool Fits(const Shape& shape, const TensorSpec& spec);

}  // namespace nrtd::serving
