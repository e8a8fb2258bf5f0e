// SPDX-License-Identifier: Apache-2.0
//
// From a call to the client that made it.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include <grpcpp/server_context.h>

#include "base/mutex.h"
#include "runtime/runtime.h"
#include "runtime/service/call_context.h"
#include "runtime/session/access.h"

namespace nrtd::service {

// In whose name a call asks, and to whom what it makes belongs.
struct Rights {
  runtime::ProcessKey asking = runtime::kAnyProcess;
  runtime::Client client = {};

  // kInvalidHandle when the client has gone: nobody would own what it makes, and what it may do is
  // not known any more.
  Result<void> CheckThere() const;
};

// gRPC names a connection by the number of its descriptor: "fd:17" is what ServerContext::peer()
// says. A number is only used again after all others were (listener.h), so that a call that is
// handled after its client has gone is not taken for another's. Threadsafe.
class Clients {
 public:
  // `sessions` outlives this. `by_tcp`: clients cannot be told apart.
  Clients(runtime::SessionTable& sessions, runtime::AccessRules rules, bool by_tcp);

  // The client at the other end of descriptor `number`, from now on. Called before gRPC knows it.
  // kResource: the client, or all together, have too many connections; this one is not known then.
  Result<std::shared_ptr<const runtime::Client>> Connected(int number, runtime::Peer peer);
  // It has gone: its number may be another's from now on. Nothing when it was not known.
  std::shared_ptr<const runtime::Client> Disconnected(int number);

  // Those of a process, by rising number.
  std::vector<int> DescriptorsOf(runtime::ProcessKey process) const;

  const runtime::AccessRules& rules() const { return rules_; }
  bool by_tcp() const { return by_tcp_; }
  // The client that called: its process is kNoProcess when it has gone already. Clients by TCP are
  // one client together. Never null.
  std::shared_ptr<const runtime::Client> Find(const grpc::ServerContext& context) const;
  // Of a call whose client is known.
  Rights RightsOf(const CallContext& context) const;
  runtime::ProcessKey AskingAs(const CallContext& context) const;
  runtime::Owner OwnerFor(const Rights& rights, runtime::SessionId session) const {
    return rules_.OwnerFor(rights.client, session);
  }

 private:
  runtime::SessionTable& sessions_;
  const runtime::AccessRules rules_;
  // Who calls when no client is known: those by TCP, or one that has gone.
  const std::shared_ptr<const runtime::Client> unknown_;
  const bool by_tcp_;
  struct Connection {
    std::shared_ptr<const runtime::Client> client;
    runtime::Charge charge;
  };
  mutable Mutex mutex_;
  std::map<int, Connection> by_number_ NRTD_GUARDED_BY(mutex_);
};

}  // namespace nrtd::service
