// SPDX-License-Identifier: Apache-2.0
#include "runtime/service/inference_wait.h"

#include <utility>

#include "runtime/service/nmgr_service.h"

namespace nrtd::service {

void InferenceWait::Begin(const Answer& answer, runtime::Inference inference) {
  answer_ = answer;
  inference_.emplace(std::move(inference));
  cancel_.emplace(answer_.context->given_up(),
                  [this] { inference_->Cancel("the client gave up, or has gone"); });
  Run();
}

void InferenceWait::Run() {
  auto outcome = inference_->Attend(*this);
  if (!outcome) return;  // another thread may be here already
  cancel_.reset();
  const grpc::Status status = rpc::Guarded([&] {
    answer_.service->SetAnswer(*inference_, std::move(*outcome), *answer_.shm_outputs,
                               *answer_.context, answer_.response);
    return grpc::Status::OK;
  });
  inference_.reset();  // its slot is free before the client learns of the end
  call_.Respond(status);
}

}  // namespace nrtd::service
