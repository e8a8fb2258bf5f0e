// SPDX-License-Identifier: Apache-2.0
//
// Networks, groups and the rest; the calls of inference are in infer_calls.cc, those of counters in
// counter_calls.cc.
#include "runtime/service/nmgr_service.h"

#include <sys/mman.h>

#include "base/log.h"
#include "runtime/service/status.h"
#include "runtime/service/version.h"

namespace nrtd::service {

Rights NmgrService::RightsToMake(const Context& context) const {
  return clients_.RightsOf(context);
}

// Connections have numbers of the same kind, which no client may name.
Result<void> NmgrService::CheckNamedSession(runtime::SessionId session,
                                            runtime::ProcessKey asking) const {
  if (session >= runtime::kFirstConnection)
    return Fail(Nerr::kInvalidHandle, "Failed to find session: {}", session);
  return runtime_.CheckSession(session, asking);
}

nrt::load_response NmgrService::Load(const Rights& rights, Result<void> added, NeffUpload upload,
                                     std::stop_token given_up) {
  const auto load = [&]() -> Result<runtime::NetworkId> {
    NRTD_TRY(rights.CheckThere());
    NRTD_TRY(added);
    NRTD_ASSIGN(runtime::LoadRequest request, upload.Finish());
    NRTD_TRY(CheckNamedSession(request.owner.session, rights.asking));
    request.owner = clients_.OwnerFor(rights, request.owner.session);
    request.asking = rights.asking;
    request.user = runtime::FileUserOf(rights.client);
    request.account = rights.client.account;
    request.given_up = std::move(given_up);
    return runtime_.Load(std::move(request));
  };
  const auto id = load();
  if (!id)
    LogForClient(LogLevel::kWarning, "NMGR:Load", "{}: {}", rights.client.Text(),
                 AsIs(id.error().text));
  else
    LogForClient(LogLevel::kInfo, "NMGR:Load", "{} loaded model {}", rights.client.Text(), *id);
  nrt::load_response response;
  SetStatus(id, response.mutable_status());
  if (id) response.mutable_h_nn()->set_id(*id);
  return response;
}

void NmgrService::TakeBack(runtime::NetworkId loaded) {
  LogForClient(LogLevel::kWarning, "NMGR:Load", "the client gave up: model {} is unloaded again",
               loaded);
  runtime_.Unload(loaded, runtime::kAnyProcess, runtime::Network::Urgency::kAtOnce,
                  [](const Result<void>&) {});
}

void NmgrService::TakeBackGroup(const nrt::create_eg_response& made) {
  if (made.h_eg().id() == 0) return;
  LogForClient(LogLevel::kWarning, "NMGR:CreateEg",
               "the client gave up: group {} is destroyed again", made.h_eg().id());
  (void)runtime_.DestroyGroup(made.h_eg().id());
}

void NmgrService::TakeBackCookie(const nrt::infer_post_response& posted) {
  if (posted.cookie() == 0) return;
  LogForClient(LogLevel::kWarning, "NMGR:InferPost", "the client gave up: inference {} is dropped",
               posted.cookie());
  (void)runtime_.cookies().Take(posted.cookie());
}

void NmgrService::unload(Context* context, const nrt::unload_request* request,
                         nrt::unload_response* response, rpc::Deferred& call) {
  runtime_.Unload(request->h_nn().id(), clients_.AskingAs(*context),
                  runtime::Network::Urgency::kFinishFirst,
                  [response, &call](const Result<void>& unloaded) {
                    SetStatus(unloaded, response->mutable_status());
                    call.Respond(grpc::Status::OK);
                  });
}

void NmgrService::start(Context* context, const nrt::start_request* request,
                        nrt::start_response* response, rpc::Deferred& call) {
  runtime_.Start(request->h_nn().id(), clients_.AskingAs(*context),
                 [response, &call](const Result<void>& started) {
                   SetStatus(started, response->mutable_status());
                   call.Respond(grpc::Status::OK);
                 });
}

void NmgrService::stop(Context* context, const nrt::stop_request* request,
                       nrt::stop_response* response, rpc::Deferred& call) {
  runtime_.Stop(request->h_nn().id(), clients_.AskingAs(*context),
                [response, &call](const Result<void>& stopped) {
                  SetStatus(stopped, response->mutable_status());
                  call.Respond(grpc::Status::OK);
                });
}

void NmgrService::unload_all(Context* context, const nrt::empty*, nrt::status* response,
                             rpc::Deferred& call) {
  const Rights rights = clients_.RightsOf(*context);
  LogForClient(LogLevel::kInfo, "NMGR:UnloadAll", "asked for by {}", rights.client.Text());
  runtime_.UnloadAll(rights.asking, runtime::Network::Urgency::kFinishFirst, [response, &call] {
    SetOk(response);
    call.Respond(grpc::Status::OK);
  });
}

grpc::Status NmgrService::create_eg(Context* context, const nrt::create_eg_request* request,
                                    nrt::create_eg_response* response) {
  const Rights rights = clients_.RightsOf(*context);
  const auto create = [&]() -> Result<scheduler::GroupInfo> {
    NRTD_TRY(rights.CheckThere());
    NRTD_TRY(CheckNamedSession(request->session_id(), rights.asking));
    return runtime_.CreateGroup(request->nc_count(),
                                clients_.OwnerFor(rights, request->session_id()));
  };
  const auto group = create();
  SetStatus(group, response->mutable_status());
  if (group) {
    response->mutable_h_eg()->set_id(group->id);
    response->set_nc_count(group->cores.count);
    LogForClient(LogLevel::kInfo, "NMGR:CreateGroup", "{} has NeuronCore group {} of {} NCs",
                 rights.client.Text(), group->id, group->cores.count);
  }
  return grpc::Status::OK;
}

grpc::Status NmgrService::destroy_eg(Context* context, const nrt::destroy_eg_request* request,
                                     nrt::destroy_eg_response* response) {
  SetStatus(runtime_.DestroyGroup(request->h_eg().id(), clients_.AskingAs(*context)),
            response->mutable_status());
  return grpc::Status::OK;
}

grpc::Status NmgrService::list_egs(Context*, const nrt::empty*, nrt::out_list_egs* response) {
  runtime::Machine& machine = runtime_.machine();
  for (const auto& group : runtime_.ListGroups()) {
    const uint32_t first = group.cores.first;
    nrt::eg_info* info = response->add_eg_info();
    info->mutable_eg()->set_id(group.id);
    info->set_vnc_start_index(first);
    info->set_nc_count(group.cores.count);
    info->set_mla_start_index(machine.device_of_core(first));
    info->set_nc_start_index(first % kCoresPerDevice);
  }
  response->set_mla_count(static_cast<uint32_t>(machine.devices().size()));
  response->set_nc_count(static_cast<uint32_t>(machine.cores().size()));
  SetOk(response->mutable_status());
  return grpc::Status::OK;
}

grpc::Status NmgrService::shm_map(Context* context, const nrt::shm_map_request* request,
                                  nrt::shm_map_response* response) {
  const Rights rights = clients_.RightsOf(*context);
  const auto map = [&]() -> Result<void> {
    NRTD_TRY(rights.CheckThere());
    NRTD_TRY(CheckNamedSession(request->session_id(), rights.asking));
    memory::Mapper mapper;
    mapper.owner = clients_.OwnerFor(rights, request->session_id()).session;
    mapper.realm = rights.asking;
    mapper.process = rights.client.process;
    mapper.user = runtime::FileUserOf(rights.client);
    // Clients that name no protection mean both, as the original took it.
    const int protection =
        request->mmap_prot() != 0 ? static_cast<int>(request->mmap_prot()) : PROT_READ | PROT_WRITE;
    switch (request->data_case()) {
      case nrt::shm_map_request::kPath:
        return runtime_.MapPosix(request->path(), protection, mapper, rights.client.account);
      case nrt::shm_map_request::kPathHugetlb:
        return runtime_.MapHugetlb(request->path_hugetlb().path(), request->path_hugetlb().size(),
                                   protection, mapper, rights.client.account);
      case nrt::shm_map_request::DATA_NOT_SET:
        break;
    }
    return Fail(Nerr::kInvalid, "shm_map names no path");
  };
  const auto mapped = map();
  if (!mapped)
    LogForClient(LogLevel::kWarning, "NMGR:ShmMap", "{}: {}", rights.client.Text(),
                 AsIs(mapped.error().text));
  SetStatus(mapped, response->mutable_status());
  return grpc::Status::OK;
}

grpc::Status NmgrService::shm_unmap(Context* context, const nrt::shm_unmap_request* request,
                                    nrt::shm_unmap_response* response) {
  SetStatus(
      runtime_.shared_memory().Unmap(request->path(), /*owner=*/0, clients_.AskingAs(*context)),
      response->mutable_status());
  return grpc::Status::OK;
}

grpc::Status NmgrService::get_version(Context*, const nrt::get_version_request*,
                                      nrt::get_version_response* response) {
  SetVersion(response->mutable_runtime_version());
  return grpc::Status::OK;
}

}  // namespace nrtd::service
