// x * w^T for bytes with one scale per row and one per output: an exact integer, then out = (i * w_scale) * x_scale (+ bias) (+ out).
// SPDX-License-Identifier: Apache-2.0
#include "kernels/any/kernels_any.h"
#include "kernels/any/packed.h"

namespace sgl::KERNEL_ISA {
namespace {

constexpr int kRows = kBlockPanels > 1 ? 8 : 4;
constexpr int64_t kPrefetchBytes = 2048;

template <int kUsedRows, int kPanels>
void Tile(const Activations& x, const PackedMat& w, int64_t row, int64_t panel, const float* bias, bool add, Mat<float> out) {
  const int64_t quads = (w.k + 63) / 64 * 16;
  const std::byte* codes[kPanels];
  const int8_t* a[kUsedRows];
  I32x16 sum[kUsedRows][kPanels];
#pragma GCC unroll 8
  for (int p = 0; p < kPanels; ++p) codes[p] = w.data + (panel + p) * w.panel_bytes + kInt8ScaleBytes;
#pragma GCC unroll 8
  for (int r = 0; r < kUsedRows; ++r) {
    a[r] = reinterpret_cast<const int8_t*>(x.bytes.row(row + r));
#pragma GCC unroll 8
    for (int p = 0; p < kPanels; ++p) sum[r][p] = SetI(0);
  }
  for (int64_t i = 0; i < quads; ++i) {
    B64 b[kPanels];
#pragma GCC unroll 8
    for (int p = 0; p < kPanels; ++p) {
      __builtin_prefetch(codes[p] + i * 64 + kPrefetchBytes);
      b[p] = PrepareBytes(LoadB(codes[p] + i * 64));
    }
#pragma GCC unroll 8
    for (int r = 0; r < kUsedRows; ++r) {
      const B64 quad = SetQuad(a[r] + 4 * i);
#pragma GCC unroll 8
      for (int p = 0; p < kPanels; ++p) sum[r][p] = Dot<255>(sum[r][p], &b[p], &quad);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kUsedRows; ++r) {
    float scale;
    int32_t total;
    __builtin_memcpy(&scale, a[r] + quads * 4, 4);
    __builtin_memcpy(&total, a[r] + quads * 4 + 4, 4);
#pragma GCC unroll 8
    for (int p = 0; p < kPanels; ++p) {
      const int64_t begin = (panel + p) * kPanel;
      const int count = static_cast<int>(w.n - begin < kPanel ? w.n - begin : kPanel);
      const F32x16 w_scale = Load(reinterpret_cast<const float*>(w.data + (panel + p) * w.panel_bytes));
      F32x16 y = Mul(Mul(ToF32(Add(sum[r][p], SetI(-kByteZero * total))), w_scale), Set(scale));
      if (bias != nullptr) y = Add(y, LoadN(bias + begin, count));
      float* at = out.row(row + r) + begin;
      if (add) y = Add(LoadN(at, count), y);
      StoreN(y, at, count);
    }
  }
}

template <int kPanels>
void Rows(const Activations& x, const PackedMat& w, int64_t panel, const float* bias, bool add, Mat<float> out) {
  int64_t row = 0;
  for (; row + kRows <= x.rows(); row += kRows) Tile<kRows, kPanels>(x, w, row, panel, bias, add, out);
  for (; row < x.rows(); ++row) Tile<1, kPanels>(x, w, row, panel, bias, add, out);
}

}  // namespace

void MatMulInt8(const Activations& x, const PackedMat& w, int64_t panel_begin, int64_t panel_end, const float* bias, bool add,
                Mat<float> out) {
  int64_t panel = panel_begin;
  for (; panel + kBlockPanels <= panel_end; panel += kBlockPanels) Rows<kBlockPanels>(x, w, panel, bias, add, out);
  if constexpr (kBlockPanels > 1)
    for (; panel < panel_end; ++panel) Rows<1>(x, w, panel, bias, add, out);
}

}  // namespace sgl::KERNEL_ISA
