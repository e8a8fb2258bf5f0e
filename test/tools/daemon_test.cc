// SPDX-License-Identifier: Apache-2.0
//
// The client library on the wire.
#include "tools/client/daemon.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "test/tools/recording_daemon.h"

namespace nrtd::client {
namespace {

using testing::Answers;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::RecordingDaemon;
using testing::TemporaryFolder;
using Content = nrt::load_request::ContentCase;

// Differs from byte to byte and from chunk to chunk.
std::string Pattern(size_t size) {
  std::string bytes(size, '\0');
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>((i * 31 + i / 4093) % 251);
  return bytes;
}

std::vector<Content> Order(const std::vector<nrt::load_request>& requests) {
  std::vector<Content> order;
  for (const auto& request : requests) order.push_back(request.content_case());
  return order;
}

class LoadTest : public ::testing::Test {
 protected:
  LoadOptions File(const std::string& content) {
    LoadOptions options;
    options.neff_path = folder_.File("a.neff");
    EXPECT_TRUE(WriteFileAtomically(options.neff_path, AsBytes(content)).has_value());
    return options;
  }

  TemporaryFolder folder_;
};

TEST_F(LoadTest, StreamsInTheOrderOfThePlugin) {
  RecordingDaemon server({});
  auto daemon = Daemon::Connect(server.address());
  ASSERT_TRUE(daemon.has_value()) << daemon.error().text;
  const std::string neff = Pattern(2 * kMiB + 5);
  LoadOptions options = File(neff);
  options.group_id = 3;
  options.session_id = 77;
  options.ninfer = 5;
  options.timeout_s = 9;
  const auto id = daemon->Load(options);
  ASSERT_TRUE(id.has_value()) << id.error().text;
  EXPECT_EQ(*id, 10001u);

  const auto requests = server.LoadRequests();
  ASSERT_THAT(Order(requests), ElementsAre(Content::kHEg, Content::kSessionId, Content::kNeffSize,
                                           Content::kModelParams, Content::kNeffChunk,
                                           Content::kNeffChunk, Content::kNeffChunk));
  EXPECT_EQ(requests[0].h_eg().id(), 3u);
  EXPECT_EQ(requests[1].session_id(), 77u);
  EXPECT_EQ(requests[2].neff_size(), neff.size());
  EXPECT_EQ(requests[3].model_params().ninfer().data(), 5u);
  EXPECT_EQ(requests[3].model_params().timeout().data(), 9u);
  EXPECT_FALSE(requests[3].model_params().has_io_data_host());
  std::string received;
  for (size_t i = 4; i < 7; ++i) {
    EXPECT_LE(requests[i].neff_chunk().chunk().size(), kMiB);
    received += requests[i].neff_chunk().chunk();
  }
  EXPECT_TRUE(received == neff);
}

TEST_F(LoadTest, WithoutOptionsSendsOnlySizeParametersAndContent) {
  RecordingDaemon server({});
  auto daemon = Daemon::Connect(server.address()).value();
  ASSERT_TRUE(daemon.Load(File(Pattern(kMiB))).has_value());
  const auto requests = server.LoadRequests();
  ASSERT_THAT(Order(requests),
              ElementsAre(Content::kNeffSize, Content::kModelParams, Content::kNeffChunk));
  EXPECT_FALSE(requests[1].model_params().has_ninfer());
  EXPECT_FALSE(requests[1].model_params().has_timeout());
}

TEST_F(LoadTest, ByPathSendsTheAbsolutePathAndNoContent) {
  RecordingDaemon server({});
  auto daemon = Daemon::Connect(server.address()).value();
  LoadOptions options;
  options.neff_path = "some/../model.neff";
  options.by_path = true;
  ASSERT_TRUE(daemon.Load(options).has_value());
  const auto requests = server.LoadRequests();
  ASSERT_THAT(Order(requests), ElementsAre(Content::kModelParams, Content::kNeffFile));
  EXPECT_EQ(requests[1].neff_file(), (std::filesystem::current_path() / "model.neff").string());
}

TEST_F(LoadTest, AnAnswerBeforeTheEndOfTheStreamIsReported) {
  Answers answers;
  answers.status.set_code(9);
  answers.status.set_details("Insufficient number of VNCs: 1, required: 4");
  answers.load_messages_read = 1;
  RecordingDaemon server(answers);
  auto daemon = Daemon::Connect(server.address()).value();
  const auto id = daemon.Load(File(Pattern(64 * kMiB)));
  ASSERT_FALSE(id.has_value());
  EXPECT_EQ(id.error().code, Nerr::kResourceNc);
  EXPECT_EQ(id.error().text,
            "load: NERR_RESOURCE_NC (9): Insufficient number of VNCs: 1, required: 4");
}

TEST_F(LoadTest, FilesThatCannotBeSentFailBeforeTheCall) {
  RecordingDaemon server({});
  auto daemon = Daemon::Connect(server.address()).value();
  LoadOptions missing;
  missing.neff_path = folder_.File("missing.neff");
  EXPECT_THAT(daemon.Load(missing).error().text, HasSubstr("No such file"));
  EXPECT_THAT(daemon.Load(File("")).error().text, HasSubstr("is empty"));
  LoadOptions folder;
  folder.neff_path = "/";
  EXPECT_THAT(daemon.Load(folder).error().text, HasSubstr("not a regular file"));
  EXPECT_TRUE(server.LoadRequests().empty());
}

TEST(DaemonTest, HandsIdsToTheCallsOfTheContract) {
  RecordingDaemon server({});
  auto daemon = Daemon::Connect(server.address()).value();
  EXPECT_TRUE(daemon.Unload(10001).has_value());
  EXPECT_TRUE(daemon.Start(10002).has_value());
  EXPECT_TRUE(daemon.Stop(10003).has_value());
  EXPECT_EQ(daemon.CreateGroup(2).value().h_eg().id(), 7u);
  EXPECT_TRUE(daemon.DestroyGroup(7).has_value());
  EXPECT_TRUE(daemon.UnloadAll().has_value());
  EXPECT_THAT(server.Calls(), ElementsAre("unload 10001", "start 10002", "stop 10003",
                                          "create_eg 2", "destroy_eg 7", "unload_all"));
}

TEST(DaemonTest, ACodeBecomesAnErrorWithItsNameAlsoIfItsNumberIsNew) {
  Answers answers;
  answers.status.set_code(1234);
  RecordingDaemon server(answers);
  auto daemon = Daemon::Connect(server.address()).value();
  const auto result = daemon.UnloadAll();
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().text, "unload_all: NERR_1234 (1234)");
}

TEST(DaemonTest, OutputsComeWithNumericalErrors) {
  Answers answers;
  answers.status.set_code(1003);
  answers.infer = [](const nrt::infer_request&, nrt::infer_response& response) {
    response.add_ofmap()->set_buf("nan");
  };
  RecordingDaemon server(answers);
  auto daemon = Daemon::Connect(server.address()).value();
  nrt::infer_response response;
  const auto result = daemon.Infer({}, response);
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().code, Nerr::kInferCompletedWithNumErr);
  ASSERT_EQ(response.ofmap_size(), 1);
  EXPECT_EQ(response.ofmap(0).buf(), "nan");
}

