// x * w^T for block formats: codes are unpacked in registers once per group of 32 inputs and serve all rows of a block.
// Per output and group: i = the exact integer dot product of (code - zero) and q = 128 * high + low (Q6_K: one per half group), then
//   t = dw * i                      Q8_0 Q4_0 Q5_0      dw = d
//   t = fma(dw, i, mw * sum)        Q4_1 Q5_1 Q4_K Q5_K dw = d or d * scale, mw = m or -dmin * min: exact in f32
//   t = fma(dw1, i1, dw0 * i0)      Q6_K                dw = d * scale
//   out = fma(q_scale, t, out)
// with groups ascending: the same operations for one row and for many.
// SPDX-License-Identifier: Apache-2.0
#include "kernels/any/kernels_any.h"
#include "kernels/any/packed.h"

namespace sgl::KERNEL_ISA {
namespace {

constexpr int kBlockRows = 64;
constexpr int64_t kPrefetchBytes = 2048;
constexpr int kQuads = 8;

// One group of one panel in registers.
struct Weights {
  B64 codes[kQuads];
  F32x16 d, m;  // Q6_K: the scales of the two halves
};

template <DType kFormat>
SIMD_FN void UnpackCodes(const uint8_t* src, Weights& w) {
  constexpr int kBits = CodeBits(kFormat);
  if constexpr (kBits == 8) {
#pragma GCC unroll 8
    for (int i = 0; i < kQuads; ++i) w.codes[i] = PrepareBytes(LoadB(src + i * 64));
    return;
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const B64 both = LoadB(src + i * 64);
    w.codes[i] = AndB(both, 15);
    w.codes[i + 4] = AndB(ShiftB<-4>(both), 15);
  }
  if constexpr (kBits == 5) {
    const B64 fifth = LoadB(src + 256);
    w.codes[0] = OrB(w.codes[0], AndB(ShiftB<4>(fifth), 16));
    w.codes[1] = OrB(w.codes[1], AndB(ShiftB<3>(fifth), 16));
    w.codes[2] = OrB(w.codes[2], AndB(ShiftB<2>(fifth), 16));
    w.codes[3] = OrB(w.codes[3], AndB(ShiftB<1>(fifth), 16));
    w.codes[4] = OrB(w.codes[4], AndB(fifth, 16));
    w.codes[5] = OrB(w.codes[5], AndB(ShiftB<-1>(fifth), 16));
    w.codes[6] = OrB(w.codes[6], AndB(ShiftB<-2>(fifth), 16));
    w.codes[7] = OrB(w.codes[7], AndB(ShiftB<-3>(fifth), 16));
  }
  if constexpr (kBits == 6) {
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      const B64 high = LoadB(src + 256 + i * 64);
      B64* codes = w.codes + 4 * i;
      codes[0] = OrB(codes[0], AndB(ShiftB<4>(high), 48));
      codes[1] = OrB(codes[1], AndB(ShiftB<2>(high), 48));
      codes[2] = OrB(codes[2], AndB(high, 48));
      codes[3] = OrB(codes[3], AndB(ShiftB<-2>(high), 48));
    }
  }
}

template <DType kFormat>
SIMD_FN void UnpackScales(const uint8_t* scales, int64_t group, Weights& w) {
  if constexpr (!IsKQuant(kFormat)) {
    const auto* d = reinterpret_cast<const uint16_t*>(scales + group * (HasMin(kFormat) ? 64 : 32));
    w.d = LoadF16(d);
    if constexpr (HasMin(kFormat)) w.m = LoadF16(d + 16);
  } else {
    const uint8_t* super = scales + group / 8 * kSuperScaleBytes;
    const uint8_t* sub = super + 64 + group % 8 * 32;
    const F32x16 d = LoadF16(reinterpret_cast<const uint16_t*>(super));
    if constexpr (HasMin(kFormat)) {
      w.d = Mul(d, LoadU8(sub));
      w.m = Sub(Zero(), Mul(LoadF16(reinterpret_cast<const uint16_t*>(super + 32)), LoadU8(sub + 16)));
    } else {
      w.d = Mul(d, LoadI8(reinterpret_cast<const int8_t*>(sub)));
      w.m = Mul(d, LoadI8(reinterpret_cast<const int8_t*>(sub + 16)));
    }
  }
}

// What a group takes from kRows rows: their high and low bytes, scales and sums, rows `stride`s apart.
struct Rows {
  const int8_t* q;
  const float* scale;
  const int32_t* sum;
  int64_t q_stride, scale_stride, sum_stride;
};

// Adds one group to the running sums c ([kRows][kPanels * 16]) of kRows rows and kPanels panels. Several rows at a time only keep more
// chains of dot products in flight.
template <DType kFormat, int kPanels, int kRows>
SIMD_FN void AddGroup(const Weights* w, const Rows& rows, float* c) {
  constexpr int kMaxCode = (1 << CodeBits(kFormat)) - 1;
  constexpr int kZero = CodeBits(kFormat) == 8 ? kByteZero : CodeZero(kFormat);
  constexpr bool kHalves = kFormat == DType::kQ6_K;
  constexpr int kDots = kHalves ? 2 : 1, kDotQuads = kQuads / kDots;
  I32x16 high[kRows][kPanels][kDots], low[kRows][kPanels][kDots];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    const int8_t* q = rows.q + r * rows.q_stride;
    const int32_t sum = rows.sum[r * rows.sum_stride], first = kHalves ? kHighUnit * SumBytes16(q) + SumBytes16(q + kGroup) : sum;
#pragma GCC unroll 8
    for (int p = 0; p < kPanels; ++p) {
      low[r][p][0] = SetI(-kZero * first);
      if constexpr (kHalves) low[r][p][1] = SetI(-kZero * (sum - first));
      for (int d = 0; d < kDots; ++d) high[r][p][d] = SetI(0);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < kQuads; i += kDotStep<kMaxCode>)
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const int8_t* q = rows.q + r * rows.q_stride + 4 * i;
      B64 a[kDotStep<kMaxCode>], b[kDotStep<kMaxCode>];
#pragma GCC unroll 8
      for (int j = 0; j < kDotStep<kMaxCode>; ++j) {
        a[j] = SetQuad(q + 4 * j);
        b[j] = SetQuad(q + kGroup + 4 * j);
      }
#pragma GCC unroll 8
      for (int p = 0; p < kPanels; ++p) {
        const int d = i / kDotQuads;
        high[r][p][d] = Dot<kMaxCode>(high[r][p][d], w[p].codes + i, a);
        low[r][p][d] = Dot<kMaxCode>(low[r][p][d], w[p].codes + i, b);
      }
    }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    const F32x16 row_scale = Set(rows.scale[r * rows.scale_stride]);
    const F32x16 sum = Set(static_cast<float>(HasMin(kFormat) ? rows.sum[r * rows.sum_stride] : 0));
#pragma GCC unroll 8
    for (int p = 0; p < kPanels; ++p) {
      F32x16 dot[kDots], t;
      for (int d = 0; d < kDots; ++d) dot[d] = ToF32(Add(Shl<kHighBits>(high[r][p][d]), low[r][p][d]));
      if constexpr (kHalves)
        t = Fma(w[p].m, dot[1], Mul(w[p].d, dot[0]));
      else if constexpr (HasMin(kFormat))
        t = Fma(w[p].d, dot[0], Mul(w[p].m, sum));
      else
        t = Mul(w[p].d, dot[0]);
      float* at = c + (r * kPanels + p) * 16;
      Store(Fma(row_scale, t, Load(at)), at);
    }
  }
}

