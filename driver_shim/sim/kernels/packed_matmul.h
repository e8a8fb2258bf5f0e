// SPDX-License-Identifier: Apache-2.0
//
// Matrix products with one constant matrix for all rows, on packed_product.h, on CPUs with AVX-512:
// what the layers of a transformer are. The library reaches half the speed of two CPUs with
// bfloat16 there, because both wait for the weights; here they are fetched ahead. `./dev networks`
// shows it.
#pragma once

#include <memory>

#include "driver_shim/sim/kernels/kernel.h"

namespace nrtd::sim {

// By all threads of the team. Null for what it does not know or what is too small. May throw
// std::bad_alloc.
std::unique_ptr<Kernel> MakePackedMatMul(const MatMul& matmul, const KernelContext& context);

}  // namespace nrtd::sim
