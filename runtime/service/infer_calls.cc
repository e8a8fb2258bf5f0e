// SPDX-License-Identifier: Apache-2.0
//
// The calls of nmgr_v1 that carry tensors.
#include <chrono>

#include "runtime/service/inference_wait.h"
#include "runtime/service/nmgr_service.h"
#include "runtime/service/status.h"
#include "runtime/service/tensor_transfer.h"

namespace nrtd::service {
namespace {

void Record(const runtime::Inference& inference, const scheduler::InferenceOutcome& outcome,
            runtime::Metrics& metrics) {
  using runtime::Metric;
  const auto device_ns = static_cast<double>(outcome.device_ns);
  metrics.Record(Metric::kInferLatency, std::chrono::duration<double>(inference.latency()).count());
  metrics.Record(Metric::kInferDeviceLatency, device_ns / 1e9);
  metrics.Record(Metric::kInferDeviceKilocycles, device_ns * (kCoreClockHz / 1e9) / 1e3);
}

}  // namespace

void NmgrService::SetAnswer(const runtime::Inference& inference,
                            scheduler::InferenceOutcome outcome, const TensorList& shm_outputs,
                            const Context& context, nrt::infer_response* response) {
  Record(inference, outcome, runtime_.metrics());
  // Outputs go with code 0 and with numerical errors.
  const bool numerical = outcome.code == Nerr::kInferCompletedWithNumErr;
  Result<void> answer;
  if (outcome.code == Nerr::kOk || numerical) {
    const Mappings mappings{runtime_.shared_memory(), clients_.AskingAs(context)};
    answer = ReadOutputs(shm_outputs, mappings, inference, response);
  }
  if (answer && outcome.code != Nerr::kOk)
    answer = tl::unexpected<Error>(Error{outcome.code, std::move(outcome.detail)});
  SetStatus(Counted(std::move(answer)), response->mutable_status());
}

void NmgrService::infer(Context* context, const nrt::infer_request* request,
                        nrt::infer_response* response, InferenceWait& wait) {
  const runtime::ProcessKey asking = clients_.AskingAs(*context);
  auto inference = Begin(*request, {runtime_.shared_memory(), asking}, asking, Completion::kPolled);
  if (inference) {
    wait.Begin({this, context, &request->shm_ofmap(), response}, std::move(*inference));
    return;
  }
  SetStatus(Counted(tl::unexpected<Error>(std::move(inference.error()))),
            response->mutable_status());
  wait.call().Respond(grpc::Status::OK);
}

// An inference on its way, with the request's inputs.
Result<runtime::Inference> NmgrService::Begin(const nrt::infer_request& request,
                                              const Mappings& mappings, runtime::ProcessKey asking,
                                              Completion completion) {
  NRTD_ASSIGN(const auto network, runtime_.Find(request.h_nn().id(), asking));
  if (network->slot_bytes() > rpc::kShortMessage)
    rpc::CallQueue::HandOver();  // there is much to copy
  NRTD_TRY(CheckOutputs(request.shm_ofmap(), mappings, *network));
  NRTD_ASSIGN(runtime::Inference inference, network->Begin());
  NRTD_TRY(WriteInputs(request.ifmap(), mappings, inference));
  NRTD_TRY(inference.Submit(completion));
  return inference;
}

grpc::Status NmgrService::infer_post(Context* context, const nrt::infer_request* request,
                                     nrt::infer_post_response* response) {
  const auto cookie = Post(*request, RightsToMake(*context));
  // One that was accepted is counted when it is collected.
  if (!cookie) runtime_.metrics().CountInference(cookie.error().code);
  SetStatus(cookie, response->mutable_status());
  if (cookie) response->set_cookie(*cookie);
  return grpc::Status::OK;
}

Result<uint64_t> NmgrService::Post(const nrt::infer_request& request, const Rights& rights) {
  NRTD_TRY(rights.CheckThere());
  runtime::Charge charge;
  if (rights.client.account != nullptr) {
    NRTD_ASSIGN(charge, rights.client.account->Take(runtime::Holding::kCookies));
  }
  const Mappings mappings{runtime_.shared_memory(), rights.asking};
  NRTD_ASSIGN(runtime::Inference inference,
              Begin(request, mappings, rights.asking, Completion::kInterrupt));
  const runtime::Owner owner = clients_.OwnerFor(rights, 0);
  const uint64_t cookie = runtime_.cookies().Add(std::move(inference), owner, std::move(charge));
  // The client may have gone in the meantime, too early for its end to see the cookie.
  if (auto open = runtime_.CheckSession(owner.session); !open) {
    (void)runtime_.cookies().Take(cookie);
    return tl::unexpected<Error>(std::move(open.error()));
  }
  return cookie;
}

// Before the cookie is taken: a wrong name must not lose the result.
Result<void> NmgrService::CheckPlaces(const nrt::infer_wait_request& request,
                                      runtime::ProcessKey asking) {
  if (request.shm_ofmap().empty()) return {};
  NRTD_ASSIGN(const auto network, runtime_.cookies().NetworkOf(request.cookie(), asking));
  return CheckOutputs(request.shm_ofmap(), {runtime_.shared_memory(), asking}, *network);
}

void NmgrService::infer_wait(Context* context, const nrt::infer_wait_request* request,
                             nrt::infer_response* response, InferenceWait& wait) {
  const runtime::ProcessKey asking = clients_.AskingAs(*context);
  Collect(CheckPlaces(*request, asking).and_then([&] {
    return runtime_.cookies().Take(request->cookie(), asking);
  }),
          *context, *request, response, wait);
}

void NmgrService::infer_poll(Context* context, const nrt::infer_wait_request* request,
                             nrt::infer_response* response, InferenceWait& wait) {
  const runtime::ProcessKey asking = clients_.AskingAs(*context);
  Collect(CheckPlaces(*request, asking).and_then([&] {
    return runtime_.cookies().TakeIfDone(request->cookie(), asking);
  }),
          *context, *request, response, wait);
}

void NmgrService::Collect(Result<runtime::Inference> inference, const Context& context,
                          const nrt::infer_wait_request& request, nrt::infer_response* response,
                          InferenceWait& wait) {
  if (inference) {
    if (inference->network().slot_bytes() > rpc::kShortMessage) rpc::CallQueue::HandOver();
    wait.Begin({this, &context, &request.shm_ofmap(), response}, std::move(*inference));
    return;
  }
  SetStatus(inference.error(), response->mutable_status());
  wait.call().Respond(grpc::Status::OK);
}

// An unknown cookie is an error, as in infer_wait; those that are done are named all the same.
grpc::Status NmgrService::infer_check_completion(Context* context,
                                                 const nrt::infer_check_completion_request* request,
                                                 nrt::infer_check_completion_response* response) {
  constexpr int kFewCookies = 256;
  if (request->cookie_size() > kFewCookies) rpc::CallQueue::HandOver();
  const runtime::ProcessKey asking = clients_.AskingAs(*context);
  Result<void> found;
  for (const uint64_t cookie : request->cookie()) {
    const auto done = runtime_.cookies().Done(cookie, asking);
    if (!done) {
      if (found) found = tl::unexpected<Error>(done.error());
    } else if (*done) {
      response->add_cookie(cookie);
    }
  }
  SetStatus(found, response->mutable_status());
  return grpc::Status::OK;
}

Result<void> NmgrService::Counted(Result<void> answer) {
  runtime_.metrics().CountInference(answer ? Nerr::kOk : answer.error().code);
  return answer;
}

}  // namespace nrtd::service
