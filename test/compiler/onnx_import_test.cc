// SPDX-License-Identifier: Apache-2.0
#include "compiler/onnx_import.h"

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "compiler/external_data.h"
#include "compiler/operators/operator.h"
#include "test/compiler/cases.h"

namespace nrtd::compiler {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

template <typename Op>
const Op& OnlyOperation(const Graph& graph) {
  if (graph.nodes.size() != 1) throw std::runtime_error("expected one node");
  return std::get<Op>(graph.nodes[0].operation);
}

std::string RefusalOf(const std::string& path) {
  const auto graph = ImportOnnx(path);
  if (graph) return "accepted";
  EXPECT_EQ(graph.error().code, Nerr::kInvalid);
  EXPECT_THAT(graph.error().text, HasSubstr(path));
  return graph.error().text;
}

TEST(OnnxImport, TakesEveryModelOfTheCollection) {
  const auto names = CaseNames();
  ASSERT_GE(names.size(), 80U);
  for (const std::string& name : names) {
    const auto graph = ImportOnnx(ModelOf(name));
    ASSERT_TRUE(graph) << name << ": " << graph.error().text;
    EXPECT_TRUE(graph->Check()) << name;
  }
}

TEST(OnnxImport, KeepsNamesAndShapes) {
  const Graph graph = Must(ImportOnnx(std::string(NRTD_SOURCE_DIR) + "/models/digits/digits.onnx"));
  EXPECT_EQ(graph.name, "digits");
  ASSERT_EQ(graph.inputs.size(), 1U);
  EXPECT_EQ(graph.at(graph.inputs[0]).name, "input:0");
  EXPECT_EQ(graph.at(graph.inputs[0]).shape, (Shape{1, 1, 8, 8}));
  ASSERT_EQ(graph.outputs.size(), 1U);
  EXPECT_EQ(graph.at(graph.outputs[0]).name, "output:0");
  EXPECT_EQ(graph.at(graph.outputs[0]).shape, (Shape{1, 10}));
}

TEST(OnnxImport, KeepsInputsThatNoNodeUses) {
  const Graph graph = Must(ImportOnnx(ModelOf("unused_input")));
  ASSERT_EQ(graph.inputs.size(), 2U);
  EXPECT_EQ(graph.at(graph.inputs[1]).name, "unused");
}

TEST(OnnxImport, DoesNotTakeInitializersForInputs) {
  const Graph graph = Must(ImportOnnx(ModelOf("initializers_as_inputs")));
  ASSERT_EQ(graph.inputs.size(), 1U);
  EXPECT_EQ(graph.at(graph.inputs[0]).name, "x");
}

TEST(OnnxImport, ResolvesAutomaticPadding) {
  // 6 elements, windows of 3 with stride 2: one element of padding, behind or in front.
  EXPECT_THAT(OnlyOperation<Conv>(Must(ImportOnnx(ModelOf("conv_same_upper")))).pads,
              ElementsAre(0, 0, 1, 1));
  EXPECT_THAT(OnlyOperation<Conv>(Must(ImportOnnx(ModelOf("conv_same_lower")))).pads,
              ElementsAre(1, 1, 0, 0));
  EXPECT_THAT(OnlyOperation<Conv>(Must(ImportOnnx(ModelOf("conv_valid")))).pads,
              ElementsAre(0, 0, 0, 0));
}

TEST(OnnxImport, TurnsCeilModeIntoPaddingBehind) {
  // 6 elements, windows of 3 with stride 2: the third window reaches one element beyond.
  EXPECT_THAT(OnlyOperation<Pool>(Must(ImportOnnx(ModelOf("maxpool_ceil")))).pads,
              ElementsAre(0, 0, 1, 1));
}

TEST(OnnxImport, PutsTheOnlySpatialDimensionSecond) {
  const auto conv = OnlyOperation<Conv>(Must(ImportOnnx(ModelOf("conv_1d"))));
  EXPECT_THAT(conv.pads, ElementsAre(0, 1, 0, 1));
}

TEST(OnnxImport, SoftmaxOfOldOperatorSetsTakesAllThatFollowsTheAxis) {
  const auto old = OnlyOperation<Softmax>(Must(ImportOnnx(ModelOf("softmax_default_opset11"))));
  EXPECT_EQ(old.begin, 1U);
  EXPECT_EQ(old.end, 3U);
  const auto now = OnlyOperation<Softmax>(Must(ImportOnnx(ModelOf("softmax_default_opset13"))));
  EXPECT_EQ(now.begin, 2U);
  EXPECT_EQ(now.end, 3U);
}

TEST(OnnxImport, PutsTheRepeatedAddendSecond) {
  const Graph graph = Must(ImportOnnx(ModelOf("add_first_smaller")));
  EXPECT_EQ(graph.at(graph.nodes[0].inputs[0]).name, "b");
  EXPECT_EQ(graph.at(graph.nodes[0].inputs[1]).name, "a");
}

TEST(OnnxImport, NamesAllUnsupportedOperatorsAtOnce) {
  EXPECT_THAT(RefusalOf(RefusedModel("unsupported_operators")),
              AllOf(HasSubstr("4 nodes use 3 operators"), HasSubstr("Sinh (2): sinh_a, sinh_c"),
                    HasSubstr("Xor (1): xor_y"), HasSubstr("my.domain.LSTMish (1): lstmish_b"),
                    HasSubstr("list-operators")));
}

TEST(OnnxImport, NamesDynamicDimensionsAndTheRemedy) {
  EXPECT_THAT(RefusalOf(RefusedModel("symbolic_batch")),
              AllOf(HasSubstr("input 'x': dimension 0 is 'N'"), HasSubstr("--dim_param N")));
  EXPECT_THAT(RefusalOf(RefusedModel("unknown_dimension")),
              HasSubstr("input 'x': dimension 1 is unknown"));
}

TEST(OnnxImport, RefusesWhatItCannotCompileNamingTheNode) {
  const std::pair<const char*, const char*> kRefusals[] = {
      {"external_up",
       "initializer 'w': external data in '../model.onnx': the path must lie beside"},
      {"external_absolute", "external data in '/etc/hostname': the path must lie beside"},
      {"external_missing", "initializer 'w'"},
      {"wrong_channels", "Conv 'conv_y': weights [3,5,3,3]"},
      {"conv3d", "Conv 'conv_y': an input of shape [1,1,3,3,3] has 3 spatial dimensions"},
      {"double_precision", "Relu 'relu_y': tensor 'x' is float64"},
      {"maxpool_indices", "MaxPool 'maxpool_y': its output 1 ('i')"},
      {"maxpool_dilated", "MaxPool 'maxpool_y': dilations"},
      {"reshape_to_an_input", "Reshape 'reshape_y': its input 's' is not known"},
      {"opset_7", "operator set 7; 11 to 17"},
      {"missing_tensor", "nowhere"},
      {"short_initializer", "initializer 's' of shape [2] has 13 bytes of data, expected 16"},
      {"short_constant", "Constant 'constant_s'"},
      {"upsample", "Upsample (1): upsample_y"},
      {"wrong_output_shape", "differ in dimension 0"},
  };
  for (const auto& [model, text] : kRefusals)
    EXPECT_THAT(RefusalOf(RefusedModel(model)), HasSubstr(text));
}

// Shape inference reads them.
TEST(ExternalData, LargeIntegersAreThereForShapes) {
  const TemporaryFolder folder;
  std::filesystem::copy(DataFolder() / "outside" / "large_indices.onnx", folder.File("model.onnx"));
  std::vector<int64_t> numbers(1 << 18, 1);
  numbers.back() = 3;
  std::ofstream(folder.File("numbers.bin"), std::ios::binary)
      .write(reinterpret_cast<const char*>(numbers.data()),
             static_cast<std::streamsize>(numbers.size() * sizeof(int64_t)));
  const Graph graph = Must(ImportOnnx(folder.File("model.onnx")));
  EXPECT_EQ(graph.at(graph.outputs[0]).shape, Shape{3});
}

TEST(ExternalData, RangesAreThoseOfTheFile) {
  const TemporaryFolder folder;
  std::ofstream(folder.File("weights.bin"), std::ios::binary) << "0123456789";
  ExternalData data(folder.File("model.onnx"));
  EXPECT_EQ(AsText(Must(data.Read("weights.bin", 2, 3))), "234");
  EXPECT_EQ(AsText(Must(data.Read("weights.bin", 7, 0))), "789");
  EXPECT_THAT(data.Read("weights.bin", 8, 3).error().text,
              HasSubstr("3 bytes from 8 on, but it has 10"));
  EXPECT_THAT(data.Read("weights.bin", 11, 0).error().text, HasSubstr("but it has 10"));
  EXPECT_THAT(data.Read("weights.bin", UINT64_MAX, 2).error().text, HasSubstr("but it has 10"));
  std::filesystem::create_symlink("weights.bin", folder.File("link.bin"));
  EXPECT_THAT(data.Read("link.bin", 0, 1).error().text, HasSubstr("symbolic link"));
  EXPECT_THAT(data.Read("missing.bin", 0, 1).error().text, HasSubstr("No such file"));
  std::filesystem::create_directories(folder.File("a/b"));
  std::ofstream(folder.File("a/b/weights.bin"), std::ios::binary) << "deep";
  EXPECT_EQ(AsText(Must(data.Read("a/b/weights.bin", 0, 0))), "deep");
  EXPECT_EQ(AsText(Must(data.Read("./a/./b/weights.bin", 0, 0))), "deep");
  EXPECT_FALSE(data.Read("a/b", 0, 0));
  EXPECT_FALSE(data.Read("a/b/", 0, 0));
}

TEST(ExternalData, ALinkedFolderIsRefusedLikeALinkedFile) {
  const TemporaryFolder folder;
  const TemporaryFolder elsewhere;
  std::ofstream(elsewhere.File("secret"), std::ios::binary) << "0123456789";
  std::filesystem::create_directory_symlink(elsewhere.File(""), folder.File("weights"));
  ExternalData data(folder.File("model.onnx"));
  const auto read = data.Read("weights/secret", 0, 0);
  ASSERT_FALSE(read);
  EXPECT_THAT(read.error().text, HasSubstr("'weights' is a symbolic link"));
}

class BadFiles : public ::testing::Test {
 protected:
  std::string Write(ByteSpan content) {
    const std::string path = folder_.File("model.onnx");
    std::ofstream(path, std::ios::binary) << AsText(content);
    return path;
  }
  TemporaryFolder folder_;
};

TEST_F(BadFiles, EmptyMissingOrNoModelAreRefused) {
  EXPECT_THAT(RefusalOf(Write({})), HasSubstr("the file is empty"));
  EXPECT_THAT(RefusalOf(folder_.File("missing.onnx")), HasSubstr("No such file"));
  EXPECT_THAT(RefusalOf(Write(AsBytes("this is not a model, it is a sentence"))),
              HasSubstr("not an ONNX model"));
}

TEST_F(BadFiles, EveryTruncationIsRefused) {
  const ByteVector whole = Must(ReadFile(ModelOf("gemm_plain")));
  for (size_t size = 1; size < whole.size(); ++size)
    EXPECT_NE(RefusalOf(Write(ByteSpan(whole).first(size))), "accepted") << size << " bytes";
}

// Whatever a damaged file becomes, importing it must end with a graph or an error.
TEST_F(BadFiles, DamagedBytesNeverCrash) {
  const ByteVector whole = Must(ReadFile(ModelOf("chain_conv_relu_maxpool")));
  size_t refused = 0;
  for (size_t at = 0; at < whole.size(); at += 3) {
    for (const std::byte flip : {std::byte{0x01}, std::byte{0x80}, std::byte{0xff}}) {
      ByteVector damaged = whole;
      damaged[at] ^= flip;
      const auto graph = ImportOnnx(Write(damaged));
      if (graph) {
        EXPECT_TRUE(graph->Check());
      }
      refused += graph ? 0 : 1;
    }
  }
  EXPECT_GT(refused, 0U);
}

TEST(SupportedOperatorsList, IsSortedWithoutRepetition) {
  const auto names = SupportedOperators();
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
  EXPECT_EQ(std::adjacent_find(names.begin(), names.end()), names.end());
  EXPECT_THAT(names, ::testing::IsSupersetOf({"Constant", "Conv", "LayerNormalization", "MatMul"}));
}

}  // namespace
}  // namespace nrtd::compiler
