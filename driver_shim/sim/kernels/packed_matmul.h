// SPDX-License-Identifier: Apache-2.0
//
// Matrix products with one constant matrix for all rows in bfloat16, on packed_product.h, on CPUs
// that multiply it: what the layers of a transformer are. The library converts the rows once for
// each thread and waits for the weights; here all threads share the conversion, and weights are
// fetched ahead. BERT-Base on two CPUs of an AMD EPYC: 340 to 370 GFLOP/s with the library's
// products, 404 to 442 with these, 470 at most. `./dev networks` shows it.
#pragma once

#include <memory>

#include "driver_shim/sim/kernels/kernel.h"

namespace nrtd::sim {

// By all threads of the team. Null for what it does not know or what is too small. May throw
// std::bad_alloc.
std::unique_ptr<Kernel> MakePackedMatMul(const MatMul& matmul, const KernelContext& context);

}  // namespace nrtd::sim
