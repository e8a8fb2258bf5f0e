// SPDX-License-Identifier: Apache-2.0
//
// From a call to the client that made it.
#pragma once

#include <map>
#include <optional>
#include <string>

#include <grpcpp/server_context.h>

#include "base/mutex.h"
#include "runtime/runtime.h"
#include "runtime/session/access.h"

namespace nrtd::service {

// In whose name a call asks, and to whom what it makes belongs.
struct Rights {
  runtime::ProcessKey asking = runtime::kAnyProcess;
  runtime::Client client;

  // kInvalidHandle when the client has gone: nobody would own what it makes, and what it may do is
  // not known any more.
  Result<void> CheckThere() const;
};

// gRPC names a connection by the number of its descriptor: "fd:17" is what ServerContext::peer()
// says. A number is only used again after all others were (listener.h), so that a call that is
// handled after its client has gone is not taken for another's. Threadsafe.
class Clients {
 public:
  // Both outlive this.
  // `by_tcp`: nobody's client is known.
  Clients(runtime::Runtime& runtime, runtime::AccessRules rules, bool by_tcp)
      : runtime_(runtime), rules_(std::move(rules)), by_tcp_(by_tcp) {}

  // The client at the other end of descriptor `number`, from now on. Called before gRPC knows it.
  runtime::Client Connected(int number, runtime::Peer peer);
  // It has gone: its number may be another's from now on. Nothing when it was not known.
  std::optional<runtime::Client> Disconnected(int number);

  const runtime::AccessRules& rules() const { return rules_; }
  // Of the client that called: process kNoProcess when it has gone already. A call by TCP comes
  // from nobody in particular.
  runtime::Client Find(const grpc::ServerContext& context) const;
  Rights RightsOf(const grpc::ServerContext& context) const;
  // Cheaper: for calls that make nothing.
  runtime::ProcessKey AskingAs(const grpc::ServerContext& context) const;
  runtime::Owner OwnerFor(const Rights& rights, runtime::SessionId session) const {
    return rules_.OwnerFor(rights.client, session);
  }

 private:
  runtime::Runtime& runtime_;
  const runtime::AccessRules rules_;
  const bool by_tcp_;
  mutable Mutex mutex_;
  std::map<int, runtime::Client> by_number_ NRTD_GUARDED_BY(mutex_);
};

}  // namespace nrtd::service
