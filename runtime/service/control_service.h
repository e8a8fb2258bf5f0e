// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <string>

#include <grpcpp/server_context.h>

#include "proto/nrtd/v1/control.pb.h"
#include "runtime/runtime.h"
#include "runtime/service/call_context.h"

namespace nrtd::service {

// nrtd.v1.Control on top of Runtime: reads only.
class ControlService {
 public:
  // `runtime` outlives the service; `address` is where it listens.
  ControlService(runtime::Runtime& runtime, std::string address)
      : runtime_(runtime),
        address_(std::move(address)),
        started_(runtime.machine().clock().Now()) {}

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

 private:
  void Describe(const runtime::Network& network, nrtd::v1::Network* out) const;
  void DescribeDevice(uint32_t index, nrtd::v1::Device* out) const;

  runtime::Runtime& runtime_;
  const std::string address_;
  const TimePoint started_;
};

}  // namespace nrtd::service
