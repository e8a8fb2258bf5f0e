// SPDX-License-Identifier: Apache-2.0
//
// Eight floats at a time, in registers of whatever width the CPU has. Everything here is inlined
// into RunVectorised()'s argument, which is compiled twice: for AVX2 with fused multiply-add, and
// for any x86-64.
#pragma once

#include <cstdint>
#include <cstring>

namespace nrtd::sim {

inline constexpr int64_t kLanes = 8;

using Vector = float __attribute__((vector_size(kLanes * sizeof(float))));
using Integers = int32_t __attribute__((vector_size(kLanes * sizeof(int32_t))));

#define NRTD_INLINE [[gnu::always_inline]] inline

NRTD_INLINE Vector All(float value) {
  return Vector{} + value;
}

// The first `count` lanes, the others `fill`.
NRTD_INLINE Vector LoadPart(const float* from, int64_t count, float fill) {
  Vector vector = All(fill);
  if (count >= kLanes) {
    std::memcpy(&vector, from, sizeof(vector));
  } else {
    for (int64_t i = 0; i < count; ++i) vector[i] = from[i];
  }
  return vector;
}
NRTD_INLINE void StorePart(float* to, int64_t count, const Vector& vector) {
  if (count >= kLanes) {
    std::memcpy(to, &vector, sizeof(vector));
  } else {
    for (int64_t i = 0; i < count; ++i) to[i] = vector[i];
  }
}

NRTD_INLINE float Sum(const Vector& vector) {
  float sum = 0;
  for (int64_t i = 0; i < kLanes; ++i) sum += vector[i];
  return sum;
}
NRTD_INLINE float Largest(const Vector& vector) {
  float largest = vector[0];
  for (int64_t i = 1; i < kLanes; ++i) largest = vector[i] > largest ? vector[i] : largest;
  return largest;
}
NRTD_INLINE Vector Larger(const Vector& a, const Vector& b) {
  return a > b ? a : b;
}

// exp(x) to 2 units in the last place; below -87 it stays at exp(-87), above 88 at exp(88). NaN
// stays NaN. x = n ln 2 + r with |r| <= ln 2 / 2, where exp(r) is its Taylor polynomial of degree 6
// with the last coefficients adjusted (Cephes, expf).
NRTD_INLINE Vector Exp(Vector x) {
  constexpr float kMost = 88.0F;
  constexpr float kLeast = -87.0F;
  constexpr float kLog2E = 1.44269504F;
  constexpr float kLn2High = 0.693359375F;
  constexpr float kLn2Low = -2.12194440e-4F;
  constexpr float kRound = 12582912.0F;  // 1.5 x 2^23: adding it leaves integers in the low bits
  x = x > All(kMost) ? All(kMost) : x;
  x = x < All(kLeast) ? All(kLeast) : x;
  const Vector shifted = x * kLog2E + kRound;
  const Vector n = shifted - kRound;
  const Vector r = x - n * kLn2High - n * kLn2Low;
  Vector p = All(1.9875691500e-4F);
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * r * r + r + 1.0F;
  Integers bits;
  std::memcpy(&bits, &shifted, sizeof(bits));
  bits = (bits + 127) << 23;
  Vector power;
  std::memcpy(&power, &bits, sizeof(power));
  return p * power;
}

// Calls `body`, which is marked NRTD_INLINE, compiled for what this CPU has.
template <typename Body>
[[gnu::target("avx2,fma")]] void RunForAvx2(const Body& body) {
  body();
}
template <typename Body>
void RunVectorised(const Body& body) {
  static const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (avx2) {
    RunForAvx2(body);
  } else {
    body();
  }
}

}  // namespace nrtd::sim
