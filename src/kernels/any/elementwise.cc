// Norms, rotations, activations. Tails run the same operations on partly filled vectors.
// SPDX-License-Identifier: Apache-2.0
#include "kernels/any/kernels_any.h"
#include "kernels/any/norm.h"

namespace sgl::KERNEL_ISA {
namespace {

// Calls f(offset, lanes) for n elements in vectors of sixteen.
template <class F>
SIMD_FN void ForVectors(int64_t n, F f) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) f(i, kLanes);
  if (i < n) f(i, static_cast<int>(n - i));
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
    const F32x16 scale = NormScale(in, x.cols, eps);
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
        n, [&](int64_t i, int lanes)
               __attribute__((always_inline)) { StoreN(Mul(Silu(LoadN(gate + i, lanes)), LoadN(up + i, lanes)), out + i, lanes); });
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

}  // namespace sgl::KERNEL_ISA
