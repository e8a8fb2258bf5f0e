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

// Of a client that has gone nobody knows what it may do, and nobody waits for the answer.
grpc::Status Gate::CheckThere(CallContext& context) const {
  context.SetClient(clients_.Find(context));
  if (context.client().process != runtime::kNoProcess || clients_.by_tcp()) return CheckServing();
  return {grpc::StatusCode::CANCELLED, "the client has gone"};
}

Gate::Entry Gate::Enter(CallContext& context, size_t request_bytes, CallQueue& queue, Task& task,
                        grpc::Status* refused) {
  *refused = CheckThere(context);
  if (!refused->ok()) return Entry::kNever;
  const std::shared_ptr<const runtime::Client> client = context.shared_client();
  const bool may_wait = request_bytes <= kMostWaitingBytes;
  std::function<void()> go_on;
  if (may_wait) go_on = [&queue, &task] { queue.Post(task); };
  switch (rate_.AdmitCall(client->process, std::move(go_on))) {
    case Verdict::kGoOn:
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

grpc::Status Gate::Return(CallContext& context) {
  if (context.given_up().stop_requested())
    return {grpc::StatusCode::CANCELLED, "the client gave up"};
  return CheckThere(context);
}

}  // namespace nrtd::service
