// SPDX-License-Identifier: Apache-2.0
#include "deploy/device_plugin/device_use.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include <grpcpp/grpcpp.h>

#include "deploy/device_plugin/node_devices.h"

namespace nrtd::deploy {
namespace {

constexpr auto kAnswersWithin = std::chrono::seconds(5);
// From Allocate() until the kubelet has started the container and lists it.
constexpr auto kUntilListed = std::chrono::seconds(30);

}  // namespace

DeviceUse::DeviceUse(const Options& options)
    : options_(options),
      kubelet_(::v1::PodResourcesLister::NewStub(
          grpc::CreateChannel("unix:" + options.socket, grpc::InsecureChannelCredentials()))) {}

Result<void> DeviceUse::Refresh() {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kAnswersWithin);
  ::v1::ListPodResourcesResponse listed;
  const grpc::Status status = kubelet_->List(&context, {}, &listed);
  if (!status.ok()) {
    return Fail(Nerr::kFail, "the kubelet does not tell at {} who has which devices: {}",
                options_.socket, status.error_message());
  }
  std::map<uint32_t, Use> uses;
  for (const auto& pod : listed.pod_resources()) {
    for (const auto& container : pod.containers()) {
      for (const auto& devices : container.devices()) {
        if (devices.resource_name() != options_.devices &&
            devices.resource_name() != options_.cores)
          continue;
        for (const std::string& id : devices.device_ids())
          if (const auto unit = NodeDevices::UnitOf(id)) uses[unit->device].ids.insert(id);
      }
    }
  }
  MutexLock lock(mutex_);
  const TimePoint now = clock_.Now();
  for (auto& [device, use] : uses_)
    if (use.given > now && !uses.contains(device)) uses.emplace(device, std::move(use));
  uses_ = std::move(uses);
  known_ = true;
  return {};
}

bool DeviceUse::is_known() const {
  MutexLock lock(mutex_);
  return known_;
}

const DeviceUse::Use* DeviceUse::UseOf(const std::string& id) const {
  const auto unit = NodeDevices::UnitOf(id);
  const auto use = unit ? uses_.find(unit->device) : uses_.end();
  return use == uses_.end() ? nullptr : &use->second;
}

bool DeviceUse::IsFree(const std::string& id) const {
  MutexLock lock(mutex_);
  const Use* const use = UseOf(id);
  return use == nullptr || use->ids.contains(id);
}

Result<void> DeviceUse::TryGive(const std::set<std::string>& ids) {
  MutexLock lock(mutex_);
  for (const std::string& id : ids) {
    const Use* const use = UseOf(id);
    if (use != nullptr && !std::includes(ids.begin(), ids.end(), use->ids.begin(), use->ids.end()))
      return Fail(Nerr::kResource, "another container has the device of '{}', or part of it", id);
  }
  for (const std::string& id : ids) {
    Use& use = uses_[NodeDevices::UnitOf(id)->device];
    use.ids.insert(id);
    use.given = clock_.Now() + kUntilListed;
  }
  return {};
}

Result<void> DeviceUse::Give(const std::set<std::string>& ids) {
  if (TryGive(ids)) return {};
  // The one that had it may have ended since.
  NRTD_TRY(Refresh());
  return TryGive(ids);
}

}  // namespace nrtd::deploy
