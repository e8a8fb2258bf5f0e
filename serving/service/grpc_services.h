// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "proto/tensorflow_serving/services.grpc.pb.h"
#include "serving/service/calls.h"

namespace nrtd::serving {

// tensorflow.serving.PredictionService. `calls` outlives it.
class PredictionService final : public tensorflow::serving::PredictionService::Service {
 public:
  explicit PredictionService(Calls& calls) : calls_(calls) {}

  grpc::Status Predict(grpc::ServerContext* context,
                       const tensorflow::serving::PredictRequest* request,
                       tensorflow::serving::PredictResponse* response) override;
  grpc::Status Classify(grpc::ServerContext* context,
                        const tensorflow::serving::ClassificationRequest* request,
                        tensorflow::serving::ClassificationResponse* response) override;
  grpc::Status Regress(grpc::ServerContext* context,
                       const tensorflow::serving::RegressionRequest* request,
                       tensorflow::serving::RegressionResponse* response) override;
  grpc::Status MultiInference(grpc::ServerContext* context,
                              const tensorflow::serving::MultiInferenceRequest* request,
                              tensorflow::serving::MultiInferenceResponse* response) override;
  grpc::Status GetModelMetadata(grpc::ServerContext* context,
                                const tensorflow::serving::GetModelMetadataRequest* request,
                                tensorflow::serving::GetModelMetadataResponse* response) override;

 private:
  Calls& calls_;
};

// tensorflow.serving.ModelService. `calls` outlives it.
class ModelService final : public tensorflow::serving::ModelService::Service {
 public:
  explicit ModelService(Calls& calls) : calls_(calls) {}

  grpc::Status GetModelStatus(grpc::ServerContext* context,
                              const tensorflow::serving::GetModelStatusRequest* request,
                              tensorflow::serving::GetModelStatusResponse* response) override;
  grpc::Status HandleReloadConfigRequest(
      grpc::ServerContext* context, const tensorflow::serving::ReloadConfigRequest* request,
      tensorflow::serving::ReloadConfigResponse* response) override;

 private:
  Calls& calls_;
};

}  // namespace nrtd::serving
