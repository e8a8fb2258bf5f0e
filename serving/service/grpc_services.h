// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "rpc/call_queue.h"
#include "rpc/raw_service.h"
#include "serving/service/calls.h"

namespace nrtd::serving {

// tensorflow.serving.PredictionService and ModelService on a CallQueue.
class GrpcServices {
 public:
  // `calls` must outlive this, and this must outlive the queue's calls.
  explicit GrpcServices(Calls& calls) : calls_(calls) {}

  // The names of both services, for reflection and health.
  static std::vector<std::string> Names();
  // To be registered with the server.
  rpc::RawService& prediction() { return prediction_; }
  rpc::RawService& models() { return models_; }
  // Starts taking calls. Requires that the server is running.
  void Serve(rpc::CallQueue& queue);

 private:
  Calls& calls_;
  rpc::RawService prediction_{"tensorflow.serving.PredictionService"};
  rpc::RawService models_{"tensorflow.serving.ModelService"};
};

}  // namespace nrtd::serving
