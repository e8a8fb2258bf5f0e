// SPDX-License-Identifier: Apache-2.0
//
// layers-model OUT.onnx --layers N --width W --seed S: N fully connected layers of W x W with
// random weights, "x" [1, W] to "y" [1, W]. A network with many weights, for measuring loads.
#include <cstdio>
#include <fstream>
#include <random>

#include <fmt/format.h>
#include <onnx/onnx_pb.h>

#include "base/command_line.h"

namespace {

struct Arguments {
  std::string path;
  int layers = 16;
  int width = 1024;
  unsigned seed = 1;
};

void SetShape(onnx::ValueInfoProto& value, const std::string& name, int width) {
  value.set_name(name);
  auto& type = *value.mutable_type()->mutable_tensor_type();
  type.set_elem_type(onnx::TensorProto::FLOAT);
  type.mutable_shape()->add_dim()->set_dim_value(1);
  type.mutable_shape()->add_dim()->set_dim_value(width);
}

onnx::ModelProto MakeModel(const Arguments& arguments) {
  onnx::ModelProto model;
  model.set_ir_version(8);
  model.add_opset_import()->set_version(13);
  onnx::GraphProto& graph = *model.mutable_graph();
  graph.set_name(fmt::format("layers-{}", arguments.seed));
  SetShape(*graph.add_input(), "x", arguments.width);
  SetShape(*graph.add_output(), "y", arguments.width);
  std::minstd_rand random(arguments.seed);
  std::uniform_real_distribution<float> weight(-0.05F, 0.05F);
  for (int layer = 0; layer < arguments.layers; ++layer) {
    onnx::TensorProto& weights = *graph.add_initializer();
    weights.set_name(fmt::format("w{}", layer));
    weights.set_data_type(onnx::TensorProto::FLOAT);
    weights.add_dims(arguments.width);
    weights.add_dims(arguments.width);
    std::string& raw = *weights.mutable_raw_data();
    raw.resize(static_cast<size_t>(arguments.width) * arguments.width * sizeof(float));
    for (size_t at = 0; at < raw.size(); at += sizeof(float)) {
      const float value = weight(random);
      std::memcpy(raw.data() + at, &value, sizeof(value));
    }
    onnx::NodeProto& node = *graph.add_node();
    node.set_op_type("MatMul");
    node.set_name(fmt::format("layer{}", layer));
    node.add_input(layer == 0 ? "x" : fmt::format("h{}", layer - 1));
    node.add_input(weights.name());
    node.add_output(layer + 1 == arguments.layers ? "y" : fmt::format("h{}", layer));
  }
  return model;
}

}  // namespace

int main(int argc, char** argv) {
  nrtd::CommandLine app("Writes a network with many weights.", "layers-model");
  Arguments arguments;
  app.AddOption("OUT", &arguments.path, "The ONNX file").Required();
  app.AddOption("--layers", &arguments.layers).Range(1, 1000).ShowDefault();
  app.AddOption("--width", &arguments.width).Range(1, 16384).ShowDefault();
  app.AddOption("--seed", &arguments.seed).ShowDefault();
  if (const auto exit_code = app.Parse(argc, argv)) return *exit_code;
  std::ofstream file(arguments.path, std::ios::binary);
  if (!MakeModel(arguments).SerializeToOstream(&file) || !file.flush()) {
    std::fprintf(stderr, "layers-model: cannot write %s\n", arguments.path.c_str());
    return 1;
  }
  return 0;
}
