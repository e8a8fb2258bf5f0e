// SPDX-License-Identifier: Apache-2.0
//
// The binaries as a shell sees them: output, exit codes, files.
#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/npy.h"
#include "test/tools/recording_daemon.h"
#include "test/tools/run_binary.h"

namespace nrtd {
namespace {

using ::testing::AllOf;
using testing::Answers;
using ::testing::ElementsAre;
using testing::Finished;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;
using testing::RecordingDaemon;
using testing::RunBinary;
using ::testing::StartsWith;
using testing::TemporaryFolder;

size_t Lines(const std::string& text) {
  return static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
}

v1::Network Digits() {
  v1::Network network;
  network.set_id(10001);
  network.set_name("digits");
  network.set_state(v1::NETWORK_STATE_RUNNING);
  network.set_core_count(1);
  network.add_subgraphs()->set_device_bdf("0000:00:1f.0");
  v1::Tensor& input = *network.add_inputs();
  input.set_name("input:0");
  input.set_dtype("float32");
  input.mutable_shape()->Add(1);
  input.mutable_shape()->Add(4);
  input.set_bytes(16);
  v1::Tensor& output = *network.add_outputs();
  output = input;
  output.set_name("output:0");
  return network;
}

// Answers with its inputs, under the name of its output.
void Echo(const nrt::infer_request& request, nrt::infer_response& response) {
  nrt::infer_io& output = *response.add_ofmap();
  output = request.ifmap(0);
  output.set_name("output:0");
}

Answers EchoAnswers() {
  Answers answers;
  *answers.networks.add_networks() = Digits();
  answers.infer = Echo;
  return answers;
}

std::string SaveFloats(const TemporaryFolder& folder, const std::string& name, const Shape& shape,
                       const std::vector<float>& values) {
  const std::string path = folder.File(name);
  const auto bytes = std::as_bytes(std::span(values));
  EXPECT_TRUE(WriteFileAtomically(path, SerializeNpy(DType::kFloat32, shape, bytes)).has_value());
  return path;
}

class MissingDaemonTest : public ::testing::TestWithParam<std::vector<std::string>> {};

TEST_P(MissingDaemonTest, GivesOneLineAndExitCode1) {
  const TemporaryFolder folder;
  SaveFloats(folder, "x.npy", {1, 1, 1, 1}, {1});
  const std::vector<int64_t> label = {0};
  ASSERT_TRUE(
      WriteFileAtomically(folder.File("l.npy"), SerializeNpy(DType::kInt64, std::vector<int64_t>{1},
                                                             std::as_bytes(std::span(label))))
          .has_value());
  std::vector<std::string> arguments = GetParam();
  const std::string name = arguments.front();
  arguments.erase(arguments.begin());
  for (std::string& argument : arguments) {
    if (argument.ends_with(".npy")) argument = folder.File(argument);
  }
  const Finished run =
      RunBinary(name, arguments, {"NEURON_RTD_ADDRESS=unix:" + folder.File("none.sock")});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.out, IsEmpty());
  EXPECT_EQ(Lines(run.err), 1u) << run.err;
  EXPECT_THAT(run.err, StartsWith(name + ": no daemon answers at unix:" + folder.File("none.sock") +
                                  ": No such file or directory;"));
}

using Words = std::vector<std::string>;
INSTANTIATE_TEST_SUITE_P(
    EveryTool, MissingDaemonTest,
    ::testing::Values(
        Words{"neuron-cli", "list-model"}, Words{"neuron-cli", "list-ncg", "--json"},
        Words{"neuron-cli", "load", "x.neff"}, Words{"neuron-cli", "infer", "10001"},
        Words{"neuron-cli", "reset"}, Words{"neuron-top", "--once"}, Words{"neuron-top"},
        Words{"digits-demo", "--model-id", "10001", "--images", "x.npy", "--labels", "l.npy"},
        Words{"infer-bench", "--echo", "localhost:1", "--model-id", "1", "--input", "x.npy"}));

TEST(UsageTest, MistakesExitWith2AndHelpWith0) {
  const std::vector<Words> mistakes = {
      {"neuron-cli"},
      {"neuron-cli", "frobnicate"},
      {"neuron-cli", "unload"},
      {"neuron-cli", "unload", "abc"},
      {"neuron-cli", "load"},
      {"neuron-cli", "load", "x.neff", "--ninfer", "0"},
      {"neuron-top", "--interval", "0"},
      {"digits-demo"},
      {"nrtd-echo-server"},
      {"infer-bench"},
      {"neuron-cc"},
      {"neuron-cc", "compile"},
      {"neuron-cc", "compile", "x.onnx", "--fp32-cast", "some"},
      {"neuron-cc", "compile", "x.onnx", "--batch-sizes", "1,0"},
      {"k8s-neuron-device-plugin", "--cores", "--scheduler-extender"},
      {"k8s-neuron-scheduler", "--port", "65536"},
  };
  for (const Words& words : mistakes) {
    const Finished run = RunBinary(words[0], Words(words.begin() + 1, words.end()));
    EXPECT_EQ(run.exit_code, 2) << ::testing::PrintToString(words);
    EXPECT_FALSE(run.err.empty()) << ::testing::PrintToString(words);
  }
  for (const char* name :
       {"neuron-cli", "neuron-top", "digits-demo", "nrtd-echo-server", "infer-bench"}) {
    const Finished run = RunBinary(name, {"--help"});
    EXPECT_EQ(run.exit_code, 0) << name;
    EXPECT_THAT(run.out, HasSubstr("Usage: " + std::string(name)));
  }
}

TEST(NeuronCliTest, AStatusIsPrintedWithCallNameCodeAndDetails) {
  Answers answers;
  answers.status.set_code(3);
  answers.status.set_details("Failed to find model: 10001");
  RecordingDaemon server(answers);
  const Finished run = RunBinary("neuron-cli", {"-a", server.address(), "unload", "10001"});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_EQ(run.err, "neuron-cli: unload: NERR_INVALID_HANDLE (3): Failed to find model: 10001\n");
}

TEST(NeuronCliTest, LoadsSeveralFilesAndPrintsTheirIdsAsJson) {
  const TemporaryFolder folder;
  const std::string neff = SaveFloats(folder, "a.neff", {1}, {1});
  RecordingDaemon server({});
  const Finished run =
      RunBinary("neuron-cli", {"load", "--json", "-a", server.address(), neff, neff});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  const auto models = nlohmann::json::parse(run.out)["models"];
  ASSERT_EQ(models.size(), 2u);
  EXPECT_EQ(models[0]["model_id"], 10001);
  EXPECT_EQ(models[1]["neff"], neff);
}

TEST(NeuronCliTest, TheAddressComesFromTheEnvironment) {
  RecordingDaemon server({});
  const Finished run = RunBinary("neuron-cli", {"create-ncg", "--nc-count", "2", "--json"},
                                 {"NEURON_RTD_ADDRESS=" + server.address()});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  const auto created = nlohmann::json::parse(run.out);
  EXPECT_EQ(created["ncg_id"], 7);
  EXPECT_EQ(created["nc_count"], 2);
  EXPECT_THAT(server.Calls(), ElementsAre("create_eg 2"));
}

TEST(NeuronCliTest, InferWritesOutputsWithTypeAndShape) {
  const TemporaryFolder folder;
  const std::string input = SaveFloats(folder, "x.npy", {1, 4}, {1, 2, 3, 4});
  RecordingDaemon server(EchoAnswers());
  const Finished run =
      RunBinary("neuron-cli", {"-a", server.address(), "infer", "10001", "--input",
                               "input:0=" + input, "--output-dir", folder.File("out")});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  const auto output = ReadNpyFile(folder.File("out/output:0.npy"));
  ASSERT_TRUE(output.has_value()) << output.error().text;
  EXPECT_EQ(output->dtype, DType::kFloat32);
  EXPECT_EQ(output->shape, (Shape{1, 4}));
  EXPECT_EQ(output->data, ReadNpyFile(input)->data);
}

TEST(NeuronCliTest, InferWithoutControlServiceWritesRawBytes) {
  const TemporaryFolder folder;
  const std::string input = SaveFloats(folder, "x.npy", {1, 4}, {1, 2, 3, 4});
  RecordingDaemon server(EchoAnswers(), /*with_control=*/false);
  const std::string output = folder.File("y.npy");
  const Finished run =
      RunBinary("neuron-cli", {"-a", server.address(), "infer", "10001", "--input",
                               "input:0=" + input, "--output", "output:0=" + output});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(ReadNpyFile(output)->dtype, DType::kUInt8);
  EXPECT_EQ(ReadNpyFile(output)->shape, (Shape{16}));
}

TEST(NeuronCliTest, InferRefusesAnInputOfTheWrongSizeBeforeSendingIt) {
  const TemporaryFolder folder;
  const std::string input = SaveFloats(folder, "x.npy", {3}, {1, 2, 3});
  RecordingDaemon server(EchoAnswers());
  const Finished run = RunBinary(
      "neuron-cli", {"-a", server.address(), "infer", "10001", "--input", "input:0=" + input});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.err, HasSubstr("holds 12 bytes, but the model's 'input:0' of shape [1,4]"));
}

