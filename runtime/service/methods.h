// SPDX-License-Identifier: Apache-2.0
//
// Which method of which service is handled by what.
#pragma once

#include "rpc/call_queue.h"
#include "runtime/service/control_service.h"
#include "runtime/service/nmgr_service.h"
#include "runtime/service/unary_call.h"

namespace nrtd::service {

// Each waits for the first call of every method of its service, whose server is running. All
// arguments outlive the calls. A method that is missing here would never be answered.
void ServeNmgr(const CallEnvironment& environment, rpc::RawService& service,
               Late<NmgrService>& handler);
void ServeStreams(const CallEnvironment& environment, rpc::RawService& service,
                  Late<NmgrService>& handler);
void ServeSessions(const CallEnvironment& environment, rpc::RawService& service,
                   runtime::SessionTable& sessions, Late<runtime::Runtime>& runtime);
void ServeControl(const CallEnvironment& environment, rpc::RawService& service,
                  Late<ControlService>& handler);

}  // namespace nrtd::service
