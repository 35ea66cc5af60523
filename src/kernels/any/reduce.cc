// Over a row of logits: the largest, and the pieces of a log-softmax.
// SPDX-License-Identifier: Apache-2.0
#include "kernels/any/kernels_any.h"

namespace sgl::KERNEL_ISA {
namespace {

SIMD_FN F32x16 LoadOrLowest(const float* x, int64_t left) {
  if (left >= kLanes) return Load(x);
  const int lanes = static_cast<int>(left);
  return SelectLanes(0, lanes, LoadN(x, lanes), Set(-__builtin_inff()));
}

float Largest(const float* x, int64_t n) {  // -inf when everything is NaN
  F32x16 most = Set(-__builtin_inff()), most1 = most;
  int64_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    most = Max(Load(x + i), most);  // a NaN in x keeps `most`
    most1 = Max(Load(x + i + kLanes), most1);
  }
  for (; i < n; i += kLanes) most = Max(LoadOrLowest(x + i, n - i), most);
  float lanes[kLanes], result = -__builtin_inff();
  Store(Max(most, most1), lanes);
  for (const float lane : lanes) result = lane > result ? lane : result;
  return result;
}

}  // namespace

int64_t ArgMax(const float* x, int64_t n) {
  const F32x16 target = Set(Largest(x, n));
  for (int64_t i = 0; i < n; i += kLanes) {
    uint32_t equal = EqualLanes(LoadOrLowest(x + i, n - i), target);
    if (n - i < kLanes) equal &= (1u << (n - i)) - 1u;
    if (equal != 0) return i + __builtin_ctz(equal);
  }
  return 0;
}

// Sums of 64 vectors per lane in f32, those added up in f64: both orders depend on n alone.
void SoftmaxStats(const float* x, int64_t n, float inv_temperature, float* max, double* sum) {
  const float largest = Largest(x, n);
  const F32x16 top = Set(largest), factor = Set(inv_temperature);
  double total = 0;
  for (int64_t begin = 0; begin < n; begin += 64 * kLanes) {
    const int64_t end = n - begin < 64 * kLanes ? n : begin + 64 * kLanes;
    F32x16 part = Zero();
    for (int64_t i = begin; i < end; i += kLanes) {
      const int lanes = end - i < kLanes ? static_cast<int>(end - i) : kLanes;
      const F32x16 e = Exp(Mul(Sub(LoadN(x + i, lanes), top), factor));
      part = Add(part, SelectLanes(0, lanes, e, Zero()));
    }
    float by_lane[kLanes];
    Store(part, by_lane);
    for (const float lane : by_lane) total += static_cast<double>(lane);
  }
  *max = largest;
  *sum = total;
}

}  // namespace sgl::KERNEL_ISA
