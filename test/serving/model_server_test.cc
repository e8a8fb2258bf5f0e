// SPDX-License-Identifier: Apache-2.0
//
// tensorflow_model_server_neuron beside a real daemon, asked over TensorFlow Serving's API.
#include <atomic>
#include <filesystem>
#include <future>
#include <map>
#include <thread>

#include <google/protobuf/text_format.h>

#include "base/file.h"
#include "proto/tensorflow_serving/config.pb.h"
#include "test/must.h"
#include "test/serving/model_server_fixture.h"
#include "tools/client/daemon.h"

namespace nrtd::serving {
namespace {

using grpc::StatusCode;
using ::testing::HasSubstr;
using ::testing::Not;

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

int ThreadsOf(int pid) {
  return static_cast<int>(
      std::distance(std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task"),
                    std::filesystem::directory_iterator()));
}

// There is room for two at once; the others wait without a thread.
TEST_F(ModelServerTest, ManyRequestsAtOnceTakeNoThreads) {
  ExpectPredicts(1, 1);
  const int before = ThreadsOf(server_->pid());
  std::vector<std::thread> clients;
  std::atomic<int> running{64};
  for (int i = 0; i < 64; ++i) {
    clients.emplace_back([&] {
      for (int round = 0; round < 20; ++round) ExpectPredicts(1, 1);
      --running;
    });
  }
  int most = 0;
  while (running > 0) most = std::max(most, ThreadsOf(server_->pid()));
  for (std::thread& client : clients) client.join();
  EXPECT_LE(most, before + 8);
}

TEST_F(ModelServerTest, RunsEachRequestOnTheSizesThatFitIt) {
  Compile(2, "predict", "1,4");
  AwaitServed(Request(1, 2));
  for (size_t rows = 1; rows < 10; ++rows) ExpectPredicts(rows, 2);
  std::map<uint32_t, uint64_t> runs;  // by compiled size
  auto asked = Must(client::Daemon::Connect(address()));
  const auto listed = Must(asked.ListNetworks());
  for (const auto& network : listed.networks())
    runs[network.inputs(0).batch()] += network.inferences_done();
  EXPECT_EQ(runs[4], 0 + 0 + 1 + 1 + 1 + 1 + 2 + 2 + 2);
  EXPECT_GE(runs[1], 1 + 2 + 0 + 0 + 1 + 2 + 0 + 0 + 1);  // and of the request that was waited for
}

TEST_F(ModelServerTest, NetworksThatShareACoreTakeTurns) {
  Compile(2, "predict", "1,4");
  group_sizes_ = "1";
  RestartWithModels(Models("model_version_policy { all {} }"), {});
  AwaitServed(Request(1, 1));
  AwaitServed(Request(1, 2));
  EXPECT_THAT(server_->Log(), HasSubstr("no room for a batch of 4, which is left out"));
  std::vector<std::thread> clients;
  for (const int64_t version : {1, 2, 1, 2}) {
    clients.emplace_back([&, version] {
      for (int i = 0; i < 50; ++i) {
        const grpc::Status status = StatusOf(Request(1, version));
        EXPECT_TRUE(status.ok()) << status.error_message();
      }
    });
  }
  for (std::thread& client : clients) client.join();
}

TEST_F(ModelServerTest, AVersionThatWentLeavesItsCores) {
  for (int64_t version = 2; version < 7; ++version) {
    Compile(version, "predict", "1,4");
    AwaitServed(Request(1, version));
    ASSERT_TRUE(server_->AwaitLog(fmt::format("version {} is not served any more", version - 1)));
  }
  EXPECT_THAT(server_->Log(), Not(HasSubstr("is left out")));
}

TEST_F(ModelServerTest, ReloadsItsModelsByTheFile) {
  Compile(2);
  RestartWithModels(Models("model_version_policy { all {} }"),
                    {"--model_config_file_poll_wait_seconds=0.05"});
  AwaitServed(Request(1, 1));
  Write("models",
        Models("model_version_policy { all {} } version_labels { key: 'stable' value: 1 }"));
  auto stable = Request(1);
  stable.mutable_model_spec()->set_version_label("stable");
  AwaitServed(stable);
  tfs::PredictResponse response;
  ASSERT_TRUE(Predict(stable, &response).ok());
  EXPECT_EQ(response.model_spec().version().value(), 1);
}

TEST_F(ModelServerTest, ReloadsItsModelsByTheCall) {
  Compile(2);
  RestartWithModels(Models("model_version_policy { all {} }"), {});
  const auto reload = [&](const std::string& text) {
    tfs::ReloadConfigRequest request;
    tfs::ReloadConfigResponse response;
    EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, request.mutable_config()));
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
    return models_->HandleReloadConfigRequest(&context, request, &response);
  };
  EXPECT_EQ(reload("custom_model_config {}").error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(reload("model_config_list { config { name: 'digits' base_path: 'relative' } }")
                .error_message(),
            "Expected model digits to have an absolute path or URI; got base_path()=relative");
  EXPECT_EQ(reload(Models("version_labels { key: 'next' value: 7 }")).error_code(),
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
  grpc::ClientContext context;
  const tfs::PredictRequest request = Request(1);
  tfs::PredictResponse response;
  std::promise<grpc::Status> answered;
  predictions_->async()->Predict(&context, &request, &response,
                                 [&](const grpc::Status& status) { answered.set_value(status); });
  // It has come when a later one on the same connection is answered.
  grpc::ClientContext later;
  tfs::GetModelStatusRequest asked;
  asked.mutable_model_spec()->set_name("digits");
  tfs::GetModelStatusResponse known;
  ASSERT_TRUE(models_->GetModelStatus(&later, asked, &known).ok());
  EXPECT_EQ(server_->Stop(), 0);
  EXPECT_EQ(answered.get_future().get().error_code(), StatusCode::UNAVAILABLE);
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
