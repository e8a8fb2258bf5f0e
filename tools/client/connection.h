// SPDX-License-Identifier: Apache-2.0
//
// The gRPC side of Daemon. Only the files of this folder include it.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <string_view>

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include "base/mutex.h"
#include "proto/nrt/nmgr_service.grpc.pb.h"
#include "proto/nrt/nmgr_session_service.grpc.pb.h"
#include "proto/nrtd/v1/control.grpc.pb.h"
#include "tools/client/daemon.h"

namespace nrtd::client {

struct Connection {
  std::string address;
  std::unique_ptr<nrt::nmgr_v1::Stub> nmgr;
  std::unique_ptr<v1::Control::Stub> control;
  std::unique_ptr<nrt::nmgr_session_manager::Stub> sessions;
  std::unique_ptr<grpc::TemplatedGenericStub<grpc::ByteBuffer, grpc::ByteBuffer>> raw;
  rpc::CallQueue* queue = nullptr;
  // A call failed to reach the daemon.
  mutable std::atomic<bool> lost{false};
  mutable Mutex mutex;
  std::weak_ptr<Session::Stream> session NRTD_GUARDED_BY(mutex);  // the last one that was opened

  // Sets `lost` and cancels the session, so that its `on_end` is called in any case.
  void Lose() const;
  // Success if the call reached the daemon.
  Result<void> CheckTransport(std::string_view call, const grpc::Status& status) const;
};

// "load: NERR_INVALID (2): Wrong NEFF file size", with that code; success for code 0.
Result<void> CheckStatus(std::string_view call, const nrt::status& status);

inline void SetTimeout(grpc::ClientContext& context, Duration timeout) {
  context.set_deadline(std::chrono::system_clock::now() +
                       std::chrono::duration_cast<std::chrono::microseconds>(timeout));
}

}  // namespace nrtd::client
