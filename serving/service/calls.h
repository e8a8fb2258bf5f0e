// SPDX-License-Identifier: Apache-2.0
//
// The calls of TensorFlow Serving on top of ModelManager, as gRPC and REST share them. Codes and
// wordings are those of tensorflow_model_server 1.15.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include <grpcpp/support/status.h>

#include "base/clock.h"
#include "base/mutex.h"
#include "http/metrics.h"
#include "proto/tensorflow_serving/apis.pb.h"
#include "rpc/call_queue.h"
#include "serving/model/model_manager.h"

namespace nrtd::serving {

// How an error is answered; the text as it is.
grpc::Status StatusOf(const Error& error);
// As gRPC sends it: the text is cut after 1,024 bytes. REST sends all of it.
grpc::Status Cut(grpc::Status status);
// A text with its lines, and without anything else that a terminal would not show.
std::string SafeText(std::string_view text);
// The signature that a request wants.
std::string SignatureName(const tensorflow::serving::ModelSpec& spec);
// "INVALID_ARGUMENT"
std::string CodeName(grpc::StatusCode code);

// Threadsafe. `models`, `metrics` and `queue` outlive it. A request whose daemon is lost while it
// runs is run once more when the model is loaded again, within its deadline.
class Calls {
 public:
  Calls(ModelManager& models, Metrics& metrics, rpc::CallQueue& queue);

  // Takes the inputs out of `request`.
  grpc::Status Predict(TimePoint deadline, tensorflow::serving::PredictRequest& request,
                       tensorflow::serving::PredictResponse* response);
  // The same for a thread of a rpc::CallQueue, which goes on with other calls while the daemon
  // computes. It hands the queue over before it waits for anything else. `done` is called before
  // this returns or later by another of these threads; request and response stay until then.
  using Done = std::function<void(const grpc::Status& status)>;
  void StartPredict(TimePoint deadline, tensorflow::serving::PredictRequest& request,
                    tensorflow::serving::PredictResponse* response, Done done);
  // Of signatures whose inputs are numeric features: each takes the feature of its name, of all
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
  // Waits until each new model has a version that is available or has failed for good.
  grpc::Status ReloadConfig(TimePoint deadline,
                            const tensorflow::serving::ReloadConfigRequest& request,
                            tensorflow::serving::ReloadConfigResponse* response);

  // The servable that a request names.
  grpc::Status Find(bool has_spec, const tensorflow::serving::ModelSpec& spec, TimePoint deadline,
                    std::shared_ptr<const Servable>* servable);
  // Runs a signature that the servable has. Types and shapes of `inputs` are checked against it.
  grpc::Status Run(std::shared_ptr<const Servable> servable, const std::string& signature,
                   const Tensors& inputs, const std::vector<std::string>& wanted,
                   TimePoint deadline, Tensors* outputs);

  // Counts a request that began at `began`. `api` is "Predict", "Classify" or "Regress" for gRPC,
  // the same in lower case, or "", for REST.
  void Count(const std::string& model, const std::string& api, const std::string& entrypoint,
             TimePoint began, const grpc::Status& status);
  TimePoint Now() { return clock_.Now(); }

 private:
  // Of a call that ends in a classification or a regression: the outputs of its examples.
  grpc::Status RunExamples(const tensorflow::serving::ModelSpec& spec, bool has_spec,
                           const tensorflow::serving::Input& input, const std::string& method,
                           TimePoint deadline, tensorflow::serving::ModelSpec* used,
                           Tensors* outputs);

  class StartedPredict;
  // A Predict that may run.
  struct Prepared {
    std::shared_ptr<const Servable> servable;
    std::string signature;
    Tensors inputs;  // kept, since it may have to run again
    std::vector<std::string> wanted;
  };
  // Takes the inputs out of `request`, whose servable is known.
  static grpc::Status Prepare(tensorflow::serving::PredictRequest& request, Prepared* prepared);
  static void Answer(const Prepared& prepared, const Tensors& outputs,
                     tensorflow::serving::PredictResponse* response);
  // Replaces one that is lost by the same version, when it is loaded again. NOT_FOUND where it is
  // none that is wanted any longer.
  grpc::Status FindAgain(const std::string& signature, const Tensors& inputs, TimePoint deadline,
                         std::shared_ptr<const Servable>* servable);
  // Around each run.
  void CountRunning(const Servable& servable, int64_t by);
  void ObserveRun(const Servable& servable, TimePoint began);

  ModelManager& models_;
  Metrics& metrics_;
  rpc::CallQueue& queue_;
  SteadyClock clock_;
  Mutex mutex_;
  std::map<std::string, int64_t> running_ NRTD_GUARDED_BY(mutex_);  // requests, by model
};

}  // namespace nrtd::serving
