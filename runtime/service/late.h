// SPDX-License-Identifier: Apache-2.0
//
// The server listens from the start; what needs the devices comes when they do.
#pragma once

#include <atomic>
#include <string>

#include <grpcpp/support/status.h>

#include "base/error.h"
#include "base/mutex.h"
#include "proto/nrt/nmgr.pb.h"
#include "runtime/service/status.h"
#include "runtime/service/version.h"

namespace nrtd::service {

// A service that may come later than the server. Until it is provided, its calls are answered with
// code 6 and the reason. Threadsafe; get() takes no lock.
template <typename Service>
class Late {
 public:
  // Null until Provide(); the same from then on.
  Service* get() const { return service_.load(); }

  // Once. `service` outlives the calls.
  void Provide(Service& service) { service_.store(&service); }

  // Why the service is not there.
  Error reason() const NRTD_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    return {Nerr::kHwError, reason_};
  }
  void SetReason(std::string reason) NRTD_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    reason_ = std::move(reason);
  }

 private:
  std::atomic<Service*> service_{nullptr};
  mutable Mutex mutex_;
  std::string reason_ NRTD_GUARDED_BY(mutex_);
};

// The answer of a call whose service is not there: its status carries the reason. get_version,
// whose answer has no status, is answered as ever; of others without one gRPC's status says it.
template <typename Response>
grpc::Status Refuse(const Error& reason, Response* response) {
  if constexpr (std::is_same_v<Response, nrt::status>) {
    SetStatus(reason, response);
  } else if constexpr (std::is_same_v<Response, nrt::get_version_response>) {
    SetVersion(response->mutable_runtime_version());
  } else if constexpr (requires { response->mutable_status(); }) {
    SetStatus(reason, response->mutable_status());
  } else {
    return {grpc::StatusCode::UNAVAILABLE, reason.text};
  }
  return grpc::Status::OK;
}

}  // namespace nrtd::service
