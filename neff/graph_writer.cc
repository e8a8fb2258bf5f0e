// SPDX-License-Identifier: Apache-2.0
#include <stdexcept>

#include "neff/graph.h"
#include "neff/json_fields.h"

namespace nrtd::neff {
namespace {

Json EntryJson(const Graph& graph, uint32_t tensor) {
  const uint32_t node = graph.tensors.at(tensor).node;
  return Json::array({node, tensor - graph.nodes.at(node).outputs.at(0), 0});
}

Json NodeJson(const Graph& graph, const Node& node) {
  Json json = {{"name", node.name}, {"inputs", Json::array()}, {"output_names", Json::array()}};
  for (const uint32_t tensor : node.outputs)
    json["output_names"].push_back(graph.tensors.at(tensor).name);
  if (node.kind == NodeKind::kInput) {
    json["op"] = "null";
    json["is_param"] = node.is_param ? "1" : "0";
    return json;
  }
  json["op"] = "tvm_op";
  for (const uint32_t tensor : node.inputs) json["inputs"].push_back(EntryJson(graph, tensor));
  Json attrs = node.attrs;
  attrs["func_name"] = node.func_name;
  attrs["num_inputs"] = std::to_string(node.inputs.size());
  attrs["num_outputs"] = std::to_string(node.outputs.size());
  if (node.kind == NodeKind::kKelf) attrs["kelf"] = node.kelf;
  json["attrs"] = std::move(attrs);
  return json;
}

Json TensorAttributes(const Graph& graph) {
  Json shapes = Json::array();
  Json types = Json::array();
  Json storage = Json::array();
  for (const Tensor& tensor : graph.tensors) {
    shapes.push_back(tensor.shape);
    types.push_back(DTypeName(tensor.dtype));
    storage.push_back(tensor.storage_id);
  }
  return {{"shape", Json::array({"list_shape", std::move(shapes)})},
          {"dltype", Json::array({"list_str", std::move(types)})},
          {"storage_id", Json::array({"list_int", std::move(storage)})}};
}

Json GraphJson(const Graph& graph) {
  Json nodes = Json::array();
  Json arg_nodes = Json::array();
  Json rows = Json::array({0});
  size_t row = 0;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    nodes.push_back(NodeJson(graph, node));
    // Inputs that clients feed stand in the order in which they are declared.
    if (node.kind == NodeKind::kInput && node.is_param) arg_nodes.push_back(i);
    row += node.outputs.size();
    rows.push_back(row);
  }
  Json inputs = Json::object();
  for (const Port& input : graph.inputs) {
    const Tensor& tensor = graph.tensors.at(input.tensor);
    arg_nodes.push_back(tensor.node);
    inputs[input.name] = {
        {"id", tensor.node}, {"dtype", DTypeName(tensor.dtype)}, {"shape", tensor.shape}};
  }
  Json heads = Json::array();
  for (const Port& output : graph.outputs) heads.push_back(EntryJson(graph, output.tensor));
  // Outputs take their names from output_names: two may have the same, which an object cannot say.
  Json signature = {{"inputs", std::move(inputs)}, {"outputs", Json::object()}};
  Json json = {{"nodes", std::move(nodes)},
               {"arg_nodes", std::move(arg_nodes)},
               {"heads", std::move(heads)},
               {"node_row_ptr", std::move(rows)},
               {"attrs", TensorAttributes(graph)}};
  json["metadata"]["signatures"]["default"] = std::move(signature);
  return json;
}

}  // namespace

Result<std::string> SerializeGraph(const Graph& graph) {
  try {
    return DumpJson(GraphJson(graph), kGraphFile, 2);
  } catch (const std::out_of_range&) {
    return Fail(Nerr::kInvalid, "{}: the graph names a node or tensor that it does not have",
                kGraphFile);
  }
}

}  // namespace nrtd::neff
