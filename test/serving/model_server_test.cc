// SPDX-License-Identifier: Apache-2.0
//
// tensorflow_model_server_neuron beside a real daemon, asked over TensorFlow Serving's API.
#include <algorithm>
#include <cstring>
#include <regex>

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include "proto/tensorflow_serving/services.grpc.pb.h"
#include "test/integration/daemon_test.h"
#include "test/tools/run_binary.h"

namespace nrtd::serving {
namespace {

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
      EXPECT_EQ(server_->Stop(), 0);
      if (HasFailure()) std::cerr << "The model server's log:\n" << server_->Log() << '\n';
    }
    DaemonTest::TearDown();
  }

  void Compile(int64_t version) {
    const auto compiled = nrtd::testing::RunBinary(
        "neuron-cc", {"compile", std::string(NRTD_SOURCE_DIR) + "/models/digits/digits.onnx",
                      "--fp32-cast", "none", "--saved-model", File("digits"), "--model-name",
                      "digits", "--model-version", std::to_string(version), "--signature-input",
                      "image=input:0", "--signature-output", "scores=output:0"});
    ASSERT_EQ(compiled.exit_code, 0) << compiled.err;
  }
  std::unique_ptr<DaemonProcess> StartProcess() {
    return std::make_unique<DaemonProcess>(
        std::vector<std::string>{"--port=0", "--model_name=digits",
                                 "--model_base_path=" + File("digits"),
                                 "--file_system_poll_wait_seconds=0.05"},
        std::vector<std::string>{"/usr/bin/env", "NEURON_RTD_ADDRESS=" + address()},
        "tensorflow_model_server_neuron");
  }
  void StartServer() {
    server_ = StartProcess();
    Connect();
  }
  void Connect() {
    ASSERT_TRUE(server_->AwaitLog("Running gRPC ModelServer at")) << server_->Log();
    const std::string log = server_->Log();
    std::smatch port;
    ASSERT_TRUE(std::regex_search(log, port, std::regex("ModelServer at 0.0.0.0:([0-9]+)")));
    const auto channel =
        grpc::CreateChannel("ipv4:127.0.0.1:" + port[1].str(), grpc::InsecureChannelCredentials());
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

  std::unique_ptr<DaemonProcess> server_;
  std::unique_ptr<tfs::PredictionService::Stub> predictions_;
  std::unique_ptr<tfs::ModelService::Stub> models_;
};

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

TEST_F(ModelServerTest, ItWaitsForADaemonThatIsNotThereYet) {
  EXPECT_EQ(server_->Stop(), 0);
  EXPECT_EQ(daemon_->Stop(), 0);
  server_ = StartProcess();
  ASSERT_TRUE(server_->AwaitLog("waiting for neuron-rtd"));
  StartDaemon();
  Connect();
  ExpectPredicts(1, 1);
}

TEST_F(ModelServerTest, ASignalEndsItAlsoWhileItWaits) {
  EXPECT_EQ(server_->Stop(), 0);
  EXPECT_EQ(daemon_->Stop(), 0);
  server_ = StartProcess();
  ASSERT_TRUE(server_->AwaitLog("waiting for neuron-rtd"));
  EXPECT_EQ(server_->Stop(), 0);
  server_.reset();
  StartDaemon();
}

}  // namespace
}  // namespace nrtd::serving
