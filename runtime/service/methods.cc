// SPDX-License-Identifier: Apache-2.0
#include "runtime/service/methods.h"

#include "runtime/service/infer_stream_call.h"
#include "runtime/service/load_call.h"
#include "runtime/service/session_call.h"
#include "runtime/service/unary_call.h"

namespace nrtd::service {

void ServeNmgr(CallQueue& queue, nrt::nmgr_v1::AsyncService& service, NmgrService& handler) {
  using S = nrt::nmgr_v1::AsyncService;
  using H = NmgrService;
  new LoadCall(queue, service, handler);
  const auto serve = [&](auto await, auto handle) {
    Serve(queue, service, await, handler, handle);
  };
  Serve(queue, service, &S::Requestcreate_eg, handler, &H::create_eg,
        {.take_back = &H::TakeBackGroup});
  Serve(queue, service, &S::Requestinfer_post, handler, &H::infer_post,
        {.take_back = &H::TakeBackCookie});
  Serve(queue, service, &S::Requestinfer, handler, &H::infer, {.watched = true});
  Serve(queue, service, &S::Requestinfer_wait, handler, &H::infer_wait, {.watched = true});
  serve(&S::Requestunload, &H::unload);
  serve(&S::Requeststart, &H::start);
  serve(&S::Requeststop, &H::stop);
  serve(&S::Requestunload_all, &H::unload_all);
  serve(&S::Requestinfer_poll, &H::infer_poll);
  serve(&S::Requestinfer_check_completion, &H::infer_check_completion);
  serve(&S::Requestdestroy_eg, &H::destroy_eg);
  serve(&S::Requestlist_egs, &H::list_egs);
  serve(&S::Requestshm_map, &H::shm_map);
  serve(&S::Requestshm_unmap, &H::shm_unmap);
  serve(&S::Requestget_version, &H::get_version);
  serve(&S::Requestread_nc_time_in_use, &H::read_nc_time_in_use);
  serve(&S::Requestread_nc_counters, &H::read_nc_counters);
  serve(&S::Requestread_inference_counters, &H::read_inference_counters);
  serve(&S::Requestread_all_counters, &H::read_all_counters);
  serve(&S::Requestread_all_metrics, &H::read_all_metrics);
  serve(&S::Requestget_hw_counters, &H::get_hw_counters);
  serve(&S::Requestget_all_hw_counters, &H::get_all_hw_counters);
  serve(&S::Requestrandom_seed, &H::random_seed);
  serve(&S::Requestset_static_transfer_adjustment, &H::set_static_transfer_adjustment);
}

void ServeStreams(CallQueue& queue, nrt::nmgr_stream::AsyncService& service, NmgrService& handler) {
  new InferStreamCall(queue, service, handler);
}

void ServeSessions(CallQueue& queue, nrt::nmgr_session_manager::AsyncService& service,
                   runtime::Runtime& runtime, Clients& clients) {
  new SessionCall(queue, service, runtime, clients);
}

void ServeControl(CallQueue& queue, nrtd::v1::Control::AsyncService& service,
                  ControlService& handler) {
  using S = nrtd::v1::Control::AsyncService;
  using H = ControlService;
  Serve(queue, service, &S::RequestListNetworks, handler, &H::ListNetworks);
  Serve(queue, service, &S::RequestListSessions, handler, &H::ListSessions);
  Serve(queue, service, &S::RequestListClients, handler, &H::ListClients);
  Serve(queue, service, &S::RequestListDevices, handler, &H::ListDevices);
  Serve(queue, service, &S::RequestHealth, handler, &H::Health);
}

}  // namespace nrtd::service
