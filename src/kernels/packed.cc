// Rows into packed panels and back. The layout: kernels/any/packed.h.
// SPDX-License-Identifier: Apache-2.0
#include "kernels/any/packed.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "kernels/kernels.h"
#include "tensor/blocks.h"
#include "tensor/half.h"

namespace sgl {
namespace {

bool IsPlainFloat(DType t) { return t == DType::kF32 || t == DType::kF16 || t == DType::kBF16; }

// One row's share of a panel: column `c`.
struct PackedRow {
  DType format;
  uint8_t* scales;
  uint8_t* codes;
  int c;

  PackedRow(const PackedMat& w, int64_t row)
      : format(w.format),
        scales(reinterpret_cast<uint8_t*>(w.data) + row / kPanel * w.panel_bytes),
        codes(scales + PaddedScaleBytes(w.format, w.k)),
        c(static_cast<int>(row % kPanel)) {}

  uint8_t* d(int64_t group) const {
    if (IsKQuant(format)) return scales + group / 8 * kSuperScaleBytes + 2 * c;
    return scales + group * (HasMin(format) ? 64 : 32) + 2 * c;
  }
  uint8_t* m(int64_t group) const { return d(group) + 32; }
  uint8_t* sub(int64_t group, int which) const { return scales + group / 8 * kSuperScaleBytes + 64 + group % 8 * 32 + which * 16 + c; }
  uint8_t* code(int64_t group, int vector, int j) const { return codes + group * CodeBytes(format) + vector * 64 + 4 * c + j; }

