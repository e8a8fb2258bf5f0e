// SPDX-License-Identifier: Apache-2.0
//
// nrt.nmgr_v1 on top of Runtime. Every call answers gRPC OK with an nrt.status inside.
//
// The thread that decoded a request (see call_queue.h) polls the core for it and encodes the
// answer.
#pragma once

#include <atomic>

#include "proto/nrt/nmgr_service.pb.h"
#include "runtime/runtime.h"
#include "runtime/service/call_context.h"
#include "runtime/service/clients.h"
#include "runtime/service/neff_upload.h"
#include "runtime/service/tensor_transfer.h"

namespace nrtd::service {

class InferenceWait;

class NmgrService {
 public:
  // Both outlive the service.
  NmgrService(runtime::Runtime& runtime, Clients& clients) : runtime_(runtime), clients_(clients) {}

  using Context = CallContext;

  // The end of a load: `added` is what became of the messages in `upload`, `rights` what its client
  // had when it began, `given_up` whether somebody still waits for it.
  nrt::load_response Load(const Rights& rights, Result<void> added, NeffUpload upload,
                          std::stop_token given_up);
  // What an inference that has ended came to, into the response.
  void SetAnswer(const runtime::Inference& inference, scheduler::InferenceOutcome outcome,
                 const TensorList& shm_outputs, const Context& context,
                 nrt::infer_response* response);
  // The client gave up before it got to see the id, the group, the cookie.
  void TakeBack(runtime::NetworkId loaded);
  void TakeBackGroup(const nrt::create_eg_response& made);
  void TakeBackCookie(const nrt::infer_post_response& posted);
  Clients& clients() { return clients_; }
  runtime::Runtime& runtime() { return runtime_; }
  // Calls that may have to wait answer later, and hold no thread until then.
  void unload(Context* context, const nrt::unload_request* request, nrt::unload_response* response,
              rpc::Deferred& call);
  void start(Context* context, const nrt::start_request* request, nrt::start_response* response,
             rpc::Deferred& call);
  void stop(Context* context, const nrt::stop_request* request, nrt::stop_response* response,
            rpc::Deferred& call);
  void unload_all(Context* context, const nrt::empty* request, nrt::status* response,
                  rpc::Deferred& call);

  void infer(Context* context, const nrt::infer_request* request, nrt::infer_response* response,
             InferenceWait& wait);
  grpc::Status infer_post(Context* context, const nrt::infer_request* request,
                          nrt::infer_post_response* response);
  void infer_wait(Context* context, const nrt::infer_wait_request* request,
                  nrt::infer_response* response, InferenceWait& wait);
  void infer_poll(Context* context, const nrt::infer_wait_request* request,
                  nrt::infer_response* response, InferenceWait& wait);
  grpc::Status infer_check_completion(Context* context,
                                      const nrt::infer_check_completion_request* request,
                                      nrt::infer_check_completion_response* response);

  grpc::Status create_eg(Context* context, const nrt::create_eg_request* request,
                         nrt::create_eg_response* response);
  grpc::Status destroy_eg(Context* context, const nrt::destroy_eg_request* request,
                          nrt::destroy_eg_response* response);
  grpc::Status list_egs(Context* context, const nrt::empty* request, nrt::out_list_egs* response);

  grpc::Status shm_map(Context* context, const nrt::shm_map_request* request,
                       nrt::shm_map_response* response);
  grpc::Status shm_unmap(Context* context, const nrt::shm_unmap_request* request,
                         nrt::shm_unmap_response* response);

  grpc::Status get_version(Context* context, const nrt::get_version_request* request,
                           nrt::get_version_response* response);
  grpc::Status read_nc_time_in_use(Context* context,
                                   const nrt::read_nc_time_in_use_request* request,
                                   nrt::read_nc_time_in_use_response* response);

  // Counters and metrics (counter_calls.cc).
  grpc::Status read_nc_counters(Context* context, const nrt::read_nc_counters_request* request,
                                nrt::read_nc_counters_response* response);
  grpc::Status read_inference_counters(Context* context, const nrt::empty* request,
                                       nrt::read_inference_counters_response* response);
  grpc::Status read_all_counters(Context* context, const nrt::read_all_counters_request* request,
                                 nrt::read_all_counters_response* response);
  grpc::Status read_all_metrics(Context* context, const nrt::read_all_metrics_request* request,
                                nrt::read_all_metrics_response* response);
  grpc::Status get_hw_counters(Context* context, const nrt::get_hw_counters_request* request,
                               nrt::get_hw_counters_response* response);
  grpc::Status get_all_hw_counters(Context* context, const nrt::empty* request,
                                   nrt::get_all_hw_counters_response* response);
  grpc::Status random_seed(Context* context, const nrt::random_seed_request* request,
                           nrt::random_seed_response* response);
  grpc::Status set_static_transfer_adjustment(
      Context* context, const nrt::set_static_transfer_adjustment_request* request,
      nrt::set_static_transfer_adjustment_response* response);

 private:
  Result<runtime::Inference> Begin(const nrt::infer_request& request, const Mappings& mappings,
                                   runtime::ProcessKey asking, Completion completion);
  Result<uint64_t> Post(const nrt::infer_request& request, const Rights& rights);
  // kInvalid and the like when the request's places for outputs cannot be used; as Take() for the
  // cookie.
  Result<void> CheckPlaces(const nrt::infer_wait_request& request, runtime::ProcessKey asking);
  // Counts how the inference ended, and passes it on.
  Result<void> Counted(Result<void> answer);
  void Collect(Result<runtime::Inference> inference, const Context& context,
               const nrt::infer_wait_request& request, nrt::infer_response* response,
               InferenceWait& wait);
  // kInvalidHandle when a session that a request names is neither 0 nor open, or is not the
  // client's.
  Result<void> CheckNamedSession(runtime::SessionId session, runtime::ProcessKey asking) const;
  // The rights of a call that makes something.
  Rights RightsToMake(const Context& context) const;

  runtime::Runtime& runtime_;
  Clients& clients_;
  std::atomic<uint32_t> transfer_adjustment_{0};
};

}  // namespace nrtd::service
