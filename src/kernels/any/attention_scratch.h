// How one attention task divides its scratch; sizes in floats.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

#include "kernels/kernels.h"

namespace sgl {

inline constexpr int kAttnBatch = 12;  // row-heads that are scored together at most

struct AttnScratch {
  int64_t padded;  // C rounded up to a multiple of 16: width of values in scratch
  int64_t k, v, q, scores, values, running, total;

  constexpr AttnScratch(int heads_per_group, int width)
      : padded((width + 15) / 16 * 16),
        k(0),                                                      // [kKvSplit / 16][C][16]
        v(k + int64_t{kKvSplit} * width),                          // [padded / 16][kKvSplit][16]
        q(v + kKvSplit * padded),                                  // [row-heads][C]
        scores(q + int64_t{kAttnRows} * heads_per_group * width),  // [kAttnBatch][kKvSplit]
        values(scores + kAttnBatch * kKvSplit),                    // [kAttnBatch][padded]
        running(values + kAttnBatch * padded),                     // [row-heads][2 + padded]
        total(running + int64_t{kAttnRows} * heads_per_group * (2 + padded)) {}
};

}  // namespace sgl
