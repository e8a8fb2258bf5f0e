// SPDX-License-Identifier: Apache-2.0
#include "runtime/runtime.h"

#include <algorithm>
#include <utility>

#include "base/heap.h"
#include "base/log.h"
#include "neff/validator.h"
#include "runtime/model/loader.h"

namespace nrtd::runtime {
namespace {

scheduler::CoreRun CoresOf(uint32_t device) {
  return {.first = device * kCoresPerDevice, .count = kCoresPerDevice};
}

// Charges a mapping to an account, as long as it is there. Huge pages are no memory of the daemon's
// cgroup.
memory::Admit AdmitTo(const std::shared_ptr<ClientAccount>& account) {
  if (account == nullptr) return {};
  return [account](const memory::SharedMemory& memory) -> Result<std::shared_ptr<void>> {
    auto charges = std::make_shared<std::pair<Charge, Charge>>();
    NRTD_ASSIGN(charges->first, account->Take(Holding::kMappings));
    if (!memory.hugetlb()) {
      NRTD_ASSIGN(charges->second, account->Take(Holding::kMappedBytes, memory.size()));
    }
    return std::shared_ptr<void>(std::move(charges));
  };
}

// Of a message that carries all of these tensors.
uint64_t BytesOf(const std::vector<TensorPort>& ports) {
  uint64_t bytes = 0;
  for (const TensorPort& port : ports) bytes += port.bytes;
  return bytes;
}

}  // namespace

Result<NetworkParams> Runtime::ResolveParams(const LoadRequest& request) const {
  NetworkParams params;
  params.ninfer = request.ninfer != 0 ? request.ninfer : default_ninfer_.load();
  if (params.ninfer > kMaxNinfer) {
    return Fail(Nerr::kInvalid, "ninfer {} is not in 1 to {}", request.ninfer, kMaxNinfer);
  }
  if (request.timeout_seconds > kMaxTimeoutSeconds) {
    return Fail(Nerr::kInvalid, "timeout {} s is not in 1 to {}", request.timeout_seconds,
                kMaxTimeoutSeconds);
  }
  params.timeout = std::chrono::seconds(request.timeout_seconds != 0 ? request.timeout_seconds
                                                                     : default_timeout_.load());
  return params;
}

void Runtime::SetDefaults(const LoadDefaults& defaults) {
  default_ninfer_ = defaults.ninfer;
  default_timeout_ = defaults.timeout_seconds;
  neff_cache_.SetCapacity(defaults.cached_neffs);
}

Runtime::Runtime(std::unique_ptr<Machine> machine, IdBases ids,
                 std::shared_ptr<SessionTable> sessions)
    : machine_(std::move(machine)),
      groups_(machine_->core_count(), std::move(ids.groups)),
      session_table_(sessions != nullptr
                         ? std::move(sessions)
                         : std::make_shared<SessionTable>(NoLimits(), ids.first_session)),
      sessions_(*session_table_),
      network_ids_(std::move(ids.networks)),
      cookies_(*machine_, ids.first_cookie) {
  const Limits& limits = sessions_.ledger().limits();
  neff_cache_.SetMaxNeffBytes(limits.PerClient(Holding::kNetworkBytes));
  neff_cache_.SetMaxBytes(limits.Total(Holding::kNetworkBytes) / 4);
  // Steps and kernels; the weights and variables of networks are charged to clients.
  machine_->prepared_budget().SetLimit(limits.Total(Holding::kNetworkBytes) / 4);
  groups_.SetCoreLimits(limits.PerClient(Holding::kCores), limits.Total(Holding::kCores));
  for (uint32_t device = 0; device < machine_->device_count(); ++device)
    if (!machine_->has_device(device)) groups_.Withhold(CoresOf(device));
}

Runtime::~Runtime() {
  UnloadAll();
  MutexLock lock(mutex_);
  while (operations_ > 0) operations_ended_.Wait(mutex_);
}

bool Runtime::AddDevices() {
  bool all = true;
  for (uint32_t device = 0; device < machine_->device_count(); ++device) {
    if (machine_->has_device(device)) continue;
    const auto added = machine_->AddDevice(device, [&] { groups_.Provide(CoresOf(device)); });
    if (added) continue;
    all = false;
    Log(LogLevel::kDebug, "TDRV:OpenDevice", "{}", AsIs(added.error().text));
  }
  return all;
}

Result<void> Runtime::CheckSession(SessionId session, ProcessKey asking) const {
  if (session == 0 || sessions_.Contains(session, asking)) return {};
  return Fail(Nerr::kInvalidHandle, "Failed to find session: {}", session);
}

Result<scheduler::GroupInfo> Runtime::CreateGroup(uint32_t core_count, Owner owner) {
  NRTD_TRY(CheckSession(owner.session));
  NRTD_ASSIGN(const scheduler::GroupInfo group,
              groups_.Create(core_count, /*implicit=*/false, owner));
  // The session may have closed while the group was made, too late for its end to see the group.
  if (auto open = CheckSession(owner.session); !open) {
    (void)groups_.Destroy(group.id);
    return tl::unexpected<Error>(std::move(open.error()));
  }
  return group;
}

std::chrono::duration<double> Runtime::Since(TimePoint start) const {
  return machine_->clock().Now() - start;
}

class Runtime::LoadUnderWay {
 public:
  LoadUnderWay(Runtime& runtime, const std::stop_token& given_up)
      : runtime_(runtime), link_(given_up, [this] { source_.request_stop(); }) {}
  ~LoadUnderWay() {
    {
      MutexLock lock(runtime_.mutex_);
      for (const auto& place : places_) runtime_.loads_.erase(place);
    }
    runtime_.BecomeSmallWhenEmpty();
  }
  LoadUnderWay(const LoadUnderWay&) = delete;
  LoadUnderWay& operator=(const LoadUnderWay&) = delete;

