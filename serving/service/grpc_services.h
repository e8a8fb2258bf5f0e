// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "proto/tensorflow_serving/services.grpc.pb.h"
#include "serving/model/model_manager.h"

namespace nrtd::serving {

// tensorflow.serving.PredictionService. `models` outlives it.
class PredictionService final : public tensorflow::serving::PredictionService::Service {
 public:
  explicit PredictionService(ModelManager& models) : models_(models) {}

  grpc::Status Predict(grpc::ServerContext* context,
                       const tensorflow::serving::PredictRequest* request,
                       tensorflow::serving::PredictResponse* response) override;
  grpc::Status GetModelMetadata(grpc::ServerContext* context,
                                const tensorflow::serving::GetModelMetadataRequest* request,
                                tensorflow::serving::GetModelMetadataResponse* response) override;

 private:
  ModelManager& models_;
};

// tensorflow.serving.ModelService. `models` outlives it.
class ModelService final : public tensorflow::serving::ModelService::Service {
 public:
  explicit ModelService(ModelManager& models) : models_(models) {}

  grpc::Status GetModelStatus(grpc::ServerContext* context,
                              const tensorflow::serving::GetModelStatusRequest* request,
                              tensorflow::serving::GetModelStatusResponse* response) override;

 private:
  ModelManager& models_;
};

}  // namespace nrtd::serving
