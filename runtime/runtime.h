// SPDX-License-Identifier: Apache-2.0
//
// Everything that the daemon does, without a socket: groups, networks, inferences, sessions, shared
// memory. The service (runtime/service) decodes requests into calls of this and encodes what comes
// back.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/mutex.h"
#include "base/timeouts.h"
#include "memory/shared_memory_table.h"
#include "neff/neff.h"
#include "runtime/ledger/load_charges.h"
#include "runtime/machine.h"
#include "runtime/metrics/metrics.h"
#include "runtime/model/cookie_table.h"
#include "runtime/model/limits.h"
#include "runtime/model/neff_cache.h"
#include "runtime/model/network.h"
#include "runtime/session/session_table.h"
#include "runtime/state/ids.h"
#include "scheduler/group_table.h"

namespace nrtd::runtime {

struct LoadRequest {
  neff::NeffSource neff;
  FileUser user = {};  // for whom a path is opened
  GroupId group = 0;   // 0: a group of its own
  Owner owner;
  ProcessKey asking = kAnyProcess;  // must be able to use the group and the session
  uint32_t ninfer = 0;              // 0: LoadDefaults::ninfer
  uint32_t timeout_seconds = 0;     // 0: LoadDefaults::timeout_seconds
  std::stop_token given_up;         // nobody waits for it any more
  // What is charged for the load and its network; null: nobody.
  std::shared_ptr<ClientAccount> account = {};
  Charge arrived = {};  // of what was sent of the NEFF
};

// For loads that do not say, and how many NEFFs are kept unpacked. May change while the daemon
// runs.
struct LoadDefaults {
  uint32_t cached_neffs = NeffCache::kDefaultCapacity;
  uint32_t ninfer = kDefaultNinfer;
  uint32_t timeout_seconds = static_cast<uint32_t>(
      std::chrono::duration_cast<std::chrono::seconds>(kDefaultInferenceTimeout).count());
};

// Threadsafe.
class Runtime {
 public:
  // `sessions`: those that are open already; null: a table of its own.
  explicit Runtime(std::unique_ptr<Machine> machine, IdBases ids = {},
                   std::shared_ptr<SessionTable> sessions = nullptr);
  ~Runtime();

  // Devices that another daemon had at the start: tries to take each of them into service, whose
  // cores groups can then have. Answers whether all are in service. By one thread at a time.
  bool AddDevices();
  bool has_all_devices() const { return machine_->devices().size() == machine_->device_count(); }

  // Groups. Errors of GroupTable; kInvalidHandle for a session that is not open.
  Result<scheduler::GroupInfo> CreateGroup(uint32_t core_count, Owner owner = {});
  Result<void> DestroyGroup(GroupId id, ProcessKey asking = kAnyProcess) {
    return groups_.Destroy(id, asking);
  }
  std::vector<scheduler::GroupInfo> ListGroups() const { return groups_.List(); }

  // Loads a NEFF. Without a group it gets one of its own and runs at once; otherwise it stands by.
  // Errors of neff::ReadExecutable, GroupTable and PlaceNetwork; kInvalid for parameters out of
  // range; kInvalidHandle for a session that is not open, or closed in the meantime, and for a load
  // that was given up: both end it within some milliseconds. Nothing stays behind.
  Result<NetworkId> Load(LoadRequest request);
  // Those in progress end within some milliseconds, with an error.
  void StopLoads();
  void SetDefaults(const LoadDefaults& defaults);
  // kInvalidHandle: "Failed to find model: X", which is also what a second unload gets; one that
  // comes during the first returns when that is done.
  // These operations hold no thread while they wait for inferences, for a reset or for one another:
  // `then` is called on this thread at once, or later on a worker.
  void Unload(NetworkId id, ProcessKey asking, Network::Urgency urgency, Then then);
  void Start(NetworkId id, ProcessKey asking, Then then);
  void Stop(NetworkId id, ProcessKey asking, Then then);
  // Every network and every group that the process may use. Harmless when there is nothing.
  void UnloadAll(ProcessKey asking, Network::Urgency urgency, std::function<void()> then);
  // The same, waiting: for loads and tests.
  Result<void> Unload(NetworkId id, ProcessKey asking = kAnyProcess,
                      Network::Urgency urgency = Network::Urgency::kFinishFirst);
  Result<void> Start(NetworkId id, ProcessKey asking = kAnyProcess);
  Result<void> Stop(NetworkId id, ProcessKey asking = kAnyProcess);
  void UnloadAll(ProcessKey asking = kAnyProcess);

  // kInvalidHandle: "Failed to find model: X", also when it is not one of the process that asks.
  Result<std::shared_ptr<Network>> Find(NetworkId id, ProcessKey asking = kAnyProcess) const;
  std::vector<std::shared_ptr<Network>> ListNetworks() const;  // by rising id

