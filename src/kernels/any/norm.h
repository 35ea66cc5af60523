// What RmsNorm and Prepare share.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "kernels/simd.h"

namespace sgl::KERNEL_ISA {

// 1 / sqrt(mean of squares + eps). Four partial sums by vector number, so the order depends on n alone.
SIMD_FN F32x16 NormScale(const float* x, int64_t n, float eps) {
  F32x16 sum[4] = {Zero(), Zero(), Zero(), Zero()};
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes)
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const F32x16 v = Load(x + i + j * kLanes);
      sum[j] = Fma(v, v, sum[j]);
    }
  for (; i < n; i += kLanes) {
    const F32x16 v = LoadN(x + i, n - i < kLanes ? static_cast<int>(n - i) : kLanes);
    sum[0] = Fma(v, v, sum[0]);
  }
  const float mean = Sum(Add(Add(sum[0], sum[1]), Add(sum[2], sum[3]))) / static_cast<float>(n);
  return Set(1.0f / __builtin_sqrtf(mean + eps));
}

// Lanes [i, i + lanes) of a row, normalised if there is a norm. Lanes beyond are zero.
struct NormedRow {
  const float* x;
  const float* norm;
  F32x16 scale;
  NormedRow(const float* row, const float* weight, int64_t n, float eps)
      : x(row), norm(weight), scale(weight == nullptr ? Zero() : NormScale(row, n, eps)) {}
  __attribute__((always_inline)) F32x16 At(int64_t i, int lanes) const {
    const F32x16 value = LoadN(x + i, lanes);
    return norm == nullptr ? value : Mul(Mul(value, scale), LoadN(norm + i, lanes));
  }
};

}  // namespace sgl::KERNEL_ISA
