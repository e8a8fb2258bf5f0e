// SPDX-License-Identifier: Apache-2.0
#include "deploy/device_plugin/plugin_service.h"

#include <algorithm>
#include <set>
#include <utility>

#include <fmt/ranges.h>

#include "base/log.h"
#include "deploy/cluster/neighbours.h"

namespace nrtd::deploy {
namespace {

constexpr const char* kAllocations = "neuron_device_plugin_allocations_total";
constexpr const char* kDevices = "neuron_device_plugin_devices";
constexpr const char* kCores = "neuron_device_plugin_cores";

template <typename Map>
std::set<uint32_t> KeysOf(const Map& map) {
  std::set<uint32_t> keys;
  for (const auto& entry : map) keys.insert(entry.first);
  return keys;
}

}  // namespace

PluginService::PluginService(ResourceUnit unit, NodeDevices& devices, Metrics& metrics,
                             PodChoices* choices, DeviceUse* use)
    : unit_(unit),
      devices_(devices),
      metrics_(metrics),
      choices_(choices),
      use_(use),
      last_watch_(clock_.Now()) {
  LookAtDevices();
  metrics_.DeclareCounter(kAllocations);
  metrics_.DeclareGauge(unit == ResourceUnit::kCore ? kCores : kDevices, [this] {
    int64_t healthy = 0;
    MutexLock lock(mutex_);
    for (const auto& [id, is_offered] : offered_) healthy += is_offered ? 1 : 0;
    return Metrics::Readings{
        {{{"health", "Healthy"}}, healthy},
        {{{"health", "Unhealthy"}}, static_cast<int64_t>(offered_.size()) - healthy}};
  });
}

std::vector<std::string> PluginService::IdsOf(uint32_t device) const {
  if (unit_ == ResourceUnit::kDevice) return {NodeDevices::Name(device)};
  std::vector<std::string> ids;
  for (uint32_t core = 0; core < kCoresOfDevice; ++core)
    ids.push_back(NodeDevices::Name(device, core));
  return ids;
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
  std::map<std::string, bool> offered;
  for (const auto& [device, is_healthy] : health)
    for (const std::string& id : IdsOf(device))
      offered[id] = is_healthy && (use_ == nullptr || use_->IsFree(id));
  MutexLock lock(mutex_);
  for (const auto& [device, is_healthy] : health) {
    const auto before = health_.find(device);
    if (before == health_.end() || before->second == is_healthy) continue;
    Log(is_healthy ? LogLevel::kInfo : LogLevel::kWarning, "DevicePlugin", "{} is {}",
        NodeDevices::Name(device), is_healthy ? "healthy again" : "unhealthy");
  }
  health_ = std::move(health);
  if (offered == offered_) return;
  offered_ = std::move(offered);
  ++changes_;
  changed_.NotifyAll();
}

std::optional<TimePoint> PluginService::WithoutWatchSince() {
  MutexLock lock(mutex_);
  return watches_ > 0 ? std::nullopt : std::optional(last_watch_);
}

v1beta1::ListAndWatchResponse PluginService::List() {
  v1beta1::ListAndWatchResponse list;
  for (const auto& [id, is_offered] : offered_) {
    v1beta1::Device& entry = *list.add_devices();
    entry.set_id(id);
    entry.set_health(is_offered ? "Healthy" : "Unhealthy");
  }
  return list;
}

Result<PluginService::Units> PluginService::UnitsOf(const Ids& ids) {
  Units units;
  for (const std::string& id : ids) {
    const auto unit = NodeDevices::UnitOf(id);
    if (!unit || !devices_.Has(unit->device) ||
        unit->core.has_value() != (unit_ == ResourceUnit::kCore)) {
      return Fail(Nerr::kInvalid, "no {} '{}' on this node",
                  unit_ == ResourceUnit::kCore ? "core" : "device", Printable(id));
    }
    units[unit->device].insert(unit->core.value_or(0));
  }
  return units;
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

Result<std::set<uint32_t>> PluginService::ChooseDevices(const std::set<uint32_t>& available,
                                                        const std::set<uint32_t>& required,
                                                        uint32_t count) {
  if (choices_ != nullptr) return choices_->For(available, required, count);
  return ChooseNeighbours(available, required, count);
}

Result<std::vector<std::string>> PluginService::Choose(const Units& available,
                                                       const Units& required, uint32_t count) {
  const uint32_t of_a_device = unit_ == ResourceUnit::kCore ? kCoresOfDevice : 1;
  const uint32_t devices = (count + of_a_device - 1) / of_a_device;
  NRTD_ASSIGN(const auto chosen,
              ChooseDevices(KeysOf(available), KeysOf(required),
                            std::max(devices, static_cast<uint32_t>(required.size()))));
  std::vector<std::string> ids;
  const auto take = [&](uint32_t device, uint32_t unit) {
    if (ids.size() == count) return;
    const std::string id = IdsOf(device)[unit];
    if (std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
  };
  for (const auto& [device, units] : required)
    for (const uint32_t unit : units) take(device, unit);
  for (const uint32_t device : chosen)
    for (const uint32_t unit : available.at(device)) take(device, unit);
  return ids;
}

grpc::Status PluginService::GetPreferredAllocation(
    grpc::ServerContext*, const v1beta1::PreferredAllocationRequest* request,
    v1beta1::PreferredAllocationResponse* response) {
  for (const auto& container : request->container_requests()) {
    const auto available = UnitsOf(container.available_deviceids());
    const auto required = UnitsOf(container.must_include_deviceids());
    if (!available) return {grpc::StatusCode::INVALID_ARGUMENT, available.error().text};
    if (!required) return {grpc::StatusCode::INVALID_ARGUMENT, required.error().text};
    if (container.allocation_size() < 0)
      return {grpc::StatusCode::INVALID_ARGUMENT, "allocation_size is negative"};
    const auto ids =
        Choose(*available, *required, static_cast<uint32_t>(container.allocation_size()));
    if (!ids) {
      Log(LogLevel::kWarning, "DevicePlugin", "{}", AsIs(ids.error().text));
      return {grpc::StatusCode::UNAVAILABLE, ids.error().text};
    }
    auto& chosen = *response->add_container_responses();
    for (const std::string& id : *ids) chosen.add_deviceids(id);
  }
  return grpc::Status::OK;
}

grpc::Status PluginService::Allocate(grpc::ServerContext*, const v1beta1::AllocateRequest* request,
                                     v1beta1::AllocateResponse* response) {
  for (const auto& container : request->container_requests()) {
    const grpc::Status status = AllocateTo(container, *response->add_container_responses());
    if (!status.ok()) return status;
  }
  return grpc::Status::OK;
}

grpc::Status PluginService::AllocateTo(const v1beta1::ContainerAllocateRequest& request,
                                       v1beta1::ContainerAllocateResponse& answer) {
  const auto units = UnitsOf(request.devices_ids());
  if (!units) return {grpc::StatusCode::INVALID_ARGUMENT, units.error().text};
  if (use_ != nullptr) {
    const auto given = use_->Give({request.devices_ids().begin(), request.devices_ids().end()});
    if (!given) {
      Log(LogLevel::kWarning, "DevicePlugin", "{}", AsIs(given.error().text));
      return {grpc::StatusCode::UNAVAILABLE, given.error().text};
    }
  }
  const std::set<uint32_t> numbers = KeysOf(*units);
  const std::string visible = fmt::format("{}", fmt::join(numbers, ","));
  (*answer.mutable_envs())["AWS_NEURON_VISIBLE_DEVICES"] = visible;
  if (devices_.is_simulated()) {
    (*answer.mutable_envs())["NEURON_RTD_SIM"] = devices_.instance();
  } else {
    for (const uint32_t device : numbers) {
      v1beta1::DeviceSpec& node = *answer.add_devices();
      node.set_host_path(devices_.NodePath(device));
      node.set_container_path("/dev/" + NodeDevices::Name(device));
      node.set_permissions("rw");
    }
  }
  metrics_.Count(kAllocations, {});
  Log(LogLevel::kInfo, "DevicePlugin", "a container gets devices {}", visible);
  return grpc::Status::OK;
}

grpc::Status PluginService::PreStartContainer(grpc::ServerContext*,
                                              const v1beta1::PreStartContainerRequest*,
                                              v1beta1::PreStartContainerResponse*) {
  return grpc::Status::OK;
}

}  // namespace nrtd::deploy
