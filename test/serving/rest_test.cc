// SPDX-License-Identifier: Apache-2.0
//
// The REST API of a real model server, beside a real daemon.
#include <algorithm>
#include <csignal>
#include <cstring>
#include <random>
#include <thread>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <fcntl.h>

#include "http/http_server.h"
#include "serving/rest/json.h"
#include "test/serving/model_server_fixture.h"

namespace nrtd::serving {
namespace {

namespace http = boost::beast::http;
using ::testing::HasSubstr;

// A port that was free a moment ago, below those that the system gives to whoever asks for any.
uint16_t FreePort() {
  constexpr uint16_t kFirst = 20'000;
  constexpr uint16_t kCount = 12'000;
  boost::asio::io_context context;
  std::random_device random;
  while (true) {
    const auto port = static_cast<uint16_t>(kFirst + random() % kCount);
    boost::asio::ip::tcp::acceptor acceptor(context);
    boost::system::error_code taken;
    acceptor.open(boost::asio::ip::tcp::v4());
    acceptor.bind({boost::asio::ip::tcp::v4(), port}, taken);
    if (!taken) return port;
  }
}

class RestTest : public ModelServerTest {
 protected:
  void SetUp() override {
    ModelServerTest::SetUp();
    if (IsSkipped()) return;
    Write("monitoring", "prometheus_config { enable: true }");
    port_ = FreePort();
    Restart({"--rest_api_port=" + std::to_string(port_),
             "--monitoring_config_file=" + File("monitoring")});
    ASSERT_TRUE(server_->AwaitLog("Exporting HTTP/REST API"));
  }
  struct Answer {
    unsigned code;
    std::string type;
    std::string body;
  };
  Answer Ask(http::verb verb, const std::string& target, const std::string& body = "",
             const std::string& encoding = "") {
    boost::asio::io_context context;
    boost::beast::tcp_stream stream(context);
    stream.expires_after(std::chrono::seconds(60));
    stream.connect(boost::asio::ip::tcp::endpoint(boost::asio::ip::address_v4::loopback(), port_));
    http::request<http::string_body> request(verb, target, 11);
    request.body() = body;
    if (!encoding.empty()) request.set(http::field::content_encoding, encoding);
    request.prepare_payload();
    boost::system::error_code ignored;  // an answer may come before all of a request was read
    http::write(stream, request, ignored);
    boost::beast::flat_buffer buffer;
    http::response<http::string_body> response;
    http::read(stream, buffer, response);
    return {response.result_int(), std::string(response[http::field::content_type]),
            response.body()};
  }
  // One row of the digits' images as a JSON array.
  std::string ImageText(size_t i) {
    const std::string bytes = digits().Input(i).at(0).second;
    std::string text = "[[";
    for (size_t at = 0; at < bytes.size(); at += sizeof(float)) {
      float value = 0;
      std::memcpy(&value, bytes.data() + at, sizeof(value));
      if (at > 0) text += at % (8 * sizeof(float)) == 0 ? "],[" : ",";
      text += fmt::format("{}", value);
    }
    return "[" + text + "]]]";
  }
  Answer AskForOneRow() {
    return Ask(http::verb::post, "/v1/models/digits:predict",
               "{\"instances\": [" + ImageText(0) + "]}");
  }
  void AwaitRunning(int requests) {
    const std::string gauge =
        fmt::format(":neuron:serving:queue_depth{{model_name=\"digits\"}} {}", requests);
    Await("they run", [&] {
      return Ask(http::verb::get, "/monitoring/prometheus/metrics").body.find(gauge) !=
             std::string::npos;
    });
  }
  // What is under way from now on is not answered.
  void StopTheDaemon() {
    daemon_->Signal(SIGSTOP);
    // Its threads go on until one of them is scheduled and sees the signal.
    const std::string status = "/proc/" + std::to_string(daemon_->pid()) + "/status";
    Await("it stops", [&] {
      std::ifstream file(status);
      const std::string text{std::istreambuf_iterator<char>(file), {}};
      return text.find("State:\tT") != std::string::npos;
    });
  }
  // And starts it again.
  void LoseTheDaemon() {
    daemon_->Signal(SIGKILL);
    EXPECT_EQ(daemon_->AwaitExit(), -1);
    StartDaemon();
  }

