// SPDX-License-Identifier: Apache-2.0
//
// Runtime's operations on loaded networks, and how networks go: none holds a thread while it waits.
#include <atomic>
#include <set>
#include <utility>

#include "base/log.h"
#include "runtime/await.h"
#include "runtime/runtime.h"

namespace nrtd::runtime {

void Runtime::BeginOperation() {
  MutexLock lock(mutex_);
  ++operations_;
}

void Runtime::EndOperation() {
  MutexLock lock(mutex_);
  --operations_;
  operations_ended_.NotifyAll();
}

// One unload. It alone decides when its reference to the network goes, which copies of a
// continuation must not put off.
struct Runtime::Unloading {
  NetworkId id = 0;
  GroupId group = 0;
  std::shared_ptr<Network> network;
  TimePoint start;
  Result<void> retired;
  Then then;
};

void Runtime::Unload(NetworkId id, ProcessKey asking, Network::Urgency urgency, Then then) {
  auto unloading = std::make_shared<Unloading>();
  unloading->start = machine_->clock().Now();
  std::shared_ptr<Network> found;
  bool first = false;
  {
    MutexLock lock(mutex_);
    const auto network = networks_.find(id);
    if (network != networks_.end() && MayUse(asking, network->second->info().owner.process))
      found = network->second;
    const auto other = unloading_.find(id);
    if (other != unloading_.end()) {
      other->second.push_back([this, id, asking, urgency, then] {
        Unload(id, asking, urgency, then);
        EndOperation();
      });
      ++operations_;
    } else if (found != nullptr) {
      unloading_[id];
      ++operations_;
      first = true;
    } else {
      lock.Unlock();
      then(Fail(Nerr::kInvalidHandle, "Failed to find model: {}", id));
      return;
    }
  }
  if (!first) {
    if (found != nullptr && urgency == Network::Urgency::kAtOnce) found->Hurry();
    return;
  }
  unloading->id = id;
  unloading->group = found->info().group;
  unloading->then = std::move(then);
  unloading->network = std::move(found);
  // Posted inferences that no client will collect any more must not hold the network.
  cookies_.DropNetwork(id);
  unloading->network->Retire(urgency, [this, unloading](Result<void> retired) {
    unloading->retired = std::move(retired);
    cookies_.DropNetwork(unloading->id);
    unloading->network->AwaitReleased([this, unloading] { Released(unloading); });
  });
}

void Runtime::Released(const std::shared_ptr<Unloading>& unloading) {
  const NetworkId id = unloading->id;
  {
    MutexLock lock(mutex_);
    networks_.erase(id);
  }
  if (unloading->network->slots_in_use() == 0) {
    unloading->network.reset();
  } else {
    // Destroying it waits for what is in flight, as in a host node: no thread does that here.
    BeginOperation();
    Network& network = *unloading->network;
    network.AwaitQuiet(
        [this, kept = std::make_shared<std::shared_ptr<Network>>(std::move(unloading->network))] {
          kept->reset();
          EndOperation();
        });
  }
  LeaveGroup(unloading->group);
  metrics_.CountUnload(Since(unloading->start));
  LogForClient(LogLevel::kInfo, "NMGR:Unload", "model {} unloaded", id);
  std::vector<std::function<void()>> waiting;
  {
    MutexLock lock(mutex_);
    const auto found = unloading_.find(id);
    waiting = std::move(found->second);
    unloading_.erase(found);
  }
  BecomeSmallWhenEmpty();
  for (std::function<void()>& step : waiting) machine_->workers().Post(std::move(step));
  unloading->then(std::move(unloading->retired));
  EndOperation();
}

void Runtime::Start(NetworkId id, ProcessKey asking, Then then) {
  Operate(id, asking, &Network::Start, &Metrics::CountStart, std::move(then));
}

void Runtime::Stop(NetworkId id, ProcessKey asking, Then then) {
  Operate(id, asking, &Network::Stop, &Metrics::CountStop, std::move(then));
}

void Runtime::Operate(NetworkId id, ProcessKey asking, void (Network::*operation)(Then),
                      void (Metrics::*count)(std::chrono::duration<double>), Then then) {
  auto network = Find(id, asking);
  if (!network) {
    then(tl::unexpected<Error>(std::move(network.error())));
    return;
  }
  BeginOperation();
  auto held = std::make_shared<std::shared_ptr<Network>>(std::move(*network));
  Network& target = **held;
  (target.*operation)([this, held, count, start = machine_->clock().Now(),
                       then = std::move(then)](Result<void> done) {
    if (done) (metrics_.*count)(Since(start));
    held->reset();
    then(std::move(done));
    EndOperation();
  });
}

// All at once, so that one that waits holds up no other.
void Runtime::UnloadEach(const std::vector<NetworkId>& ids, ProcessKey asking,
                         Network::Urgency urgency, std::function<void()> then) {
  auto left = std::make_shared<std::atomic<size_t>>(ids.size() + 1);
  const auto one_less = [left, then = std::move(then)] {
    if (left->fetch_sub(1) == 1) then();
  };
  for (const NetworkId id : ids)
    Unload(id, asking, urgency, [one_less](const Result<void>&) { one_less(); });
  one_less();
}

void Runtime::UnloadAll(ProcessKey asking, Network::Urgency urgency, std::function<void()> then) {
  std::set<NetworkId> ids;
  {
    MutexLock lock(mutex_);
    // Those that are being unloaded hold their groups until they are done: waited for, too.
    for (const auto& [id, waiting] : unloading_) ids.insert(id);
    for (const auto& [id, network] : networks_) ids.insert(id);
    ++operations_;
  }
  UnloadEach({ids.begin(), ids.end()}, asking, urgency, [this, asking, then = std::move(then)] {
    for (const auto& group : groups_.List()) (void)groups_.Destroy(group.id, asking);
    then();
    EndOperation();
  });
}

void Runtime::CloseSession(SessionId session, std::function<void()> then) {
  // Closed already, perhaps, before there was a runtime: what was made since goes all the same.
  sessions_.Close(session);
  BeginOperation();
  machine_->workers().Post(
      [this, session, then = std::move(then)]() mutable { FreeAllOf(session, std::move(then)); });
}

void Runtime::Disconnect(SessionId connection, std::function<void()> then) {
  sessions_.Disconnect(connection);
  BeginOperation();
  machine_->workers().Post([this, connection, then = std::move(then)]() mutable {
    FreeAllOf(connection, std::move(then));
  });
}

// Ends the operation.
void Runtime::FreeAllOf(SessionId session, std::function<void()> then) {
  {
    MutexLock lock(mutex_);
    const auto [first, last] = loads_.equal_range(session);
    for (auto load = first; load != last; ++load) load->second.request_stop();
  }
  cookies_.DropSession(session);
  std::vector<NetworkId> ids;
  for (const auto& network : ListNetworks()) {
    const auto group = groups_.Find(network->info().group);
    if (network->info().owner.session == session || (group && group->owner.session == session))
      ids.push_back(network->info().id);
  }
  UnloadEach(ids, kAnyProcess, Network::Urgency::kAtOnce, [this, session, then = std::move(then)] {
    DestroyGroupsOf(session);
    shared_memory_.ReleaseOwner(session);
    then();
    EndOperation();
  });
}

void Runtime::DestroyGroupsOf(SessionId session) {
  for (const auto& group : groups_.List()) {
    if (group.owner.session == session) (void)groups_.Destroy(group.id);
  }
}

Result<void> Runtime::Unload(NetworkId id, ProcessKey asking, Network::Urgency urgency) {
  Awaited<Result<void>> done;
  Unload(id, asking, urgency, [&](Result<void> result) { done.Set(std::move(result)); });
  return done.Wait(machine_->clock());
}

Result<void> Runtime::Start(NetworkId id, ProcessKey asking) {
  Awaited<Result<void>> done;
  Start(id, asking, [&](Result<void> result) { done.Set(std::move(result)); });
  return done.Wait(machine_->clock());
}

Result<void> Runtime::Stop(NetworkId id, ProcessKey asking) {
  Awaited<Result<void>> done;
  Stop(id, asking, [&](Result<void> result) { done.Set(std::move(result)); });
  return done.Wait(machine_->clock());
}

void Runtime::UnloadAll(ProcessKey asking) {
  Awaited<bool> done;
  UnloadAll(asking, Network::Urgency::kFinishFirst, [&] { done.Set(true); });
  (void)done.Wait(machine_->clock());
}

void Runtime::CloseSession(SessionId session) {
  Awaited<bool> done;
  CloseSession(session, [&] { done.Set(true); });
  (void)done.Wait(machine_->clock());
}

void Runtime::Disconnect(SessionId connection) {
  Awaited<bool> done;
  Disconnect(connection, [&] { done.Set(true); });
  (void)done.Wait(machine_->clock());
}

}  // namespace nrtd::runtime