  void PutCodes(int64_t group, const uint8_t* q) const {
    for (int j = 0; j < 4; ++j) {
      if (CodeBits(format) == 8) {
        for (int i = 0; i < 8; ++i) *code(group, i, j) = q[4 * i + j];
        continue;
      }
      for (int i = 0; i < 4; ++i) *code(group, i, j) = static_cast<uint8_t>((q[4 * i + j] & 15) | q[4 * (i + 4) + j] << 4);
      unsigned fifth = 0, high[2] = {0, 0};
      for (int i = 0; i < 8; ++i) {
        fifth |= static_cast<unsigned>(q[4 * i + j] >> 4 & 1) << i;
        high[i / 4] |= static_cast<unsigned>(q[4 * i + j] >> 4 & 3) << (2 * (i % 4));
      }
      if (CodeBits(format) == 5) *code(group, 4, j) = static_cast<uint8_t>(fifth);
      if (CodeBits(format) == 6)
        for (int i = 0; i < 2; ++i) *code(group, 4 + i, j) = static_cast<uint8_t>(high[i]);
    }
  }
  void GetCodes(int64_t group, uint8_t* q) const {
    for (int i = 0; i < 8; ++i)
      for (int j = 0; j < 4; ++j) {
        unsigned value = CodeBits(format) == 8 ? *code(group, i, j) : *code(group, i % 4, j) >> (i / 4 * 4) & 15u;
        if (CodeBits(format) == 5) value |= (*code(group, 4, j) >> i & 1u) << 4;
        if (CodeBits(format) == 6) value |= (*code(group, 4 + i / 4, j) >> (2 * (i % 4)) & 3u) << 4;
        q[4 * i + j] = static_cast<uint8_t>(value);
      }
  }
};

// Where input `i` of column `c` lies in a panel of a plain format, in elements.
int64_t PlainOffset(DType format, int64_t i, int c) {
  if (format == DType::kBF16) return i / 2 * (2 * kPanel) + 2 * c + i % 2;
  return i * kPanel + c;
}

void PackBlocks(const std::byte* src, int64_t dst_row, const PackedMat& dst) {
  const DTypeInfo& info = Info(dst.format);
  const PackedRow row(dst, dst_row);
  const int groups = info.block_elems / kGroup;
  BlockParts parts;
  for (int64_t block = 0; block < dst.k / info.block_elems; ++block, src += info.block_bytes) {
    SplitBlock(dst.format, src, parts);
    std::memcpy(row.d(block * groups), &parts.d, 2);
    if (HasMin(dst.format)) std::memcpy(row.m(block * groups), &parts.m, 2);
    for (int g = 0; g < groups; ++g) {
      const int64_t group = block * groups + g;
      row.PutCodes(group, parts.q + g * kGroup);
      if (!IsKQuant(dst.format)) continue;
      const bool halves = dst.format == DType::kQ6_K;
      *row.sub(group, 0) = static_cast<uint8_t>(halves ? parts.scale[2 * g] : parts.scale[g]);
      *row.sub(group, 1) = static_cast<uint8_t>(halves ? parts.scale[2 * g + 1] : parts.min[g]);
    }
  }
}

void UnpackBlocks(const PackedMat& w, int64_t src_row, float* out) {
  const PackedRow row(w, src_row);
  const int zero = CodeZero(w.format);
  for (int64_t group = 0; group < w.k / kGroup; ++group, out += kGroup) {
    uint8_t q[kGroup];
    uint16_t d_bits, m_bits;
    row.GetCodes(group, q);
    std::memcpy(&d_bits, row.d(group), 2);
    std::memcpy(&m_bits, row.m(group), 2);
    const float d = F16ToF32(d_bits), m = HasMin(w.format) ? F16ToF32(m_bits) : 0.0f;
    for (int i = 0; i < kGroup; ++i) {
      const int half = w.format == DType::kQ6_K ? i / 16 : 0;
      const float scale = IsKQuant(w.format) ? d * static_cast<float>(static_cast<int8_t>(*row.sub(group, half))) : d;
      const float value = scale * static_cast<float>(q[i] - zero);
      if (!HasMin(w.format))
        out[i] = value;
      else
        out[i] = IsKQuant(w.format) ? value - m * static_cast<float>(*row.sub(group, 1)) : value + m;
    }
  }
}

// Calls use(first element, count, values) for a row of any floating-point or block format, piece by piece.
template <class Use>
void ForValues(DType dtype, const std::byte* src, int64_t k, const Use& use) {
  const DTypeInfo& info = Info(dtype);
  float values[256];
  for (int64_t begin = 0; begin < k; begin += 256) {
    const int64_t count = k - begin < 256 ? k - begin : 256;
    DequantiseRow(dtype, src + begin / info.block_elems * info.block_bytes, count, values);
    use(begin, count, values);
  }
}

float* Int8Scale(const PackedMat& w, int64_t row) { return reinterpret_cast<float*>(w.data + row / kPanel * w.panel_bytes) + row % kPanel; }
std::byte* Int8Code(const PackedMat& w, int64_t row, int64_t i) {
  return w.data + row / kPanel * w.panel_bytes + kInt8ScaleBytes + i / 4 * 64 + 4 * (row % kPanel) + i % 4;
}

void PackInt8(DType src_dtype, const std::byte* src, int64_t row, const PackedMat& dst) {
  CHECK(dst.k <= kMaxInt8Inputs);
  float largest = 0;
  ForValues(src_dtype, src, dst.k, [&](int64_t, int64_t count, const float* values) {
    for (int64_t i = 0; i < count; ++i)
      if (!(std::abs(values[i]) <= largest) && !std::isnan(largest)) largest = std::abs(values[i]);
  });
  const float scale = largest / 127.0f;
  *Int8Scale(dst, row) = scale;
  ForValues(src_dtype, src, dst.k, [&](int64_t begin, int64_t count, const float* values) {
    for (int64_t i = 0; i < count; ++i) {
      const float wanted = values[i] / scale;  // a scale of zero, infinity or NaN speaks for itself
      const float code = std::isfinite(wanted) ? std::nearbyint(std::clamp(wanted, -127.0f, 127.0f)) : 0.0f;
      *Int8Code(dst, row, begin + i) = static_cast<std::byte>(static_cast<int>(code) + 128);
    }
  });
  for (int64_t i = dst.k; i < (dst.k + 63) / 64 * 64; ++i) *Int8Code(dst, row, i) = std::byte{0};
}

}  // namespace

int64_t PanelBytes(DType format, int64_t k) {
  CHECK(k % Info(format).block_elems == 0);
  if (format == DType::kI8) return kInt8ScaleBytes + (k + 63) / 64 * 64 * kPanel;
  if (format == DType::kBF16) return (k + 31) / 32 * 32 * kPanel * 2;
  if (!IsQuantised(format)) return k * kPanel * Info(format).block_bytes;
  return PaddedScaleBytes(format, k) + k / kGroup * CodeBytes(format);
}

int64_t ActivationBytes(Form form, int64_t k) {
  int64_t bytes = 0;
  switch (form) {
    case Form::kFloat: bytes = 4 * k; break;
    case Form::kInt15: bytes = 2 * k + k / kGroup * 8; break;
    case Form::kBFloat: bytes = (k + 31) / 32 * 64; break;
    case Form::kInt8: bytes = (k + 63) / 64 * 64 + 8; break;
  }
  const int64_t lines = (bytes + 63) / 64;
  return (lines % 2 == 0 ? lines + 1 : lines) * 64;
}

void PackRow(DType src_dtype, const std::byte* src, int64_t dst_row, const PackedMat& dst) {
  CHECK(dst_row >= 0 && dst_row < dst.n);
  if (IsQuantised(dst.format)) {
    CHECK(src_dtype == dst.format);
    return PackBlocks(src, dst_row, dst);
  }
  CHECK(IsPlainFloat(src_dtype) || IsQuantised(src_dtype));
  if (dst.format == DType::kI8) return PackInt8(src_dtype, src, dst_row, dst);
  CHECK(IsPlainFloat(dst.format));
  const size_t size = static_cast<size_t>(Info(dst.format).block_bytes);
  std::byte* panel = dst.data + dst_row / kPanel * dst.panel_bytes;
  const int c = static_cast<int>(dst_row % kPanel);
  const auto at = [&](int64_t i) { return panel + PlainOffset(dst.format, i, c) * static_cast<int64_t>(size); };
  if (dst.format == DType::kBF16)
    for (int64_t i = dst.k; i < (dst.k + 31) / 32 * 32; ++i) std::memset(at(i), 0, size);
  if (src_dtype == dst.format) {
    for (int64_t i = 0; i < dst.k; ++i) std::memcpy(at(i), src + static_cast<size_t>(i) * size, size);
    return;
  }
  ForValues(src_dtype, src, dst.k, [&](int64_t begin, int64_t count, const float* values) {
    for (int64_t i = 0; i < count; ++i) {
      const uint16_t half = dst.format == DType::kF16 ? F32ToF16(values[i]) : F32ToBF16(values[i]);
      if (dst.format == DType::kF32)
        std::memcpy(at(begin + i), &values[i], 4);
      else
        std::memcpy(at(begin + i), &half, 2);
    }
  });
}

void UnpackRow(const PackedMat& w, int64_t row, float* out) {
  CHECK(row >= 0 && row < w.n);
  if (IsQuantised(w.format)) return UnpackBlocks(w, row, out);
  if (w.format == DType::kI8) {
    const float scale = *Int8Scale(w, row);
    for (int64_t i = 0; i < w.k; ++i) out[i] = scale * static_cast<float>(static_cast<int>(*Int8Code(w, row, i)) - 128);
    return;
  }
  const std::byte* panel = w.data + row / kPanel * w.panel_bytes;
  const int c = static_cast<int>(row % kPanel);
  for (int64_t i = 0; i < w.k; ++i) DequantiseRow(w.format, panel + PlainOffset(w.format, i, c) * Info(w.format).block_bytes, 1, out + i);
}

}  // namespace sgl
