// SPDX-License-Identifier: Apache-2.0
#include "serving/service/grpc_services.h"

#include <algorithm>
#include <chrono>

#include "proto/tensorflow_serving/services.pb.h"
#include "rpc/unary_call.h"

namespace nrtd::serving {
namespace {

namespace tfs = ::tensorflow::serving;

// The linker drops generated code that nothing refers to.
[[gnu::used]] const void* const linked =
    &descriptor_table_proto_2ftensorflow_5fserving_2fservices_2eproto;

// For calls that may wait: the queue is handed over before they are handled.
constexpr size_t kNeverShort = 0;

// Limits the wait of clients that set no deadline.
TimePoint DeadlineOf(const grpc::ServerContext& context) {
  constexpr std::chrono::system_clock::duration kLongest = std::chrono::hours(24);
  return std::chrono::steady_clock::now() +
         std::min(context.deadline() - std::chrono::system_clock::now(), kLongest);
}

}  // namespace

std::vector<std::string> GrpcServices::Names() {
  return {"tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"};
}

void GrpcServices::Serve(rpc::CallQueue& queue) {
  using rpc::UnaryCall;
  using PredictCall = UnaryCall<tfs::PredictRequest, tfs::PredictResponse>;
  using ClassifyCall = UnaryCall<tfs::ClassificationRequest, tfs::ClassificationResponse>;
  using RegressCall = UnaryCall<tfs::RegressionRequest, tfs::RegressionResponse>;
  using MetadataCall = UnaryCall<tfs::GetModelMetadataRequest, tfs::GetModelMetadataResponse>;
  using StatusCall = UnaryCall<tfs::GetModelStatusRequest, tfs::GetModelStatusResponse>;
  using ReloadCall = UnaryCall<tfs::ReloadConfigRequest, tfs::ReloadConfigResponse>;
  // Counts a call in the metrics and responds.
  const auto end = [this](auto& call, const char* api, TimePoint began,
                          const grpc::Status& status) {
    calls_.Count(call.request().model_spec().name(), api, "GRPC", began, status);
    call.Respond(Cut(status));
  };

  PredictCall::Serve(
      queue, prediction_, "Predict", rpc::kShortMessage, [this, end](PredictCall& call) {
        calls_.StartPredict(DeadlineOf(call.context()), call.request(), &call.response(),
                            [&call, end, began = calls_.Now()](const grpc::Status& status) {
                              end(call, "Predict", began, status);
                            });
      });
  ClassifyCall::Serve(queue, prediction_, "Classify", kNeverShort, [this, end](ClassifyCall& call) {
    const TimePoint began = calls_.Now();
    end(call, "Classify", began,
        calls_.Classify(DeadlineOf(call.context()), call.request(), &call.response()));
  });
  RegressCall::Serve(queue, prediction_, "Regress", kNeverShort, [this, end](RegressCall& call) {
    const TimePoint began = calls_.Now();
    end(call, "Regress", began,
        calls_.Regress(DeadlineOf(call.context()), call.request(), &call.response()));
  });
  using MultiCall = UnaryCall<tfs::MultiInferenceRequest, tfs::MultiInferenceResponse>;
  MultiCall::Serve(queue, prediction_, "MultiInference", rpc::kShortMessage, [](MultiCall& call) {
    call.Respond({grpc::StatusCode::UNIMPLEMENTED,
                  "MultiInference is not supported: call Classify or Regress for each signature"});
  });
  MetadataCall::Serve(
      queue, prediction_, "GetModelMetadata", kNeverShort, [this](MetadataCall& call) {
        call.Respond(Cut(
            calls_.GetModelMetadata(DeadlineOf(call.context()), call.request(), &call.response())));
      });
  StatusCall::Serve(queue, models_, "GetModelStatus", rpc::kShortMessage, [this](StatusCall& call) {
    call.Respond(Cut(calls_.GetModelStatus(call.request(), &call.response())));
  });
  ReloadCall::Serve(
      queue, models_, "HandleReloadConfigRequest", kNeverShort, [this](ReloadCall& call) {
        call.Respond(
            Cut(calls_.ReloadConfig(DeadlineOf(call.context()), call.request(), &call.response())));
      });
}

}  // namespace nrtd::serving
