// SPDX-License-Identifier: Apache-2.0
//
// tensorflow_model_server_neuron beside a real daemon, asked over TensorFlow Serving's API.
#include <algorithm>
#include <cstring>
#include <fstream>
#include <regex>
#include <sstream>
#include <thread>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "http/http_server.h"
#include "proto/tensorflow_serving/config.pb.h"
#include "proto/tensorflow_serving/services.grpc.pb.h"
#include "serving/rest/json.h"
#include "test/integration/daemon_test.h"
#include "test/must.h"
#include "test/tools/run_binary.h"

namespace nrtd::serving {
namespace {

namespace http = boost::beast::http;
namespace tfs = ::tensorflow::serving;
using grpc::StatusCode;
using integration::DaemonProcess;
using ::testing::HasSubstr;

constexpr int64_t kScores = 10;

class ModelServerTest : public integration::DaemonTest {
 protected:
  void SetUp() override {
    DaemonTest::SetUp();
    if (IsSkipped()) return;
    Compile(1);
    StartServer();
  }
  void TearDown() override {
    if (server_) {
      StopServer();
      if (HasFailure()) std::cerr << "The model server's log:\n" << server_->Log() << '\n';
    }
    DaemonTest::TearDown();
  }

  void Compile(int64_t version, const std::string& method = "predict") {
    const auto compiled = nrtd::testing::RunBinary(
        "neuron-cc",
        {"compile", std::string(NRTD_SOURCE_DIR) + "/models/digits/digits.onnx", "--fp32-cast",
         "none", "--saved-model", File("digits"), "--model-name", "digits", "--model-version",
         std::to_string(version), "--signature-input", "image=input:0", "--signature-output",
         "scores=output:0", "--signature-method", method});
    ASSERT_EQ(compiled.exit_code, 0) << compiled.err;
  }
  std::unique_ptr<DaemonProcess> StartProcess() {
    std::vector<std::string> arguments{"--port=0", "--file_system_poll_wait_seconds=0.05"};
    if (config_file_.empty()) {
      arguments.push_back("--model_name=digits");
      arguments.push_back("--model_base_path=" + File("digits"));
    }
    arguments.insert(arguments.end(), more_flags_.begin(), more_flags_.end());
    return std::make_unique<DaemonProcess>(
        arguments, std::vector<std::string>{"/usr/bin/env", "NEURON_RTD_ADDRESS=" + address()},
        "tensorflow_model_server_neuron");
  }
  void StartServer() {
    server_ = StartProcess();
    Connect();
  }
  // Without clients: an idle one answers a server that says goodbye only after seconds.
  void StopServer() {
    predictions_.reset();
    models_.reset();
    EXPECT_EQ(server_->Stop(), 0);
  }
  void Restart(const std::vector<std::string>& more_flags) {
    StopServer();
    more_flags_ = more_flags;
    StartServer();
  }
  void Write(const std::string& name, const std::string& text) {
    std::ofstream(File(name)) << text;
  }
  void Connect(const std::shared_ptr<grpc::ChannelCredentials>& credentials =
                   grpc::InsecureChannelCredentials()) {
    ASSERT_TRUE(server_->AwaitLog("Running gRPC ModelServer at")) << server_->Log();
    const std::string log = server_->Log();
    std::smatch port;
    ASSERT_TRUE(std::regex_search(log, port, std::regex("ModelServer at 0.0.0.0:([0-9]+)")));
    const auto channel = grpc::CreateChannel("ipv4:127.0.0.1:" + port[1].str(), credentials);
    predictions_ = tfs::PredictionService::NewStub(channel);
    models_ = tfs::ModelService::NewStub(channel);
  }

