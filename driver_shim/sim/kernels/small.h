// SPDX-License-Identifier: Apache-2.0
//
// Kernels of our own for small tensors. A call of oneDNN takes 2 to 4 us before it multiplies
// anything, which is more than all the work of a small layer; `kernel-bench` (bench/) shows both
// side by side, and the limits below come from it. Larger tensors are oneDNN's.
//
// Each of these returns null where it is not the better choice: too large, weights that may change,
// a form that it does not know. May throw std::bad_alloc.
#pragma once

#include <memory>

#include "driver_shim/sim/kernels/kernel.h"

namespace nrtd::sim {

// Multiply-accumulates of one matrix multiply or convolution.
inline constexpr uint64_t kSmallMacs = 128 * 1024;
// Elements of one activation, and elements read by one pooling.
inline constexpr uint64_t kSmallElements = 4096;
// Elements of one softmax: its exponentials are taken one by one.
inline constexpr uint64_t kSmallSoftmax = 256;

std::unique_ptr<Kernel> MakeSmallConv2d(const Conv2d& conv, const KernelContext& context);
std::unique_ptr<Kernel> MakeSmallMatMul(const MatMul& matmul, const KernelContext& context);
std::unique_ptr<Kernel> MakeSmallActivation(const Activation& activation,
                                            const KernelContext& context);
std::unique_ptr<Kernel> MakeSmallSoftmax(const Softmax& softmax, const KernelContext& context);
std::unique_ptr<Kernel> MakeSmallPool2d(const Pool2d& pool, const KernelContext& context);

}  // namespace nrtd::sim