// All rows of kPanels panels.
template <DType kFormat, int kPanels>
void Panels(const Activations& x, const PackedMat& w, int64_t panel, const float* bias, bool add, Mat<float> out) {
  constexpr int kWidth = kPanels * 16;
  alignas(64) float c[kBlockRows * kWidth];
  const int64_t groups = w.k / kGroup, scale_bytes = PaddedScaleBytes(kFormat, w.k);
  const uint8_t* scales[kPanels];
  for (int p = 0; p < kPanels; ++p) scales[p] = reinterpret_cast<const uint8_t*>(w.data + (panel + p) * w.panel_bytes);
  for (int64_t row = 0; row < x.rows(); row += kBlockRows) {
    const int rows = static_cast<int>(x.rows() - row < kBlockRows ? x.rows() - row : kBlockRows);
    for (int i = 0; i < rows * kWidth; i += 16) Store(Zero(), c + i);
    for (int64_t group = 0; group < groups; ++group) {
      Weights weights[kPanels];
#pragma GCC unroll 2
      for (int p = 0; p < kPanels; ++p) {
        const uint8_t* codes = scales[p] + scale_bytes + group * CodeBytes(kFormat);
        for (int i = 0; i < CodeBytes(kFormat); i += 64) __builtin_prefetch(codes + kPrefetchBytes + i);
        UnpackCodes<kFormat>(codes, weights[p]);
        UnpackScales<kFormat>(scales[p], group, weights[p]);
      }
      const std::byte* first = x.bytes.row(row);
      Rows at = {reinterpret_cast<const int8_t*>(first) + group * 2 * kGroup,
                 reinterpret_cast<const float*>(first + 2 * w.k) + group,
                 reinterpret_cast<const int32_t*>(first + 2 * w.k + groups * 4) + group,
                 x.bytes.stride,
                 x.bytes.stride / 4,
                 x.bytes.stride / 4};
      const auto advance = [&](int count) __attribute__((always_inline)) {
        at.q += count * at.q_stride;
        at.scale += count * at.scale_stride;
        at.sum += count * at.sum_stride;
      };
      int r = 0;
      for (; r + kBlockRowStep <= rows; r += kBlockRowStep, advance(kBlockRowStep))
        AddGroup<kFormat, kPanels, kBlockRowStep>(weights, at, c + r * kWidth);
      for (; r < rows; ++r, advance(1)) AddGroup<kFormat, kPanels, 1>(weights, at, c + r * kWidth);
    }
    for (int r = 0; r < rows; ++r)
      for (int p = 0; p < kPanels; ++p) {
        const int64_t begin = (panel + p) * kPanel;
        const int count = static_cast<int>(w.n - begin < kPanel ? w.n - begin : kPanel);
        F32x16 y = Load(c + r * kWidth + p * 16);
        if (bias != nullptr) y = Add(y, LoadN(bias + begin, count));
        float* at = out.row(row + r) + begin;
        if (add) y = Add(LoadN(at, count), y);
        StoreN(y, at, count);
      }
  }
}

