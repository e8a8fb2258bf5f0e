// SPDX-License-Identifier: Apache-2.0
//
// Convolutions and matrix products beyond small.h, on CPUs with AVX2, where the library leaves
// something to be had. On those with AVX-512 only Winograd's form is made. `kernel-bench` (bench/)
// shows it.
#pragma once

#include <memory>
#include <optional>

#include "driver_shim/sim/kernels/kernel.h"

namespace nrtd::sim {

// On packed_product.h and winograd.h: images with their channels last, one group, constant weights,
// and a window of more than one place or steps between its places; for the others the library's
// code is as good or better. Null for what it does not know. May throw std::bad_alloc.
std::unique_ptr<Kernel> MakeLargeConv2d(const Conv2d& conv, const KernelContext& context);

// A product of one row or a few. All of them read the same packed weights, so a network that was
// compiled for one row and for four has them once: the last layer of an image network is several MB
// of them. Null for more rows, for small products and for other forms. May throw std::bad_alloc.
std::unique_ptr<Kernel> MakeFewRows(const MatMul& matmul, const KernelContext& context);

// One matrix and one bias for all rows.
bool HasOneMatrix(const MatMul& matmul);
// That, and rows whose values lie together, as many in the input as in the output.
bool HasPlainRows(const MatMul& matmul);

// A product with one constant matrix for all rows is a convolution with a window of one place, the
// rows its places: what the library does best. It packs a product's weights anew at every call
// (128 x 768 x 3072 takes twice as long). Nothing for few rows, small products and other forms.
std::optional<Conv2d> AsConvolution(const MatMul& matmul, const KernelContext& context);

}  // namespace nrtd::sim
