// SPDX-License-Identifier: Apache-2.0
//
// Where the tensors of one inference lie in its slot's host memory: what clients feed and take, and
// what stages hand to each other.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "neff/neff.h"

namespace nrtd::runtime {

// One tensor as a client names it.
struct TensorPort {
  std::string name;
  DType dtype = DType::kFloat32;
  Shape shape;
  uint64_t bytes = 0;
  uint64_t slot_offset = 0;
  bool used = true;    // false: the compiler folded the input away; it is accepted and ignored
  uint32_t batch = 0;  // requests along dimension 0 that it was compiled for; 0: not known
};

// A variable of type input or output of the subgraphs of one node.
struct NodeTensor {
  uint64_t bytes = 0;
  uint64_t slot_offset = 0;
};

struct TensorLayout {
  std::vector<TensorPort> inputs;
  std::vector<TensorPort> outputs;
  // Of nodes that run on cores, by the node's index in the graph and the variable's name.
  std::map<uint32_t, std::map<std::string, NodeTensor, std::less<>>> node_tensors;
  std::vector<uint64_t> tensor_offsets;  // in the slot, of every tensor of the graph
  uint64_t slot_bytes = 0;

  // kInvalid when the node has no tensor of this name, naming both.
  Result<const NodeTensor*> Find(uint32_t node, std::string_view name) const;
};

// Lays the graph's tensors out, each 64-byte aligned, and finds for each kelf node the variables
// that stand for its inputs and outputs; data that the subgraphs of one node hand on has a place
// too. kInvalid: an output that no subgraph of its node makes, two tensors of one node with one
// name, or two subgraphs of one node that disagree on a tensor's size. Errors of CheckWanted().
Result<TensorLayout> LayOutTensors(const neff::Neff& neff, const std::stop_token& stop = {});

}  // namespace nrtd::runtime
