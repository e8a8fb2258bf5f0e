// SPDX-License-Identifier: Apache-2.0
//
// tensorflow_model_server_neuron beside a real daemon, with a network for handwritten digits.
#pragma once

#include <algorithm>
#include <fstream>
#include <memory>
#include <optional>
#include <regex>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include "proto/tensorflow_serving/services.grpc.pb.h"
#include "test/integration/daemon_test.h"
#include "test/tools/run_binary.h"

namespace nrtd::serving {

namespace tfs = ::tensorflow::serving;

inline constexpr int64_t kScores = 10;

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

  void Compile(int64_t version, const std::string& method = "predict",
               const std::string& batches = "1", const std::string& folder = "digits",
               const std::string& output = "scores") {
    const auto compiled = nrtd::testing::RunBinary(
        "neuron-cc",
        {"compile", "--batch-sizes", batches,
         std::string(NRTD_SOURCE_DIR) + "/models/digits/digits.onnx", "--fp32-cast", "none",
         "--saved-model", File(folder), "--model-name", "digits", "--model-version",
         std::to_string(version), "--signature-input", "image=input:0", "--signature-output",
         output + "=output:0", "--signature-method", method});
    ASSERT_EQ(compiled.exit_code, 0) << compiled.err;
  }
  std::unique_ptr<integration::DaemonProcess> StartProcess() {
    std::vector<std::string> arguments{"--port=0", "--file_system_poll_wait_seconds=0.05"};
    if (has_models_file_) {
      arguments.push_back("--model_config_file=" + File("models"));
    } else {
      arguments.push_back("--model_name=digits");
      arguments.push_back("--model_base_path=" + File("digits"));
    }
    arguments.insert(arguments.end(), more_flags_.begin(), more_flags_.end());
    std::vector<std::string> program{"/usr/bin/env", "NEURON_RTD_ADDRESS=" + address(),
                                     "NEURONCORE_GROUP_SIZES=" + group_sizes_};
    program.insert(program.end(), environment_.begin(), environment_.end());
    return std::make_unique<integration::DaemonProcess>(arguments, program,
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
  // A configuration of the digits alone.
  std::string Models(const std::string& more) {
    return "model_config_list { config { name: 'digits' base_path: '" + File("digits") +
           "' model_platform: 'tensorflow' " + more + " } }";
  }
  void RestartWithModels(const std::string& models, const std::vector<std::string>& more_flags) {
    has_models_file_ = true;
    Write("models", models);
    Restart(more_flags);
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

  // Rows of the digits' images; without a version: for the one that is served by default.
  tfs::PredictRequest Request(size_t rows, std::optional<int64_t> version = std::nullopt) {
    tfs::PredictRequest request;
    request.mutable_model_spec()->set_name("digits");
    if (version) request.mutable_model_spec()->mutable_version()->set_value(*version);
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
  std::string group_sizes_;
  std::vector<std::string> environment_;  // more of it, as NAME=VALUE
  bool has_models_file_ = false;          // "models" instead of the flags for one model
  std::unique_ptr<integration::DaemonProcess> server_;
  std::unique_ptr<tfs::PredictionService::Stub> predictions_;
  std::unique_ptr<tfs::ModelService::Stub> models_;
};

}  // namespace nrtd::serving
