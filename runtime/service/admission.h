// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>

#include <grpcpp/support/status.h>

#include "base/error.h"
#include "runtime/ledger/ledger.h"

namespace nrtd::service {

// What one call holds of its client's account: a place among the calls, and the bytes of its
// messages. One thread at a time.
class Admission {
 public:
  // The call has been received. kResource when the client has too many, or too much in them. A
  // client that has gone (no account) holds nothing.
  Result<void> Enter(const std::shared_ptr<runtime::ClientAccount>& account,
                     uint64_t request_bytes) {
    if (account == nullptr) return {};
    NRTD_ASSIGN(call_, account->Take(runtime::Holding::kCalls));
    NRTD_ASSIGN(bytes_, account->Take(runtime::Holding::kMessageBytes, request_bytes));
    return {};
  }
  // Its messages take so much from now on. Less always succeeds.
  Result<void> SetBytes(uint64_t bytes) { return bytes_.Resize(bytes); }
  void Leave() {
    bytes_.Release();
    call_.Release();
  }

 private:
  runtime::Charge call_;
  runtime::Charge bytes_;
};

// How a call ends that was never handled.
inline grpc::Status RefusalOf(const Error& error) {
  return {error.code == Nerr::kResource ? grpc::StatusCode::RESOURCE_EXHAUSTED
                                        : grpc::StatusCode::INVALID_ARGUMENT,
          error.text};
}

}  // namespace nrtd::service
