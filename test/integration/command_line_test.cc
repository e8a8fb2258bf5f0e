// SPDX-License-Identifier: Apache-2.0
//
// neuron-cli and neuron-top against a real daemon.
#include <chrono>
#include <csignal>
#include <filesystem>
#include <future>
#include <thread>

#include <nlohmann/json.hpp>
#include <unistd.h>

#include "base/npy.h"
#include "test/integration/daemon_test.h"
#include "test/tools/run_binary.h"

namespace nrtd::integration {
namespace {

using nlohmann::json;
using ::nrtd::testing::Finished;
using ::testing::AllOf;
using ::testing::HasSubstr;

class CommandLineTest : public DaemonTest {
 protected:
  void SetUp() override {
    DaemonTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    WriteText(File("digits.neff"), digits_neff());
    const std::string& image = digits().images[5];
    const Shape shape = {1, 1, 8, 8};
    WriteText(File("image.npy"), TextOf(SerializeNpy(DType::kFloat32, shape, AsBytes(image))));
  }

  Finished Run(const std::string& tool, std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"-a", address()});
    return ::nrtd::testing::RunBinary(tool, arguments);
  }
  // Runs it, expects success, and returns what it printed.
  std::string Cli(const std::vector<std::string>& arguments) {
    const Finished run = Run("neuron-cli", arguments);
    EXPECT_EQ(run.exit_code, 0) << run.err;
    return run.out;
  }
  json CliJson(std::vector<std::string> arguments) {
    arguments.push_back("--json");
    return json::parse(Cli(arguments));
  }
  std::string LoadModel(const std::vector<std::string>& options = {}) {
    std::vector<std::string> arguments = {"load", File("digits.neff")};
    arguments.insert(arguments.end(), options.begin(), options.end());
    return fmt::to_string(CliJson(arguments)["models"][0]["model_id"].get<uint32_t>());
  }
  void ExpectInfers(const std::string& model) {
    Cli({"infer", model, "--input", "input:0=" + File("image.npy"), "--output",
         "output:0=" + File("output.npy")});
    const NpyArray output = Must(ReadNpyFile(File("output.npy")));
    EXPECT_EQ(output.dtype, DType::kFloat32);
    EXPECT_EQ(output.shape, (Shape{1, 10}));
    EXPECT_LE(RelativeError(FloatsOf(TextOf(output.data)), digits().references[5]), 1e-5);
  }
};

// Clients once gave it 100 ms, which a daemon on a busy machine may need longer.
TEST_F(CommandLineTest, ADaemonThatGreetsLateIsWaitedFor) {
  daemon().Signal(SIGSTOP);
  auto listing = std::async(std::launch::async, [&] { return Run("neuron-cli", {"list-model"}); });
  std::this_thread::sleep_for(std::chrono::milliseconds(800));  // it is that late
  daemon().Signal(SIGCONT);
  const Finished run = listing.get();
  EXPECT_EQ(run.exit_code, 0) << run.err;
}

TEST_F(CommandLineTest, AModelIsLoadedListedRunAndUnloaded) {
  EXPECT_THAT(Cli({"load", File("digits.neff")}), HasSubstr("as model 10001"));
  const std::string table = Cli({"list-model"});
  EXPECT_THAT(table, AllOf(HasSubstr("10001"), HasSubstr("READY"), HasSubstr("UUID")));
  ExpectInfers("10001");
  const json models = CliJson({"list-model"})["models"];
  ASSERT_EQ(models.size(), 1U);
  EXPECT_EQ(models[0]["status"], "READY");
  EXPECT_EQ(models[0]["inferences_done"], 1);
  EXPECT_GT(models[0]["inferences_ns"], 0);
  EXPECT_EQ(models[0]["inputs"][0]["name"], "input:0");
  EXPECT_EQ(models[0]["outputs"][0]["shape"], (std::vector<int>{1, 10}));
  EXPECT_THAT(Cli({"unload", "10001"}), HasSubstr("10001"));
  const Finished again = Run("neuron-cli", {"unload", "10001"});
  EXPECT_EQ(again.exit_code, 1);
  EXPECT_EQ(again.err,
            "neuron-cli: unload: NERR_INVALID_HANDLE (3): Failed to find model: 10001\n");
}

TEST_F(CommandLineTest, AModelOfAGroupIsStartedAndStopped) {
  const json group = CliJson({"create-ncg", "--nc-count", "2"});
  EXPECT_EQ(group["nc_count"], 2);
  const std::string group_id = fmt::to_string(group["ncg_id"].get<uint32_t>());
  const std::string model = LoadModel({"--ncg-id", group_id, "--enable-direct-file-load"});
  EXPECT_THAT(Cli({"list-model"}), HasSubstr("STANDBY"));
  const Finished early =
      Run("neuron-cli", {"infer", model, "--input", "input:0=" + File("image.npy")});
  EXPECT_EQ(early.exit_code, 1);
  EXPECT_THAT(early.err, HasSubstr("start it first"));
  Cli({"start", model});
  ExpectInfers(model);
  const json listed = CliJson({"list-ncg"});
  EXPECT_EQ(listed["nc_count"], 4);
  ASSERT_EQ(listed["ncgs"].size(), 1U);
  EXPECT_EQ(listed["ncgs"][0]["nc_count"], 2);
  EXPECT_THAT(Cli({"list-ncg"}),
              AllOf(HasSubstr("Device count 1 NC count 4"), HasSubstr("Found 1 NCG's")));
  EXPECT_EQ(Run("neuron-cli", {"destroy-ncg", group_id}).exit_code, 1);
  Cli({"stop", model});
  Cli({"unload", model});
  Cli({"destroy-ncg", group_id});
  const Finished too_many = Run("neuron-cli", {"create-ncg", "--nc-count", "5"});
  EXPECT_EQ(too_many.exit_code, 1);
  EXPECT_THAT(too_many.err,
              HasSubstr("Requested number of NCs: 5 exceeds the total available number: 4"));
}

