// SPDX-License-Identifier: Apache-2.0
//
// The kubelet's device plugin API for one resource, "aws.amazon.com/neuron": a device each.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "base/clock.h"
#include "base/mutex.h"
#include "deploy/device_plugin/node_devices.h"
#include "deploy/device_plugin/pod_choices.h"
#include "http/metrics.h"
#include "proto/kubelet/device_plugin.grpc.pb.h"

namespace nrtd::deploy {

// Threadsafe. What it is made of outlives it.
class PluginService final : public v1beta1::DevicePlugin::Service {
 public:
  // `choices`: null where no scheduler extender chooses devices.
  PluginService(NodeDevices& devices, Metrics& metrics, PodChoices* choices);

  // Looks at the devices, and tells the kubelet, and the extender, if anything changed.
  void Refresh();
  // When the last ListAndWatch ended, or this was made; nothing while one is open.
  std::optional<TimePoint> WithoutWatchSince();

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
  void LookAtDevices();
  void TellHealthy();
  // The devices that a container gets.
  Result<std::set<uint32_t>> Choose(const std::set<uint32_t>& available,
                                    const std::set<uint32_t>& required, uint32_t count);
  Result<std::set<uint32_t>> NumbersOf(const google::protobuf::RepeatedPtrField<std::string>& ids);

  NodeDevices& devices_;  // Health() by the thread that calls Refresh()
  Metrics& metrics_;
  PodChoices* const choices_;
  // By the thread that calls Refresh():
  std::optional<std::set<uint32_t>> told_;  // healthy ones, to the extender
  TimePoint told_at_;
  std::string problem_;  // that was logged
  SteadyClock clock_;
  Mutex mutex_;
  CondVar changed_;
  std::map<uint32_t, bool> health_ NRTD_GUARDED_BY(mutex_);
  uint64_t changes_ NRTD_GUARDED_BY(mutex_) = 0;
  int watches_ NRTD_GUARDED_BY(mutex_) = 0;
  TimePoint last_watch_ NRTD_GUARDED_BY(mutex_);
};

}  // namespace nrtd::deploy
