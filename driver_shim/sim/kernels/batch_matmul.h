// SPDX-License-Identifier: Apache-2.0
//
// Batches of matrix products in bfloat16 of which the network makes both sides, on
// packed_product.h, on CPUs that multiply it: the scores and the mixtures of attention, a batch for
// each head. What a batch needs is packed right before it is multiplied, and is in the second-level
// cache then. The library rounds both matrices of all batches first, and writes them to memory. On
// one CPU of an AMD EPYC that had other work too, heads of BERT-Base: scores 102 GFLOP/s with the
// library's products and 119 with these, mixtures 115 and 157.
#pragma once

#include <memory>

#include "driver_shim/sim/kernels/kernel.h"

namespace nrtd::sim {

// By the calling thread. Null for what it does not know or what is too small. May throw
// std::bad_alloc.
std::unique_ptr<Kernel> MakeBatchMatMul(const MatMul& matmul, const KernelContext& context);

}  // namespace nrtd::sim
