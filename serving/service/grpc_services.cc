// SPDX-License-Identifier: Apache-2.0
#include "serving/service/grpc_services.h"

#include <algorithm>
#include <chrono>

#include "proto/tensorflow_serving/services.pb.h"
#include "serving/service/predict.h"

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

}  // namespace

grpc::Status PredictionService::Predict(grpc::ServerContext* context,
                                        const tfs::PredictRequest* request,
                                        tfs::PredictResponse* response) {
  // gRPC made the request for this call alone, and only forgets that it may be changed.
  auto& taken = const_cast<tfs::PredictRequest&>(*request);
  return serving::Predict(models_, DeadlineOf(*context), taken, response);
}

grpc::Status PredictionService::GetModelMetadata(grpc::ServerContext* context,
                                                 const tfs::GetModelMetadataRequest* request,
                                                 tfs::GetModelMetadataResponse* response) {
  return serving::GetModelMetadata(models_, DeadlineOf(*context), *request, response);
}

grpc::Status ModelService::GetModelStatus(grpc::ServerContext*,
                                          const tfs::GetModelStatusRequest* request,
                                          tfs::GetModelStatusResponse* response) {
  return serving::GetModelStatus(models_, *request, response);
}

}  // namespace nrtd::serving
