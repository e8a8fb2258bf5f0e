// SPDX-License-Identifier: Apache-2.0
//
// For results that a test takes for granted: the value, or the end of the test with the error's
// text.
#pragma once

#include <stdexcept>
#include <utility>

#include "base/error.h"

namespace nrtd {

template <typename T>
T Must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().text);
  return std::move(*result);
}
inline void Must(Result<void> result) {
  if (!result) throw std::runtime_error(result.error().text);
}

}  // namespace nrtd
