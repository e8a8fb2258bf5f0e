// SPDX-License-Identifier: Apache-2.0
//
// What host functions share. Internal to runtime/host/.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

#include "base/bytes.h"
#include "base/error.h"

namespace nrtd::runtime {

inline tl::unexpected<Error> Misused(std::string_view what) {
  return Fail(Nerr::kInvalid, "{}", what);
}

// Elements lie in a message or a slot at any address: no pointer to them is aligned.
template <typename T>
T At(ByteSpan bytes, uint64_t index) {
  T value;
  std::memcpy(&value, bytes.data() + index * sizeof(T), sizeof(T));
  return value;
}
template <typename T>
void Put(MutableByteSpan bytes, uint64_t index, T value) {
  std::memcpy(bytes.data() + index * sizeof(T), &value, sizeof(T));
}

}  // namespace nrtd::runtime
