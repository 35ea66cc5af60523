// SPDX-License-Identifier: Apache-2.0
#include "kernels/any/float_tile.h"

namespace sgl::KERNEL_ISA {
namespace {

// Accumulators stay in registers; each b vector serves all rows, each broadcast of a all panels.
template <int kRows, int kPanels>
void Tile(const float* a, int64_t lda, int64_t k, const float* b, int64_t b_stride, float* c, int64_t ldc) {
  F32x16 acc[kRows][kPanels];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 16
    for (int p = 0; p < kPanels; ++p) acc[r][p] = Load(c + r * ldc + p * 16);
  // Three rows per base pointer: x86 addresses base, base + stride and base + 2 * stride without more registers.
  constexpr int kBases = (kRows + 2) / 3;
  const float* base[kBases];
#pragma GCC unroll 16
  for (int i = 0; i < kBases; ++i) base[i] = a + 3 * i * lda;
  const float* b1 = b + (kPanels > 1 ? b_stride : 0);
  for (int64_t j = 0; j < k; ++j) {
    F32x16 w[kPanels];
    w[0] = Load(b);
    if constexpr (kPanels > 1) w[1] = Load(b1);
    b += 16;
    b1 += 16;
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const F32x16 x = Set(base[r / 3][(r % 3) * lda]);
#pragma GCC unroll 16
      for (int p = 0; p < kPanels; ++p) acc[r][p] = Fma(x, w[p], acc[r][p]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < kBases; ++i) ++base[i];
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 16
    for (int p = 0; p < kPanels; ++p) Store(acc[r][p], c + r * ldc + p * 16);
}

template <int kRows>
void Choose(int rows, int panels, const float* a, int64_t lda, int64_t k, const float* b, int64_t b_stride, float* c, int64_t ldc) {
  if (rows != kRows) {
    if constexpr (kRows > 1) Choose<kRows - 1>(rows, panels, a, lda, k, b, b_stride, c, ldc);
  } else if (panels == 1) {
    Tile<kRows, 1>(a, lda, k, b, b_stride, c, ldc);
  } else if constexpr (kTilePanels > 1) {
    Tile<kRows, 2>(a, lda, k, b, b_stride, c, ldc);
  }
}

}  // namespace

void FloatTile(int rows, int panels, const float* a, int64_t lda, int64_t k, const float* b, int64_t b_stride, float* c, int64_t ldc) {
  static_assert(kTilePanels <= 2);
  Choose<kTileRows>(rows, panels, a, lda, k, b, b_stride, c, ldc);
}

}  // namespace sgl::KERNEL_ISA
