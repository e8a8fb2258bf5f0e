// SPDX-License-Identifier: Apache-2.0
//
// nrt.nmgr_v1 on top of Runtime. Every call answers gRPC OK with an nrt.status inside.
//
// The synchronous interface of gRPC, because it has the lowest latency: the thread that decodes a
// request polls the core for it and encodes the answer, with no hand-over between.
#pragma once

#include "proto/nrt/nmgr_service.grpc.pb.h"
#include "runtime/runtime.h"

namespace nrtd::service {

class NmgrService final : public nrt::nmgr_v1::Service {
 public:
  // `runtime` outlives the service.
  explicit NmgrService(runtime::Runtime& runtime) : runtime_(runtime) {}

  using Context = grpc::ServerContext;

  grpc::Status load(Context* context, grpc::ServerReader<nrt::load_request>* reader,
                    nrt::load_response* response) override;
  grpc::Status unload(Context* context, const nrt::unload_request* request,
                      nrt::unload_response* response) override;
  grpc::Status start(Context* context, const nrt::start_request* request,
                     nrt::start_response* response) override;
  grpc::Status stop(Context* context, const nrt::stop_request* request,
                    nrt::stop_response* response) override;
  grpc::Status unload_all(Context* context, const nrt::empty* request,
                          nrt::status* response) override;

  grpc::Status infer(Context* context, const nrt::infer_request* request,
                     nrt::infer_response* response) override;
  grpc::Status infer_post(Context* context, const nrt::infer_request* request,
                          nrt::infer_post_response* response) override;
  grpc::Status infer_wait(Context* context, const nrt::infer_wait_request* request,
                          nrt::infer_response* response) override;
  grpc::Status infer_poll(Context* context, const nrt::infer_wait_request* request,
                          nrt::infer_response* response) override;
  grpc::Status infer_check_completion(Context* context,
                                      const nrt::infer_check_completion_request* request,
                                      nrt::infer_check_completion_response* response) override;

  grpc::Status create_eg(Context* context, const nrt::create_eg_request* request,
                         nrt::create_eg_response* response) override;
  grpc::Status destroy_eg(Context* context, const nrt::destroy_eg_request* request,
                          nrt::destroy_eg_response* response) override;
  grpc::Status list_egs(Context* context, const nrt::empty* request,
                        nrt::out_list_egs* response) override;

  grpc::Status shm_map(Context* context, const nrt::shm_map_request* request,
                       nrt::shm_map_response* response) override;
  grpc::Status shm_unmap(Context* context, const nrt::shm_unmap_request* request,
                         nrt::shm_unmap_response* response) override;

  grpc::Status get_version(Context* context, const nrt::get_version_request* request,
                           nrt::get_version_response* response) override;
  grpc::Status read_nc_time_in_use(Context* context,
                                   const nrt::read_nc_time_in_use_request* request,
                                   nrt::read_nc_time_in_use_response* response) override;

  // Not implemented yet: these answer code 1 and say so.
  grpc::Status read_nc_counters(Context* context, const nrt::read_nc_counters_request* request,
                                nrt::read_nc_counters_response* response) override;
  grpc::Status read_inference_counters(Context* context, const nrt::empty* request,
                                       nrt::read_inference_counters_response* response) override;
  grpc::Status read_all_counters(Context* context, const nrt::read_all_counters_request* request,
                                 nrt::read_all_counters_response* response) override;
  grpc::Status read_all_metrics(Context* context, const nrt::read_all_metrics_request* request,
                                nrt::read_all_metrics_response* response) override;
  grpc::Status get_hw_counters(Context* context, const nrt::get_hw_counters_request* request,
                               nrt::get_hw_counters_response* response) override;
  grpc::Status get_all_hw_counters(Context* context, const nrt::empty* request,
                                   nrt::get_all_hw_counters_response* response) override;
  grpc::Status random_seed(Context* context, const nrt::random_seed_request* request,
                           nrt::random_seed_response* response) override;
  grpc::Status set_static_transfer_adjustment(
      Context* context, const nrt::set_static_transfer_adjustment_request* request,
      nrt::set_static_transfer_adjustment_response* response) override;

 private:
  Result<runtime::NetworkId> Load(grpc::ServerReader<nrt::load_request>& reader);
  Result<void> Infer(const nrt::infer_request& request, nrt::infer_response* response);
  Result<uint64_t> Post(const nrt::infer_request& request);
  Result<void> Collect(runtime::Inference inference, const nrt::infer_wait_request& request,
                       nrt::infer_response* response);

  runtime::Runtime& runtime_;
};

}  // namespace nrtd::service
