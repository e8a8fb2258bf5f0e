// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/sim/kernels/kernel.h"

#include <fmt/ranges.h>

#include "base/digest.h"
#include "base/wanted.h"
#include "driver_shim/sim/kernels/onednn.h"
#include "driver_shim/sim/kernels/operand_values.h"

// From the OpenMP runtime that oneDNN uses; declared here because its header comes with the
// compiler, not the library.
extern "C" void omp_set_num_threads(int count);

namespace nrtd::sim {

std::shared_ptr<const PackedWeights> PackOnce(const Operand& operand, const std::string& form,
                                              const KernelContext& context, const Pack& pack) {
  const auto& resolve_now = context.resolve_now ? context.resolve_now : context.resolve;
  const std::byte* data = resolve_now(operand);
  const std::string what =
      fmt::format("{}/{}/{}/{}", DTypeName(operand.dtype), fmt::join(operand.dims, ","),
                  fmt::join(operand.strides, ","), form);
  const auto pack_wanted = [&] {
    PackedWeights packed = pack(data);
    if (auto wanted = CheckWanted(context.stop); !wanted) throw GivenUp(wanted.error());
    return packed;
  };
  const auto part =
      context.sealed_part ? context.sealed_part(operand.var_id) : KernelContext::SealedPart{};
  if (part.memory == nullptr) {
    const uint64_t bytes = SpanElements(operand) * DTypeSize(operand.dtype);
    const Sha256Digest digest = Sha256({data, bytes});
    return context.weights->Get(Hex(digest) + "/" + what, pack_wanted);
  }
  const std::string key =
      fmt::format("{}+{}+{}/{}", part.memory->id(), part.offset, operand.offset, what);
  auto packed = context.weights->Get(key, pack_wanted);
  // Who loads it next must be able to pack again what is not kept.
  if (!part.memory->Keep(packed, packed->size())) context.resolve(operand);
  return packed;
}

void Scratch::Reserve(uint64_t bytes) {
  if (bytes > memory_.size()) memory_ = AlignedMemory(bytes);
}

void UseOneThread() {
  omp_set_num_threads(1);
}

bool HasAvx512() {
  static const bool avx512 = dnnl::get_effective_cpu_isa() >= dnnl::cpu_isa::avx512_core;
  return avx512;
}

bool HasNativeBFloat16() {
  static const bool native = [] {
    const auto isa = dnnl::get_effective_cpu_isa();
    return isa == dnnl::cpu_isa::avx512_core_bf16 || isa == dnnl::cpu_isa::avx512_core_amx;
  }();
  return native;
}

}  // namespace nrtd::sim