TEST(NeuronCliTest, InferKeepsOutputsOfANumericalErrorAndStillFails) {
  const TemporaryFolder folder;
  const std::string input = SaveFloats(folder, "x.npy", {1, 4}, {1, 2, 3, 4});
  Answers answers = EchoAnswers();
  answers.status.set_code(1003);
  RecordingDaemon server(answers);
  const std::string output = folder.File("y.npy");
  const Finished run =
      RunBinary("neuron-cli", {"-a", server.address(), "infer", "10001", "--input",
                               "input:0=" + input, "--output", "output:0=" + output});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.err, HasSubstr("infer: NERR_INFER_COMPLETED_WITH_NUM_ERR (1003)"));
  EXPECT_TRUE(ReadNpyFile(output).has_value());
}

TEST(NeuronCliTest, WaitReadyReportsHealthAndRefusesAFailedDaemon) {
  Answers answers;
  answers.health.set_state("ok");
  answers.health.set_simulated(true);
  RecordingDaemon good(answers);
  const Finished ready = RunBinary("neuron-cli", {"-a", good.address(), "wait-ready"});
  EXPECT_EQ(ready.exit_code, 0) << ready.err;
  EXPECT_EQ(ready.out, good.address() + " answers: ok (SIMULATED device)\n");

  answers.health.set_state("failed");
  answers.health.set_reason("no device");
  RecordingDaemon bad(answers);
  const Finished failed =
      RunBinary("neuron-cli", {"-a", bad.address(), "wait-ready", "--timeout", "0.3"});
  EXPECT_EQ(failed.exit_code, 1);
  EXPECT_THAT(failed.err, HasSubstr("has failed: no device"));
}

