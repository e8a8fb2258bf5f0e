// SPDX-License-Identifier: Apache-2.0
#include "runtime/model/loader.h"

#include "base/sizes.h"
#include "test/runtime/runtime_fixture.h"

namespace nrtd::runtime {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class LoaderTest : public NetworkFixture {
 protected:
  Result<Network::Parts> Place(const neff::NeffContents& contents, scheduler::CoreRun cores,
                               uint32_t ninfer = 2) {
    return PlaceNetwork(std::make_shared<const neff::Neff>(Executable(contents)), cores, ninfer,
                        *machine_);
  }
  // Refused, and nothing is left of it.
  Error ExpectRefused(const neff::NeffContents& contents, scheduler::CoreRun cores,
                      uint32_t ninfer = 2) {
    const auto parts = Place(contents, cores, ninfer);
    EXPECT_FALSE(parts.has_value());
    EXPECT_EQ(UsageOf(*machine_), idle_);
    return parts ? Error{Nerr::kOk, ""} : parts.error();
  }
  static PipelineSpec Hungry(uint64_t scratch, size_t stages = 1) {
    PipelineSpec spec = DoublingSpec(stages);
    spec.stages.back().scratch_bytes = scratch;
    return spec;
  }

  const Usage idle_ = UsageOf(*machine_);
};

TEST_F(LoaderTest, SubgraphsGetOneCoreEachInTheOrderOfTheGraph) {
  const auto parts = Must(Place(PipelineContents(DoublingSpec(3)), {1, 3}));
  ASSERT_EQ(parts.stages.size(), 3U);
  for (uint32_t i = 0; i < 3; ++i) {
    EXPECT_EQ(parts.stages[i]->options().core, i + 1);
    EXPECT_EQ(parts.stages[i]->options().index, i);
    EXPECT_EQ(parts.stages[i]->channel().core().id(), (CoreId{0, i + 1}));
  }
  EXPECT_EQ(parts.slots.size(), 2U);
}

TEST_F(LoaderTest, PartsGiveEverythingBack) {
  {
    PipelineSpec spec = DoublingSpec(2);
    spec.stages[0].weights.assign(5'000, 1.0F);
    const auto parts = Must(Place(PipelineContents(spec), {0, 2}));
    EXPECT_GE(UsageOf(*machine_).dram, idle_.dram + 20'000);
    EXPECT_GT(UsageOf(*machine_).host, idle_.host);
    EXPECT_EQ(parts.stages[0]->dram_bytes() + parts.stages[1]->dram_bytes(),
              UsageOf(*machine_).dram);
  }
  EXPECT_EQ(UsageOf(*machine_), idle_);
}

TEST_F(LoaderTest, ExhaustedDramIsReportedInTheDocumentedWords) {
  const Error error = ExpectRefused(PipelineContents(Hungry(5 * kGiB, 2)), {0, 2});
  EXPECT_EQ(error.code, Nerr::kResource);
  EXPECT_THAT(error.text,
              StartsWith("Failed to allocate buffer in MLA DRAM for variable 'scratch' of sg01"));
}

TEST_F(LoaderTest, BothChannelsAreUsedBeforeDramIsExhausted) {
  const auto contents = PipelineContents(Hungry(3 * kGiB));
  auto first = Place(contents, {0, 1});
  auto second = Place(contents, {1, 1});
  ASSERT_TRUE(first && second);
  EXPECT_GE(machine_->unit(0).used_bytes(0), 3 * kGiB);
  EXPECT_GE(machine_->unit(0).used_bytes(1), 3 * kGiB);
  const auto third = Place(contents, {2, 1});
  ASSERT_FALSE(third);
  EXPECT_EQ(third.error().code, Nerr::kResource);
  first = tl::unexpected<Error>(Error{});
  EXPECT_TRUE(Place(contents, {2, 1}));
}

TEST_F(LoaderTest, ExhaustedHostMemoryIsReportedInTheDocumentedWords) {
  const auto contents = PipelineContents(DoublingSpec(1, 1U << 20));  // slots of 8 MiB
  const Error error = ExpectRefused(contents, {0, 1}, 8);
  EXPECT_EQ(error.code, Nerr::kResource);
  EXPECT_THAT(error.text, StartsWith("Failed to alloc hugetlb"));
}

TEST_F(LoaderTest, TooFewCoresAreReportedInTheDocumentedWords) {
  const Error error = ExpectRefused(PipelineContents(DoublingSpec(3)), {0, 2});
  EXPECT_EQ(error.code, Nerr::kResourceNc);
  EXPECT_THAT(error.text, testing::StartsWith("Insufficient number of VNCs: 2, required: 3; "));
}

TEST_F(LoaderTest, NodesThatShareCoresNeedAsManyAsTheLargestOfThem) {
  const Error error = ExpectRefused(ChainContents({1, 3, 2}), {0, 2});
  EXPECT_EQ(error.code, Nerr::kResourceNc);
  EXPECT_THAT(error.text, testing::StartsWith("Insufficient number of VNCs: 2, required: 3; "));

  const auto shared = Place(ChainContents({1, 3, 2}), {1, 3});
  ASSERT_TRUE(shared);
  std::vector<uint32_t> cores;
  for (const auto& stage : shared->stages) cores.push_back(stage->options().core);
  EXPECT_THAT(cores, ElementsAre(1, 1, 2, 3, 1, 2));
}

TEST_F(LoaderTest, HostFunctionsThatNobodyKnowsAreRefusedByName) {
  neff::NeffContents contents = PipelineContents(DoublingSpec(1));
  neff::Node host;
  host.kind = neff::NodeKind::kHostFunction;
  host.name = "softmax0";
  host.func_name = "softmax";
  host.inputs = {1};
  host.outputs = {2};
  contents.graph.nodes.push_back(host);
  contents.graph.tensors.push_back({"z", DType::kFloat32, {4}, 16, 2, 2});
  contents.graph.outputs = {{"z", 2}};
  const Error error = ExpectRefused(contents, {0, 1});
  EXPECT_EQ(error.code, Nerr::kUnsupportedVersion);
  EXPECT_THAT(error.text, HasSubstr("'softmax0'"));
  EXPECT_THAT(error.text, HasSubstr("'softmax'"));
}

TEST_F(LoaderTest, AParameterThatNobodyFeedsIsRefusedByName) {
  neff::NeffContents contents = PipelineContents(DoublingSpec(1));
  contents.graph.nodes[0].is_param = true;
  contents.graph.inputs.clear();
  const Error error = ExpectRefused(contents, {0, 1});
  EXPECT_EQ(error.code, Nerr::kFail);
  EXPECT_THAT(error.text, HasSubstr("'x' is a parameter"));
}

TEST_F(LoaderTest, MalformedInstructionsAreRefusedWithTheSubgraph) {
  neff::NeffContents contents = PipelineContents(DoublingSpec(2));
  contents.kelfs["kelf-0.json"].subgraphs[1].engines[1].instructions =
      neff::Blob::Own(ByteVector(64));
  const Error error = ExpectRefused(contents, {0, 2});
  EXPECT_EQ(error.code, Nerr::kInvalid);
  EXPECT_THAT(error.text, StartsWith("sg01: "));
}

TEST_F(LoaderTest, AnOperandOutsideItsVariableIsRefused) {
  neff::NeffContents contents = PipelineContents(DoublingSpec(1));
  const sim::Operand beyond = sim::DenseOperand(2, DType::kFloat32, 8, {4});
  contents.kelfs["kelf-0.json"].subgraphs[0].engines[1].instructions =
      neff::Blob::Own(sim::EncodeStream(
          {sim::Engine::kAct,
           {sim::Activation{beyond, beyond, sim::Function::kRelu, 0, 0}, sim::End{}}}));
  EXPECT_EQ(ExpectRefused(contents, {0, 1}).code, Nerr::kInvalid);
}

TEST_F(LoaderTest, AMissingEngineIsRefusedByName) {
  neff::NeffContents contents = PipelineContents(DoublingSpec(1));
  auto& engines = contents.kelfs["kelf-0.json"].subgraphs[0].engines;
  engines.erase(engines.begin());
  const Error error = ExpectRefused(contents, {0, 1});
  EXPECT_EQ(error.code, Nerr::kInvalid);
  EXPECT_THAT(error.text, testing::StartsWith("sg00 has no engine 'pe'"));
}

TEST_F(LoaderTest, AnEngineOfLaterChipsIsRefused) {
  neff::NeffContents contents = PipelineContents(DoublingSpec(1));
  auto& engines = contents.kelfs["kelf-0.json"].subgraphs[0].engines;
  neff::EngineProgram later = engines[0];
  later.engine = "sp";
  later.json_file = "SP.json";
  later.instruction_file = "SP.bin";
  engines.push_back(later);
  EXPECT_EQ(ExpectRefused(contents, {0, 1}).code, Nerr::kUnsupportedVersion);
}

TEST_F(LoaderTest, AVariableOfAnotherKindIsRefusedByNameAndType) {
  neff::NeffContents contents = PipelineContents(DoublingSpec(1));
  neff::Variable variable;
  variable.name = "elsewhere";
  variable.type = neff::VariableType::kVirtual;
  variable.var_id = 9;
  variable.size = 16;
  variable.backing_variable_off = 0;
  contents.kelfs["kelf-0.json"].subgraphs[0].variables.push_back(variable);
  const Error error = ExpectRefused(contents, {0, 1});
  EXPECT_EQ(error.code, Nerr::kInvalid);
  EXPECT_THAT(error.text, HasSubstr("'elsewhere' is of type virtual"));
}

TEST_F(LoaderTest, ANetworkOfNoNodesIsRefused) {
  neff::NeffContents contents = PipelineContents(DoublingSpec(1));
  contents.graph.nodes.pop_back();
  contents.graph.tensors.pop_back();
  contents.graph.outputs = {{"x", 0}};
  contents.kelfs.clear();
  EXPECT_EQ(ExpectRefused(contents, {0, 1}).code, Nerr::kInvalid);
}

TEST_F(LoaderTest, SlotsHoldNothingOfTheNetworkBefore) {
  constexpr uint32_t kCount = 1'000;
  const GroupId group = Group(1);
  {
    const auto before = Load(DoublingSpec(1, kCount), group);
    Must(before->Start());
    EXPECT_EQ(Infer(*before, 42).value, Doubled(42, 1));
    Must(before->Retire());
  }
  const auto after = Load(DoublingSpec(1, kCount), group);
  Must(after->Start());
  Inference inference = Must(after->Begin());
  EXPECT_THAT(InputOf(inference), ::testing::Each(0.0F));
  EXPECT_THAT(OutputOf(inference), ::testing::Each(0.0F));
}

TEST_F(LoaderTest, TensorsThatCrossPagesArriveWhole) {
  constexpr uint32_t kCount = 700'000;  // 2.8 MB: input and output both cross pages
  const auto network = Load(DoublingSpec(2, kCount), Group(2), 1);
  Must(network->Start());
  Inference inference = Must(network->Begin());
  for (uint32_t i = 0; i < kCount; ++i) InputOf(inference)[i] = static_cast<float>(i % 1000);
  Must(inference.Submit(Completion::kPolled));
  ASSERT_EQ(inference.Wait().code, Nerr::kOk);
  uint32_t wrong = 0;
  for (uint32_t i = 0; i < kCount; ++i)
    wrong += OutputOf(inference)[i] != Doubled(static_cast<float>(i % 1000), 2) ? 1 : 0;
  EXPECT_EQ(wrong, 0U);
}

}  // namespace
}  // namespace nrtd::runtime