TEST(DaemonTest, MessagesMayBeLargerThanGrpcsDefault) {
  Answers answers;
  answers.infer = [](const nrt::infer_request& request, nrt::infer_response& response) {
    *response.add_ofmap() = request.ifmap(0);
  };
  RecordingDaemon server(answers);
  auto daemon = Daemon::Connect(server.address()).value();
  nrt::infer_request request;
  request.add_ifmap()->set_buf(Pattern(9 * kMiB));
  nrt::infer_response response;
  ASSERT_TRUE(daemon.Infer(request, response).has_value());
  EXPECT_TRUE(response.ofmap(0).buf() == request.ifmap(0).buf());
}

TEST(DaemonTest, ADaemonWithoutControlServiceSaysSo) {
  RecordingDaemon server({}, /*with_control=*/false);
  auto daemon = Daemon::Connect(server.address()).value();
  EXPECT_EQ(daemon.ListNetworks().error().code, Nerr::kUnsupportedVersion);
  EXPECT_EQ(daemon.FindNetwork(10001).error().code, Nerr::kUnsupportedVersion);
}

TEST(DaemonTest, AnUnknownNetworkIsAnInvalidHandle) {
  Answers answers;
  answers.networks.add_networks()->set_id(10001);
  RecordingDaemon server(answers);
  auto daemon = Daemon::Connect(server.address()).value();
  EXPECT_EQ(daemon.FindNetwork(10001).value().id(), 10001u);
  EXPECT_EQ(daemon.FindNetwork(10002).error().code, Nerr::kInvalidHandle);
}

TEST(DaemonTest, NothingAtTheAddressFailsAtOnceWithTheReason) {
  const TemporaryFolder folder;
  const std::string address = "unix:" + folder.File("none.sock");
  ConnectOptions options;
  options.timeout = std::chrono::hours(1);  // were it to wait, the test would time out
  const auto daemon = Daemon::Connect(address, options);
  ASSERT_FALSE(daemon.has_value());
  EXPECT_EQ(daemon.error().text, "no daemon answers at " + address +
                                     ": No such file or directory; start neuron-rtd, or set -a or "
                                     "NEURON_RTD_ADDRESS");
}

TEST(DaemonTest, WaitingForADaemonEndsAtItsTimeout) {
  const TemporaryFolder folder;
  ConnectOptions options;
  options.timeout = std::chrono::milliseconds(50);
  options.wait_for_daemon = true;
  const auto daemon = Daemon::Connect("unix:" + folder.File("none.sock"), options);
  ASSERT_FALSE(daemon.has_value());
  EXPECT_EQ(daemon.error().code, Nerr::kTimeout);
  EXPECT_THAT(daemon.error().text, HasSubstr("within 0.05 s"));
}

}  // namespace
}  // namespace nrtd::client
