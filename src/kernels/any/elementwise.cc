// Norms, rotations, activations. Tails run the same operations on partly filled vectors.
// SPDX-License-Identifier: Apache-2.0
#include "kernels/any/kernels_any.h"
#include "kernels/any/packed.h"

namespace sgl::KERNEL_ISA {
namespace {

// Calls f(offset, lanes) for n elements in vectors of sixteen.
template <class F>
SIMD_FN void ForVectors(int64_t n, F f) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) f(i, kLanes);
  if (i < n) f(i, static_cast<int>(n - i));
}

// Four partial sums by vector number, so the order depends on n alone.
float SumOfSquares(const float* x, int64_t n) {
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
  return Sum(Add(Add(sum[0], sum[1]), Add(sum[2], sum[3])));
}

void RotatePairs(float* x, int half, const float* cosine, const float* sine) {
  for (int i = 0; i < half; ++i) {
    const float a = x[2 * i], b = x[2 * i + 1];
    x[2 * i] = a * cosine[i] - b * sine[i];
    x[2 * i + 1] = b * cosine[i] + a * sine[i];
  }
}

void RotateHalves(float* x, int half, const float* cosine, const float* sine) {
  ForVectors(
      half, [&](int64_t i, int lanes) __attribute__((always_inline)) {
        const F32x16 c = LoadN(cosine + i, lanes), s = LoadN(sine + i, lanes);
        const F32x16 a = LoadN(x + i, lanes), b = LoadN(x + half + i, lanes);
        StoreN(Sub(Mul(a, c), Mul(b, s)), x + i, lanes);
        StoreN(Add(Mul(b, c), Mul(a, s)), x + half + i, lanes);
      });
}

}  // namespace

void RmsNorm(Mat<const float> x, const float* w, float eps, Mat<float> y) {
  for (int64_t t = 0; t < x.rows; ++t) {
    const float* in = x.row(t);
    float* out = y.row(t);
    const F32x16 scale = Set(1.0f / __builtin_sqrtf(SumOfSquares(in, x.cols) / static_cast<float>(x.cols) + eps));
    ForVectors(
        x.cols, [&](int64_t i, int lanes)
                    __attribute__((always_inline)) { StoreN(Mul(Mul(LoadN(in + i, lanes), scale), LoadN(w + i, lanes)), out + i, lanes); });
  }
}

void Rope(Mat<float> x, int heads, int width, int rotary, bool interleaved, Mat<const float> cos_sin) {
  const int half = rotary / 2;
  for (int64_t t = 0; t < x.rows; ++t) {
    const float *cosine = cos_sin.row(t), *sine = cosine + half;
    for (int h = 0; h < heads; ++h) {
      float* head = x.row(t) + static_cast<int64_t>(h) * width;
      if (interleaved)
        RotatePairs(head, half, cosine, sine);
      else
        RotateHalves(head, half, cosine, sine);
    }
  }
}

void SiluMul(Mat<const float> x, Mat<float> y) {
  const int64_t n = x.cols / 2;
  for (int64_t t = 0; t < x.rows; ++t) {
    const float *gate = x.row(t), *up = gate + n;
    float* out = y.row(t);
    ForVectors(
        n, [&](int64_t i, int lanes) __attribute__((always_inline)) {
          const F32x16 g = LoadN(gate + i, lanes);
          const F32x16 silu = Div(g, Add(Set(1.0f), Exp(Sub(Zero(), g))));
          StoreN(Mul(silu, LoadN(up + i, lanes)), out + i, lanes);
        });
  }
}

void AddTo(Mat<const float> x, Mat<float> y) {
  for (int64_t t = 0; t < x.rows; ++t) {
    const float* in = x.row(t);
    float* out = y.row(t);
    ForVectors(
        x.cols, [&](int64_t i, int lanes)
                    __attribute__((always_inline)) { StoreN(Add(LoadN(out + i, lanes), LoadN(in + i, lanes)), out + i, lanes); });
  }
}

// The largest magnitude is found on bit patterns: a NaN is larger than everything and reaches the scale.
void Quantise(Mat<const float> x, Mat<int8_t> q, Mat<float> scale, Mat<int32_t> sum) {
  const I32x16 no_sign = SetI(0x7FFFFFFF);
  for (int64_t t = 0; t < x.rows; ++t)
    for (int64_t group = 0; group < x.cols / kGroup; ++group) {
      const float* in = x.row(t) + group * kGroup;
      int8_t* out = q.row(t) + group * 2 * kGroup;
      const I32x16 bits = MaxI(And(Bits(Load(in)), no_sign), And(Bits(Load(in + 16)), no_sign));
      const int32_t most = MaxLane(bits);
      float largest;
      __builtin_memcpy(&largest, &most, 4);
      const float step = largest / static_cast<float>(kMaxQ);
      scale.row(t)[group] = step;
      I32x16 total = SetI(0);
      for (int half = 0; half < kGroup; half += 16) {
        I32x16 high = SetI(0), low = SetI(0);
        if (step != 0.0f) {
          const F32x16 limit = Set(static_cast<float>(kMaxQ)), wanted = Div(Load(in + half), Set(step));
          // NaN rounds to anything, which the second clamp brings back. The unit is a power of two, so the split is exact.
          const I32x16 rounded = Round(Max(Sub(Zero(), limit), Min(limit, wanted)));
          const I32x16 whole = MinI(MaxI(rounded, SetI(-kMaxQ)), SetI(kMaxQ));
          high = Round(Mul(ToF32(whole), Set(1.0f / kHighUnit)));
          low = Round(Fma(ToF32(high), Set(-static_cast<float>(kHighUnit)), ToF32(whole)));
          total = Add(total, whole);
        }
        StoreI8(high, out + half);
        StoreI8(low, out + kGroup + half);
      }
      sum.row(t)[group] = SumI(total);
    }
}

}  // namespace sgl::KERNEL_ISA
