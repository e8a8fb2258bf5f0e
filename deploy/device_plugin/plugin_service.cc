// SPDX-License-Identifier: Apache-2.0
#include "deploy/device_plugin/plugin_service.h"

#include <set>
#include <utility>

#include <fmt/ranges.h>

#include "base/log.h"
#include "deploy/cluster/neighbours.h"

namespace nrtd::deploy {
namespace {

constexpr const char* kAllocations = "neuron_device_plugin_allocations_total";
constexpr const char* kDevices = "neuron_device_plugin_devices";

}  // namespace

PluginService::PluginService(NodeDevices& devices, Metrics& metrics, PodChoices* choices)
    : devices_(devices),
      metrics_(metrics),
      choices_(choices),
      health_(devices.Health()),
      last_watch_(clock_.Now()) {
  metrics_.DeclareCounter(kAllocations);
  metrics_.DeclareGauge(kDevices, [this] {
    int64_t healthy = 0;
    MutexLock lock(mutex_);
    for (const auto& [device, is_healthy] : health_) healthy += is_healthy ? 1 : 0;
    return Metrics::Readings{
        {{{"health", "Healthy"}}, healthy},
        {{{"health", "Unhealthy"}}, static_cast<int64_t>(health_.size()) - healthy}};
  });
}

void PluginService::TellHealthy() {
  std::set<uint32_t> healthy;
  {
    MutexLock lock(mutex_);
    for (const auto& [device, is_healthy] : health_)
      if (is_healthy) healthy.insert(device);
  }
  // Repeated every minute, in case the Node object was deleted and created again.
  constexpr auto kAgain = std::chrono::minutes(1);
  if (told_ == healthy && clock_.Now() - told_at_ < kAgain) return;
  if (const auto told = choices_->TellHealthy(healthy)) {
    told_ = healthy;
    told_at_ = clock_.Now();
    problem_.clear();
  } else if (std::exchange(problem_, told.error().text) != told.error().text) {
    Log(LogLevel::kWarning, "DevicePlugin", "the scheduler extender does not hear of devices: {}",
        AsIs(problem_));
  }
}

void PluginService::Refresh() {
  LookAtDevices();
  if (choices_ != nullptr) TellHealthy();
}

void PluginService::LookAtDevices() {
  auto health = devices_.Health();
  MutexLock lock(mutex_);
  if (health == health_) return;
  for (const auto& [device, is_healthy] : health) {
    if (health_[device] != is_healthy) {
      Log(is_healthy ? LogLevel::kInfo : LogLevel::kWarning, "DevicePlugin", "{} is {}",
          NodeDevices::Name(device), is_healthy ? "healthy again" : "unhealthy");
    }
  }
  health_ = std::move(health);
  ++changes_;
  changed_.NotifyAll();
}

std::optional<TimePoint> PluginService::WithoutWatchSince() {
  MutexLock lock(mutex_);
  return watches_ > 0 ? std::nullopt : std::optional(last_watch_);
}

v1beta1::ListAndWatchResponse PluginService::List() {
  v1beta1::ListAndWatchResponse list;
  for (const auto& [device, is_healthy] : health_) {
    v1beta1::Device& entry = *list.add_devices();
    entry.set_id(NodeDevices::Name(device));
    entry.set_health(is_healthy ? "Healthy" : "Unhealthy");
  }
  return list;
}

Result<std::set<uint32_t>> PluginService::NumbersOf(
    const google::protobuf::RepeatedPtrField<std::string>& ids) {
  std::set<uint32_t> numbers;
  for (const std::string& id : ids) {
    const auto number = devices_.NumberOf(id);
    if (!number) return Fail(Nerr::kInvalid, "no device '{}' on this node", id);
    numbers.insert(*number);
  }
  return numbers;
}

grpc::Status PluginService::GetDevicePluginOptions(grpc::ServerContext*, const v1beta1::Empty*,
                                                   v1beta1::DevicePluginOptions* response) {
  response->set_get_preferred_allocation_available(true);
  return grpc::Status::OK;
}

grpc::Status PluginService::ListAndWatch(
    grpc::ServerContext* context, const v1beta1::Empty*,
    grpc::ServerWriter<v1beta1::ListAndWatchResponse>* writer) {
  // A kubelet that has gone is noticed now and then.
  constexpr auto kLook = std::chrono::seconds(1);
  MutexLock lock(mutex_);
  ++watches_;
  for (uint64_t told = UINT64_MAX; !context->IsCancelled();) {
    if (told == changes_) {
      clock_.WaitUntil(changed_, mutex_, clock_.Now() + kLook);
      continue;
    }
    told = changes_;
    const v1beta1::ListAndWatchResponse list = List();
    lock.Unlock();
    const bool written = writer->Write(list);
    lock.Lock();
    if (!written) break;
  }
  --watches_;
  last_watch_ = clock_.Now();
  return grpc::Status::OK;
}

Result<std::set<uint32_t>> PluginService::Choose(const std::set<uint32_t>& available,
                                                 const std::set<uint32_t>& required,
                                                 uint32_t count) {
  if (choices_ != nullptr) return choices_->For(available, required, count);
  return ChooseNeighbours(available, required, count);
}

grpc::Status PluginService::GetPreferredAllocation(
    grpc::ServerContext*, const v1beta1::PreferredAllocationRequest* request,
    v1beta1::PreferredAllocationResponse* response) {
  for (const auto& container : request->container_requests()) {
    const auto available = NumbersOf(container.available_deviceids());
    const auto required = NumbersOf(container.must_include_deviceids());
    if (!available) return {grpc::StatusCode::INVALID_ARGUMENT, available.error().text};
    if (!required) return {grpc::StatusCode::INVALID_ARGUMENT, required.error().text};
    if (container.allocation_size() < 0)
      return {grpc::StatusCode::INVALID_ARGUMENT, "allocation_size is negative"};
    const auto devices =
        Choose(*available, *required, static_cast<uint32_t>(container.allocation_size()));
    if (!devices) {
      Log(LogLevel::kWarning, "DevicePlugin", "{}", AsIs(devices.error().text));
      return {grpc::StatusCode::UNAVAILABLE, devices.error().text};
    }
    auto& chosen = *response->add_container_responses();
    for (const uint32_t device : *devices) chosen.add_deviceids(NodeDevices::Name(device));
  }
  return grpc::Status::OK;
}

grpc::Status PluginService::Allocate(grpc::ServerContext*, const v1beta1::AllocateRequest* request,
                                     v1beta1::AllocateResponse* response) {
  for (const auto& container : request->container_requests()) {
    const auto numbers = NumbersOf(container.devices_ids());
    if (!numbers) return {grpc::StatusCode::INVALID_ARGUMENT, numbers.error().text};
    auto& answer = *response->add_container_responses();
    const std::string visible = fmt::format("{}", fmt::join(*numbers, ","));
    (*answer.mutable_envs())["AWS_NEURON_VISIBLE_DEVICES"] = visible;
    if (devices_.is_simulated()) {
      (*answer.mutable_envs())["NEURON_RTD_SIM"] = devices_.instance();
    } else {
      for (const uint32_t device : *numbers) {
        v1beta1::DeviceSpec& node = *answer.add_devices();
        node.set_host_path(devices_.NodePath(device));
        node.set_container_path("/dev/" + NodeDevices::Name(device));
        node.set_permissions("rw");
      }
    }
    metrics_.Count(kAllocations, {});
    Log(LogLevel::kInfo, "DevicePlugin", "a container gets devices {}", visible);
  }
  return grpc::Status::OK;
}

grpc::Status PluginService::PreStartContainer(grpc::ServerContext*,
                                              const v1beta1::PreStartContainerRequest*,
                                              v1beta1::PreStartContainerResponse*) {
  return grpc::Status::OK;
}

}  // namespace nrtd::deploy
