// SPDX-License-Identifier: Apache-2.0
//
// The kubelet's device plugin API for one resource, "aws.amazon.com/neuron": a device each.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "base/clock.h"
#include "base/mutex.h"
#include "deploy/device_plugin/node_devices.h"
#include "http/metrics.h"
#include "proto/kubelet/device_plugin.grpc.pb.h"

namespace nrtd::deploy {

// Threadsafe. `devices` and `metrics` outlive it.
class PluginService final : public v1beta1::DevicePlugin::Service {
 public:
  PluginService(const NodeDevices& devices, Metrics& metrics);

  // Looks at the devices, and tells the kubelet if anything changed.
  void Refresh();
  // Ends ListAndWatch, so that the server can end.
  void Stop();

  grpc::Status GetDevicePluginOptions(grpc::ServerContext* context, const v1beta1::Empty* request,
                                      v1beta1::DevicePluginOptions* response) override;
  grpc::Status ListAndWatch(grpc::ServerContext* context, const v1beta1::Empty* request,
                            grpc::ServerWriter<v1beta1::ListAndWatchResponse>* writer) override;
  grpc::Status GetPreferredAllocation(grpc::ServerContext* context,
                                      const v1beta1::PreferredAllocationRequest* request,
                                      v1beta1::PreferredAllocationResponse* response) override;
  grpc::Status Allocate(grpc::ServerContext* context, const v1beta1::AllocateRequest* request,
                        v1beta1::AllocateResponse* response) override;
  grpc::Status PreStartContainer(grpc::ServerContext* context,
                                 const v1beta1::PreStartContainerRequest* request,
                                 v1beta1::PreStartContainerResponse* response) override;

 private:
  v1beta1::ListAndWatchResponse List() NRTD_REQUIRES(mutex_);
  Result<std::set<uint32_t>> NumbersOf(const google::protobuf::RepeatedPtrField<std::string>& ids);

  const NodeDevices& devices_;
  Metrics& metrics_;
  Mutex mutex_;
  CondVar changed_;
  std::map<uint32_t, bool> health_ NRTD_GUARDED_BY(mutex_);
  uint64_t changes_ NRTD_GUARDED_BY(mutex_) = 0;
  bool stopping_ NRTD_GUARDED_BY(mutex_) = false;
};

}  // namespace nrtd::deploy
