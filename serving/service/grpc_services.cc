// SPDX-License-Identifier: Apache-2.0
#include "serving/service/grpc_services.h"

#include <algorithm>
#include <chrono>

#include "proto/tensorflow_serving/services.pb.h"

namespace nrtd::serving {
namespace {

namespace tfs = ::tensorflow::serving;

// For reflection: generated code is linked in only when something names it.
[[gnu::used]] const void* const linked =
    &descriptor_table_proto_2ftensorflow_5fserving_2fservices_2eproto;

// A client without a deadline waits as long as it takes, within reason.
TimePoint DeadlineOf(const grpc::ServerContext& context) {
  constexpr std::chrono::system_clock::duration kLongest = std::chrono::hours(24);
  return std::chrono::steady_clock::now() +
         std::min(context.deadline() - std::chrono::system_clock::now(), kLongest);
}

// Runs a call that metrics count.
template <typename Request, typename Response, typename Call>
grpc::Status Counted(Calls& calls, const char* api, const grpc::ServerContext& context,
                     const Request& request, Response* response, const Call& call) {
  const TimePoint began = calls.Now();
  const std::string model = request.model_spec().name();
  const grpc::Status status = call(DeadlineOf(context), request, response);
  calls.Count(model, api, "GRPC", began, status);
  return Cut(status);
}

}  // namespace

grpc::Status PredictionService::Predict(grpc::ServerContext* context,
                                        const tfs::PredictRequest* request,
                                        tfs::PredictResponse* response) {
  return Counted(calls_, "Predict", *context, *request, response,
                 [&](TimePoint deadline, const tfs::PredictRequest& asked, auto* answer) {
                   // gRPC made the request for this call alone, and only forgets that it may be
                   // changed.
                   return calls_.Predict(deadline, const_cast<tfs::PredictRequest&>(asked), answer);
                 });
}

grpc::Status PredictionService::Classify(grpc::ServerContext* context,
                                         const tfs::ClassificationRequest* request,
                                         tfs::ClassificationResponse* response) {
  return Counted(calls_, "Classify", *context, *request, response,
                 [&](TimePoint deadline, const auto& asked, auto* answer) {
                   return calls_.Classify(deadline, asked, answer);
                 });
}

grpc::Status PredictionService::Regress(grpc::ServerContext* context,
                                        const tfs::RegressionRequest* request,
                                        tfs::RegressionResponse* response) {
  return Counted(calls_, "Regress", *context, *request, response,
                 [&](TimePoint deadline, const auto& asked, auto* answer) {
                   return calls_.Regress(deadline, asked, answer);
                 });
}

grpc::Status PredictionService::MultiInference(grpc::ServerContext*,
                                               const tfs::MultiInferenceRequest*,
                                               tfs::MultiInferenceResponse*) {
  return {grpc::StatusCode::UNIMPLEMENTED,
          "MultiInference is not supported: call Classify or Regress for each signature"};
}

grpc::Status PredictionService::GetModelMetadata(grpc::ServerContext* context,
                                                 const tfs::GetModelMetadataRequest* request,
                                                 tfs::GetModelMetadataResponse* response) {
  return Cut(calls_.GetModelMetadata(DeadlineOf(*context), *request, response));
}

grpc::Status ModelService::GetModelStatus(grpc::ServerContext*,
                                          const tfs::GetModelStatusRequest* request,
                                          tfs::GetModelStatusResponse* response) {
  return Cut(calls_.GetModelStatus(*request, response));
}

grpc::Status ModelService::HandleReloadConfigRequest(grpc::ServerContext* context,
                                                     const tfs::ReloadConfigRequest* request,
                                                     tfs::ReloadConfigResponse* response) {
  return Cut(calls_.ReloadConfig(DeadlineOf(*context), *request, response));
}

}  // namespace nrtd::serving
