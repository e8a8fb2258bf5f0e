// SPDX-License-Identifier: Apache-2.0
//
// Whatever a saved_model.pb says: reading it ends with a Graph or an Error, and a Graph can be
// executed on inputs of its own shapes, with a runner that gives zeros for a network. The input is
// a SavedModel in protobuf's text form if it begins with '#', else as it is on the wire.
#include <cstdlib>
#include <string>

#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/text_format.h>

#include "serving/graph/executor.h"
#include "serving/graph/saved_model_reader.h"

namespace nrtd::serving {
namespace {

constexpr uint64_t kMostBytes = 64 * kKiB;
constexpr int64_t kAnySize = 2;

// Nothing for a tensor that would only take time.
std::optional<Tensor> ZerosOf(DType dtype, Shape shape) {
  for (int64_t& size : shape) size = size < 0 ? kAnySize : size;
  const auto count = ElementCount(shape);
  if (!count || *count * DTypeSize(dtype) > kMostBytes) return std::nullopt;
  return Tensor(dtype, std::move(shape), std::string(*count * DTypeSize(dtype), '\0'));
}

class Zeros final : public NeuronRunner {
 public:
  Result<std::vector<Tensor>> Run(const op::Neuron& op, std::vector<Tensor> inputs,
                                  TimePoint) override {
    if (inputs.size() != op.inputs.size()) std::abort();
    std::vector<Tensor> outputs;
    for (const op::NeuronTensor& wanted : op.outputs) {
      auto zeros = ZerosOf(wanted.dtype, wanted.shape);
      if (!zeros) return Fail(Nerr::kResource, "too large to be tried");
      outputs.push_back(std::move(*zeros));
    }
    return outputs;
  }
};

// Texts that are none are no news.
class Silent final : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int, google::protobuf::io::ColumnNumber, const std::string&) override {}
};

void Run(const Graph& graph, const Signature& signature) {
  Tensors inputs;
  for (const auto& [name, input] : signature.inputs) {
    auto zeros = ZerosOf(input.spec.dtype, input.spec.shape);
    if (!zeros) return;
    inputs.insert_or_assign(name, std::move(*zeros));
  }
  std::vector<std::string> wanted;
  for (const auto& [name, output] : signature.outputs) wanted.push_back(name);
  Zeros zeros;
  const auto outputs =
      Execute(graph, signature, std::move(inputs), wanted, zeros, TimePoint::max());
  if (!outputs) return;
  for (const auto& [name, tensor] : *outputs) {
    const auto count = ElementCount(tensor.shape());
    if (!count || tensor.bytes().size() != *count * DTypeSize(tensor.dtype())) std::abort();
  }
}

}  // namespace
}  // namespace nrtd::serving

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace nrtd::serving;
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  tensorflow::SavedModel saved_model;
  if (bytes.starts_with('#')) {
    google::protobuf::TextFormat::Parser parser;
    Silent silent;
    parser.RecordErrorsTo(&silent);
    if (!parser.ParseFromString(bytes, &saved_model)) return 0;
  } else if (!saved_model.ParseFromString(bytes)) {
    return 0;
  }
  const auto graph = BuildGraph(saved_model);
  if (!graph) return 0;
  for (const auto& [name, signature] : graph->signatures) Run(*graph, signature);
  return 0;
}