TEST_F(CommandLineTest, ResetFreesEverythingAndIsHarmlessTwice) {
  LoadModel();
  Cli({"create-ncg", "--nc-count", "1"});
  Cli({"reset"});
  EXPECT_TRUE(CliJson({"list-model"})["models"].empty());
  EXPECT_TRUE(CliJson({"list-ncg"})["ncgs"].empty());
  Cli({"reset"});
}

TEST_F(CommandLineTest, MistakesHaveOneLineAndExitCode1) {
  const std::string model = LoadModel();
  WriteText(File("bad.neff"), "no NEFF at all");
  const std::vector<std::pair<std::vector<std::string>, std::string>> mistakes = {
      {{"load", File("bad.neff")}, "Wrong NEFF file size"},
      {{"load", File("none.neff")}, "No such file"},
      {{"load", File("none.neff"), "--enable-direct-file-load"}, "it does not exist"},
      {{"load", File("digits.neff"), "--ncg-id", "9"}, "NERR_INVALID_HANDLE (3)"},
      {{"infer", "77"}, "Failed to find model: 77"},
      {{"infer", model}, "Wrong number of ifmaps, expected: 1, received: 0"},
      {{"start", "77"}, "Failed to find model: 77"},
  };
  for (const auto& [arguments, words] : mistakes) {
    const Finished run = Run("neuron-cli", arguments);
    EXPECT_EQ(run.exit_code, 1) << words;
    EXPECT_THAT(run.err, HasSubstr(words));
    EXPECT_EQ(std::count(run.err.begin(), run.err.end(), '\n'), 1) << run.err;
  }
  ExpectInfers(model);
}

TEST_F(CommandLineTest, ListClientsShowsWhoIsConnected) {
  const auto session = client().OpenSession();
  session->Read();
  const auto listed = CliJson({"list-clients"})["clients"];
  ASSERT_EQ(listed.size(), 2U);  // this process and the tool itself
  EXPECT_EQ(listed[0]["pid"], ::getpid());
  EXPECT_EQ(listed[0]["uid"], ::getuid());
  EXPECT_EQ(listed[0]["session_ids"].size(), 1U);
  EXPECT_THAT(Cli({"list-clients"}),
              AllOf(HasSubstr("CGROUP"), HasSubstr(std::to_string(::getpid()))));
}

TEST_F(CommandLineTest, DrainWaitsForTheLastSession) {
  auto session = client().OpenSession();
  session->Read();
  const Finished early = Run("neuron-cli", {"drain", "--timeout", "0.3"});
  EXPECT_EQ(early.exit_code, 1);
  EXPECT_THAT(early.err, HasSubstr("after 0.3 s the daemon still has session "));
  std::thread drain(
      [&] { EXPECT_EQ(Cli({"drain"}), "No session is open and no inference under way\n"); });
  session.reset();
  drain.join();
}

TEST_F(CommandLineTest, WaitReadySaysThatTheDeviceIsSimulated) {
  EXPECT_EQ(Cli({"wait-ready"}), address() + " answers: ok (SIMULATED device)\n");
}

TEST_F(CommandLineTest, TopShowsTheModelAndMarksTheSimulation) {
  LoadModel();
  const Finished run = Run("neuron-top", {"--once"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, AllOf(HasSubstr("1 total, 1 running"), HasSubstr("10001"),
                             HasSubstr("[SIMULATED inf1.xlarge]")));
  const Finished as_json = Run("neuron-top", {"--once", "--json"});
  EXPECT_EQ(as_json.exit_code, 0) << as_json.err;
  const json snapshot = json::parse(as_json.out);
  ASSERT_EQ(snapshot["devices"].size(), 1U);
  EXPECT_EQ(snapshot["devices"][0]["cores"].size(), 4U);
  EXPECT_EQ(snapshot["subgraphs"].size(), 1U);
}

TEST_F(CommandLineTest, WithoutItsDaemonAToolSaysSoAndExitsWith1) {
  client_.reset();
  ASSERT_EQ(daemon().Stop(), 0);
  daemon_.reset();
  for (const auto& [tool, argument] :
       {std::pair("neuron-cli", "list-model"), std::pair("neuron-top", "--once")}) {
    const Finished run = Run(tool, {argument});
    EXPECT_EQ(run.exit_code, 1);
    EXPECT_THAT(run.err, HasSubstr("no daemon answers at " + address()));
  }
}

}  // namespace
}  // namespace nrtd::integration
