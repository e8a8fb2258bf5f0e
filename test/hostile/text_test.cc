// SPDX-License-Identifier: Apache-2.0
//
// Names that clients choose reach the log, answers and tables escaped and cut: nobody can steer an
// operator's terminal, forge a line, or fill a disk with a small upload.
#include <algorithm>

#include "base/log.h"
#include "base/printable.h"
#include "test/hostile/hostile_test.h"
#include "test/neff/sample_neff.h"
#include "test/neff/tar_builder.h"
#include "test/runtime/neff_builder.h"
#include "test/tools/run_binary.h"

namespace nrtd::hostile {
namespace {

using integration::LoadMessages;

class TextTest : public HostileTest {
 protected:
  static constexpr size_t kMaxAnswer = 2 * kKiB;
  // Clears the screen, turns the text around, and begins a line that looks like the daemon's.
  static constexpr const char* kEvil = "\x1b[2J\xe2\x80\xae\nnrtd[1]: [NRTD:Main] forged";
  static constexpr const char* kEvilJson = R"(\u001b[2J\u202e\nnrtd[1]: [NRTD:Main] forged)";

  void TearDown() override {
    const std::string log = daemon().Log();
    EXPECT_LT(log.size(), 256 * kKiB);
    for (size_t at = 0; at < log.size();) {
      const size_t end = std::min(log.find('\n', at), log.size());
      const std::string_view line = std::string_view(log).substr(at, end - at);
      EXPECT_TRUE(IsPrintable(line)) << Printable(line);
      EXPECT_FALSE(line.starts_with("nrtd[1]"));
      EXPECT_LT(line.size(), kMaxLogLine + 100);
      at = end + 1;
    }
    HostileTest::TearDown();
  }

  template <typename Response>
  static void ExpectRefused(const Response& response) {
    EXPECT_NE(response.status().code(), 0);
    EXPECT_TRUE(IsPrintable(response.status().details())) << Printable(response.status().details());
    EXPECT_LT(response.status().details().size(), kMaxAnswer);
  }
  static std::string NeffWith(const std::string& path, const std::string& content) {
    auto files = neff::SampleFiles();
    files[path] = content;
    return integration::TextOf(neff::NeffOf(neff::MakeTarOf(files, {.gzip = true})));
  }
  static std::string KelfFor(const std::string& target) {
    return R"({"target": ")" + target +
           R"(", "graphs": [{"name": "a", "definition": "sg00/def.json"}]})";
  }
};

TEST_F(TextTest, NamesOfMegabytesInASmallUploadAreNotLogged) {
  const std::string name(55 * kMiB, 'A');
  for (const std::string& neff :
       {NeffWith("kelf-0.json", KelfFor(kEvilJson + name)), NeffWith("kelf-0.json", '"' + name),
        NeffWith("info.json", R"({")" + name + R"(": 1, "name": 3})"),
        NeffWith("neff.json", name)}) {
    EXPECT_LT(neff.size(), 200 * kKiB);
    ExpectRefused(client().Load(LoadMessages({.neff = neff})));
  }
}

TEST_F(TextTest, EscapesInNamesAreShownNotPassed) {
  ExpectRefused(client().Load(LoadMessages({.neff = NeffWith("kelf-0.json", KelfFor(kEvilJson))})));
  ExpectRefused(client().Load(
      LoadMessages({.neff = NeffWith("sg00/def.json",
                                     R"({"var": {")" + std::string(kEvilJson) + R"(": 1}})")})));
  ExpectRefused(client().Load(integration::LoadFileMessages(kEvil)));
  ExpectRefused(client().Load(integration::LoadFileMessages(std::string(1 * kMiB, 'a') + kEvil)));
}

TEST_F(TextTest, ANetworksNameCannotSteerATerminal) {
  const std::string neff =
      integration::TextOf(runtime::PipelineNeff({.name = kEvil + std::string(100, 'n')}));
  ASSERT_NE(Load({.neff = neff}), 0U);
  const v1::ListNetworksResponse networks = client().ListNetworks();
  ASSERT_EQ(networks.networks_size(), 1);
  EXPECT_TRUE(IsPrintable(networks.networks(0).name()));
  for (const char* json : {"", "--json"}) {
    std::vector<std::string> arguments = {"-a", address(), "list-model"};
    if (*json != '\0') arguments.emplace_back(json);
    const auto ran = testing::RunBinary("neuron-cli", arguments);
    EXPECT_EQ(ran.exit_code, 0) << ran.err;
    EXPECT_EQ(ran.out.find('\x1b'), std::string::npos) << Printable(ran.out);
    EXPECT_EQ(ran.out.find("\nnrtd[1]"), std::string::npos);
  }
}

TEST_F(TextTest, ASessionsFrameworkNameIsCutWhenItIsKept) {
  const auto session = client().OpenSession();
  (void)session->Read();
  nrt::session_monitor_request request;
  request.set_framework_name(kEvil + std::string(3 * kMiB, 'f'));
  request.mutable_framework_version()->set_full_version(std::string(1 * kMiB, 'v') + kEvil);
  session->Write(request);
  v1::Session shown;
  Await("the session's framework is known", [&] {
    const v1::ListSessionsResponse sessions = client().ListSessions();
    if (sessions.sessions_size() == 1) shown = sessions.sessions(0);
    return !shown.framework_name().empty();
  });
  EXPECT_TRUE(IsPrintable(shown.framework_name()));
  EXPECT_LT(shown.framework_name().size(), 300U);
  EXPECT_LT(shown.framework_version().full_version().size(), 300U);
}

TEST_F(TextTest, NamesInRequestsComeBackShortAndPrintable) {
  const uint32_t network = Load({.neff = digits_neff()});
  const std::string name = kEvil + std::string(1 * kMiB, 't');
  ExpectRefused(client().Infer(integration::InferRequest(network, {{name, digits().images[0]}})));
  nrt::infer_request shared;
  shared.mutable_h_nn()->set_id(network);
  *shared.add_ifmap() = integration::SharedTensor("input:0", '/' + name);
  ExpectRefused(client().Infer(shared));
  nrt::shm_map_request map;
  map.set_path('/' + name);
  ExpectRefused(client().Map(map));
  map.set_path(kEvil);
  ExpectRefused(client().Map(map));
  ExpectRefused(client().Unmap(name));
  ExpectReads(network);
}

TEST_F(TextTest, OneClientCannotFloodTheLog) {
  for (int i = 0; i < 1500; ++i) (void)client().Load(LoadMessages({.neff = "not a NEFF"}));
  const std::string log = daemon().Log();
  EXPECT_LT(std::count(log.begin(), log.end(), '\n'), 1000);
}

}  // namespace
}  // namespace nrtd::hostile
