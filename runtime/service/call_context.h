// SPDX-License-Identifier: Apache-2.0
//
// The context of a call: its client, who may give up while the call is being handled, and what the
// call holds of the client's account.
#pragma once

#include <functional>
#include <memory>
#include <stop_token>
#include <utility>

#include <grpcpp/server_context.h>

#include "rpc/call_queue.h"
#include "runtime/service/admission.h"
#include "runtime/service/call_deadlines.h"
#include "runtime/session/client.h"

namespace nrtd::service {

class CallContext final : public grpc::ServerContext {
 public:
  // gRPC tells of the call's end as well: one more event of its queue, whichever comes first,
  // handled by another thread perhaps. `on_end` is called then. Before the call is asked for. A
  // call that never begins has no end.
  void Watch(std::function<void()> on_end) {
    end_.on_end = std::move(on_end);
    AsyncNotifyWhenDone(&end_);
  }

  // Who calls: set when the call begins. Never null from then on.
  void SetClient(std::shared_ptr<const runtime::Client> client) { client_ = std::move(client); }
  const runtime::Client& client() const { return *client_; }
  const std::shared_ptr<const runtime::Client>& shared_client() const { return client_; }
  // The call waited for its client's rate (gate.h).
  bool waited() const { return waited_; }
  void set_waited(bool waited) { waited_ = waited; }
  Admission& admission() { return admission_; }
  CallDeadlines::Waiter& waiter() { return waiter_; }

  // Of a call that is watched: its client cancelled it, or has gone.
  std::stop_token given_up() const { return end_.source.get_token(); }

 private:
  struct End final : public rpc::Event {
    explicit End(const CallContext& call) : context(call) {}
    void Proceed(bool) override {
      if (context.IsCancelled()) source.request_stop();
      on_end();  // which may delete this
    }
    const CallContext& context;
    std::stop_source source;
    std::function<void()> on_end;
  };
  End end_{*this};
  std::shared_ptr<const runtime::Client> client_;
  bool waited_ = false;
  Admission admission_;
  CallDeadlines::Waiter waiter_{*this};
};

}  // namespace nrtd::service
