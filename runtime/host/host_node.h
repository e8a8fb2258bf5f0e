// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "neff/graph.h"
#include "runtime/host/host_functions.h"
#include "runtime/model/tensor_layout.h"
#include "scheduler/host_pool.h"

namespace nrtd::runtime {

// A node of the graph that the host's CPUs run. Constant after Create(); threadsafe.
class HostNode {
 public:
  // Errors of PrepareHostFunction, with the node's name; kInvalid for a type that has no elements
  // here.
  static Result<std::unique_ptr<HostNode>> Create(const neff::Graph& graph, uint32_t index,
                                                  const TensorLayout& layout);

  uint32_t index() const { return index_; }  // in the graph

  // What it does to a slot whose memory is `slot`. Outlived by this node and by the memory.
  scheduler::HostFunction BindTo(MutableByteSpan slot) const;

 private:
  struct Place {
    uint64_t offset = 0;  // in the slot
    uint64_t bytes = 0;
  };
  HostNode() = default;

  uint32_t index_ = 0;
  std::string name_;
  HostKernel kernel_;
  std::vector<Place> inputs_;
  std::vector<Place> outputs_;
  std::vector<size_t> checked_;  // of outputs_: float32 outputs of the network, looked at for NaN
};

}  // namespace nrtd::runtime
