// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include <grpcpp/server_context.h>

#include "proto/nrtd/v1/control.pb.h"
#include "runtime/runtime.h"
#include "runtime/service/call_context.h"
#include "runtime/service/late.h"
#include "runtime/session/access.h"

namespace nrtd::service {

// nrtd.v1.Control on top of Runtime: reads, and evicts clients. While there is none, sessions and
// clients are listed and Health says why; other lists carry code 6.
class ControlService {
 public:
  // All outlive the service; `address` is where it listens.
  // `evict` ends a client's connections and frees what it made.
  using Evictor = std::function<void(runtime::ProcessKey client)>;
  ControlService(Late<runtime::Runtime>& runtime, runtime::SessionTable& sessions,
                 const runtime::AccessRules& rules, Clock& clock, std::string address,
                 Evictor evict)
      : runtime_(runtime),
        sessions_(sessions),
        rules_(rules),
        evict_(std::move(evict)),
        clock_(clock),
        address_(std::move(address)),
        started_(clock.Now()) {}

  grpc::Status ListNetworks(CallContext* context, const nrtd::v1::ListNetworksRequest* request,
                            nrtd::v1::ListNetworksResponse* response);
  grpc::Status ListSessions(CallContext* context, const nrtd::v1::ListSessionsRequest* request,
                            nrtd::v1::ListSessionsResponse* response);
  grpc::Status ListClients(CallContext* context, const nrtd::v1::ListClientsRequest* request,
                           nrtd::v1::ListClientsResponse* response);
  grpc::Status ListDevices(CallContext* context, const nrtd::v1::ListDevicesRequest* request,
                           nrtd::v1::ListDevicesResponse* response);
  grpc::Status Health(CallContext* context, const nrtd::v1::HealthRequest* request,
                      nrtd::v1::HealthResponse* response);
  grpc::Status Evict(CallContext* context, const nrtd::v1::EvictRequest* request,
                     nrtd::v1::EvictResponse* response);

 private:
  void DescribeAccounts(nrtd::v1::ListClientsResponse* response) const;

  Late<runtime::Runtime>& runtime_;
  runtime::SessionTable& sessions_;
  const runtime::AccessRules& rules_;
  const Evictor evict_;
  Clock& clock_;
  const std::string address_;
  const TimePoint started_;
};

}  // namespace nrtd::service
