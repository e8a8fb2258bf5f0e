// SPDX-License-Identifier: Apache-2.0
//
// Networks, groups and the rest; the calls of inference are in infer_calls.cc.
#include "runtime/service/nmgr_service.h"

#include <sys/mman.h>

#include "runtime/service/status.h"
#include "runtime/service/version.h"

namespace nrtd::service {
namespace {

Error NotImplemented(std::string_view call) {
  return {Nerr::kFail, fmt::format("{} is not implemented in this version", call)};
}

}  // namespace

nrt::load_response NmgrService::Load(Result<void> added, NeffUpload upload) {
  const auto load = [&]() -> Result<runtime::NetworkId> {
    NRTD_TRY(added);
    NRTD_ASSIGN(runtime::LoadRequest request, upload.Finish());
    return runtime_.Load(std::move(request));
  };
  const auto id = load();
  nrt::load_response response;
  SetStatus(id, response.mutable_status());
  if (id) response.mutable_h_nn()->set_id(*id);
  return response;
}

grpc::Status NmgrService::unload(Context*, const nrt::unload_request* request,
                                 nrt::unload_response* response) {
  SetStatus(runtime_.Unload(request->h_nn().id()), response->mutable_status());
  return grpc::Status::OK;
}

grpc::Status NmgrService::start(Context*, const nrt::start_request* request,
                                nrt::start_response* response) {
  SetStatus(runtime_.Start(request->h_nn().id()), response->mutable_status());
  return grpc::Status::OK;
}

grpc::Status NmgrService::stop(Context*, const nrt::stop_request* request,
                               nrt::stop_response* response) {
  SetStatus(runtime_.Stop(request->h_nn().id()), response->mutable_status());
  return grpc::Status::OK;
}

grpc::Status NmgrService::unload_all(Context*, const nrt::empty*, nrt::status* response) {
  runtime_.UnloadAll();
  response->set_code(static_cast<int32_t>(Nerr::kOk));
  return grpc::Status::OK;
}

grpc::Status NmgrService::create_eg(Context*, const nrt::create_eg_request* request,
                                    nrt::create_eg_response* response) {
  const auto group = runtime_.CreateGroup(request->nc_count(), request->session_id());
  SetStatus(group, response->mutable_status());
  if (group) {
    response->mutable_h_eg()->set_id(group->id);
    response->set_nc_count(group->cores.count);
  }
  return grpc::Status::OK;
}

grpc::Status NmgrService::destroy_eg(Context*, const nrt::destroy_eg_request* request,
                                     nrt::destroy_eg_response* response) {
  SetStatus(runtime_.DestroyGroup(request->h_eg().id()), response->mutable_status());
  return grpc::Status::OK;
}

grpc::Status NmgrService::list_egs(Context*, const nrt::empty*, nrt::out_list_egs* response) {
  runtime::Machine& machine = runtime_.machine();
  for (const auto& group : runtime_.ListGroups()) {
    const CoreId first = machine.channel(group.cores.first).core().id();
    nrt::eg_info* info = response->add_eg_info();
    info->mutable_eg()->set_id(group.id);
    info->set_vnc_start_index(group.cores.first);
    info->set_nc_count(group.cores.count);
    info->set_mla_start_index(first.device);
    info->set_nc_start_index(first.core);
  }
  response->set_mla_count(machine.device_count());
  response->set_nc_count(machine.core_count());
  response->mutable_status()->set_code(static_cast<int32_t>(Nerr::kOk));
  return grpc::Status::OK;
}

grpc::Status NmgrService::shm_map(Context*, const nrt::shm_map_request* request,
                                  nrt::shm_map_response* response) {
  const auto map = [&]() -> Result<void> {
    // Clients that name no protection mean both, as the original took it.
    const int protection =
        request->mmap_prot() != 0 ? static_cast<int>(request->mmap_prot()) : PROT_READ | PROT_WRITE;
    switch (request->data_case()) {
      case nrt::shm_map_request::kPath:
        return runtime_.MapPosix(request->path(), protection, request->session_id());
      case nrt::shm_map_request::kPathHugetlb:
        return runtime_.MapHugetlb(request->path_hugetlb().path(), request->path_hugetlb().size(),
                                   protection, request->session_id());
      case nrt::shm_map_request::DATA_NOT_SET:
        break;
    }
    return Fail(Nerr::kInvalid, "shm_map names no path");
  };
  SetStatus(map(), response->mutable_status());
  return grpc::Status::OK;
}

grpc::Status NmgrService::shm_unmap(Context*, const nrt::shm_unmap_request* request,
                                    nrt::shm_unmap_response* response) {
  SetStatus(runtime_.shared_memory().Unmap(request->path()), response->mutable_status());
  return grpc::Status::OK;
}

grpc::Status NmgrService::get_version(Context*, const nrt::get_version_request*,
                                      nrt::get_version_response* response) {
  SetVersion(response->mutable_runtime_version());
  return grpc::Status::OK;
}

grpc::Status NmgrService::read_nc_time_in_use(Context*,
                                              const nrt::read_nc_time_in_use_request* request,
                                              nrt::read_nc_time_in_use_response* response) {
  const uint32_t core = request->vnc_id();
  if (core >= runtime_.machine().core_count()) {
    SetStatus(Error{Nerr::kInvalid, fmt::format("NC {} does not exist: there are {}", core,
                                                runtime_.machine().core_count())},
              response->mutable_status());
    return grpc::Status::OK;
  }
  response->mutable_nc_time_in_use()->set_virtual_nc_id(core);
  response->mutable_nc_time_in_use()->set_time_in_use(
      runtime_.machine().channel(core).core().counters().busy_ns);
  response->mutable_status()->set_code(static_cast<int32_t>(Nerr::kOk));
  return grpc::Status::OK;
}

grpc::Status NmgrService::read_nc_counters(Context*, const nrt::read_nc_counters_request*,
                                           nrt::read_nc_counters_response* response) {
  SetStatus(NotImplemented("read_nc_counters"), response->mutable_status());
  return grpc::Status::OK;
}

// The one response without a status: an error can only be a transport error.
grpc::Status NmgrService::read_inference_counters(Context*, const nrt::empty*,
                                                  nrt::read_inference_counters_response*) {
  return {grpc::StatusCode::UNIMPLEMENTED, NotImplemented("read_inference_counters").text};
}

grpc::Status NmgrService::read_all_counters(Context*, const nrt::read_all_counters_request*,
                                            nrt::read_all_counters_response* response) {
  SetStatus(NotImplemented("read_all_counters"), response->mutable_status());
  return grpc::Status::OK;
}

grpc::Status NmgrService::read_all_metrics(Context*, const nrt::read_all_metrics_request*,
                                           nrt::read_all_metrics_response* response) {
  SetStatus(NotImplemented("read_all_metrics"), response->mutable_status());
  return grpc::Status::OK;
}

grpc::Status NmgrService::get_hw_counters(Context*, const nrt::get_hw_counters_request*,
                                          nrt::get_hw_counters_response* response) {
  SetStatus(NotImplemented("get_hw_counters"), response->mutable_status());
  return grpc::Status::OK;
}

grpc::Status NmgrService::get_all_hw_counters(Context*, const nrt::empty*,
                                              nrt::get_all_hw_counters_response* response) {
  SetStatus(NotImplemented("get_all_hw_counters"), response->mutable_status());
  return grpc::Status::OK;
}

grpc::Status NmgrService::random_seed(Context*, const nrt::random_seed_request*,
                                      nrt::random_seed_response* response) {
  SetStatus(NotImplemented("random_seed"), response->mutable_status());
  return grpc::Status::OK;
}

grpc::Status NmgrService::set_static_transfer_adjustment(
    Context*, const nrt::set_static_transfer_adjustment_request*,
    nrt::set_static_transfer_adjustment_response* response) {
  SetStatus(NotImplemented("set_static_transfer_adjustment"), response->mutable_status());
  return grpc::Status::OK;
}

}  // namespace nrtd::service
