// SPDX-License-Identifier: Apache-2.0
#include "runtime/service/gate.h"

namespace nrtd::service {
namespace {

using Verdict = runtime::RateLimiter::Verdict;

// A call that waits is charged to nobody: only small ones do. Requests of this kind have some
// hundred bytes.
constexpr size_t kMostWaitingBytes = 4096;

}  // namespace

grpc::Status Gate::CheckServing() const {
  if (!ending_.load()) return grpc::Status::OK;
  return {grpc::StatusCode::UNAVAILABLE, "neuron-rtd is shutting down"};
}

void Gate::FindClient(CallContext& context, std::optional<size_t> request_bytes) {
  context.SetClient(clients_.Find(context));
  if (request_bytes) meter_.Taken(context.client(), *request_bytes);
}

// A disconnected client's rights are unknown, and nobody is waiting for its answer.
grpc::Status Gate::CheckThere(const CallContext& context) const {
  if (context.client().process != runtime::kNoProcess || clients_.by_tcp()) return CheckServing();
  return {grpc::StatusCode::CANCELLED, "the client has gone"};
}

Gate::Entry Gate::Admit(CallContext& context, bool may_wait, rpc::CallQueue& queue, rpc::Task& task,
                        grpc::Status* refused) {
  const std::shared_ptr<const runtime::Client> client = context.shared_client();
  std::function<void()> go_on;
  if (may_wait) go_on = [&queue, &task] { queue.Post(task); };
  context.set_waited(true);  // before the call can be another thread's
  switch (rate_.AdmitCall(client->process, std::move(go_on))) {
    case Verdict::kGoOn:
      context.set_waited(false);
      return Entry::kNow;
    case Verdict::kWaits:
      return Entry::kLater;
    case Verdict::kCutOff:
      cut_off_(*client);
      break;
    case Verdict::kRefused:
      break;
  }
  *refused = {grpc::StatusCode::RESOURCE_EXHAUSTED,
              "the client makes more calls than --call-rate allows, and too many wait already"};
  return Entry::kNever;
}

Gate::Entry Gate::Enter(CallContext& context, std::optional<size_t> request_bytes,
                        rpc::CallQueue& queue, rpc::Task& task, grpc::Status* refused) {
  Entry entry = Entry::kNever;
  *refused = rpc::Guarded([&] {
    FindClient(context, request_bytes);
    grpc::Status status = CheckThere(context);
    if (status.ok()) {
      const bool may_wait = request_bytes.value_or(0) <= kMostWaitingBytes;
      entry = Admit(context, may_wait, queue, task, &status);
    }
    return status;
  });
  return entry;
}

Gate::Entry Gate::EnterFreely(CallContext& context, size_t request_bytes, bool collects,
                              grpc::Status* refused) {
  *refused = rpc::Guarded([&] {
    FindClient(context, request_bytes);
    return collects ? grpc::Status::OK : CheckServing();
  });
  return refused->ok() ? Entry::kNow : Entry::kNever;
}

grpc::Status Gate::Begin(CallContext& context) {
  if (!context.waited()) return grpc::Status::OK;
  if (context.given_up().stop_requested())
    return {grpc::StatusCode::CANCELLED, "the client gave up"};
  FindClient(context, std::nullopt);
  return CheckThere(context);
}

}  // namespace nrtd::service