// It must not look as if no daemon ran.
TEST(NeuronCliTest, WaitReadySaysThatTheSocketMayNotBeOpened) {
  if (::getuid() != 0 || ::access("/usr/bin/setpriv", X_OK) != 0)
    GTEST_SKIP() << "takes root and setpriv";
  RecordingDaemon server((Answers()));
  const std::string path = server.address().substr(std::string("unix:").size());
  const std::string folder = path.substr(0, path.rfind('/'));
  const auto wait_ready = [&] {
    return RunBinary("/usr/bin/setpriv", {"--reuid=65534", "--regid=65534", "--clear-groups",
                                          std::string(NRTD_BINARY_DIR) + "/neuron-cli", "-a",
                                          server.address(), "wait-ready", "--timeout", "0.3"});
  };
  ASSERT_EQ(::chmod(folder.c_str(), 0755), 0);
  ASSERT_EQ(::chmod(path.c_str(), 0660), 0);
  const Finished no_write = wait_ready();
  EXPECT_EQ(no_write.exit_code, 1);
  EXPECT_THAT(no_write.err,
              HasSubstr("Permission denied: uid 65534, gid 65534 may not write to the "
                        "socket, whose mode is 0660, uid 0, gid 0"));
  ASSERT_EQ(::chmod(folder.c_str(), 0700), 0);
  const Finished no_search = wait_ready();
  EXPECT_EQ(no_search.exit_code, 1);
  EXPECT_THAT(no_search.err, HasSubstr("Permission denied: uid 65534 may not search the folders"));
}

