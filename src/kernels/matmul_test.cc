// Packing and matrix products: every table against f64, and the determinism rule bit for bit.
// SPDX-License-Identifier: Apache-2.0
#include "kernels/test_support.h"

namespace sgl::kernels_test {
namespace {

std::string Name(const Kernels& table, DType format, int64_t t, int64_t n, int64_t k) {
  return std::string(table.isa) + " " + std::string(Info(format).name) + " T=" + std::to_string(t) + " N=" + std::to_string(n) +
         " K=" + std::to_string(k);
}

TEST(Packing, UnpackedRowsEqualTheFile) {
  Rng rng;
  for (const DType format : {DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0, DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1,
                             DType::kQ4_K, DType::kQ5_K, DType::kQ6_K})
    for (const int64_t n : {1, 16, 37}) {
      const int64_t k = Info(format).block_elems == 256 ? 768 : 32 * rng.Int(1, 9);
      const Packed w = RandomPacked(rng, format, n, k);
      std::vector<float> row(static_cast<size_t>(k) + 1, 5.0f);
      for (int64_t r = 0; r < n; ++r) {
        UnpackRow(w.mat, r, row.data());
        for (int64_t i = 0; i < k; ++i)
          ASSERT_TRUE(SameBits(row[static_cast<size_t>(i)], w.values[static_cast<size_t>(r * k + i)]))
              << Info(format).name << " row " << r << " element " << i;
        ASSERT_EQ(row.back(), 5.0f);
      }
    }
}

TEST(Packing, ConvertsToPlainFormats) {
  Rng rng;
  const int64_t k = 512;
  for (const DType from : {DType::kF32, DType::kF16, DType::kBF16, DType::kQ4_1, DType::kQ6_K})
    for (const DType to : kPlainTypes) {
      const std::vector<std::byte> file = RandomFileRow(rng, from, k);
      std::vector<float> exact(k), got(k);
      DequantiseRow(from, file.data(), k, exact.data());
      auto buffer = std::move(*Buffer::Allocate(static_cast<size_t>(PanelBytes(to, k)) + 64));
      const PackedMat mat = {to, 16, k, PanelBytes(to, k), buffer.data()};
      PackRow(from, file.data(), 11, mat);
      UnpackRow(mat, 11, got.data());
      for (size_t i = 0; i < exact.size(); ++i) {
        const float want = to == DType::kF32 ? exact[i] : to == DType::kF16 ? F16ToF32(F32ToF16(exact[i])) : BF16ToF32(F32ToBF16(exact[i]));
        ASSERT_TRUE(SameBits(got[i], want)) << Info(from).name << " to " << Info(to).name << " element " << i;
      }
    }
}

// |got - exact| <= (K + 2) 2^-24 sum |x w| for plain formats. For block formats against the quantised activations: each group's integer
// is exact and takes 3 roundings, the sum over groups K/32 more.
void CheckProduct(const Kernels& table, DType format, int64_t rows, int64_t n, int64_t k, bool with_bias, Rng& rng) {
  const Packed w = RandomPacked(rng, format, n, k);
  Inputs in(rng, table, rows, k, IsQuantised(format));
  std::vector<float> bias(static_cast<size_t>(n));
  for (float& b : bias) b = rng.Normal();
  Padded<float> out(rows, n);
  table.matmul(in.View(0, rows), w.mat, 0, w.mat.panels(), with_bias ? bias.data() : nullptr, out.mat());
  ASSERT_TRUE(out.GuardsIntact()) << Name(table, format, rows, n, k);
  const bool quantised = IsQuantised(format);
  const double roundings = static_cast<double>(quantised ? k / 32 + 8 : k + 2);
  std::vector<double> x(static_cast<size_t>(k));
  for (int64_t t = 0; t < rows; ++t) {
    for (int64_t i = 0; i < k; ++i) x[static_cast<size_t>(i)] = quantised ? in.Quantised(t, i) : in.x.at(t, i);
    for (int64_t c = 0; c < n; ++c) {
      double want = 0, size = 0;
      for (int64_t i = 0; i < k; ++i) {
        const double product = x[static_cast<size_t>(i)] * w.values[static_cast<size_t>(c * k + i)];
        want += product;
        size += std::abs(product);
      }
      if (format == DType::kQ4_1 || format == DType::kQ5_1 || format == DType::kQ4_K || format == DType::kQ5_K)
        size *= 8;  // d q and m apart
      if (with_bias) want += bias[static_cast<size_t>(c)], size += std::abs(bias[static_cast<size_t>(c)]);
      const double error = std::abs(out.at(t, c) - want);
      ASSERT_TRUE(error <= roundings * 0x1p-24 * size + 1e-30)
          << Name(table, format, rows, n, k) << " row " << t << " column " << c << ": " << out.at(t, c) << " for " << want;
    }
  }
}

TEST(MatMul, PlainFormatsAreWithinTheBound) {
  Rng rng;
  for (const Kernels& table : AllKernels())
    for (const DType format : kPlainTypes)
      for (const int64_t rows : {1, 2, 3, 4, 5, 8, 13, 16, 31, 64, 130}) {
        const int64_t n = rng.Int(1, 150), k = rows % 3 == 0 ? rng.Int(1, 20) : rng.Int(1, 300);
        CheckProduct(table, format, rows, n, k, rng.Int(0, 1) == 1, rng);
        if (HasFatalFailure()) return;
      }
}

TEST(MatMul, BlockFormatsAreWithinTheBound) {
  Rng rng;
  for (const Kernels& table : AllKernels())
    for (const DType format : kBlockTypes)
      for (const int64_t rows : {1, 2, 3, 5, 8, 13, 16, 31, 64, 130}) {
        const int64_t n = rng.Int(1, 100), k = Info(format).block_elems * rng.Int(1, Info(format).block_elems == 256 ? 2 : 9);
        CheckProduct(table, format, rows, n, k, rng.Int(0, 1) == 1, rng);
        if (HasFatalFailure()) return;
      }
}

// A row alone, in any batch, from any slice of panels: the same bits.
TEST(MatMul, RowsDependOnNothingButThemselves) {
  Rng rng;
  for (const Kernels& table : AllKernels())
    for (const DType format : {DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0, DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1,
                               DType::kQ4_K, DType::kQ5_K, DType::kQ6_K}) {
      const int64_t rows = 130, n = 16 * 7 + 5, k = Info(format).block_elems == 256 ? 512 : IsQuantised(format) ? 288 : rng.Int(129, 300);
      const Packed w = RandomPacked(rng, format, n, k);
      Inputs in(rng, table, rows, k, IsQuantised(format));
      Padded<float> whole(rows, n);
      table.matmul(in.View(0, rows), w.mat, 0, w.mat.panels(), nullptr, whole.mat());
      for (const int64_t step : {1, 2, 3, 4, 5, 7, 12, 13, 31, 64}) {
        Padded<float> part(rows, n);
        for (int64_t row = 0; row < rows; row += step) {
          const int64_t count = std::min(step, rows - row);
          for (int64_t panel = 0; panel < w.mat.panels();) {
            const int64_t end = std::min<int64_t>(w.mat.panels(), panel + rng.Int(1, 5));
            table.matmul(in.View(row, count), w.mat, panel, end, nullptr, part.mat().Rows(row, count));
            panel = end;
          }
        }
        ASSERT_TRUE(part.GuardsIntact());
        for (int64_t t = 0; t < rows; ++t)
          for (int64_t c = 0; c < n; ++c)
            ASSERT_TRUE(SameBits(whole.at(t, c), part.at(t, c))) << Name(table, format, rows, n, k) << " step " << step << " row " << t;
      }
    }
}

// Integer sums are exact, so tables with fused multiply-add agree on block formats to the last bit.
TEST(MatMul, VectorTablesAgreeOnBlockFormats) {
  Rng rng;
  for (const DType format : kBlockTypes) {
    const int64_t rows = 9, n = 40, k = 512;
    const Packed w = RandomPacked(rng, format, n, k);
    Inputs in(rng, AllKernels()[0], rows, k, true);
    std::vector<float> first;
    for (const Kernels& table : AllKernels().subspan(1)) {
      Padded<float> out(rows, n);
      table.matmul(in.View(0, rows), w.mat, 0, w.mat.panels(), nullptr, out.mat());
      std::vector<float> all;
      for (int64_t t = 0; t < rows; ++t) all.insert(all.end(), out.mat().row(t), out.mat().row(t) + n);
      if (first.empty()) first = all;
      ASSERT_EQ(std::memcmp(first.data(), all.data(), all.size() * sizeof(float)), 0) << Name(table, format, rows, n, k);
    }
  }
}

}  // namespace
}  // namespace sgl::kernels_test
