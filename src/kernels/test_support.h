// What the tests of this room share: seeded data that is printed on failure, padded matrices with odd strides, packed weights.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "kernels/kernels.h"
#include "tensor/blocks.h"
#include "tensor/buffer.h"
#include "tensor/half.h"

namespace sgl::kernels_test {

// A new seed each run; SGLANG_TEST_SEED repeats one.
inline unsigned Seed() {
  static const unsigned seed = [] {
    const char* given = std::getenv("SGLANG_TEST_SEED");
    const unsigned value = given != nullptr ? static_cast<unsigned>(std::strtoul(given, nullptr, 10)) : std::random_device{}();
    std::printf("SGLANG_TEST_SEED=%u\n", value);
    return value;
  }();
  return seed;
}

struct Rng {
  std::mt19937 engine{Seed()};
  float Normal() { return std::normal_distribution<float>()(engine); }
  int Int(int low, int high) { return std::uniform_int_distribution<int>(low, high)(engine); }
};

inline bool SameBits(float a, float b) { return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b); }

// A matrix inside a larger array of guards: odd start, odd stride. Guard() is false when anything around the elements was written.
template <class T>
class Padded {
 public:
  Padded(int64_t rows, int64_t cols, T guard = T(77)) : rows_(rows), cols_(cols), guard_(guard) {
    all_.assign(static_cast<size_t>(3 + rows * (cols + 5) + 16), guard);
  }
  Mat<T> mat() { return {all_.data() + 3, rows_, cols_, cols_ + 5}; }
  T& at(int64_t r, int64_t c) { return mat().row(r)[c]; }
  bool GuardsIntact() const {
    for (size_t i = 0; i < all_.size(); ++i) {
      const int64_t at = static_cast<int64_t>(i) - 3, row = at / (cols_ + 5), col = at % (cols_ + 5);
      if (at >= 0 && row < rows_ && col < cols_) continue;
      if (std::memcmp(&all_[i], &guard_, sizeof(T)) != 0) return false;
    }
    return true;
  }

 private:
  int64_t rows_, cols_;
  T guard_;
  std::vector<T> all_;
};

inline Padded<float> RandomMat(Rng& rng, int64_t rows, int64_t cols) {
  Padded<float> m(rows, cols);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < cols; ++c) m.at(r, c) = rng.Normal();
  return m;
}

inline constexpr DType kPlainTypes[] = {DType::kF32, DType::kF16, DType::kBF16};
inline constexpr DType kBlockTypes[] = {DType::kQ8_0, DType::kQ4_0, DType::kQ4_1, DType::kQ5_0,
                                        DType::kQ5_1, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K};

// Random rows in the file's layout: every code value, scales of a sensible size.
inline std::vector<std::byte> RandomFileRow(Rng& rng, DType dtype, int64_t k) {
  std::vector<std::byte> row(static_cast<size_t>(RowBytes(dtype, k)));
  auto* bytes = reinterpret_cast<uint8_t*>(row.data());
  const DTypeInfo& info = Info(dtype);
  if (!IsQuantised(dtype)) {
    for (int64_t i = 0; i < k; ++i) {
      const float value = rng.Normal();
      const uint16_t half = dtype == DType::kF16 ? F32ToF16(value) : F32ToBF16(value);
      if (dtype == DType::kF32)
        std::memcpy(bytes + 4 * i, &value, 4);
      else
        std::memcpy(bytes + 2 * i, &half, 2);
    }
    return row;
  }
  for (std::byte& b : row) b = static_cast<std::byte>(rng.Int(0, 255));
  const bool two = dtype == DType::kQ4_1 || dtype == DType::kQ5_1 || dtype == DType::kQ4_K || dtype == DType::kQ5_K;
  for (size_t block = 0; block < row.size(); block += static_cast<size_t>(info.block_bytes))
    for (int i = 0; i < (two ? 2 : 1); ++i) {
      const uint16_t half = F32ToF16(rng.Normal() * 0.02f);
      std::memcpy(bytes + block + (dtype == DType::kQ6_K ? 208 : 2 * i), &half, 2);
    }
  if (dtype == DType::kQ8_0 && k > 0)  // the extreme codes side by side
    for (int i = 2; i < 10; ++i) bytes[i] = i % 3 == 0 ? 127 : 128;
  return row;
}

struct Packed {
  Buffer buffer;
  PackedMat mat;
  std::vector<float> values;  // [n][k], exact
};

inline Packed RandomPacked(Rng& rng, DType format, int64_t n, int64_t k) {
  Packed w;
  w.mat = {format, n, k, PanelBytes(format, k), nullptr};
  w.buffer = std::move(*Buffer::Allocate(static_cast<size_t>(w.mat.panels() * w.mat.panel_bytes + 64)));
  w.mat.data = w.buffer.data();
  w.values.resize(static_cast<size_t>(n * k));
  const DType file = format == DType::kI8 ? DType::kF32 : format;
  for (int64_t r = 0; r < n; ++r) {
    const std::vector<std::byte> row = RandomFileRow(rng, file, k);
    PackRow(file, row.data(), r, w.mat);
    if (format == DType::kI8)
      UnpackRow(w.mat, r, w.values.data() + r * k);
    else
      DequantiseRow(file, row.data(), k, w.values.data() + r * k);
  }
  return w;
}

// Prepared rows of a table; everything around them is filled with bytes that must not matter.
struct Prepared {
  Form form;
  int64_t k, rows, bytes;
  Buffer buffer;
  Prepared(const Kernels& table, Mat<const float> x, Form wanted, const float* norm = nullptr, float eps = 0)
      : form(wanted), k(x.cols), rows(x.rows), bytes(ActivationBytes(wanted, x.cols)) {
    buffer = std::move(*Buffer::Allocate(static_cast<size_t>(bytes * rows)));
    std::memset(buffer.data(), 0xFF, buffer.bytes());  // NaN in every form
    table.prepare(x, norm, eps, form, {buffer.data(), rows, bytes, bytes});
  }
  std::byte* row(int64_t t) { return buffer.data() + t * bytes; }
  Activations View(int64_t begin, int64_t count) const {
    return {form, k, Mat<const std::byte>{buffer.data() + begin * bytes, count, bytes, bytes}};
  }
  float Int8Scale(int64_t t) { return *reinterpret_cast<float*>(row(t) + (k + 63) / 64 * 64); }
  int32_t Int8Sum(int64_t t) { return *reinterpret_cast<int32_t*>(row(t) + (k + 63) / 64 * 64 + 4); }
  // What the product takes element (t, i) for.
  double at(int64_t t, int64_t i) {
    if (form == Form::kFloat) return reinterpret_cast<float*>(row(t))[i];
    if (form == Form::kBFloat) return BF16ToF32(reinterpret_cast<uint16_t*>(row(t))[i]);
    if (form == Form::kInt8) return reinterpret_cast<int8_t*>(row(t))[i] * static_cast<double>(Int8Scale(t));
    const auto* q = reinterpret_cast<int8_t*>(row(t)) + i / 32 * 64 + i % 32;
    return (128.0 * q[0] + q[32]) * reinterpret_cast<float*>(row(t) + 2 * k)[i / 32];
  }
};

}  // namespace sgl::kernels_test
