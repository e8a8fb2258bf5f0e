// SPDX-License-Identifier: Apache-2.0
//
// The kubelet's device plugin API for one resource: "aws.amazon.com/neuron", a device each, or
// "aws.amazon.com/neuroncore", a core each.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "deploy/device_plugin/device_use.h"
#include "deploy/device_plugin/node_devices.h"
#include "deploy/device_plugin/pod_choices.h"
#include "http/metrics.h"
#include "proto/kubelet/device_plugin.grpc.pb.h"

namespace nrtd::deploy {

enum class ResourceUnit { kDevice, kCore };

// Threadsafe. What it is made of outlives it.
class PluginService final : public v1beta1::DevicePlugin::Service {
 public:
  // `choices`: null where no scheduler extender chooses devices. `use`: null where there is no
  // other resource of the same devices.
  PluginService(ResourceUnit unit, NodeDevices& devices, Metrics& metrics, PodChoices* choices,
                DeviceUse* use);

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
  using Ids = google::protobuf::RepeatedPtrField<std::string>;
  // By device: all of it, or some of its cores.
  using Units = std::map<uint32_t, std::set<uint32_t>>;
  // The ids of a device's units.
  std::vector<std::string> IdsOf(uint32_t device) const;
  // What a container gets.
  Result<std::vector<std::string>> Choose(const Units& available, const Units& required,
                                          uint32_t count);
  Result<std::set<uint32_t>> ChooseDevices(const std::set<uint32_t>& available,
                                           const std::set<uint32_t>& required, uint32_t count);
  Result<Units> UnitsOf(const Ids& ids);
  grpc::Status AllocateTo(const v1beta1::ContainerAllocateRequest& request,
                          v1beta1::ContainerAllocateResponse& answer);

  const ResourceUnit unit_;
  NodeDevices& devices_;  // Health() by the thread that calls Refresh()
  Metrics& metrics_;
  PodChoices* const choices_;
  DeviceUse* const use_;
  // By the thread that calls Refresh():
  std::optional<std::set<uint32_t>> told_;  // healthy ones, to the extender
  TimePoint told_at_;
  std::string problem_;  // that was logged
  SteadyClock clock_;
  Mutex mutex_;
  CondVar changed_;
  std::map<uint32_t, bool> health_ NRTD_GUARDED_BY(mutex_);  // of devices
  std::map<std::string, bool> offered_
      NRTD_GUARDED_BY(mutex_);  // units, by id: whether one gets it
  uint64_t changes_ NRTD_GUARDED_BY(mutex_) = 0;
  int watches_ NRTD_GUARDED_BY(mutex_) = 0;
  TimePoint last_watch_ NRTD_GUARDED_BY(mutex_);
};

}  // namespace nrtd::deploy
