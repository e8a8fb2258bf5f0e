// SPDX-License-Identifier: Apache-2.0
//
// The binary as users call it.
#include <cstdio>
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/npy.h"
#include "neff/validator.h"
#include "test/compiler/cases.h"

namespace nrtd::compiler {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

struct Outcome {
  int exit_code = -1;
  std::string text;  // stdout and stderr
};

Outcome NeuronCc(const std::string& arguments) {
  const std::string command = std::string(NRTD_BINARY_DIR) + "/neuron-cc " + arguments + " 2>&1";
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) throw std::runtime_error("popen failed");
  Outcome outcome;
  char buffer[4096];
  while (const size_t got = fread(buffer, 1, sizeof(buffer), pipe))
    outcome.text.append(buffer, got);
  const int status = pclose(pipe);
  outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return outcome;
}

const std::string kDigitsModel = std::string(NRTD_SOURCE_DIR) + "/models/digits/digits.onnx";

TEST(NeuronCc, CompilesAndPrintsATable) {
  const TemporaryFolder folder;
  const std::string neff = folder.File("digits.neff");
  const Outcome outcome = NeuronCc("compile " + kDigitsModel + " --framework ONNX --output " +
                                   neff + " --fp32-cast none");
  EXPECT_EQ(outcome.exit_code, 0) << outcome.text;
  EXPECT_THAT(outcome.text, AllOf(HasSubstr("input:0 float32 [1,1,8,8]"), HasSubstr("25408"),
                                  HasSubstr("scratch peak"), HasSubstr("simulated")));
  EXPECT_TRUE(neff::ReadExecutable(Must(ReadFile(neff)), neff::kSimTarget));
}

TEST(NeuronCc, SaysWhatWentWhere) {
  const TemporaryFolder folder;
  const std::string to = " --framework ONNX --output " + folder.File("x.neff");
  const Outcome pieces =
      NeuronCc("compile " + kDigitsModel + to + " --neuroncore-pipeline-cores 2");
  EXPECT_THAT(pieces.text, AllOf(HasSubstr("sg00  NeuronCore 0"), HasSubstr("sg01  NeuronCore 1"),
                                 HasSubstr("predicted on Inf1"), HasSubstr("one inference every")));
  const Outcome host = NeuronCc("compile " + ModelOf("host_topk_between_products") + to);
  EXPECT_THAT(host.text, AllOf(HasSubstr("CPU: nrt_topk"), HasSubstr("TopK 'topk_t'"),
                               HasSubstr("sg01  NeuronCore 1")));
}

TEST(NeuronCc, CorrectsBiasesFromSamples) {
  const TemporaryFolder folder;
  const NpyArray images =
      Must(ReadNpyFile(std::string(NRTD_SOURCE_DIR) + "/models/digits/images.npy"));
  const ByteSpan first = ByteSpan(images.data).first(64 * sizeof(float));
  const Shape shape{1, 1, 8, 8};
  Must(
      WriteFileAtomically(folder.File("input:0.npy"), SerializeNpy(DType::kFloat32, shape, first)));
  const std::string command = "compile " + kDigitsModel + " --framework ONNX --output " +
                              folder.File("digits.neff") + " --calibrate " + folder.File("");
  const Outcome outcome = NeuronCc(command);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.text;
  EXPECT_THAT(outcome.text, HasSubstr("biases of 4 nodes corrected for casts, from 1 sample\n"));
  EXPECT_THAT(NeuronCc(command + " --fp32-cast none").text,
              HasSubstr("leave out --calibrate or --fp32-cast none"));
}

TEST(NeuronCc, ListsItsOperators) {
  const Outcome outcome = NeuronCc("list-operators --framework ONNX");
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_THAT(outcome.text, AllOf(HasSubstr("Conv\n"), HasSubstr("MatMul\n"), HasSubstr("Gemm\n")));
}

TEST(NeuronCc, FailsWithAMessage) {
  const TemporaryFolder folder;
  const std::string to = " --framework ONNX --output " + folder.File("x.neff");
  const std::pair<std::string, const char*> kFailures[] = {
      {"compile " + RefusedModel("unsupported_operators") + to, "Sinh (2)"},
      {"compile " + kDigitsModel + to + " --neuroncore-pipeline-cores 99",
       "use --neuroncore-pipeline-cores"},
      {"compile " + folder.File("missing.onnx") + to, "No such file"},
      {"compile " + kDigitsModel + " --framework TENSORFLOW", "TENSORFLOW"},
      {"compile " + kDigitsModel + to + " --fp32-cast some", "some"},
      {"compile " + kDigitsModel + to + " --calibrate " + folder.File("none"), "No such file"},
      {"compile " + kDigitsModel + to + " --calibrate \"\"", "No such file"},
      {"compile", "model"},
      {"", "subcommand"},
  };
  for (const auto& [arguments, text] : kFailures) {
    const Outcome outcome = NeuronCc(arguments);
    EXPECT_GT(outcome.exit_code, 0) << arguments;
    EXPECT_THAT(outcome.text, HasSubstr(text)) << arguments;
  }
  EXPECT_FALSE(std::filesystem::exists(folder.File("x.neff")));
}

}  // namespace
}  // namespace nrtd::compiler
