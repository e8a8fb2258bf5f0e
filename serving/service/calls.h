// SPDX-License-Identifier: Apache-2.0
//
// The calls of TensorFlow Serving, shared by gRPC and REST. Error codes and wordings are those of
// tensorflow_model_server 1.15.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/mutex.h"
#include "http/metrics.h"
#include "proto/tensorflow_serving/apis.pb.h"
#include "rpc/call_queue.h"
#include "serving/model/model_manager.h"
#include "serving/service/status.h"

namespace nrtd::serving {

// The name of the requested signature.
std::string SignatureName(const tensorflow::serving::ModelSpec& spec);
// Threadsafe. `models`, `metrics` and `queue` must outlive it. If the daemon is lost while a
// request runs, the request runs once more after the model was loaded again, within its deadline.
class Calls {
 public:
  Calls(ModelManager& models, Metrics& metrics, rpc::CallQueue& queue);

  // Moves the inputs out of `request`.
  grpc::Status Predict(TimePoint deadline, tensorflow::serving::PredictRequest& request,
                       tensorflow::serving::PredictResponse* response);
  // Predict() without waiting for the daemon, for threads of `queue`. Hands the queue over before
  // it waits for anything else. Calls `done` before it returns, or later on a thread of `queue`;
  // request and response must live until then.
  using Done = std::function<void(const grpc::Status& status)>;
  void StartPredict(TimePoint deadline, tensorflow::serving::PredictRequest& request,
                    tensorflow::serving::PredictResponse* response, Done done);
  // For signatures with numeric inputs: each input gets the feature of the same name from all
  // examples.
  grpc::Status Classify(TimePoint deadline,
                        const tensorflow::serving::ClassificationRequest& request,
                        tensorflow::serving::ClassificationResponse* response);
  grpc::Status Regress(TimePoint deadline, const tensorflow::serving::RegressionRequest& request,
                       tensorflow::serving::RegressionResponse* response);
  grpc::Status GetModelMetadata(TimePoint deadline,
                                const tensorflow::serving::GetModelMetadataRequest& request,
                                tensorflow::serving::GetModelMetadataResponse* response);
  grpc::Status GetModelStatus(const tensorflow::serving::GetModelStatusRequest& request,
                              tensorflow::serving::GetModelStatusResponse* response);
  // Waits until each new model has an available version or has failed permanently.
  grpc::Status ReloadConfig(TimePoint deadline,
                            const tensorflow::serving::ReloadConfigRequest& request,
                            tensorflow::serving::ReloadConfigResponse* response);

  // Finds the servable that a request names.
  grpc::Status Find(bool has_spec, const tensorflow::serving::ModelSpec& spec, TimePoint deadline,
                    std::shared_ptr<const Servable>* servable);
  // Runs one of the servable's signatures after checking the types and shapes of `inputs`.
  grpc::Status Run(std::shared_ptr<const Servable> servable, const std::string& signature,
                   const Tensors& inputs, const std::vector<std::string>& wanted,
                   TimePoint deadline, Tensors* outputs);

  // Counts a completed request. `api` is "Predict", "Classify" or "Regress" for gRPC, and the same
  // in lower case, or "", for REST.
  void Count(const std::string& model, const std::string& api, const std::string& entrypoint,
             TimePoint began, const grpc::Status& status);
  TimePoint Now() { return clock_.Now(); }

 private:
  // Runs the examples of a classification or regression.
  grpc::Status RunExamples(const tensorflow::serving::ModelSpec& spec, bool has_spec,
                           const tensorflow::serving::Input& input, const std::string& method,
                           TimePoint deadline, tensorflow::serving::ModelSpec* used,
                           Tensors* outputs);

  class StartedPredict;
  // A validated Predict request.
  struct Prepared {
    std::shared_ptr<const Servable> servable;
    std::string signature;
    Tensors inputs;  // kept, as the request may have to run again
    std::vector<std::string> wanted;
  };
  // Validates the request for `prepared->servable` and moves its inputs out.
  static grpc::Status Prepare(tensorflow::serving::PredictRequest& request, Prepared* prepared);
  static void Answer(const Prepared& prepared, const Tensors& outputs,
                     tensorflow::serving::PredictResponse* response);
  // Waits until the version of a lost servable is loaded again and replaces `*servable`. NOT_FOUND
  // if that version is no longer served, FAILED_PRECONDITION if its signature has changed.
  grpc::Status FindAgain(const std::string& signature, const Tensors& inputs, TimePoint deadline,
                         std::shared_ptr<const Servable>* servable);
  // Called before and after each run.
  void CountRunning(const Servable& servable, int64_t by);
  void ObserveRun(const Servable& servable, TimePoint began);

  ModelManager& models_;
  Metrics& metrics_;
  rpc::CallQueue& queue_;
  SteadyClock clock_;
  Mutex mutex_;
  std::map<std::string, int64_t> running_ NRTD_GUARDED_BY(mutex_);  // requests by model
};

}  // namespace nrtd::serving
