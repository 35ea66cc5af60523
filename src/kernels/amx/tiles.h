// Tile registers: their shapes, and the configuration that every AMX kernel loads when it starts and drops when it ends.
// A kernel must not call another AMX kernel while its tiles are live. Loading a configuration takes about 200 cycles.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#if defined(__AMX_TILE__) || defined(__AMXTILE__)  // gcc, clang
#include <immintrin.h>

#include <cstdint>

#include "kernels/simd_base.h"

namespace sgl::KERNEL_ISA {

inline constexpr int kTiles = 8, kTileMaxRows = 16, kTileMaxBytes = 64;

struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};

  constexpr void Shape(int tile, int tile_rows, int bytes) {
    rows[tile] = static_cast<uint8_t>(tile_rows);
    row_bytes[tile] = static_cast<uint16_t>(bytes);
  }
};
static_assert(sizeof(TileConfig) == 64);

// Every tile 16 rows of 64 bytes.
constexpr TileConfig FullTiles() {
  TileConfig config;
  for (int i = 0; i < kTiles; ++i) config.Shape(i, kTileMaxRows, kTileMaxBytes);
  return config;
}

// Between ordinary stores and tile loads of what they wrote: gcc's tile loads do not say that they read memory.
SIMD_FN void TileFence() { __asm__ volatile("" ::: "memory"); }

// Holds a configuration for a scope.
class TileScope {
 public:
  explicit TileScope(const TileConfig& config) {
    TileFence();
    _tile_loadconfig(&config);
  }
  ~TileScope() { _tile_release(); }
  TileScope(const TileScope&) = delete;
  TileScope& operator=(const TileScope&) = delete;
};

// An object on the stack that tile instructions read or write: shown to the compiler after it was filled and before it is read.
template <class T>
SIMD_FN void Visible(T& object) {
  __asm__ volatile("" : "+m"(object) : : "memory");
}

}  // namespace sgl::KERNEL_ISA
#endif