  CookieTable& cookies() { return cookies_; }
  // As SharedMemoryTable's; kInvalidHandle when the session is not open; kResource when the account
  // may have no more mappings (null: nobody's account). The mapping goes with its session or,
  // without one, with its process.
  Result<void> MapPosix(const std::string& path, int protection, memory::Mapper mapper,
                        const std::shared_ptr<ClientAccount>& account = nullptr);
  Result<void> MapHugetlb(const std::string& path, uint64_t size, int protection,
                          memory::Mapper mapper,
                          const std::shared_ptr<ClientAccount>& account = nullptr);
  memory::SharedMemoryTable& shared_memory() { return shared_memory_; }
  SessionTable& sessions() { return sessions_; }
  Metrics& metrics() { return metrics_; }
  const NeffCache& neff_cache() const { return neff_cache_; }
  Machine& machine() const { return *machine_; }

  // kInvalidHandle when `session` is neither 0 nor open, or not of the process that asks.
  Result<void> CheckSession(SessionId session, ProcessKey asking = kAnyProcess) const;
  // Ends a session, if it is open still, and frees everything that was made under it, and networks
  // of others in its groups with them.
  // On a worker: the caller waits for nothing. `then` is called when it is done.
  void CloseSession(SessionId session, std::function<void()> then);
  // The same for what belongs to a connection.
  void Disconnect(SessionId connection, std::function<void()> then);
  // The same, waiting: for tests.
  void CloseSession(SessionId session);
  void Disconnect(SessionId connection);
  // A process has ended: frees its mappings and posted inferences. Its networks and groups without
  // a session stay, as in 1.x.
  void EndProcess(ProcessKey process);
  // Frees everything that a process made, its networks and groups without a session included.
  void Evict(ProcessKey process);

 private:
  // A load that is being done: it ends early when what it is for goes.
  class LoadUnderWay;
  Result<NetworkParams> ResolveParams(const LoadRequest& request) const;
  Result<void> KeepMappings(SessionId session);
  void FreeAllOf(SessionId session, std::function<void()> then);
  void DestroyGroupsOf(SessionId session);
  void UnloadEach(const std::vector<NetworkId>& ids, ProcessKey asking, Network::Urgency urgency,
                  std::function<void()> then);
  struct Unloading;
  void Released(const std::shared_ptr<Unloading>& unloading);
  void BeginOperation() NRTD_EXCLUDES(mutex_);
  void EndOperation() NRTD_EXCLUDES(mutex_);
  // Starts or stops a network, and counts it when that has succeeded.
  void Operate(NetworkId id, ProcessKey asking, void (Network::*operation)(Then),
               void (Metrics::*count)(std::chrono::duration<double>), Then then);
  // Since then, by the machine's clock.
  std::chrono::duration<double> Since(TimePoint start) const;
  Result<GroupId> EnterGroup(const LoadRequest& request, uint32_t cores_required);
  void LeaveGroup(GroupId group);
  Result<std::shared_ptr<Network>> Place(const std::shared_ptr<const neff::Neff>& read,
                                         const LoadRequest& request, GroupId group,
                                         LoadCharges charges, const std::stop_token& stop);
  Result<NetworkId> Register(const std::shared_ptr<Network>& network);
  Result<void> CheckOwners(const Network& network) const;
  // When a load has failed or an unload is done, the last of them: what the allocator keeps to be
  // quick is of no use to a daemon that serves nothing.
  void BecomeSmallWhenEmpty() NRTD_EXCLUDES(mutex_);

  std::unique_ptr<Machine> machine_;
  scheduler::GroupTable groups_;
  const std::shared_ptr<SessionTable> session_table_;
  SessionTable& sessions_;
  memory::SharedMemoryTable shared_memory_;
  Metrics metrics_;
  NeffCache neff_cache_;
  NeffHoldings neff_holdings_;
  std::atomic<uint32_t> default_ninfer_{LoadDefaults{}.ninfer};
  std::atomic<uint32_t> default_timeout_{LoadDefaults{}.timeout_seconds};
  scheduler::IdSequence network_ids_;

  mutable Mutex mutex_;
  std::map<NetworkId, std::shared_ptr<Network>> networks_ NRTD_GUARDED_BY(mutex_);
  // Being unloaded, with the unloads that wait for that.
  std::map<NetworkId, std::vector<std::function<void()>>> unloading_ NRTD_GUARDED_BY(mutex_);
  uint64_t operations_ NRTD_GUARDED_BY(mutex_) = 0;  // that use this object on a worker
  CondVar operations_ended_;
  std::multimap<SessionId, std::stop_source> loads_
      NRTD_GUARDED_BY(mutex_);      // under way, 0: of no session
  CookieTable cookies_{*machine_};  // goes first: its inferences hold networks
};

}  // namespace nrtd::runtime
