// SPDX-License-Identifier: Apache-2.0
//
// Where everything lies in a packed panel of a block format: 16 output columns, K inputs in groups of 32.
//
//   panel = scales, padded to 64 bytes | codes
//
// Codes of one group of 32 inputs (kCodeBytes): byte 4*c + j of 64 bytes belongs to column c, so that 64 bytes are four consecutive
// inputs (a quad, j = 0..3) of all 16 columns, the order in which 8-bit dot product instructions want them. A group has 8 quads.
//   Q8_0         8 x 64 bytes, quad i: code + 128
//   4-bit        4 x 64 bytes, vector i: low halves are quad i, high halves quad i + 4
//   5-bit        as 4-bit, then 64 bytes with the fifth bits: bit i belongs to quad i
//   kI8          no groups: per quad 64 bytes, code + 128; K padded to a multiple of 64 with zero bytes
//   6-bit        as 4-bit, then 2 x 64 bytes: bits 2j, 2j+1 of vector i are the high bits of quad 4i + j
//
// Scales, fp16 kept as they are in the file:
//   kI8              16 x f32
//   Q8_0 Q4_0 Q5_0   per group 16 x d
//   Q4_1 Q5_1        per group 16 x d, 16 x m
//   Q4_K Q5_K        per 256: 16 x d, 16 x dmin, then per group 16 x scale, 16 x min (bytes)
//   Q6_K             per 256: 16 x d, 32 bytes unused, then per group 16 x scale of the first half, 16 x scale of the second (signed bytes)
#pragma once
#include <cstdint>

#include "tensor/dtype.h"

namespace sgl {

inline constexpr int kInt8ScaleBytes = 64;                       // of a kI8 panel
inline constexpr int kGroup = 32;                                // inputs per group
inline constexpr int kHighBits = 7, kHighUnit = 1 << kHighBits;  // a quantised activation is kHighUnit * high byte + low byte
inline constexpr int kMaxQ = 127 * kHighUnit + 63;               // the largest one whose high byte rounds to 127
inline constexpr int kSuper = 256;                               // inputs per block of a K-quant
inline constexpr int kSuperScaleBytes = 320;

// Bits of a code; 0 for other types.
constexpr int CodeBits(DType format) {
  switch (format) {
    case DType::kQ8_0: return 8;
    case DType::kQ6_K: return 6;
    case DType::kQ5_0:
    case DType::kQ5_1:
    case DType::kQ5_K: return 5;
    case DType::kQ4_0:
    case DType::kQ4_1:
    case DType::kQ4_K: return 4;
    default: return 0;
  }
}
constexpr bool IsKQuant(DType format) { return format == DType::kQ4_K || format == DType::kQ5_K || format == DType::kQ6_K; }
constexpr bool HasMin(DType format) {
  return format == DType::kQ4_1 || format == DType::kQ5_1 || format == DType::kQ4_K || format == DType::kQ5_K;
}
constexpr int CodeZero(DType format) {
  return format == DType::kQ8_0 ? 128 : format == DType::kQ4_0 ? 8 : format == DType::kQ5_0 ? 16 : format == DType::kQ6_K ? 32 : 0;
}
constexpr int CodeBytes(DType format) { return CodeBits(format) * kGroup * 16 / 8; }
// Bytes of the scales of `k` inputs, before padding.
constexpr int64_t ScaleBytes(DType format, int64_t k) {
  return IsKQuant(format) ? k / kSuper * kSuperScaleBytes : k / kGroup * (HasMin(format) ? 64 : 32);
}
constexpr int64_t PaddedScaleBytes(DType format, int64_t k) { return (ScaleBytes(format, k) + 63) / 64 * 64; }

}  // namespace sgl
