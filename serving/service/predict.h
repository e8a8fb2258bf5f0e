// SPDX-License-Identifier: Apache-2.0
//
// The calls of TensorFlow Serving on top of ModelManager, as gRPC and REST share them. Codes and
// wordings are those of tensorflow_model_server 1.15.
#pragma once

#include <grpcpp/support/status.h>

#include "base/clock.h"
#include "proto/tensorflow_serving/apis.pb.h"
#include "serving/model/model_manager.h"

namespace nrtd::serving {

// Takes the inputs out of `request`. Threadsafe, as the others.
grpc::Status Predict(ModelManager& models, TimePoint deadline,
                     tensorflow::serving::PredictRequest& request,
                     tensorflow::serving::PredictResponse* response);
grpc::Status GetModelMetadata(ModelManager& models, TimePoint deadline,
                              const tensorflow::serving::GetModelMetadataRequest& request,
                              tensorflow::serving::GetModelMetadataResponse* response);
grpc::Status GetModelStatus(const ModelManager& models,
                            const tensorflow::serving::GetModelStatusRequest& request,
                            tensorflow::serving::GetModelStatusResponse* response);

// How an error is answered; the text as gRPC sends it, cut after 1,024 bytes.
grpc::Status StatusOf(const Error& error);

}  // namespace nrtd::serving
