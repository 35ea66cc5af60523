// SPDX-License-Identifier: Apache-2.0
#include "tensor/blocks.h"

#include <cstring>

#include "base/check.h"
#include "tensor/half.h"

namespace sgl {
namespace {

uint16_t Read16(const uint8_t* p) { return static_cast<uint16_t>(p[0] | p[1] << 8); }

// 32 elements in 16 bytes: element i is byte i's low half, element i + 16 its high half.
void SplitNibbles32(const uint8_t* src, uint8_t* q) {
  for (int i = 0; i < 16; ++i) {
    q[i] = src[i] & 15;
    q[i + 16] = src[i] >> 4;
  }
}

// Adds the fifth bits: bit i of the 32-bit word `src` belongs to element i.
void AddFifthBits32(const uint8_t* src, uint8_t* q) {
  for (int i = 0; i < 32; ++i) q[i] |= static_cast<uint8_t>(((src[i / 8] >> (i % 8)) & 1) << 4);
}

// Q4_K, Q5_K: eight 6-bit scales and minima in 12 bytes; the upper four borrow two high bits each from the lower four.
void SplitScales(const uint8_t* s, BlockParts& parts) {
  for (int j = 0; j < 4; ++j) {
    parts.scale[j] = static_cast<int8_t>(s[j] & 63);
    parts.min[j] = static_cast<int8_t>(s[j + 4] & 63);
    parts.scale[j + 4] = static_cast<int8_t>((s[j + 8] & 15) | ((s[j] >> 6) << 4));
    parts.min[j + 4] = static_cast<int8_t>((s[j + 8] >> 4) | ((s[j + 4] >> 6) << 4));
  }
}

// Q4_K, Q5_K: per 64 elements 32 bytes, low halves first.
void SplitNibbles256(const uint8_t* src, uint8_t* q) {
  for (int part = 0; part < 4; ++part)
    for (int i = 0; i < 32; ++i) {
      q[part * 64 + i] = src[part * 32 + i] & 15;
      q[part * 64 + 32 + i] = src[part * 32 + i] >> 4;
    }
}

void SplitQ6K(const uint8_t* src, BlockParts& parts) {
  const uint8_t *low = src, *high = src + 128;
  for (int half = 0; half < 2; ++half, low += 64, high += 32)
    for (int i = 0; i < 32; ++i) {
      uint8_t* q = parts.q + half * 128 + i;
      q[0] = static_cast<uint8_t>((low[i] & 15) | (high[i] & 3) << 4);
      q[32] = static_cast<uint8_t>((low[i + 32] & 15) | (high[i] >> 2 & 3) << 4);
      q[64] = static_cast<uint8_t>((low[i] >> 4) | (high[i] >> 4 & 3) << 4);
      q[96] = static_cast<uint8_t>((low[i + 32] >> 4) | (high[i] >> 6) << 4);
    }
  std::memcpy(parts.scale, src + 192, 16);
  parts.d = Read16(src + 208);
}

}  // namespace

int BlockZero(DType dtype) {
  switch (dtype) {
    case DType::kQ8_0: return 128;
    case DType::kQ4_0: return 8;
    case DType::kQ5_0: return 16;
    case DType::kQ6_K: return 32;
    default: return 0;
  }
}

void SplitBlock(DType dtype, const std::byte* block, BlockParts& parts) {
  const auto* src = reinterpret_cast<const uint8_t*>(block);
  if (dtype == DType::kQ6_K) return SplitQ6K(src, parts);
  parts.d = Read16(src);
  parts.m = Read16(src + 2);
  switch (dtype) {
    case DType::kQ8_0:
      for (int i = 0; i < 32; ++i) parts.q[i] = src[2 + i] ^ 0x80;
      return;
    case DType::kQ4_0: return SplitNibbles32(src + 2, parts.q);
    case DType::kQ4_1: return SplitNibbles32(src + 4, parts.q);
    case DType::kQ5_0: SplitNibbles32(src + 6, parts.q); return AddFifthBits32(src + 2, parts.q);
    case DType::kQ5_1: SplitNibbles32(src + 8, parts.q); return AddFifthBits32(src + 4, parts.q);
    case DType::kQ4_K: SplitScales(src + 4, parts); return SplitNibbles256(src + 16, parts.q);
    case DType::kQ5_K:
      SplitScales(src + 4, parts);
      SplitNibbles256(src + 48, parts.q);
      for (int i = 0; i < 256; ++i) parts.q[i] |= static_cast<uint8_t>((src[16 + i % 32] >> (i / 32) & 1) << 4);
      return;
    default: CHECK(IsQuantised(dtype));
  }
}

void DequantiseRow(DType dtype, const std::byte* src, int64_t elems, float* out) {
  const DTypeInfo& info = Info(dtype);
  CHECK(elems % info.block_elems == 0);
  if (!IsQuantised(dtype)) {
    CHECK(dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16);
    if (dtype == DType::kF32 && elems > 0) std::memcpy(out, src, static_cast<size_t>(elems) * sizeof(float));
    const auto* bytes = reinterpret_cast<const uint8_t*>(src);
    if (dtype == DType::kF16)
      for (int64_t i = 0; i < elems; ++i) out[i] = F16ToF32(Read16(bytes + 2 * i));
    if (dtype == DType::kBF16)
      for (int64_t i = 0; i < elems; ++i) out[i] = BF16ToF32(Read16(bytes + 2 * i));
    return;
  }
  const bool has_sub_scales = info.block_elems == 256, signed_codes = BlockZero(dtype) != 0;
  const int zero = BlockZero(dtype), scale_elems = dtype == DType::kQ6_K ? 16 : 32;
  BlockParts parts;
  for (int64_t begin = 0; begin < elems; begin += info.block_elems, src += info.block_bytes) {
    SplitBlock(dtype, src, parts);
    const float d = F16ToF32(parts.d), m = signed_codes ? 0.0f : F16ToF32(parts.m);
    for (int i = 0; i < info.block_elems; ++i) {
      const float scale = has_sub_scales ? d * static_cast<float>(parts.scale[i / scale_elems]) : d;
      const float value = scale * static_cast<float>(parts.q[i] - zero);
      if (signed_codes)
        out[begin + i] = value;
      else
        out[begin + i] = has_sub_scales ? value - m * static_cast<float>(parts.min[i / 32]) : value + m;
    }
  }
}

}  // namespace sgl
