// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/unique_fd.h"
#include "serving/graph/executor.h"
#include "serving/graph/saved_model_reader.h"
#include "serving/graph/saved_model_writer.h"
#include "serving/tensor/tensor_proto.h"
#include "test/base/scratch_directory.h"
#include "test/must.h"
#include "test/tools/run_binary.h"

namespace nrtd::serving {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

SavedNetwork SmallNetwork() {
  SavedNetwork network;
  network.name = "small";
  network.inputs = {{"ids", "ids:0", DType::kInt32, {4, 8}, true},
                    {"scale", "scale:0", DType::kFloat32, {1}, false}};
  network.outputs = {{"scores", "out:0", DType::kFloat32, {4, 2}, true}};
  network.neff = "the NEFF";
  network.cores = 2;
  return network;
}

// Answers with what it was asked.
class EchoRunner final : public NeuronRunner {
 public:
  Result<std::vector<Tensor>> Run(const op::Neuron& op, std::vector<Tensor> inputs,
                                  TimePoint) override {
    ++runs;
    last_inputs = inputs;
    std::vector<Tensor> outputs;
    for (const auto& output : op.outputs) {
      outputs.emplace_back(output.dtype, output.shape,
                           std::string(*ElementCount(output.shape) * DTypeSize(output.dtype), 'x'));
    }
    return outputs;
  }
  int runs = 0;
  std::vector<Tensor> last_inputs;
};

TEST(SavedModelTest, WhatIsWrittenIsReadAsItWas) {
  const ScratchDirectory folder;
  const auto written = Must(MakeSavedModel(SmallNetwork()));
  Must(WriteSavedModel(written, folder.File("small"), 3));
  auto read = Must(ReadSavedModelFile(folder.File("small/3")));
  const Graph graph = Must(BuildGraph(read));
  ASSERT_EQ(graph.neuron_ops.size(), 1U);
  const auto& neuron = std::get<op::Neuron>(graph.nodes[graph.neuron_ops[0]].operation);
  EXPECT_EQ(*neuron.executables.at(0).neff, "the NEFF");
  EXPECT_THAT(neuron.model_config, ElementsAre(2, 2, 1, 10, -1));
  EXPECT_EQ(neuron.inputs[0].name, "ids:0");
  EXPECT_EQ(neuron.inputs[0].batch_axis, 0);
  EXPECT_EQ(neuron.inputs[1].batch_axis, -1);
  const Signature& signature = graph.signatures.at("serving_default");
  EXPECT_EQ(signature.method, "tensorflow/serving/predict");
  EXPECT_THAT(signature.inputs.at("ids").spec.shape, ElementsAre(-1, 8));
  EXPECT_THAT(signature.outputs.at("scores").spec.shape, ElementsAre(-1, 2));
  EXPECT_THAT(WriteSavedModel(written, folder.File("small"), 3).error().text,
              HasSubstr("is there already"));
}

SavedNetwork WithVariant(int64_t batch) {
  SavedNetwork network = SmallNetwork();
  network.variants.push_back({{{batch, 8}, {1}}, {{batch, 2}}, "another NEFF"});
  return network;
}

TEST(SavedModelTest, VariantsAreForOtherBatches) {
  auto saved_model = Must(MakeSavedModel(WithVariant(1)));
  const Graph graph = Must(BuildGraph(saved_model));
  const auto& neuron = std::get<op::Neuron>(graph.nodes[graph.neuron_ops[0]].operation);
  ASSERT_EQ(neuron.executables.size(), 2U);
  EXPECT_EQ(neuron.executables[0].batch, 4);
  EXPECT_EQ(neuron.executables[1].batch, 1);
  EXPECT_EQ(*neuron.executables[1].neff, "another NEFF");
}

TEST(SavedModelTest, TheBatchOfAVariantNeedNotBeInItsFirstInput) {
  SavedNetwork network = WithVariant(1);
  std::swap(network.inputs[0], network.inputs[1]);
  std::swap(network.variants[0].input_shapes[0], network.variants[0].input_shapes[1]);
  auto saved_model = Must(MakeSavedModel(network));
  const Graph graph = Must(BuildGraph(saved_model));
  EXPECT_EQ(std::get<op::Neuron>(graph.nodes[graph.neuron_ops[0]].operation).executables.size(),
            2U);
}

// Compiled for a batch of 1, the shared row looks like a batch.
TEST(SavedModelTest, AnInputIsABatchIfItIsOneInEveryVariant) {
  const ScratchDirectory folder;
  const auto compiled = nrtd::testing::RunBinary(
      "neuron-cc",
      {"compile", std::string(NRTD_SOURCE_DIR) + "/test/compiler/data/add_shared_row/model.onnx",
       "--batch-sizes", "1,4", "--saved-model", folder.File("add")});
  ASSERT_EQ(compiled.exit_code, 0) << compiled.err;
  auto saved_model = Must(ReadSavedModelFile(folder.File("add/1")));
  const Graph graph = Must(BuildGraph(saved_model));
  const auto& neuron = std::get<op::Neuron>(graph.nodes[graph.neuron_ops[0]].operation);
  EXPECT_EQ(neuron.executables.size(), 2U);
  EXPECT_EQ(neuron.inputs.at(0).batch_axis, 0);
  EXPECT_EQ(neuron.inputs.at(1).batch_axis, -1);
}

TEST(SavedModelTest, AVersionMayHaveAFolderAlready) {
  const ScratchDirectory folder;
  std::filesystem::create_directories(folder.File("3/assets.extra"));
  Must(WriteSavedModel(Must(MakeSavedModel(SmallNetwork())), folder.path(), 3));
  Must(ReadSavedModelFile(folder.File("3")));
}

TEST(SavedModelTest, VariantsThatAreNoneAreRefused) {
  const auto error_of = [](SavedNetwork network) {
    auto saved_model = Must(MakeSavedModel(std::move(network)));
    return BuildGraph(saved_model).error().text;
  };
  EXPECT_THAT(error_of(WithVariant(4)), HasSubstr("two executables for a batch of 4"));
  EXPECT_THAT(error_of(WithVariant(0)), HasSubstr("a variant has the shape [0,8] for 'ids:0'"));
  SavedNetwork wider = WithVariant(1);
  wider.variants[0].input_shapes[0] = {1, 9};
  EXPECT_THAT(error_of(wider), HasSubstr("differs from [4,8] elsewhere than in the batch"));
  SavedNetwork torn = WithVariant(1);
  torn.variants[0].output_shapes[0] = {2, 2};
  EXPECT_THAT(error_of(torn), HasSubstr("a variant has the shape [2,2] for 'out:0'"));
  SavedNetwork empty = WithVariant(1);
  empty.variants[0].neff.clear();
  EXPECT_THAT(error_of(empty), HasSubstr("variant 0 has no executable"));
  SavedNetwork many = SmallNetwork();
  many.variants.resize(65);
  EXPECT_THAT(error_of(many), HasSubstr("65 variants, and 64 at most"));
  SavedNetwork few = WithVariant(1);
  few.variants[0].output_shapes.clear();
  EXPECT_THAT(error_of(few), HasSubstr("1 variants, and shapes for 2 inputs and 0 outputs"));
}

TEST(SavedModelTest, AVersionComesWithItsFile) {
  const ScratchDirectory folder;
  const UniqueFd watch(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  ASSERT_GE(::inotify_add_watch(watch.get(), folder.path().c_str(), IN_CREATE | IN_MOVED_TO), 0);
  Must(WriteSavedModel(Must(MakeSavedModel(SmallNetwork())), folder.path(), 3));
  alignas(inotify_event) std::array<char, 4096> events;
  const ssize_t length = ::read(watch.get(), events.data(), events.size());
  std::vector<uint32_t> seen;
  for (ssize_t at = 0; at < length;) {
    const auto* event = reinterpret_cast<const inotify_event*>(events.data() + at);
    if (std::string(event->name) == "3") seen.push_back(event->mask);
    at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
  }
  EXPECT_THAT(seen, ElementsAre(IN_MOVED_TO | IN_ISDIR));
}

TEST(SavedModelTest, ARequestGoesThroughTheGraph) {
  auto saved_model = Must(MakeSavedModel(SmallNetwork()));
  const Graph graph = Must(BuildGraph(saved_model));
  EchoRunner runner;
  Tensors inputs;
  inputs.emplace("ids", Tensor(DType::kInt32, {4, 8}, std::string(128, 'i')));
  inputs.emplace("scale", Tensor(DType::kFloat32, {1}, "1234"));
  const Tensors outputs = Must(Execute(graph, graph.signatures.at("serving_default"),
                                       std::move(inputs), {"scores"}, runner, TimePoint::max()));
  EXPECT_EQ(runner.runs, 1);
  EXPECT_EQ(runner.last_inputs[1].bytes(), "1234");
  EXPECT_EQ(outputs.at("scores").bytes(), std::string(32, 'x'));
}

tensorflow::NodeDef& AddNode(tensorflow::SavedModel& model, const std::string& name,
                             const std::string& op, const std::vector<std::string>& inputs) {
  auto& node = *model.mutable_meta_graphs(0)->mutable_graph_def()->add_node();
  node.set_name(name);
  node.set_op(op);
  for (const std::string& input : inputs) node.add_input(input);
  return node;
}
void SetOutput(tensorflow::SavedModel& model, const std::string& tensor) {
  auto& signature = (*model.mutable_meta_graphs(0)->mutable_signature_def())["serving_default"];
  (*signature.mutable_outputs())["scores"].set_name(tensor);
}
std::string ErrorOf(tensorflow::SavedModel model) {
  const auto graph = BuildGraph(model);
  return graph ? "" : graph.error().text;
}

TEST(SavedModelTest, AllOperationsThatAreNotThereAreNamedAtOnce) {
  auto model = Must(MakeSavedModel(SmallNetwork()));
  AddNode(model, "table", "HashTableV2", {});
  AddNode(model, "words", "LookupTableFindV2", {"table", "scores"});
  AddNode(model, "unneeded", "SaveV2", {"scores"});
  SetOutput(model, "words:0");
  const std::string text = ErrorOf(model);
  EXPECT_THAT(text, HasSubstr("HashTableV2 'table'"));
  EXPECT_THAT(text, HasSubstr("LookupTableFindV2 'words'"));
  EXPECT_THAT(text, ::testing::Not(HasSubstr("SaveV2")));
}

TEST(SavedModelTest, WhatIsNoGraphIsRefused) {
  auto circle = Must(MakeSavedModel(SmallNetwork()));
  AddNode(circle, "a", "Identity", {"b"});
  AddNode(circle, "b", "Identity", {"a"});
  SetOutput(circle, "a:0");
  EXPECT_THAT(ErrorOf(circle), HasSubstr("needs its own output"));
  auto missing = Must(MakeSavedModel(SmallNetwork()));
  SetOutput(missing, "nowhere:0");
  EXPECT_THAT(ErrorOf(missing), HasSubstr("no node 'nowhere'"));
  auto beyond = Must(MakeSavedModel(SmallNetwork()));
  SetOutput(beyond, "scores:1");
  EXPECT_THAT(ErrorOf(beyond), HasSubstr("no output of its node"));
  auto strange = Must(MakeSavedModel(SmallNetwork()));
  SetOutput(strange, "scores:x");
  EXPECT_THAT(ErrorOf(strange), HasSubstr("names no tensor"));
  EXPECT_THAT(ErrorOf({}), HasSubstr("tag 'serve'"));
}

TEST(SavedModelTest, ADeepGraphTakesNoStack) {
  auto model = Must(MakeSavedModel(SmallNetwork()));
  std::string last = "scores";
  for (int i = 0; i < 60'000; ++i) {
    const std::string name = "n" + std::to_string(i);
    AddNode(model, name, "Identity", {last});
    last = name;
  }
  SetOutput(model, last + ":0");
  EXPECT_EQ(ErrorOf(model), "");
}

TEST(SavedModelTest, ANetworkThatWasNotCompiledSaysSo) {
  auto network = SmallNetwork();
  network.neff.clear();
  EXPECT_THAT(ErrorOf(Must(MakeSavedModel(std::move(network)))), HasSubstr("no executable"));
}

TEST(SavedModelTest, TwoTensorsOfOneNameAreRefused) {
  auto network = SmallNetwork();
  network.inputs[1].key = "ids";
  EXPECT_THAT(MakeSavedModel(std::move(network)).error().text, HasSubstr("have the name 'ids'"));
}

TEST(SavedModelTest, AFileThatIsNoneIsRefused) {
  const ScratchDirectory folder;
  EXPECT_THAT(ReadSavedModelFile(folder.path()).error().text, HasSubstr("No such file"));
  folder.Write("saved_model.pb", "this is none");
  EXPECT_THAT(ReadSavedModelFile(folder.path()).error().text, HasSubstr("is no SavedModel"));
}

}  // namespace
}  // namespace nrtd::serving
