// SPDX-License-Identifier: Apache-2.0
//
// What host nodes can compute: the functions that neff.json names for nodes that no NeuronCore
// runs. docs/host-nodes.md lists them.
#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/dtype.h"
#include "base/error.h"

namespace nrtd::runtime {

struct HostTensorType {
  DType dtype = DType::kFloat32;
  Shape shape;
  uint64_t bytes = 0;
};

// How a node uses a function: the types of its tensors and its attributes, all checked once.
struct HostSignature {
  std::vector<HostTensorType> inputs;
  std::vector<HostTensorType> outputs;
  std::map<std::string, std::string> attributes;
};

// Reads the inputs, writes the outputs; both as long as their types say. Threadsafe, never fails.
using HostKernel =
    std::function<void(std::span<const ByteSpan> inputs, std::span<const MutableByteSpan> outputs)>;

// kUnsupportedVersion: no function of this name, naming those that there are. kInvalid: one that
// cannot be used so, with what it expects; or a tensor without elements.
Result<HostKernel> PrepareHostFunction(const std::string& name, const HostSignature& signature);

}  // namespace nrtd::runtime