TEST(NeuronTopBinaryTest, OncePrintsTheModelsAndMarksTheSimulation) {
  Answers answers = EchoAnswers();
  v1::Device& device = *answers.devices.add_devices();
  device.set_bdf("0000:00:1f.0");
  device.set_simulated(true);
  device.add_cores();
  // An hour more at every reading: a core that is always busy.
  answers.busy_ns = [hours = std::make_shared<std::atomic<uint64_t>>(0)](uint32_t) {
    return ++*hours * 3'600'000'000'000;
  };
  RecordingDaemon server(answers);
  const Finished run =
      RunBinary("neuron-top", {"--once", "--interval", "0.01", "-a", server.address()});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out,
              AllOf(StartsWith("neuron-top - 20"), HasSubstr("1 total, 1 running"),
                    HasSubstr("Neuron core0 100.00%, [SIMULATED]"), HasSubstr("0000:00:1f.0:0")));
  const Finished json =
      RunBinary("neuron-top", {"--once", "--json", "--interval", "0.01", "-a", server.address()});
  EXPECT_EQ(nlohmann::json::parse(json.out)["subgraphs"][0]["utilization_percent"], 100.0);
}

// Images of 2x2 whose brightest pixel is the label, for a server that answers with its input.
class DigitsDemoTest : public ::testing::Test {
 protected:
  Finished Run(const std::vector<int32_t>& labels) {
    std::vector<float> pixels;
    for (size_t i = 0; i < labels.size(); ++i) {
      for (size_t pixel = 0; pixel < 4; ++pixel) pixels.push_back(pixel == i % 4 ? 16.0f : 0.0f);
    }
    const auto count = static_cast<int64_t>(labels.size());
    const std::string images = SaveFloats(folder_, "images.npy", {count, 1, 2, 2}, pixels);
    const std::string label_file = folder_.File("labels.npy");
    EXPECT_TRUE(
        WriteFileAtomically(label_file, SerializeNpy(DType::kInt32, std::vector<int64_t>{count},
                                                     std::as_bytes(std::span(labels))))
            .has_value());
    RecordingDaemon server(EchoAnswers());
    return RunBinary("digits-demo", {"-a", server.address(), "--model-id", "10001", "--images",
                                     images, "--labels", label_file, "--pictures", "2"});
  }

  TemporaryFolder folder_;
};

TEST_F(DigitsDemoTest, ShowsPicturesAndExactlyOneLineOfResults) {
  const Finished run = Run({0, 1, 2, 3, 0, 1, 2, 3});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr("│██  │"));
  EXPECT_THAT(run.out, HasSubstr("reads 1, is 1"));
  const std::string last = run.out.substr(run.out.find("digits: "));
  EXPECT_THAT(last,
              MatchesRegex("digits: 8/8 correct \\(100.0%\\), p50 [0-9]+ us, p99 [0-9]+ us\n"));
}

TEST_F(DigitsDemoTest, BelowTheExpectedShareExitsWith1) {
  const Finished run = Run({0, 1, 2, 3, 0, 1, 2, 0});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.out, HasSubstr("digits: 7/8 correct (87.5%)"));
  EXPECT_THAT(run.err, HasSubstr("only 87.5%"));
}

TEST(InferBenchTest, ComparesTwoServersAndWritesTheTable) {
  const TemporaryFolder folder;
  const std::string input = SaveFloats(folder, "x.npy", {2, 4}, {1, 2, 3, 4, 5, 6, 7, 8});
  RecordingDaemon daemon(EchoAnswers());
  RecordingDaemon echo(EchoAnswers());
  const std::string json = folder.File("bench.json");
  const Finished run = RunBinary(
      "infer-bench", {"-a", daemon.address(), "--echo", echo.address(), "--model-id", "10001",
                      "--input", input, "--output-size", "16", "--seconds", "2", "--json", json});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr("| net_ratio"));
  const auto report = nlohmann::json::parse(ReadTextFile(json).value());
  EXPECT_GT(report["metrics"]["infer_per_s"], 0.0);
  EXPECT_GT(report["metrics"]["echo_p50_us"], 0.0);
}

TEST(InferBenchTest, RefusesToCompareOutputsOfDifferentSizes) {
  const TemporaryFolder folder;
  const std::string input = SaveFloats(folder, "x.npy", {4}, {1, 2, 3, 4});
  RecordingDaemon daemon(EchoAnswers());
  Answers other;
  other.infer = [](const nrt::infer_request&, nrt::infer_response& response) {
    response.add_ofmap()->set_buf("short");
  };
  RecordingDaemon echo(other);
  const Finished run = RunBinary("infer-bench", {"-a", daemon.address(), "--echo", echo.address(),
                                                 "--model-id", "10001", "--input", input});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.err, HasSubstr("the model returns 16 bytes, but the echo server 5"));
}

}  // namespace
}  // namespace nrtd