  uint16_t port_ = 0;
};

TEST_F(RestTest, PredictsRowsAndColumns) {
  tfs::PredictResponse same;
  ASSERT_TRUE(Predict(Request(2), &same).ok());
  const auto body = [&](const std::string& key) {
    return "{\"" + key + "\": [" + ImageText(0) + "," + ImageText(1) + "]}";
  };
  const Answer rows = Ask(http::verb::post, "/v1/models/digits:predict", body("instances"));
  EXPECT_EQ(rows.code, 200U) << rows.body;
  EXPECT_EQ(rows.type, "application/json");
  const auto predictions = nlohmann::json::parse(rows.body)["predictions"];
  ASSERT_EQ(predictions.size(), 2U);
  for (size_t row = 0; row < 2; ++row) {
    for (size_t i = 0; i < kScores; ++i) {
      EXPECT_EQ(predictions[row][i].get<float>(),
                same.outputs().at("scores").float_val(static_cast<int>(row * kScores + i)));
    }
  }
  const Answer columns =
      Ask(http::verb::post, "/v1/models/digits/versions/1:predict", body("inputs"));
  EXPECT_EQ(columns.code, 200U) << columns.body;
  EXPECT_EQ(nlohmann::json::parse(columns.body)["outputs"], predictions);
}

// They failed, though the daemon was back long before their deadline.
TEST_F(RestTest, RequestsUnderWayWhenTheDaemonIsLostRunAgain) {
  ExpectPredicts(1, 1);
  StopTheDaemon();
  std::thread by_grpc([this] { ExpectPredicts(2, 1); });
  std::thread by_rest([this] {
    const Answer rows = AskForOneRow();
    EXPECT_EQ(rows.code, 200U) << rows.body;
  });
  AwaitRunning(2);
  LoseTheDaemon();
  by_grpc.join();
  by_rest.join();
}

// A signature that is not the one that the request was checked against was run all the same.
TEST_F(RestTest, RequestsUnderWayAreRefusedWhenTheirSignatureChangesMeanwhile) {
  Compile(1, "predict", "1", "changed", "probabilities");
  ExpectPredicts(1, 1);
  StopTheDaemon();
  const std::string why =
      "Serving signature key \"serving_default\" changed when the model was loaded again.";
  std::thread by_grpc([&] {
    const grpc::Status status = StatusOf(Request(2));
    EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
    EXPECT_EQ(status.error_message(), why);
  });
  std::thread by_rest([&] {
    const Answer answer = AskForOneRow();
    EXPECT_EQ(answer.code, 400U) << answer.body;
    EXPECT_EQ(nlohmann::json::parse(answer.body)["error"], why);
  });
  AwaitRunning(2);
  // The version is always there, so that it is not unloaded.
  ASSERT_EQ(renameat2(AT_FDCWD, File("changed/1").c_str(), AT_FDCWD, File("digits/1").c_str(),
                      RENAME_EXCHANGE),
            0);
  LoseTheDaemon();
  by_grpc.join();
  by_rest.join();
}

TEST_F(RestTest, ClassifiesExamples) {
  Compile(2, "classify");
  auto second = Request(1);
  second.mutable_model_spec()->mutable_version()->set_value(2);
  AwaitServed(second);
  tfs::ClassificationRequest request;
  *request.mutable_model_spec() = second.model_spec();
  std::string examples;
  for (size_t i = 0; i < 3; ++i) {
    const std::string image = digits().Input(i).at(0).second;
    auto& feature = (*request.mutable_input()
                          ->mutable_example_list()
                          ->add_examples()
                          ->mutable_features()
                          ->mutable_feature())["image"];
    examples += i == 0 ? "{\"image\": [" : ", {\"image\": [";
    for (size_t at = 0; at < image.size(); at += sizeof(float)) {
      float value = 0;
      std::memcpy(&value, image.data() + at, sizeof(value));
      feature.mutable_float_list()->add_value(value);
      // With a point, or they are integers.
      examples += (at == 0 ? "" : ",") + DecimalText(value);
    }
    examples += "]}";
  }
  grpc::ClientContext context;
  tfs::ClassificationResponse response;
  const grpc::Status status = predictions_->Classify(&context, request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  const Answer answer =
      Ask(http::verb::post, "/v1/models/digits:classify", "{\"examples\": [" + examples + "]}");
  ASSERT_EQ(answer.code, 200U) << answer.body;
  const auto results = nlohmann::json::parse(answer.body)["results"];
  ASSERT_EQ(response.result().classifications_size(), 3);
  for (int i = 0; i < 3; ++i) {
    const auto& classes = response.result().classifications(i).classes();
    ASSERT_EQ(classes.size(), kScores);
    const auto best = std::max_element(
        classes.begin(), classes.end(),
        [](const tfs::Class& a, const tfs::Class& b) { return a.score() < b.score(); });
    EXPECT_EQ(best - classes.begin(), digits().labels[static_cast<size_t>(i)]) << "image " << i;
    EXPECT_EQ(results[static_cast<size_t>(i)][3][1].get<float>(), classes[3].score());
  }
}

TEST_F(RestTest, AnswersErrorsAsTheOriginal) {
  const Answer missing = Ask(http::verb::post, "/v1/models/half:predict", R"({"instances": [1]})");
  EXPECT_EQ(missing.code, 404U);
  EXPECT_EQ(missing.body, "{\n    \"error\": \"Servable not found for request: Latest(half)\"\n}");
  const Answer empty = Ask(http::verb::post, "/v1/models/digits:predict", "");
  EXPECT_EQ(empty.code, 400U);
  EXPECT_EQ(empty.body, "{\n    \"error\": \"JSON Parse error: The document is empty\"\n}");
  const Answer shape = Ask(http::verb::post, "/v1/models/digits:predict", R"({"instances": [1]})");
  EXPECT_EQ(shape.code, 400U);
  EXPECT_THAT(shape.body, HasSubstr("input 'image' has the shape [1]"));
  const Answer signature = Ask(http::verb::post, "/v1/models/digits:predict",
                               R"({"signature_name": "x", "instances": [1]})");
  EXPECT_EQ(
      signature.body,
      "{\n    \"error\": \"Serving signature name: \\\"x\\\" not found in signature def\"\n}");
  const Answer method = Ask(http::verb::put, "/v1/models/digits");
  EXPECT_EQ(method.code, 400U);
  EXPECT_THAT(method.body, HasSubstr("Malformed request: PUT /v1/models/digits"));
  EXPECT_EQ(Ask(http::verb::options, "/v1/models/digits").code, 501U);
  const Answer elsewhere = Ask(http::verb::get, "/index.html");
  EXPECT_EQ(elsewhere.code, 404U);
  EXPECT_EQ(elsewhere.type, "text/html");
  const Answer method_name =
      Ask(http::verb::post, "/v1/models/digits:classify", R"({"examples": [{"image": 1}]})");
  EXPECT_THAT(method_name.body,
              HasSubstr("Expected classification signature method_name to be "
                        "tensorflow/serving/classify. Was: tensorflow/serving/predict"));
}

// Texts with lines, or with characters that are escaped, once lost their ends.
TEST_F(RestTest, ErrorsKeepTheirLinesAndTheirEnds) {
  const Answer lines =
      Ask(http::verb::post, "/v1/models/digits:predict", R"({"instances": [{"b64": "AAAA"}]})");
  EXPECT_THAT(lines.body, HasSubstr(R"(JSON Value: {\n    \"b64\": \"AAAA\"\n})"));
  EXPECT_THAT(lines.body, HasSubstr("is not of expected type: float"));
  const Answer name = Ask(http::verb::get, "/v1/models/di%00gits");
  EXPECT_THAT(name.body, HasSubstr("Could not find any versions of model di"));
  EXPECT_THAT(name.body, HasSubstr("gits"));
}

TEST_F(RestTest, StatusAndMetadataAreTheOriginalsBytes) {
  EXPECT_EQ(Ask(http::verb::get, "/v1/models/digits").body, R"({
 "model_version_status": [
  {
   "version": "1",
   "state": "AVAILABLE",
   "status": {
    "error_code": "OK",
    "error_message": ""
   }
  }
 ]
}
)");
  const std::string metadata = Ask(http::verb::get, "/v1/models/digits/metadata").body;
  EXPECT_THAT(metadata, ::testing::StartsWith(R"({
"model_spec":{
 "name": "digits",
 "signature_name": "",
 "version": "1"
}
,
"metadata": {"signature_def": {
 "signature_def": {
  "serving_default": {
   "inputs": {
    "image": {
     "dtype": "DT_FLOAT",
     "tensor_shape": {
      "dim": [
       {
        "size": "-1",
        "name": ""
       },
)"));
  EXPECT_THAT(metadata, ::testing::EndsWith(R"(   "method_name": "tensorflow/serving/predict"
  }
 }
}
}
}
)"));
}

TEST_F(RestTest, MetricsCountRequests) {
  ExpectPredicts(1, 1);
  (void)Ask(http::verb::post, "/v1/models/unknown-name:predict", R"({"instances": [1]})");
  const Answer page = Ask(http::verb::get, "/monitoring/prometheus/metrics");
  EXPECT_EQ(page.code, 200U);
  EXPECT_EQ(page.type, "text/plain");
  EXPECT_THAT(page.body, HasSubstr(":tensorflow:serving:request_count{model_name=\"digits\","
                                   "status=\"OK\"} 1\n"));
  EXPECT_THAT(page.body, HasSubstr("entrypoint=\"GRPC\""));
  EXPECT_THAT(page.body, HasSubstr(":neuron:serving:queue_depth{model_name=\"digits\"} 0\n"));
  // Names that clients invent do not fill the server's memory.
  EXPECT_THAT(page.body, ::testing::Not(HasSubstr("unknown-name")));
  EXPECT_EQ(Ask(http::verb::get, "/monitoring/prometheus/metrics?x").code, 400U);
}

TEST_F(RestTest, WhatIsTooLargeIsRefusedAndOthersGoOn) {
  const std::string zeros(kMaxHttpBody + 1, ' ');
  EXPECT_EQ(Ask(http::verb::post, "/v1/models/digits:predict", zeros).code, 413U);
  ExpectPredicts(1, 1);
}

}  // namespace
}  // namespace nrtd::serving
