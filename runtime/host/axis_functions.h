// SPDX-License-Identifier: Apache-2.0
//
// Host functions along one axis of a tensor, and of one element, that no engine has. Internal to
// runtime/host/.
#pragma once

#include "runtime/host/host_functions.h"

namespace nrtd::runtime {

// Attribute "axis" (0 to rank - 1; without it the last one), float32, int32 or int64 in. Errors as
// PrepareHostFunction's.

// Where the largest, smallest value is, as int64: the first of equal ones, with attribute
// "select_last_index" "1" the last; NaN is largest and smallest. The output has 1 along the axis or
// lacks it.
Result<HostKernel> PrepareArgMax(const HostSignature& signature);
Result<HostKernel> PrepareArgMin(const HostSignature& signature);
// The k largest (attribute "largest" "0": smallest) along the axis, sorted, the first of equal ones
// first: their values (the input's type), then where they are (int64); either may be left out. k is
// the outputs' size along the axis; float32 or int32 only.
Result<HostKernel> PrepareTopK(const HostSignature& signature);
// Running sums; attributes "exclusive" "1": without the element itself, "reverse" "1": from the
// end.
Result<HostKernel> PrepareCumSum(const HostSignature& signature);
// Attribute "function": sin, cos, tan, round (to even), sign; float32.
Result<HostKernel> PrepareElementwise(const HostSignature& signature);

}  // namespace nrtd::runtime
