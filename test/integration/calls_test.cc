// SPDX-License-Identifier: Apache-2.0
//
// Single calls: their answers in the cases that are neither the daily way nor a mistake.
#include <cmath>
#include <limits>
#include <span>

#include <sys/resource.h>

#include "base/npy.h"
#include "base/sanitized.h"
#include "neff/writer.h"
#include "test/integration/daemon_test.h"
#include "test/runtime/neff_builder.h"

namespace nrtd::integration {
namespace {

class CallsTest : public DaemonTest {
 protected:
  static Tensors InputsOf(const compiler::Case& model) {
    Tensors inputs;
    for (const auto& [name, array] : model.inputs) inputs.emplace_back(name, TextOf(array.data));
    return inputs;
  }
};

TEST_F(CallsTest, NanInAnOutputIsANumericalErrorThatCarriesTheOutputs) {
  const compiler::Case model = compiler::LoadCase("add_same_shape");
  const uint32_t network = Load({.neff = CompileModel(model.model)});
  Tensors inputs = InputsOf(model);
  std::vector<float> a = FloatsOf(inputs[0].second);
  a[1] = std::numeric_limits<float>::quiet_NaN();
  inputs[0].second = BytesOf(a);
  const std::vector<float> expected = FloatsOf(TextOf(model.outputs.begin()->second.data));
  const auto check = [&](const nrt::infer_response& response) {
    EXPECT_THAT(response, HasStatus(1003, "INFER_ERROR_SUBTYPE_NUMERICAL"));
    EXPECT_THAT(response, HasStatus(1003, "Error notifications found on NC"));
    ASSERT_EQ(response.ofmap_size(), 1);
    const std::vector<float> output = FloatsOf(response.ofmap(0).buf());
    ASSERT_EQ(output.size(), expected.size());
    for (size_t i = 0; i < output.size(); ++i) {
      if (i == 1) {
        EXPECT_TRUE(std::isnan(output[i]));
      } else {
        EXPECT_FLOAT_EQ(output[i], expected[i]);
      }
    }
  };
  check(client().Infer(InferRequest(network, inputs)));
  check(client().Wait(client().Post(InferRequest(network, inputs)).cookie()));
  // The network is none the worse for it.
  const auto good = client().Infer(InferRequest(network, InputsOf(model)));
  ASSERT_THAT(good, IsOk());
  EXPECT_EQ(FloatsOf(good.ofmap(0).buf()), expected);
  EXPECT_EQ(client().ListNetworks().networks(0).inferences_failed(), 0U);
  EXPECT_EQ(client().Health().state(), "ok");
}

TEST_F(CallsTest, AnIndexOutsideOfATableIsNamedWithItsTensorAndNode) {
  const uint32_t network = Load({.neff = CompileCase("gather_embedding")});
  ASSERT_NE(network, 0U);
  const auto look_up = [&](int32_t index) {
    const std::array<int32_t, 4> indices = {0, 7, index, -8};
    return client().Infer(InferRequest(
        network, {{"i", {reinterpret_cast<const char*>(indices.data()), sizeof(indices)}}}));
  };
  EXPECT_THAT(look_up(3), IsOk());
  EXPECT_THAT(look_up(8), HasStatus(1004, "index 8 is outside of the table"));
  EXPECT_THAT(look_up(-9), HasStatus(1004, "index -9"));
  EXPECT_THAT(look_up(8), HasStatus(1004, "Gather 'gather_y'"));
  EXPECT_THAT(look_up(8), HasStatus(1004, "indices 'i'"));
  EXPECT_THAT(look_up(3), IsOk());
}

TEST_F(CallsTest, AnInputThatTheCompilerFoldedAwayMayBeThereOrNot) {
  const compiler::Case model = compiler::LoadCase("unused_input");
  const uint32_t network = Load({.neff = CompileModel(model.model)});
  const std::string expected = TextOf(model.outputs.begin()->second.data);
  Tensors inputs = InputsOf(model);
  ASSERT_EQ(inputs.size(), 2U);
  const auto with = client().Infer(InferRequest(network, inputs));
  ASSERT_THAT(with, IsOk());
  EXPECT_EQ(with.ofmap(0).buf(), expected);
  std::erase_if(inputs, [](const auto& input) { return input.first == "unused"; });
  const auto without = client().Infer(InferRequest(network, inputs));
  ASSERT_THAT(without, IsOk());
  EXPECT_EQ(without.ofmap(0).buf(), expected);
  EXPECT_THAT(client().Infer(InferRequest(network, {{"unused", "x"}})), HasStatus(2, "[x]"));
}

TEST_F(CallsTest, SeveralOutputsComeUnderTheirNames) {
  const compiler::Case model = compiler::LoadCase("two_outputs");
  const uint32_t network = Load({.neff = CompileModel(model.model)});
  const auto response = client().Infer(InferRequest(network, InputsOf(model)));
  ASSERT_THAT(response, IsOk());
  ASSERT_EQ(response.ofmap_size(), 2);
  for (const nrt::infer_io& output : response.ofmap()) {
    ASSERT_TRUE(model.outputs.contains(output.name())) << output.name();
    const std::vector<float> expected = FloatsOf(TextOf(model.outputs.at(output.name()).data));
    EXPECT_LE(RelativeError(FloatsOf(output.buf()), expected), 1e-5) << output.name();
  }
}

TEST_F(CallsTest, TheInputsOrderIsTheClients) {
  const compiler::Case model = compiler::LoadCase("matmul_plain");
  const uint32_t network = Load({.neff = CompileModel(model.model)});
  Tensors inputs = InputsOf(model);
  std::reverse(inputs.begin(), inputs.end());
  const auto response = client().Infer(InferRequest(network, inputs));
  ASSERT_THAT(response, IsOk());
  const std::vector<float> expected = FloatsOf(TextOf(model.outputs.begin()->second.data));
  EXPECT_LE(RelativeError(FloatsOf(response.ofmap(0).buf()), expected), 1e-5);
}

// Without its size the daemon cannot know how much room it takes.
TEST_F(CallsTest, ANeffMayComeInAnyPiecesAndItsSizeLast) {
  std::vector<float> weights(6 * kMiB / sizeof(float));
  for (size_t i = 0; i < weights.size(); ++i) weights[i] = static_cast<float>(i);
  const runtime::PipelineSpec spec{
      .count = static_cast<uint32_t>(weights.size()),
      .stages = {{.weights = weights, .weights_use = runtime::StageSpec::Use::kTransferred}}};
  const std::string neff = TextOf(runtime::PipelineNeff(spec));
  std::vector<nrt::load_request> messages;
  messages.emplace_back().mutable_model_params()->mutable_ninfer()->set_data(1);
  for (size_t at = 0, piece = 1; at < neff.size(); at += piece, piece = (3 * piece + 1) % 1'000'003)
    messages.emplace_back().mutable_neff_chunk()->set_chunk(neff.substr(at, piece));
  messages.emplace_back().mutable_neff_chunk();
  messages.emplace_back().set_neff_size(neff.size());
  const auto loaded = client().Load(messages);
  ASSERT_THAT(loaded, IsOk());
  const std::string zeros(weights.size() * sizeof(float), '\0');
  const auto answer = client().Infer(InferRequest(loaded.h_nn().id(), {{"x", zeros}}));
  ASSERT_THAT(answer, IsOk());
  EXPECT_EQ(answer.ofmap(0).buf(), BytesOf(weights));
}

// It is gathered in the memory that the network keeps.
TEST_F(CallsTest, ANeffThatIsSentIsInMemoryOnce) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer's own memory counts too";
  const std::vector<float> weights(64 * kMiB / sizeof(float), 1);
  neff::NeffContents contents = runtime::PipelineContents({.stages = {{.weights = weights}}});
  // As neuron-cc writes them.
  const Shape shape = {static_cast<int64_t>(weights.size())};
  contents.files[contents.kelfs.begin()->second.subgraphs[0].PathOf("weights.npy")] =
      neff::Blob::Own(SerializeNpy(DType::kFloat32, shape, std::as_bytes(std::span(weights)),
                                   neff::kNpyAlignment));
  const std::string neff = TextOf(runtime::NeffBytes(contents));
  Load({.neff = digits_neff()});
  const uint64_t before = daemon().StatusBytes("VmRSS");
  Load({.neff = neff});
  EXPECT_GT(daemon().StatusBytes("VmHWM"), before + neff.size());
  EXPECT_LT(daemon().StatusBytes("VmHWM"), before + neff.size() + neff.size() / 4);
}

TEST_F(CallsTest, AnUploadWithoutMemoryIsRefusedAndGivesBackWhatItHad) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer ends the process when it gets no memory";
  const uint64_t before = daemon().StatusBytes("RssAnon");
  const uint64_t mapped = daemon().StatusBytes("VmSize");
  rlimit unlimited{};
  // More than the 32 MiB to which the upload grows and what gRPC needs, less than the next 64.
  const rlimit tight{.rlim_cur = mapped + 56 * kMiB, .rlim_max = RLIM_INFINITY};
  ASSERT_EQ(::prlimit(daemon().pid(), RLIMIT_AS, &tight, &unlimited), 0);
  std::vector<nrt::load_request> messages;
  for (int i = 0; i < 40; ++i)
    messages.emplace_back().mutable_neff_chunk()->set_chunk(std::string(kMiB, 'x'));
  EXPECT_THAT(client().Load(messages), HasStatus(4, "cannot take the NEFF: mremap of"));
  ASSERT_EQ(::prlimit(daemon().pid(), RLIMIT_AS, &unlimited, nullptr), 0);
  EXPECT_LT(daemon().StatusBytes("RssAnon"), before + 16 * kMiB);
  Load({.neff = digits_neff()});
}