template <DType kFormat>
void Run(const Activations& x, const PackedMat& w, int64_t panel_begin, int64_t panel_end, const float* bias, bool add, Mat<float> out) {
  int64_t panel = panel_begin;
  for (; panel + kBlockPanels <= panel_end; panel += kBlockPanels) Panels<kFormat, kBlockPanels>(x, w, panel, bias, add, out);
  if constexpr (kBlockPanels > 1)
    for (; panel < panel_end; ++panel) Panels<kFormat, 1>(x, w, panel, bias, add, out);
}

}  // namespace

void MatMulBlocks(const Activations& x, const PackedMat& w, int64_t panel_begin, int64_t panel_end, const float* bias, bool add,
                  Mat<float> out) {
  switch (w.format) {
    case DType::kQ8_0: return Run<DType::kQ8_0>(x, w, panel_begin, panel_end, bias, add, out);
    case DType::kQ4_0: return Run<DType::kQ4_0>(x, w, panel_begin, panel_end, bias, add, out);
    case DType::kQ4_1: return Run<DType::kQ4_1>(x, w, panel_begin, panel_end, bias, add, out);
    case DType::kQ5_0: return Run<DType::kQ5_0>(x, w, panel_begin, panel_end, bias, add, out);
    case DType::kQ5_1: return Run<DType::kQ5_1>(x, w, panel_begin, panel_end, bias, add, out);
    case DType::kQ4_K: return Run<DType::kQ4_K>(x, w, panel_begin, panel_end, bias, add, out);
    case DType::kQ5_K: return Run<DType::kQ5_K>(x, w, panel_begin, panel_end, bias, add, out);
    case DType::kQ6_K: return Run<DType::kQ6_K>(x, w, panel_begin, panel_end, bias, add, out);
    default: return;
  }
}

}  // namespace sgl::KERNEL_ISA
