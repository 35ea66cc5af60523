// x * w^T for f32, f16 and bf16 weights: one fma chain per output, k ascending, whatever the path.
// SPDX-License-Identifier: Apache-2.0
#include "kernels/any/float_tile.h"
#include "kernels/any/kernels_any.h"

namespace sgl::KERNEL_ISA {
namespace {

// Rows share a converted tile of kBlockK inputs; kBlockRows rows share one conversion. Sized for a first-level cache of 32 KiB and up.
constexpr int kBlockK = 128, kBlockRows = 96;
constexpr int64_t kPrefetchBytes = 2048;  // ahead, in each panel's stream

// How each format's panel gives the sixteen columns of one input, or of two neighbours.
struct F32Panel {
  using Type = float;
  static constexpr int64_t kInputBytes = 64;
  SIMD_FN F32x16 Input(const std::byte* panel, int64_t j) { return Load(reinterpret_cast<const float*>(panel) + j * 16); }
  SIMD_FN void Inputs(const std::byte* panel, int64_t j, F32x16* two) {
    two[0] = Input(panel, j);
    two[1] = Input(panel, j + 1);
  }
};
struct F16Panel {
  using Type = uint16_t;
  static constexpr int64_t kInputBytes = 32;
  SIMD_FN F32x16 Input(const std::byte* panel, int64_t j) { return LoadF16(reinterpret_cast<const uint16_t*>(panel) + j * 16); }
  SIMD_FN void Inputs(const std::byte* panel, int64_t j, F32x16* two) {
    two[0] = Input(panel, j);
    two[1] = Input(panel, j + 1);
  }
};
struct BF16Panel {  // pairs: the even input is the low half of each 32 bits
  using Type = uint16_t;
  static constexpr int64_t kInputBytes = 32;
  SIMD_FN void Inputs(const std::byte* panel, int64_t j, F32x16* two) {
    const I32x16 pairs = Bits(Load(reinterpret_cast<const float*>(panel + j * 32)));
    two[0] = FromBits(Shl<16>(pairs));
    two[1] = FromBits(And(pairs, SetI(static_cast<int32_t>(0xFFFF0000))));
  }
  SIMD_FN F32x16 Input(const std::byte* panel, int64_t j) {
    F32x16 two[2];
    Inputs(panel, j & ~int64_t{1}, two);
    return two[j & 1];
  }
};

SIMD_FN void WritePanel(const float* c, const PackedMat& w, int64_t panel, const float* bias, bool add, float* out) {
  const int64_t begin = panel * kPanel;
  const int count = static_cast<int>(w.n - begin < kPanel ? w.n - begin : kPanel);
  F32x16 y = Load(c);
  if (bias != nullptr) y = Add(y, LoadN(bias + begin, count));
  if (add) y = Add(LoadN(out + begin, count), y);
  StoreN(y, out + begin, count);
}

// Few rows: weights are converted in registers and read once; several panels at a time keep several streams and chains in flight.
template <class Elem, int kRows, int kPanels>
void FewRows(Mat<const float> x, const PackedMat& w, int64_t panel, const float* bias, bool add, Mat<float> out) {
  const std::byte* stream[kPanels];
  const float* a[kRows];
#pragma GCC unroll 16
  for (int p = 0; p < kPanels; ++p) stream[p] = w.data + (panel + p) * w.panel_bytes;
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) a[r] = x.row(r);
  F32x16 acc[kRows][kPanels];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 16
    for (int p = 0; p < kPanels; ++p) acc[r][p] = Zero();
  int64_t j = 0;
  for (; j + 2 <= w.k; j += 2) {
    F32x16 lanes[kPanels][2];
#pragma GCC unroll 16
    for (int p = 0; p < kPanels; ++p) {
      for (int64_t i = 0; i < 2 * Elem::kInputBytes; i += 64) __builtin_prefetch(stream[p] + j * Elem::kInputBytes + kPrefetchBytes + i);
      Elem::Inputs(stream[p], j, lanes[p]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i)
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        const F32x16 in = Set(a[r][j + i]);
#pragma GCC unroll 16
        for (int p = 0; p < kPanels; ++p) acc[r][p] = Fma(in, lanes[p][i], acc[r][p]);
      }
  }
  if (j < w.k) {
    for (int p = 0; p < kPanels; ++p) {
      const F32x16 last = Elem::Input(stream[p], j);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) acc[r][p] = Fma(Set(a[r][j]), last, acc[r][p]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 16
    for (int p = 0; p < kPanels; ++p) {
      float c[16];
      Store(acc[r][p], c);
      WritePanel(c, w, panel + p, bias, add, out.row(r));
    }
}

template <class Elem, int kRows>
void FewRowsAll(Mat<const float> x, const PackedMat& w, int64_t panel_begin, int64_t panel_end, const float* bias, bool add,
                Mat<float> out) {
  if (x.rows != kRows) {
    if constexpr (kRows > 1) FewRowsAll<Elem, kRows - 1>(x, w, panel_begin, panel_end, bias, add, out);
    return;
  }
  int64_t panel = panel_begin;
  for (; panel + kFewPanels <= panel_end; panel += kFewPanels) FewRows<Elem, kRows, kFewPanels>(x, w, panel, bias, add, out);
  for (; panel < panel_end; ++panel) FewRows<Elem, kRows, 1>(x, w, panel, bias, add, out);
}

// Rows [row, row + rows) of `panels` panels. f32 weights are used where they lie, others converted block by block.
template <class Elem>
void Block(Mat<const float> x, const PackedMat& w, int64_t row, int rows, int64_t panel, int panels, const float* bias, bool add,
           Mat<float> out) {
  using T = typename Elem::Type;
  constexpr int kWidth = kTilePanels * 16;
  constexpr bool kConvert = sizeof(T) != sizeof(float);
  alignas(64) float tile[kConvert ? kTilePanels * kBlockK * 16 : 1];
  alignas(64) float c[kBlockRows * kWidth];
  for (int i = 0; i < rows * kWidth; i += 16) Store(Zero(), c + i);
  const int tiles = (rows + kTileRows - 1) / kTileRows;
  for (int64_t j = 0; j < w.k; j += kBlockK) {
    const int count = static_cast<int>(w.k - j < kBlockK ? w.k - j : kBlockK);
    const float* b = tile;
    int64_t b_stride = kBlockK * 16;
    if constexpr (kConvert) {
      for (int p = 0; p < panels; ++p) {
        const std::byte* src = w.data + (panel + p) * w.panel_bytes;
        int i = 0;
        for (; i + 2 <= count; i += 2) {
          __builtin_prefetch(src + (j + i + kBlockK) * Elem::kInputBytes);
          F32x16 two[2];
          Elem::Inputs(src, j + i, two);
          Store(two[0], tile + p * b_stride + i * 16);
          Store(two[1], tile + p * b_stride + (i + 1) * 16);
        }
        if (i < count) Store(Elem::Input(src, j + i), tile + p * b_stride + i * 16);
      }
    } else {
      b = reinterpret_cast<const float*>(w.data + panel * w.panel_bytes) + j * 16;
      b_stride = w.panel_bytes / static_cast<int64_t>(sizeof(float));
    }
    for (int i = 0; i < tiles; ++i) {  // rows spread evenly
      const int begin = rows * i / tiles, end = rows * (i + 1) / tiles;
      FloatTile(end - begin, panels, x.row(row + begin) + j, x.stride, count, b, b_stride, c + begin * kWidth, kWidth);
    }
  }
  for (int r = 0; r < rows; ++r)
    for (int p = 0; p < panels; ++p) WritePanel(c + r * kWidth + p * 16, w, panel + p, bias, add, out.row(row + r));
}

template <class Elem>
void Run(Mat<const float> x, const PackedMat& w, int64_t panel_begin, int64_t panel_end, const float* bias, bool add, Mat<float> out) {
  if (x.rows <= kFewRows) return FewRowsAll<Elem, kFewRows>(x, w, panel_begin, panel_end, bias, add, out);
  for (int64_t panel = panel_begin; panel < panel_end; panel += kTilePanels) {
    const int panels = panel_end - panel < kTilePanels ? 1 : kTilePanels;
    const int64_t blocks = (x.rows + kBlockRows - 1) / kBlockRows;
    for (int64_t i = 0; i < blocks; ++i) {  // rows spread evenly
      const int64_t begin = x.rows * i / blocks, end = x.rows * (i + 1) / blocks;
      Block<Elem>(x, w, begin, static_cast<int>(end - begin), panel, panels, bias, add, out);
    }
  }
}

}  // namespace

void MatMulPlain(Mat<const float> x, const PackedMat& w, int64_t panel_begin, int64_t panel_end, const float* bias, bool add,
                 Mat<float> out) {
  if (w.format == DType::kF32)
    Run<F32Panel>(x, w, panel_begin, panel_end, bias, add, out);
  else if (w.format == DType::kF16)
    Run<F16Panel>(x, w, panel_begin, panel_end, bias, add, out);
  else
    Run<BF16Panel>(x, w, panel_begin, panel_end, bias, add, out);
}

}  // namespace sgl::KERNEL_ISA
