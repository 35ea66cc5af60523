// How one attention task divides its scratch.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

#include "kernels/kernels.h"

namespace sgl {

inline constexpr int kAttnBatch = 12;  // row-heads that are scored together at most

// Sizes and offsets in floats.
struct AttnScratch {
  int64_t padded;  // C rounded up to a multiple of 16: width of values in scratch
  int64_t k, v, k_scale, v_scale, chunks, q, scores, values, running, total;

  constexpr AttnScratch(int heads_per_group, int width)
      : padded((width + 15) / 16 * 16),
        k(0),                                                      // [kKvSplit / 16][C][16]
        v(k + int64_t{kKvSplit} * width),                          // [padded / 16][kKvSplit][16]
        k_scale(v + kKvSplit * padded),                            // [kKvSplit]
        v_scale(k_scale + kKvSplit),                               // [kKvSplit]
        chunks(v_scale + kKvSplit),                                // a K and a V chunk
        q(chunks + 2 * KvChunkBytes(KvType::kF32, width) / 4),     // [row-heads][C]
        scores(q + int64_t{kAttnRows} * heads_per_group * width),  // [kAttnBatch][kKvSplit]
        values(scores + kAttnBatch * kKvSplit),                    // [kAttnBatch][padded]
        running(values + kAttnBatch * padded),                     // [row-heads][2 + padded]
        total(running + int64_t{kAttnRows} * heads_per_group * (2 + padded)) {}
};

// The same for the tile kernel; offsets in bytes from a 64-byte boundary.
struct TileAttnScratch {
  static constexpr int kRows = 32;                          // row-heads that are scored together at most
  static constexpr int kScoreStride = kKvSplit + kKvBlock;  // floats; not a multiple of 4 KiB's divisors
  int64_t padded, steps;                                    // C rounded up to a multiple of 16; tiles along C
  int64_t query_stride, run_stride;                         // elements of a query row; floats of a row-head's running result
  int64_t q, scores, values, running, k, v, chunks, k_scale, v_scale, total;

  constexpr TileAttnScratch(int heads_per_group, int width)
      : padded((width + 15) / 16 * 16),
        steps((width + 31) / 32),
        query_stride(2 * steps * 32),
        run_stride(padded + 16),
        q(0),                                                                // [row-heads][2][steps * 32] bf16
        scores(q + RoundedRows(heads_per_group) * query_stride * 2),         // [kRows][kScoreStride]
        values(scores + int64_t{kRows} * kScoreStride * 4),                  // [kRows][padded]
        running(values + kRows * padded * 4),                                // [row-heads][run_stride]
        k(running + int64_t{kAttnRows} * heads_per_group * run_stride * 4),  // [kKvSplit / 16][steps * 16][16][2] bf16
        v(k + kKvSplit / kKvBlock * steps * 1024),                           // [kKvSplit / 16][8][padded][2] bf16
        chunks(v + kKvSplit / kKvBlock * padded * 32 + 64),                  // a K and a V chunk as they are in the cache
        k_scale(chunks + 2 * (KvChunkBytes(KvType::kBF16, width) + 128)),    // [kKvSplit]
        v_scale(k_scale + kKvSplit * 4),                                     // [kKvSplit]
        total(v_scale + kKvSplit * 4) {}
  static constexpr int64_t RoundedRows(int heads_per_group) { return (int64_t{kAttnRows} * heads_per_group + kRows - 1) / kRows * kRows; }
};

}  // namespace sgl
