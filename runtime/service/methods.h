// SPDX-License-Identifier: Apache-2.0
//
// Which method of which service is handled by what.
#pragma once

#include "proto/nrt/nmgr_service.grpc.pb.h"
#include "proto/nrt/nmgr_session_service.grpc.pb.h"
#include "proto/nrt/nmgr_stream_service.grpc.pb.h"
#include "proto/nrtd/v1/control.grpc.pb.h"
#include "runtime/service/call_queue.h"
#include "runtime/service/control_service.h"
#include "runtime/service/nmgr_service.h"

namespace nrtd::service {

// Each waits for the first call of every method of its service, whose server is running. All
// arguments outlive the calls. A method that is missing here would never be answered.
void ServeNmgr(CallQueue& queue, nrt::nmgr_v1::AsyncService& service, NmgrService& handler);
void ServeStreams(CallQueue& queue, nrt::nmgr_stream::AsyncService& service, NmgrService& handler);
void ServeSessions(CallQueue& queue, nrt::nmgr_session_manager::AsyncService& service,
                   runtime::Runtime& runtime, Clients& clients);
void ServeControl(CallQueue& queue, nrtd::v1::Control::AsyncService& service,
                  ControlService& handler);

}  // namespace nrtd::service
