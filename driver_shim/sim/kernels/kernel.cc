// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/sim/kernels/kernel.h"

#include <cstring>
#include <span>
#include <vector>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include <fmt/ranges.h>

#include "base/digest.h"
#include "base/sizes.h"
#include "base/wanted.h"
#include "driver_shim/sim/kernels/onednn.h"
#include "driver_shim/sim/kernels/operand_values.h"

// From the OpenMP runtime that oneDNN uses; declared here because its header comes with the
// compiler, not the library.
extern "C" void omp_set_num_threads(int count);

namespace nrtd::sim {

namespace {

// Rows of a larger matrix, of which most is not the operand's.
bool HasGaps(const Operand& operand) {
  return operand.strides.back() == 1 && operand.dims.size() > 1 &&
         SpanElements(operand) > 2 * ElementCount(operand.dims).value_or(UINT64_MAX / 2);
}

Sha256Digest DigestOfRows(const Operand& operand, const std::byte* data) {
  const uint64_t size = DTypeSize(operand.dtype);
  const uint64_t row = static_cast<uint64_t>(operand.dims.back()) * size;
  const std::vector<uint64_t> starts =
      StartsOf(operand, std::span(operand.dims).first(operand.dims.size() - 1));
  AlignedMemory rows(starts.size() * row);
  for (size_t r = 0; r < starts.size(); ++r)
    std::memcpy(rows.data() + r * row, data + starts[r] * size, row);
  return Sha256({rows.data(), starts.size() * row});
}

}  // namespace

std::shared_ptr<const PackedWeights> PackOnce(const Operand& operand, const std::string& form,
                                              const KernelContext& context, const Pack& pack) {
  const std::byte* data =
      context.resolve_now ? context.resolve_now(operand) : context.resolve(operand).data();
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
    const Sha256Digest digest =
        HasGaps(operand) ? DigestOfRows(operand, data) : Sha256({data, bytes});
    return context.weights->Get(Hex(digest) + "/" + what, pack_wanted);
  }
  const std::string key =
      fmt::format("{}+{}+{}/{}", part.memory->id(), part.offset, operand.offset, what);
  auto packed = context.weights->Get(key, pack_wanted);
  // Who loads it next must be able to pack again what is not kept.
  if (!part.memory->Keep(packed, packed->size())) context.resolve(operand);
  return packed;
}

const std::byte* ReadNow(const Operand& operand, const KernelContext& context) {
  const Address address = context.resolve(operand);
  return context.resolve_now ? context.resolve_now(operand) : address.data();
}

void Scratch::Reserve(uint64_t bytes) {
  if (bytes > memory_.size()) memory_ = AlignedMemory(bytes);
}

void UseOneThread() {
  omp_set_num_threads(1);
}

void PrepareLibrary() {
  [[maybe_unused]] static const dnnl_status_t prepared = [] {
    const float a[4] = {};
    float c[4] = {};
    return dnnl_sgemm('N', 'N', 2, 2, 2, 1, a, 2, a, 2, 0, c, 2);
  }();
}

#if defined(__x86_64__)
// Flush to zero what an operation gives, take for zero what it gets.
ZeroDenormals::ZeroDenormals() : before_(_mm_getcsr()) {
  constexpr unsigned kFlushAndTake = 0x8040;
  _mm_setcsr(before_ | kFlushAndTake);
}
ZeroDenormals::~ZeroDenormals() {
  _mm_setcsr(before_);
}
#else
ZeroDenormals::ZeroDenormals() = default;
ZeroDenormals::~ZeroDenormals() = default;
#endif

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
