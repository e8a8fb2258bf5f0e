// SPDX-License-Identifier: Apache-2.0
//
// neff.json as a value: the graph of nodes in the form of TVM's graph executor, whose entries
// ("tensors" here) are the outputs of nodes.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/dtype.h"
#include "base/error.h"
#include "neff/limits.h"

namespace nrtd::neff {

inline constexpr std::string_view kGraphFile = "neff.json";
inline constexpr std::string_view kKelfFunction =
    "__kelf";  // func_name of a node that runs on cores

enum class NodeKind {
  kInput,         // a value that comes from outside
  kKelf,          // runs on NeuronCores
  kHostFunction,  // runs on the host CPU
};

struct Node {
  NodeKind kind = NodeKind::kInput;
  std::string name;
  std::string func_name;          // kKelfFunction for a kelf, the function for a host node, else ""
  std::string kelf;               // "kelf-0.json" for a kelf node, else ""
  std::vector<uint32_t> inputs;   // tensors, each an output of an earlier node
  std::vector<uint32_t> outputs;  // tensors; consecutive; an input node has exactly one
  bool is_param = false;          // of an input node: a constant of the network, not fed by clients
  // The remaining attributes of a kelf or host node; a value that is no text is kept as JSON.
  std::map<std::string, std::string> attrs;

  bool operator==(const Node&) const = default;
};

struct Tensor {
  std::string name;  // from the node's output_names; need not be unique
  DType dtype = DType::kFloat32;
  Shape shape;
  uint64_t bytes = 0;       // ElementCount(shape) * DTypeSize(dtype)
  uint32_t storage_id = 0;  // tensors with one storage may share memory
  uint32_t node = 0;        // who produces it

  bool operator==(const Tensor&) const = default;
};

// A tensor that enters or leaves the network, under the name that clients use.
struct Port {
  std::string name;
  uint32_t tensor = 0;

  bool operator==(const Port&) const = default;
};

struct Graph {
  std::vector<Node> nodes;  // in an order in which they can run
  std::vector<Tensor> tensors;
  // What a client feeds: every input node that is no parameter, in the order of arg_nodes, under
  // the signature's name or else the node's. Inputs that no node uses (the compiler folded them
  // away) are among them: clients go on feeding them.
  std::vector<Port> inputs;
  // In the order of heads. Two may have one name: the format does not forbid it and compilers do
  // it.
  std::vector<Port> outputs;

  // Is the tensor read by a node or an output of the network?
  bool IsUsed(uint32_t tensor) const;

  bool operator==(const Graph&) const = default;
};

// kInvalid, naming key and value: anything that is not of this form, counts that disagree, ids out
// of range, a node that uses a later one (so no cycles), sizes that overflow, more than `limits`.
Result<Graph> ParseGraph(ByteSpan json, const Limits& limits = {});

// The text of neff.json, of the same form as the vendor's. kInvalid for ids out of range and names
// that are not UTF-8. What else may be wrong is seen by parsing what came out, as the writer does.
Result<std::string> SerializeGraph(const Graph& graph);

}  // namespace nrtd::neff
