// SPDX-License-Identifier: Apache-2.0
//
// The one place where an Error becomes an nrt.status.
#pragma once

#include "base/error.h"
#include "base/sizes.h"
#include "proto/nrt/common.pb.h"

namespace nrtd::service {

// Error texts are printable and of a few hundred bytes as they are made; what is not gets so here.
inline constexpr size_t kMaxDetailsBytes = 2 * kKiB;

inline void SetStatus(const Error& error, nrt::status* status) {
  status->set_code(static_cast<int32_t>(error.code));
  status->set_details(PrintableText(error.text, kMaxDetailsBytes));
}

inline void SetOk(nrt::status* status) {
  status->set_code(static_cast<int32_t>(Nerr::kOk));
}

// Code 0 or the error's.
template <typename T>
void SetStatus(const Result<T>& result, nrt::status* status) {
  if (result) {
    SetOk(status);
  } else {
    SetStatus(result.error(), status);
  }
}

}  // namespace nrtd::service
