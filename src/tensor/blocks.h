// GGUF's quantised block formats as the file stores them -> f32. Exact and plain; the reference for every kernel.
// Source: the GGUF format description (github.com/ggml-org/ggml, docs/gguf.md) and spec of each block; element order is the file's.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"

namespace sgl {

// out[0..elems) = the row's values. src: elems elements of any plain float type or block format. Precondition: elems % block_elems == 0.
void DequantiseRow(DType dtype, const std::byte* src, int64_t elems, float* out);

// One block taken apart into exact integers, elements in order. With d and m the halves' values, element i is
//   Q8_0 Q4_0 Q5_0: d * (q - zero)                 Q4_1 Q5_1: d * q + m
//   Q4_K Q5_K:      d * scale[i/32] * q - m * min[i/32]
//   Q6_K:           d * scale[i/16] * (q - zero)   (scale: signed)
struct BlockParts {
  uint16_t d = 0, m = 0;  // fp16 bits; m is the K-quants' dmin
  uint8_t q[256];         // unsigned codes; Q8_0: the signed byte + 128
  int8_t scale[16] = {};
  int8_t min[8] = {};
};
int BlockZero(DType dtype);  // `zero` above: 128, 8, 16, 32, or 0
void SplitBlock(DType dtype, const std::byte* block, BlockParts& parts);

}  // namespace sgl