  // Rows of the digits' images.
  tfs::PredictRequest Request(size_t rows) {
    tfs::PredictRequest request;
    request.mutable_model_spec()->set_name("digits");
    tensorflow::TensorProto& input = (*request.mutable_inputs())["image"];
    input.set_dtype(tensorflow::DT_FLOAT);
    for (const int64_t size : {static_cast<int64_t>(rows), int64_t{1}, int64_t{8}, int64_t{8}})
      input.mutable_tensor_shape()->add_dim()->set_size(size);
    for (size_t i = 0; i < rows; ++i)
      *input.mutable_tensor_content() += digits().Input(i).at(0).second;
    return request;
  }
  grpc::Status Predict(const tfs::PredictRequest& request, tfs::PredictResponse* response) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
    return predictions_->Predict(&context, request, response);
  }
  // Which digit each row shows, as its largest score says.
  std::vector<int64_t> DigitsOf(const tfs::PredictResponse& response) {
    const auto& scores = response.outputs().at("scores").float_val();
    std::vector<int64_t> shown;
    for (auto row = scores.begin(); row != scores.end(); row += kScores)
      shown.push_back(std::max_element(row, row + kScores) - row);
    return shown;
  }
  void ExpectPredicts(size_t rows, int64_t version) {
    tfs::PredictResponse response;
    const grpc::Status status = Predict(Request(rows), &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(response.model_spec().version().value(), version);
    const std::vector<int64_t> shown = DigitsOf(response);
    ASSERT_EQ(shown.size(), rows);
    for (size_t i = 0; i < rows; ++i) EXPECT_EQ(shown[i], digits().labels[i]) << "image " << i;
  }
  grpc::Status StatusOf(const tfs::PredictRequest& request) {
    tfs::PredictResponse response;
    return Predict(request, &response);
  }

  // Until the request is answered.
  void AwaitServed(const tfs::PredictRequest& request) {
    for (int i = 0; i < 10'000 && !StatusOf(request).ok(); ++i) {
    }
    EXPECT_TRUE(StatusOf(request).ok());
  }

  std::vector<std::string> more_flags_;
  std::string config_file_;
  std::unique_ptr<DaemonProcess> server_;
  std::unique_ptr<tfs::PredictionService::Stub> predictions_;
  std::unique_ptr<tfs::ModelService::Stub> models_;
};

// A port that was free a moment ago.
uint16_t FreePort() {
  boost::asio::io_context context;
  boost::asio::ip::tcp::acceptor acceptor(context, {boost::asio::ip::tcp::v4(), 0});
  return acceptor.local_endpoint().port();
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

TEST_F(ModelServerTest, BatchesRequestsThatComeTogether) {
  Write("batching",
        "max_batch_size { value: 8 } batch_timeout_micros { value: 20000 } "
        "num_batch_threads { value: 2 }");
  Restart({"--enable_batching", "--batching_parameters_file=" + File("batching")});
  std::vector<std::thread> clients;
  for (int i = 0; i < 6; ++i) {
    clients.emplace_back([&] {
      for (size_t rows = 1; rows < 5; ++rows) ExpectPredicts(rows, 1);
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(StatusOf(Request(9)).error_message(),
            "Task size 9 is larger than maximum batch size 8");
}

TEST_F(ModelServerTest, ReloadsItsModels) {
  Compile(2);
  const auto config = [&](const std::string& policy) {
    return "model_config_list { config { name: 'digits' base_path: '" + File("digits") +
           "' model_platform: 'tensorflow' " + policy + " } }";
  };
  Write("models", config("model_version_policy { all {} }"));
  config_file_ = File("models");
  Restart({"--model_config_file=" + File("models"), "--model_config_file_poll_wait_seconds=0.05"});
  auto old = Request(1);
  old.mutable_model_spec()->mutable_version()->set_value(1);
  AwaitServed(old);
  // By the call.
  const auto reload = [&](const std::string& text) {
    tfs::ReloadConfigRequest request;
    tfs::ReloadConfigResponse response;
    EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, request.mutable_config()));
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
    return models_->HandleReloadConfigRequest(&context, request, &response);
  };
  Write("models",
        config("model_version_policy { all {} } version_labels { key: 'stable' value: 1 }"));
  auto stable = Request(1);
  stable.mutable_model_spec()->set_version_label("stable");
  AwaitServed(stable);
  tfs::PredictResponse response;
  ASSERT_TRUE(Predict(stable, &response).ok());
  EXPECT_EQ(response.model_spec().version().value(), 1);
  EXPECT_EQ(reload("custom_model_config {}").error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(reload("model_config_list { config { name: 'digits' base_path: 'relative' } }")
                .error_message(),
            "Expected model digits to have an absolute path or URI; got base_path()=relative");
  EXPECT_EQ(reload(config("version_labels { key: 'next' value: 7 }")).error_code(),
            StatusCode::FAILED_PRECONDITION);
  ExpectPredicts(1, 2);
  // A model that was taken away is not waited for.
  EXPECT_TRUE(reload("model_config_list {}").ok());
  EXPECT_TRUE(reload("model_config_list {}").ok());
  EXPECT_EQ(StatusOf(Request(1)).error_code(), StatusCode::NOT_FOUND);
}

TEST_F(ModelServerTest, PredictsByTls) {
  const auto make = nrtd::testing::RunBinary(
      "/usr/bin/openssl", {"req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", File("key"),
                           "-out", File("certificate"), "-days", "1", "-subj", "/CN=localhost",
                           "-addext", "subjectAltName=IP:127.0.0.1"});
  ASSERT_EQ(make.exit_code, 0) << make.err;
  tfs::SSLConfig config;
  config.set_server_key(Must(ReadTextFile(File("key"))));
  config.set_server_cert(Must(ReadTextFile(File("certificate"))));
  std::string text;
  ASSERT_TRUE(google::protobuf::TextFormat::PrintToString(config, &text));
  Write("ssl", text);
  Restart({"--ssl_config_file=" + File("ssl")});
  EXPECT_FALSE(StatusOf(Request(1)).ok());
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = config.server_cert();
  Connect(grpc::SslCredentials(options));
  ExpectPredicts(2, 1);
}

TEST_F(ModelServerTest, AModelThatCannotBeLoadedEndsTheStartAsTheOriginalDoes) {
  StopServer();
  Write("digits/1/saved_model.pb", "no message");
  more_flags_ = {"--max_num_load_retries=0"};
  server_ = StartProcess();
  EXPECT_EQ(server_->AwaitExit(), 255);
  EXPECT_THAT(server_->Log(), HasSubstr("Failed to start server. Error: "));
  EXPECT_THAT(server_->Log(), HasSubstr("1 servable(s) did not become available: {{{name: digits "
                                        "version: 1} due to error: "));
  server_.reset();
}

TEST_F(ModelServerTest, PredictsOneRowAndMany) {
  ExpectPredicts(1, 1);
  ExpectPredicts(7, 1);
}

TEST_F(ModelServerTest, TheResponseIsAsTheOriginals) {
  tfs::PredictResponse response;
  ASSERT_TRUE(Predict(Request(1), &response).ok());
  EXPECT_EQ(response.model_spec().name(), "digits");
  EXPECT_EQ(response.model_spec().signature_name(), "serving_default");
  const tensorflow::TensorProto& scores = response.outputs().at("scores");
  EXPECT_EQ(scores.dtype(), tensorflow::DT_FLOAT);
  EXPECT_EQ(scores.float_val_size(), kScores);
  EXPECT_TRUE(scores.tensor_content().empty());
}

TEST_F(ModelServerTest, WrongRequestsGetTheOriginalsWords) {
  auto other = Request(1);
  other.mutable_model_spec()->set_name("letters");
  EXPECT_EQ(StatusOf(other).error_code(), StatusCode::NOT_FOUND);
  EXPECT_EQ(StatusOf(other).error_message(), "Servable not found for request: Latest(letters)");
  auto version = Request(1);
  version.mutable_model_spec()->mutable_version()->set_value(9);
  EXPECT_EQ(StatusOf(version).error_message(),
            "Servable not found for request: Specific(digits, 9)");
  auto signature = Request(1);
  signature.mutable_model_spec()->set_signature_name("other");
  EXPECT_EQ(StatusOf(signature).error_code(), StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(StatusOf(signature).error_message(), "Serving signature key \"other\" not found.");
  auto key = Request(1);
  (*key.mutable_inputs())["picture"] = key.inputs().at("image");
  key.mutable_inputs()->erase("image");
  EXPECT_EQ(StatusOf(key).error_message(),
            "input tensor alias not found in signature: picture. Inputs expected to be in the set "
            "{image}.");
  auto more = Request(1);
  (*more.mutable_inputs())["picture"] = more.inputs().at("image");
  EXPECT_EQ(StatusOf(more).error_message(),
            "input size does not match signature: 2!=1 len({image,picture}) != len({image}). Sent "
            "extra: {picture}. Missing but required: {}.");
  auto output = Request(1);
  output.add_output_filter("words");
  EXPECT_EQ(StatusOf(output).error_message(),
            "output tensor alias not found in signature: words Outputs expected to be in the set "
            "{scores}.");
  auto type = Request(1);
  (*type.mutable_inputs())["image"].set_dtype(tensorflow::DT_INT32);
  EXPECT_EQ(StatusOf(type).error_message(), "Expects arg[0] to be float but int32 is provided");
  auto shape = Request(1);
  (*shape.mutable_inputs())["image"].mutable_tensor_shape()->mutable_dim(3)->set_size(9);
  EXPECT_EQ(StatusOf(shape).error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(StatusOf({}).error_message(), "Missing ModelSpec");
  auto nameless = Request(1);
  nameless.mutable_model_spec()->clear_name();
  EXPECT_EQ(StatusOf(nameless).error_message(), "ModelSpec has no name specified.");
  ExpectPredicts(1, 1);
}

TEST_F(ModelServerTest, MetadataAndStatusSayWhatIsServed) {
  grpc::ClientContext context;
  tfs::GetModelMetadataRequest request;
  request.mutable_model_spec()->set_name("digits");
  request.add_metadata_field("signature_def");
  tfs::GetModelMetadataResponse metadata;
  ASSERT_TRUE(predictions_->GetModelMetadata(&context, request, &metadata).ok());
  tfs::SignatureDefMap signatures;
  ASSERT_TRUE(metadata.metadata().at("signature_def").UnpackTo(&signatures));
  const auto& signature = signatures.signature_def().at("serving_default");
  EXPECT_EQ(signature.inputs().at("image").dtype(), tensorflow::DT_FLOAT);
  grpc::ClientContext status_context;
  tfs::GetModelStatusRequest status_request;
  status_request.mutable_model_spec()->set_name("digits");
  tfs::GetModelStatusResponse status;
  ASSERT_TRUE(models_->GetModelStatus(&status_context, status_request, &status).ok());
  ASSERT_EQ(status.model_version_status_size(), 1);
  EXPECT_EQ(status.model_version_status(0).state(), tfs::ModelVersionStatus::AVAILABLE);
}

// While requests go on.
TEST_F(ModelServerTest, ANewVersionTakesOverWithoutAFailedRequest) {
  Compile(2);
  int64_t version = 1;
  for (int i = 0; i < 10'000 && version == 1; ++i) {
    tfs::PredictResponse response;
    const grpc::Status status = Predict(Request(1), &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
    version = response.model_spec().version().value();
  }
  ExpectPredicts(3, 2);
}

// Requests wait for it within their deadline.
TEST_F(ModelServerTest, ADaemonThatWasAwayIsLoadedAnew) {
  ExpectPredicts(1, 1);
  daemon_->Signal(SIGKILL);
  (void)daemon_->AwaitExit();
  ASSERT_TRUE(server_->AwaitLog("waiting for neuron-rtd"));
  tfs::PredictResponse response;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(50));
  EXPECT_EQ(predictions_->Predict(&context, Request(1), &response).error_code(),
            StatusCode::DEADLINE_EXCEEDED);
  StartDaemon();
  ExpectPredicts(3, 1);
}

// Who waits for a model without a deadline once kept the server from ending.
TEST_F(ModelServerTest, ASignalEndsItAlsoWhileRequestsWaitForTheDaemon) {
  daemon_->Signal(SIGKILL);
  (void)daemon_->AwaitExit();
  ASSERT_TRUE(server_->AwaitLog("waiting for neuron-rtd"));
  std::thread waiting([&] {
    grpc::ClientContext context;
    tfs::PredictResponse response;
    EXPECT_EQ(predictions_->Predict(&context, Request(1), &response).error_code(),
              StatusCode::UNAVAILABLE);
  });
  EXPECT_EQ(server_->Stop(), 0);
  waiting.join();
  predictions_.reset();
  models_.reset();
  server_.reset();
  StartDaemon();
}

TEST_F(ModelServerTest, ItWaitsForADaemonThatIsNotThereYet) {
  StopServer();
  EXPECT_EQ(daemon_->Stop(), 0);
  server_ = StartProcess();
  ASSERT_TRUE(server_->AwaitLog("waiting for neuron-rtd"));
  StartDaemon();
  Connect();
  ExpectPredicts(1, 1);
}

TEST_F(ModelServerTest, ASignalEndsItAlsoWhileItWaits) {
  StopServer();
  EXPECT_EQ(daemon_->Stop(), 0);
  server_ = StartProcess();
  ASSERT_TRUE(server_->AwaitLog("waiting for neuron-rtd"));
  EXPECT_EQ(server_->Stop(), 0);
  server_.reset();
  StartDaemon();
}

}  // namespace
}  // namespace nrtd::serving
