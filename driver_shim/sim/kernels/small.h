// SPDX-License-Identifier: Apache-2.0
//
// Kernels of our own for small tensors. A call of oneDNN costs 0.3 us (activations) to 2 us
// (convolutions) beside the arithmetic, which is more than all the work of a small layer, and its
// pooling of channels-first tensors computes element by element. `kernel-bench` (bench/) shows both
// side by side; the limits below are where they met on one core of an AMD EPYC with AVX2. Larger
// tensors are oneDNN's.
//
// Each of these returns null where it is not the better choice: too large, weights that may change,
// a form that it does not know. May throw std::bad_alloc.
#pragma once

#include <memory>

#include "driver_shim/sim/kernels/kernel.h"

namespace nrtd::sim {

// Multiply-accumulates of one instruction.
inline constexpr uint64_t kSmallConvMacs = 128 * 1024;
inline constexpr uint64_t kSmallMatMulMacs = 16 * 1024;
// Elements of one activation; elements read by one pooling whose rows are not contiguous.
inline constexpr uint64_t kSmallElements = 4096;

std::unique_ptr<Kernel> MakeSmallConv2d(const Conv2d& conv, const KernelContext& context);
std::unique_ptr<Kernel> MakeSmallMatMul(const MatMul& matmul, const KernelContext& context);
std::unique_ptr<Kernel> MakeSmallActivation(const Activation& activation,
                                            const KernelContext& context);
std::unique_ptr<Kernel> MakeSmallPool2d(const Pool2d& pool, const KernelContext& context);

}  // namespace nrtd::sim
