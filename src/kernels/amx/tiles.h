// The matrix unit: eight tiles of 16 rows x 64 bytes. Every kernel configures the tiles it uses and releases them before it returns.
// One product step, TDPBF16PS, per row of A on its own: c += (sum of products of even inputs) + (sum of products of odd inputs), each sum
// a chain of 16 fused steps from 0, ascending; subnormals count as zero, everywhere. Rows that a tile does not have cost nothing and
// change nothing, so a row's bits do not depend on how many there are.
// Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, TDPBF16PS.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#if defined(__AMX_TILE__)
#include <immintrin.h>

#include "kernels/simd.h"

namespace sgl::KERNEL_ISA {

inline constexpr int kTileDim = 16;      // rows of a tile, and columns of 32 bits
inline constexpr int kTileBytes = 1024;  // 16 rows of 64 bytes
inline constexpr int kTileRowBytes = 64;

// Tiles 0-3: results; 0 and 1 for the first 16 rows, 2 and 3 for the rest. Tiles 4, 5: activations. Tiles 6, 7: weights.
// With at most 16 rows: 0-3 are results of four panels, 4 activations, 5-7 weights.
struct TileConfig {
  alignas(64) uint8_t bytes[64] = {1};
  void Set(int tile, int rows) {
    bytes[16 + 2 * tile] = kTileRowBytes;
    bytes[48 + tile] = static_cast<uint8_t>(rows);
  }
};
// The compiler does not know what tile instructions read and write: an object on the stack that one of them touches is shown to it here,
// after it was filled and before it is read.
template <class T>
SIMD_FN void Visible(T& object) {
  asm volatile("" : "+m"(object) : : "memory");
}

// For up to 32 rows, 1 at least.
SIMD_FN void ConfigureTiles(int rows) {
  TileConfig config;
  const int first = rows < kTileDim ? rows : kTileDim, second = rows - first;
  for (int tile = 0; tile < 8; ++tile) config.Set(tile, kTileDim);
  config.Set(0, first);
  config.Set(1, first);
  config.Set(4, first);
  config.Set(2, second > 0 ? second : first);
  config.Set(3, second > 0 ? second : first);
  if (second > 0) config.Set(5, second);
  Visible(config);
  _tile_loadconfig(config.bytes);
}

}  // namespace sgl::KERNEL_ISA
#endif
