// SPDX-License-Identifier: Apache-2.0
//
// What nodes compute, found out now with the simulated core's own kernels and the host's own
// functions, so that nothing that the compiler learns differs from what the daemon will do.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/error.h"
#include "compiler/ir.h"

namespace nrtd::compiler {

// A node made ready, for any number of inputs one after the other. By one thread at a time.
class Evaluator {
 public:
  virtual ~Evaluator() = default;

  // The results' elements, of inputs in the node's order. Those that are constants are known since
  // Make(); what is said for them here is not read. kFail: the core would
  // end with an error, for an index outside of its table.
  virtual Result<std::vector<ByteVector>> Run(std::span<const ByteSpan> inputs) = 0;

  // `results` is one node, or all results of one call of the host. Refers to nothing behind the
  // call. kInvalid, with the node's name: neither the core nor the host can compute it, of these
  // types and sizes; kResource: not enough memory.
  static Result<std::unique_ptr<Evaluator>> Make(const Graph& graph,
                                                 const std::vector<const Node*>& results);
};

// What a node makes of constants. Nothing if an input is no constant, if the result would bloat the
// NEFF (much larger than the inputs together), or if it cannot be evaluated.
std::optional<ByteVector> Evaluate(const Graph& graph, const Node& node);

}  // namespace nrtd::compiler
