// SPDX-License-Identifier: Apache-2.0
//
// How long instructions take, so that long ones can be cut into pieces. The figures are upper
// bounds for common forms and have been measured on one core of an Intel Xeon with AVX-512 at 2 to
// 3 GHz (core_pieces_test.cc measures the worst cases); a slow CPU may take twice as long.
#pragma once

#include <cstdint>

#include "driver_shim/sim/isa.h"

namespace nrtd::sim {

// Core::Poll() looks at its limit every 50 ms of CPU time. A piece may take less than half of that
// here, so that a CPU that is twice as slow keeps the promise too. Shorter ones would only cost:
// estimates of common instructions are some three times too high.
inline constexpr double kPieceNs = 20e6;
// Instructions that cannot be cut finer may take this long, if all their memory is touched for the
// first time; others are refused.
inline constexpr double kLongestPieceNs = 40e6;

struct FormTraits {
  bool is_slow = false;    // the library has only its reference code for it (Kernel::is_slow)
  bool is_packed = false;  // its weights are packed in the order in which they are read
};
double EstimateNs(const Instruction& instruction, const FormTraits& traits);

// Bytes that a kernel for this instruction takes, its packed weights apart: upper bound.
uint64_t EstimateKernelBytes(const Instruction& instruction);

}  // namespace nrtd::sim
