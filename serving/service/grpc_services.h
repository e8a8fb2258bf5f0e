// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "rpc/call_queue.h"
#include "rpc/raw_service.h"
#include "serving/service/calls.h"

namespace nrtd::serving {

// tensorflow.serving.PredictionService and ModelService out of a CallQueue.
class GrpcServices {
 public:
  // `calls` outlives it, and it the queue's calls.
  explicit GrpcServices(Calls& calls) : calls_(calls) {}

  // Their names, for reflection and health.
  static std::vector<std::string> Names();
  // For the server.
  rpc::RawService& prediction() { return prediction_; }
  rpc::RawService& models() { return models_; }
  // Takes calls; the server is running.
  void Serve(rpc::CallQueue& queue);

 private:
  Calls& calls_;
  rpc::RawService prediction_{"tensorflow.serving.PredictionService"};
  rpc::RawService models_{"tensorflow.serving.ModelService"};
};

}  // namespace nrtd::serving