TEST_F(CallsTest, TheVersionIsOneOfSeries1) {
  const nrt::version version = client().GetVersion().runtime_version();
  EXPECT_EQ(version.major_num(), 1U);
  EXPECT_EQ(version.full_version().substr(0, 2), "1.");
}

TEST_F(CallsTest, BusyTimeGrowsOnTheCoreThatWorksAndOnNoOther) {
  const uint32_t network = Load({.neff = digits_neff()});
  const uint32_t core = client().ListNetworks().networks(0).subgraphs(0).virtual_core();
  ExpectReads(network);
  const auto before = client().CoreTime(core);
  ASSERT_THAT(before, IsOk());
  EXPECT_EQ(before.nc_time_in_use().virtual_nc_id(), core);
  EXPECT_GT(before.nc_time_in_use().time_in_use(), 0U);
  for (size_t i = 0; i < 10; ++i) ExpectReads(network, i);
  EXPECT_GT(client().CoreTime(core).nc_time_in_use().time_in_use(),
            before.nc_time_in_use().time_in_use());
  EXPECT_EQ(client().CoreTime((core + 1) % 4).nc_time_in_use().time_in_use(), 0U);
}

TEST_F(CallsTest, TheParametersOfALoadAreListed) {
  Load({.neff = digits_neff(), .ninfer = 8, .timeout_s = 60});
  Load({.neff = digits_neff()});
  const auto networks = client().ListNetworks();
  ASSERT_EQ(networks.networks_size(), 2);
  EXPECT_EQ(networks.networks(0).ninfer(), 8U);
  EXPECT_EQ(networks.networks(0).timeout_ms(), 60'000U);
  EXPECT_EQ(networks.networks(1).ninfer(), 4U);
  EXPECT_EQ(networks.networks(1).timeout_ms(), 2'000U);
  EXPECT_EQ(networks.networks(0).uuid(), networks.networks(1).uuid());
  EXPECT_EQ(networks.networks(0).uuid().size(), 32U);
}

}  // namespace
}  // namespace nrtd::integration
