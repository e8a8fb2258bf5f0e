// SPDX-License-Identifier: Apache-2.0
#include "runtime/service/methods.h"

#include "runtime/service/infer_stream_call.h"
#include "runtime/service/load_call.h"
#include "runtime/service/session_call.h"
#include "runtime/service/unary_call.h"

namespace nrtd::service {

void ServeNmgr(const CallEnvironment& environment, rpc::RawService& service,
               Late<NmgrService>& handler) {
  using H = NmgrService;
  new LoadCall(environment, service, handler);
  const auto serve = [&](std::string_view method, auto handle) {
    Serve(environment, service, method, handler, handle);
  };
  Serve(environment, service, "create_eg", handler, &H::create_eg,
        {.take_back = &H::TakeBackGroup});
  Serve(environment, service, "infer_post", handler, &H::infer_post,
        {.take_back = &H::TakeBackCookie, .inference = true});
  Serve(environment, service, "infer", handler, &H::infer, {.watched = true});
  Serve(environment, service, "infer_wait", handler, &H::infer_wait,
        {.watched = true, .collects = true});
  serve("unload", &H::unload);
  serve("start", &H::start);
  serve("stop", &H::stop);
  serve("unload_all", &H::unload_all);
  Serve(environment, service, "infer_poll", handler, &H::infer_poll, {.collects = true});
  Serve(environment, service, "infer_check_completion", handler, &H::infer_check_completion,
        {.inference = true, .collects = true});
  serve("destroy_eg", &H::destroy_eg);
  serve("list_egs", &H::list_egs);
  serve("shm_map", &H::shm_map);
  serve("shm_unmap", &H::shm_unmap);
  serve("get_version", &H::get_version);
  serve("read_nc_time_in_use", &H::read_nc_time_in_use);
  serve("read_nc_counters", &H::read_nc_counters);
  serve("read_inference_counters", &H::read_inference_counters);
  serve("read_all_counters", &H::read_all_counters);
  serve("read_all_metrics", &H::read_all_metrics);
  serve("get_hw_counters", &H::get_hw_counters);
  serve("get_all_hw_counters", &H::get_all_hw_counters);
  serve("random_seed", &H::random_seed);
  serve("set_static_transfer_adjustment", &H::set_static_transfer_adjustment);
}

void ServeStreams(const CallEnvironment& environment, rpc::RawService& service,
                  Late<NmgrService>& handler) {
  new InferStreamCall(environment, service, handler);
}

void ServeSessions(const CallEnvironment& environment, rpc::RawService& service,
                   runtime::SessionTable& sessions, Late<runtime::Runtime>& runtime) {
  new SessionCall(environment, service, sessions, runtime);
}

void ServeControl(const CallEnvironment& environment, rpc::RawService& service,
                  Late<ControlService>& handler) {
  using H = ControlService;
  Serve(environment, service, "ListNetworks", handler, &H::ListNetworks);
  Serve(environment, service, "ListSessions", handler, &H::ListSessions);
  Serve(environment, service, "ListClients", handler, &H::ListClients);
  Serve(environment, service, "ListDevices", handler, &H::ListDevices);
  Serve(environment, service, "Health", handler, &H::Health);
  Serve(environment, service, "Evict", handler, &H::Evict);
}

}  // namespace nrtd::service