  // Ends with this session, which is looked for afterwards; 0: with none.
  void EndWith(SessionId session) {
    MutexLock lock(runtime_.mutex_);
    places_.push_back(runtime_.loads_.emplace(session, source_));
  }
  std::stop_token stop() const { return source_.get_token(); }

 private:
  Runtime& runtime_;
  std::stop_source source_;
  const std::stop_callback<std::function<void()>> link_;
  std::vector<std::multimap<SessionId, std::stop_source>::iterator> places_;
};

Result<NetworkId> Runtime::Load(LoadRequest request) {
  const TimePoint start = machine_->clock().Now();
  LoadUnderWay load(*this, request.given_up);
  load.EndWith(request.owner.session);
  NRTD_TRY(CheckSession(request.owner.session, request.asking));
  NRTD_TRY(ResolveParams(request));
  if (request.group != 0) {
    const auto group = groups_.Find(request.group);
    if (!group || !MayUse(request.asking, group->owner.process))
      return Fail(Nerr::kInvalidHandle, "Failed to find NeuronCore group: {}", request.group);
    load.EndWith(group->owner.session);
  }
  LoadCharges charges(request.account, std::move(request.arrived));
  NRTD_TRY(charges.Begin());
  NRTD_ASSIGN(const std::shared_ptr<const neff::Neff> read,
              neff_cache_.Read(std::move(request.neff),
                               {.user = request.user,
                                .reserve = [&](uint64_t bytes) { return charges.Copying(bytes); },
                                .stop = load.stop()}));
  NRTD_TRY(charges.Read(neff_holdings_, read));
  const neff::Neff& neff = *read;
  NRTD_ASSIGN(const GroupId group, EnterGroup(request, neff.CoresRequired()));
  auto network = Place(read, request, group, std::move(charges), load.stop());
  if (!network) {
    LeaveGroup(group);
    return tl::unexpected<Error>(std::move(network.error()));
  }
  NRTD_ASSIGN(const NetworkId id, Register(*network));
  metrics_.CountLoad(neff.header().version_major, neff.header().version_minor, neff.FileSize(),
                     neff.CoresRequired(), Since(start));
  return id;
}

Result<GroupId> Runtime::EnterGroup(const LoadRequest& request, uint32_t cores_required) {
  if (request.group != 0) {
    NRTD_TRY(groups_.Join(request.group, request.asking));
    return request.group;
  }
  NRTD_ASSIGN(const auto made, groups_.Create(cores_required, /*implicit=*/true, request.owner));
  return made.id;
}

void Runtime::LeaveGroup(GroupId id) {
  groups_.Leave(id);
  // A session that closed while this network was in its group could not take the group along.
  const auto group = groups_.Find(id);
  if (group && !CheckSession(group->owner.session)) (void)groups_.Destroy(id);
}

Result<std::shared_ptr<Network>> Runtime::Place(const std::shared_ptr<const neff::Neff>& read,
                                                const LoadRequest& request, GroupId group,
                                                LoadCharges charges, const std::stop_token& stop) {
  const neff::Neff& neff = *read;
  NetworkInfo info;
  info.name = Printable(neff.info().name.empty() ? neff.header().name : neff.info().name);
  info.uuid = neff.UuidText();
  info.group = group;
  info.owner = request.owner;
  info.neff_bytes = neff.FileSize();
  NRTD_ASSIGN(info.params, ResolveParams(request));
  const auto joined = groups_.Find(group);
  NRTD_ASSIGN(Network::Parts parts,
              PlaceNetwork(read, joined->cores, info.params.ninfer, *machine_, stop));
  uint64_t dram_bytes = 0;
  uint64_t prepared_bytes = 0;
  for (const auto& stage : parts.stages) {
    dram_bytes += stage->dram_bytes();
    prepared_bytes += stage->prepared_bytes();
  }
  NRTD_TRY(charges.Placed(dram_bytes, neff.WeightBytes(), prepared_bytes));
  parts.charges = std::make_unique<LoadCharges>(std::move(charges));
  sessions_.ledger().RaiseMessageFloor(
      std::max(BytesOf(parts.layout.inputs), BytesOf(parts.layout.outputs)));
  NRTD_ASSIGN(info.id, network_ids_.Next());
  auto network = std::make_shared<Network>(std::move(info), std::move(parts), *machine_, groups_);
  if (joined->implicit) NRTD_TRY(network->Start());
  return network;
}

Result<NetworkId> Runtime::Register(const std::shared_ptr<Network>& network) {
  const NetworkId id = network->info().id;
  {
    MutexLock lock(mutex_);
    networks_.emplace(id, network);
  }
  // A session may have closed during the load, too early to see the network.
  if (auto open = CheckOwners(*network); !open) {
    (void)Unload(id, kAnyProcess, Network::Urgency::kAtOnce);
    return tl::unexpected<Error>(std::move(open.error()));
  }
  LogForClient(LogLevel::kInfo, "NMGR:Load", "model {} ({}) loaded on group {}", id,
               AsIs(network->info().name), network->info().group);
  return id;
}

Result<void> Runtime::CheckOwners(const Network& network) const {
  NRTD_TRY(CheckSession(network.info().owner.session));
  const auto group = groups_.Find(network.info().group);
  return group ? CheckSession(group->owner.session) : Result<void>();
}

void Runtime::BecomeSmallWhenEmpty() {
  {
    MutexLock lock(mutex_);
    if (!networks_.empty() || !unloading_.empty() || !loads_.empty()) return;
  }
  ReturnFreeMemory();
}

Result<std::shared_ptr<Network>> Runtime::Find(NetworkId id, ProcessKey asking) const {
  MutexLock lock(mutex_);
  const auto network = networks_.find(id);
  if (network == networks_.end() || !MayUse(asking, network->second->info().owner.process))
    return Fail(Nerr::kInvalidHandle, "Failed to find model: {}", id);
  return network->second;
}

std::vector<std::shared_ptr<Network>> Runtime::ListNetworks() const {
  MutexLock lock(mutex_);
  std::vector<std::shared_ptr<Network>> list;
  for (const auto& [id, network] : networks_) list.push_back(network);
  return list;
}

Result<void> Runtime::MapPosix(const std::string& path, int protection, memory::Mapper mapper,
                               const std::shared_ptr<ClientAccount>& account) {
  NRTD_TRY(CheckSession(mapper.owner));
  mapper.admit = AdmitTo(account);
  NRTD_TRY(shared_memory_.MapPosix(path, protection, mapper));
  return KeepMappings(mapper.owner);
}

Result<void> Runtime::MapHugetlb(const std::string& path, uint64_t size, int protection,
                                 memory::Mapper mapper,
                                 const std::shared_ptr<ClientAccount>& account) {
  NRTD_TRY(CheckSession(mapper.owner));
  mapper.admit = AdmitTo(account);
  NRTD_TRY(shared_memory_.MapHugetlb(path, size, protection, mapper));
  return KeepMappings(mapper.owner);
}

void Runtime::StopLoads() {
  MutexLock lock(mutex_);
  for (auto& [session, stop] : loads_) stop.request_stop();
}

void Runtime::Evict(ProcessKey process) {
  for (const auto& network : ListNetworks()) {
    const auto group = groups_.Find(network->info().group);
    if (network->info().owner.process == process || (group && group->owner.process == process))
      (void)Unload(network->info().id, kAnyProcess, Network::Urgency::kAtOnce);
  }
  for (const auto& group : groups_.List()) {
    if (group.owner.process == process) (void)groups_.Destroy(group.id);
  }
  EndProcess(process);
}

void Runtime::EndProcess(ProcessKey process) {
  cookies_.DropProcess(process);
  shared_memory_.ReleaseProcess(process);
}

// The session may have closed while a file was mapped, too late for its end to see the mapping.
Result<void> Runtime::KeepMappings(SessionId session) {
  auto open = CheckSession(session);
  if (!open) shared_memory_.ReleaseOwner(session);
  return open;
}

}  // namespace nrtd::runtime
