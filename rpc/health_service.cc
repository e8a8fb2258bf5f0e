// SPDX-License-Identifier: Apache-2.0
#include "rpc/health_service.h"

#include <algorithm>
#include <utility>

#include "proto/grpc/health.pb.h"
#include "rpc/unary_call.h"

namespace nrtd::rpc {
namespace {

namespace health = ::grpc::health::v1;
using State = health::HealthCheckResponse;

// Generated code is linked in only when something names it.
[[gnu::used]] const void* const linked = &descriptor_table_proto_2fgrpc_2fhealth_2eproto;

}  // namespace

// A client that watches one service. At most one operation is in flight, in addition to gRPC's
// notification that the call has ended.
class HealthService::WatchCall final : public Call {
 public:
  WatchCall(HealthService& health, CallQueue& queue, int method)
      : Call(queue), health_(health), method_(method) {
    context_.AsyncNotifyWhenDone(&end_);
    health_.service_.RequestWriter(method_, &context_, &bytes_, &writer_, queue.completions(),
                                   this);
  }

  void Proceed(bool ok) override {
    if (!std::exchange(begun_, true)) {
      if (!ok) {
        delete this;  // the server is shutting down
        return;
      }
      new WatchCall(health_, queue(), method_);
      Begin();
      return;
    }
    bool over = false;
    {
      MutexLock lock(mutex_);
      busy_ = false;
      if (finished_) {
        over = EndPart();
      } else {
        Next();
      }
    }
    if (over) delete this;
  }

  // The health has changed.
  void Tell() {
    MutexLock lock(mutex_);
    last_ = true;
    if (!busy_) Next();
  }

 private:
  struct End final : Event {
    explicit End(WatchCall& of) : call(of) {}
    void Proceed(bool) override { call.Ended(); }
    WatchCall& call;
  };

  void Begin() {
    health::HealthCheckRequest request;
    const bool decoded = bytes_.Length() <= kShortMessage && Decode(bytes_, request).has_value();
    MutexLock all(health_.mutex_);
    MutexLock lock(mutex_);
    known_ = decoded && health_.Knows(request.service());
    last_ = told_ = !health_.serving_;
    if (ended_) {
      Next();
      return;
    }
    if (!last_) health_.watching_.insert(this);
    Write(!known_ ? State::SERVICE_UNKNOWN : last_ ? State::NOT_SERVING : State::SERVING);
  }

  void Ended() {
    bool over = false;
    {
      MutexLock all(health_.mutex_);
      health_.watching_.erase(this);
      MutexLock lock(mutex_);
      ended_ = true;
      if (!busy_) Next();
      over = EndPart();
    }
    if (over) delete this;
  }

  // Starts the next operation, if any.
  void Next() NRTD_REQUIRES(mutex_) {
    if (finished_) return;
    if (!ended_ && last_ && known_ && !std::exchange(told_, true)) {
      Write(State::NOT_SERVING);
    } else if (ended_ || last_) {
      busy_ = finished_ = true;
      writer_.Finish({grpc::StatusCode::CANCELLED, "the server is shutting down"}, this);
    }
  }

  void Write(State::ServingStatus status) NRTD_REQUIRES(mutex_) {
    State response;
    response.set_status(status);
    busy_ = true;
    writer_.Write(*Encode(response), this);
  }

  // Returns true when both are over: the operations and gRPC's notification.
  bool EndPart() NRTD_REQUIRES(mutex_) { return --parts_left_ == 0; }

  HealthService& health_;
  const int method_;
  grpc::ServerContext context_;
  grpc::ByteBuffer bytes_;
  RawService::Writer writer_{&context_};
  End end_{*this};
  bool begun_ = false;
  Mutex mutex_;
  bool known_ NRTD_GUARDED_BY(mutex_) = false;     // the watched service is one of ours
  bool busy_ NRTD_GUARDED_BY(mutex_) = true;       // an operation is in flight
  bool last_ NRTD_GUARDED_BY(mutex_) = false;      // the server is shutting down
  bool told_ NRTD_GUARDED_BY(mutex_) = false;      // the client was told so
  bool ended_ NRTD_GUARDED_BY(mutex_) = false;     // gRPC has notified us
  bool finished_ NRTD_GUARDED_BY(mutex_) = false;  // the last operation was started
  int parts_left_ NRTD_GUARDED_BY(mutex_) = 2;
};

HealthService::HealthService(std::vector<std::string> services) : services_(std::move(services)) {}

bool HealthService::Knows(const std::string& service) const {
  return service.empty() ||
         std::find(services_.begin(), services_.end(), service) != services_.end();
}

void HealthService::Serve(CallQueue& queue) {
  using Check = UnaryCall<health::HealthCheckRequest, health::HealthCheckResponse>;
  Check::Serve(queue, service_, "Check", kShortMessage, [this](Check& call) {
    if (!Knows(call.request().service())) {
      call.Respond({grpc::StatusCode::NOT_FOUND, "service name unknown"});
      return;
    }
    {
      MutexLock lock(mutex_);
      call.response().set_status(serving_ ? State::SERVING : State::NOT_SERVING);
    }
    call.Respond(grpc::Status::OK);
  });
  new WatchCall(*this, queue, service_.Method("Watch"));
}

void HealthService::ShutDown() {
  MutexLock lock(mutex_);
  serving_ = false;
  for (WatchCall* const call : watching_) call->Tell();
}

}  // namespace nrtd::rpc
