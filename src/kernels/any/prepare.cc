// Activations in the form that a product reads, normalised on the way if wanted.
// SPDX-License-Identifier: Apache-2.0
#include "kernels/any/kernels_any.h"
#include "kernels/any/norm.h"
#include "kernels/any/packed.h"

namespace sgl::KERNEL_ISA {
namespace {

void Floats(const NormedRow& row, int64_t k, float* out) {
  for (int64_t i = 0; i < k; i += kLanes) {
    const int lanes = k - i < kLanes ? static_cast<int>(k - i) : kLanes;
    StoreN(row.At(i, lanes), out + i, lanes);
  }
}

void BFloats(const NormedRow& row, int64_t k, uint16_t* out) {
  int64_t i = 0;
  for (; i + kLanes <= k; i += kLanes) StoreBF16(row.At(i, kLanes), out + i);
  for (; i < (k + 31) / 32 * 32; i += kLanes) StoreBF16(i < k ? row.At(i, static_cast<int>(k - i)) : Zero(), out + i);
}

// The largest magnitude is found on bit patterns: a NaN is larger than everything and reaches the scale.
void Int15(const NormedRow& row, int64_t k, std::byte* out) {
  const I32x16 no_sign = SetI(0x7FFFFFFF);
  auto* q = reinterpret_cast<int8_t*>(out);
  auto* scales = reinterpret_cast<float*>(out + 2 * k);
  auto* sums = reinterpret_cast<int32_t*>(out + 2 * k + k / kGroup * 4);
  for (int64_t group = 0; group < k / kGroup; ++group, q += 2 * kGroup) {
    const F32x16 in[2] = {row.At(group * kGroup, kLanes), row.At(group * kGroup + kLanes, kLanes)};
    const int32_t most = MaxLane(MaxI(And(Bits(in[0]), no_sign), And(Bits(in[1]), no_sign)));
    float largest;
    __builtin_memcpy(&largest, &most, 4);
    const float step = largest / static_cast<float>(kMaxQ);
    scales[group] = step;
    I32x16 total = SetI(0);
    for (int half = 0; half < 2; ++half) {
      I32x16 high = SetI(0), low = SetI(0);
      if (step != 0.0f) {
        const F32x16 limit = Set(static_cast<float>(kMaxQ)), wanted = Div(in[half], Set(step));
        // NaN rounds to anything, which the second clamp brings back. The unit is a power of two, so the split is exact.
        const I32x16 rounded = Round(Max(Sub(Zero(), limit), Min(limit, wanted)));
        const I32x16 whole = MinI(MaxI(rounded, SetI(-kMaxQ)), SetI(kMaxQ));
        high = Round(Mul(ToF32(whole), Set(1.0f / kHighUnit)));
        low = Round(Fma(ToF32(high), Set(-static_cast<float>(kHighUnit)), ToF32(whole)));
        total = Add(total, whole);
      }
      StoreI8(high, q + half * kLanes);
      StoreI8(low, q + kGroup + half * kLanes);
    }
    sums[group] = SumI(total);
  }
}

void Int8(const NormedRow& row, int64_t k, std::byte* out) {
  const I32x16 no_sign = SetI(0x7FFFFFFF);
  const int64_t padded = (k + 63) / 64 * 64;
  auto* q = reinterpret_cast<int8_t*>(out);
  const auto at = [&](int64_t i) __attribute__((always_inline)) {
    return i >= k ? Zero() : row.At(i, k - i < kLanes ? static_cast<int>(k - i) : kLanes);
  };
  I32x16 bits = SetI(0), total = SetI(0);
  for (int64_t i = 0; i < k; i += kLanes) bits = MaxI(bits, And(Bits(at(i)), no_sign));
  const int32_t most = MaxLane(bits);
  float largest;
  __builtin_memcpy(&largest, &most, 4);
  const float step = largest / 127.0f;
  for (int64_t i = 0; i < padded; i += kLanes) {
    I32x16 whole = SetI(0);
    if (step != 0.0f) {
      const F32x16 limit = Set(127.0f);
      const I32x16 rounded = Round(Max(Sub(Zero(), limit), Min(limit, Div(at(i), Set(step)))));
      whole = MinI(MaxI(rounded, SetI(-127)), SetI(127));  // NaN rounds to anything
    }
    total = Add(total, whole);
    StoreI8(whole, q + i);
  }
  const int32_t sum = SumI(total);
  __builtin_memcpy(out + padded, &step, 4);
  __builtin_memcpy(out + padded + 4, &sum, 4);
}

}  // namespace

void Prepare(Mat<const float> x, const float* norm, float eps, Form form, Mat<std::byte> dst) {
  for (int64_t t = 0; t < x.rows; ++t) {
    const NormedRow row(x.row(t), norm, x.cols, eps);
    if (form == Form::kFloat)
      Floats(row, x.cols, reinterpret_cast<float*>(dst.row(t)));
    else if (form == Form::kBFloat)
      BFloats(row, x.cols, reinterpret_cast<uint16_t*>(dst.row(t)));
    else if (form == Form::kInt15)
      Int15(row, x.cols, dst.row(t));
    else
      Int8(row, x.cols, dst.row(t));
  }
}

}  // namespace sgl::KERNEL_ISA
