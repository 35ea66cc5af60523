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

// What a table adds up: against the prepared activations, each product moved by at most 2^-7.4 where weights become bf16.
// kInt15: each group's integer is exact and takes 3 roundings, the sum over groups K/32 more.
double Bound(Form form, DType format, int64_t k) {
  if (form == Form::kInt8) return 0x1p-22;  // of the sum of magnitudes, where the exact integer is smaller
  const double roundings = static_cast<double>(form == Form::kInt15 ? k / 32 + 8 : k + 2) * 0x1p-24;
  return form == Form::kBFloat && format != DType::kBF16 ? roundings + std::exp2(-7.4) : roundings;
}

void CheckProduct(const Kernels& table, DType format, int64_t rows, int64_t n, int64_t k, bool with_bias, bool add, Rng& rng) {
  const Packed w = RandomPacked(rng, format, n, k);
  Prepared in(table, RandomMat(rng, rows, k).mat(), table.form(format));
  std::vector<float> bias(static_cast<size_t>(n));
  for (float& b : bias) b = rng.Normal();
  Padded<float> out = RandomMat(rng, rows, n), before = out;
  table.matmul(in.View(0, rows), w.mat, 0, w.mat.panels(), with_bias ? bias.data() : nullptr, add, out.mat());
  ASSERT_TRUE(out.GuardsIntact()) << Name(table, format, rows, n, k);
  const double bound = Bound(in.form, format, k);
  std::vector<double> x(static_cast<size_t>(k));
  for (int64_t t = 0; t < rows; ++t) {
    for (int64_t i = 0; i < k; ++i) x[static_cast<size_t>(i)] = in.at(t, i);
    for (int64_t c = 0; c < n; ++c) {
      double want = 0, size = 0;
      for (int64_t i = 0; i < k; ++i) {
        const double product = x[static_cast<size_t>(i)] * w.values[static_cast<size_t>(c * k + i)];
        want += product;
        size += std::abs(product);
      }
      if (in.form == Form::kInt15 && (format == DType::kQ4_1 || format == DType::kQ5_1 || format == DType::kQ4_K || format == DType::kQ5_K))
        size *= 8;  // d q and m apart
      for (const double extra :
           {with_bias ? static_cast<double>(bias[static_cast<size_t>(c)]) : 0.0, add ? static_cast<double>(before.at(t, c)) : 0.0})
        want += extra, size += std::abs(extra);
      const double error = std::abs(out.at(t, c) - want);
      ASSERT_TRUE(error <= bound * size + 1e-30)
          << Name(table, format, rows, n, k) << " row " << t << " column " << c << ": " << out.at(t, c) << " for " << want;
    }
  }
}

// Every number of rows and length around the sizes of tiles, stretches and blocks.
void CheckAround(const Kernels& table, DType format, Rng& rng) {
  const int block = Info(format).block_elems;
  for (int64_t rows = 1; rows <= 70; ++rows) {
    const int64_t n = rng.Int(1, 70), k = block == 256 ? 256 : block == 32 ? 32 * rng.Int(1, 9) : rng.Int(1, 200);
    CheckProduct(table, format, rows, n, k, rng.Int(0, 1) == 1, rng.Int(0, 1) == 1, rng);
    if (::testing::Test::HasFatalFailure()) return;
  }
  for (const int64_t rows : {1, 33, 257, 300})  // more than one stretch of inputs, more rows than a block keeps
    CheckProduct(table, format, rows, rng.Int(17, 50), rows < 257 ? 2304 : block, rng.Int(0, 1) == 1, rng.Int(0, 1) == 1, rng);
}

TEST(MatMul, PlainFormatsAreWithinTheBound) {
  Rng rng;
  for (const Kernels& table : AllKernels())
    for (const DType format : kPlainTypes) {
      CheckAround(table, format, rng);
      if (HasFatalFailure()) return;
    }
}

TEST(MatMul, BytesAreWithinTheBound) {
  Rng rng;
  for (const Kernels& table : AllKernels()) {
    CheckAround(table, DType::kI8, rng);
    if (HasFatalFailure()) return;
  }
}

// Nearest codes, nothing beyond 127, a broken row does not pass for a whole one.
TEST(Packing, BytesPerOutput) {
  Rng rng;
  for (const DType from : {DType::kF32, DType::kBF16, DType::kQ8_0}) {
    const int64_t k = from == DType::kQ8_0 ? 96 : rng.Int(1, 100);
    const std::vector<std::byte> row = RandomFileRow(rng, from, k);
    auto buffer = std::move(*Buffer::Allocate(static_cast<size_t>(PanelBytes(DType::kI8, k)) + 64));
    const PackedMat mat = {DType::kI8, 16, k, PanelBytes(DType::kI8, k), buffer.data()};
    std::vector<float> exact(static_cast<size_t>(k)), got(static_cast<size_t>(k));
    DequantiseRow(from, row.data(), k, exact.data());
    PackRow(from, row.data(), 5, mat);
    UnpackRow(mat, 5, got.data());
    float largest = 0;
    for (const float value : exact) largest = std::max(largest, std::abs(value));
    for (size_t i = 0; i < exact.size(); ++i) ASSERT_LE(std::abs(got[i] - exact[i]), largest / 127 * 0.5001f) << Info(from).name << i;
  }
  float broken[3] = {1, std::nanf(""), 2}, got[3];
  auto buffer = std::move(*Buffer::Allocate(static_cast<size_t>(PanelBytes(DType::kI8, 3)) + 64));
  const PackedMat mat = {DType::kI8, 16, 3, PanelBytes(DType::kI8, 3), buffer.data()};
  PackRow(DType::kF32, reinterpret_cast<const std::byte*>(broken), 0, mat);
  UnpackRow(mat, 0, got);
  for (const float value : got) EXPECT_TRUE(std::isnan(value));
}

// Exact integers and the same three operations: all tables give the same bits.
TEST(MatMul, TablesAgreeOnBytes) {
  Rng rng;
  const int64_t rows = 37, n = 40, k = 200;
  const Packed w = RandomPacked(rng, DType::kI8, n, k);
  Padded<float> x = RandomMat(rng, rows, k), first(rows, n);
  for (const Kernels& table : AllKernels()) {
    Prepared in(table, x.mat(), Form::kInt8);
    Padded<float> out(rows, n);
    table.matmul(in.View(0, rows), w.mat, 0, w.mat.panels(), nullptr, false, out.mat());
    if (&table == AllKernels().data()) first = out;
    for (int64_t t = 0; t < rows; ++t)
      for (int64_t c = 0; c < n; ++c) ASSERT_TRUE(SameBits(first.at(t, c), out.at(t, c))) << table.isa << " row " << t << " column " << c;
  }
}

TEST(MatMul, BlockFormatsAreWithinTheBound) {
  Rng rng;
  for (const Kernels& table : AllKernels())
    for (const DType format : kBlockTypes) {
      CheckAround(table, format, rng);
      if (HasFatalFailure()) return;
    }
}

// Where weights become bf16, that costs what rounding costs: errors are as small as a uniform one of one unit, and on neither side.
TEST(MatMul, WeightsBecomeBf16WithoutBias) {
  Rng rng;
  for (const Kernels& table : AllKernels())
    for (const DType format : kBlockTypes) {
      if (table.form(format) != Form::kBFloat) continue;
      const int64_t k = 256, n = 256;
      const Packed w = RandomPacked(rng, format, n, k);
      Padded<float> x(k, k, 0.0f), out(k, n);  // the identity: outputs are weights
      for (int64_t t = 0; t < k; ++t)
        for (int64_t i = 0; i < k; ++i) x.at(t, i) = t == i ? 1.0f : 0.0f;
      Prepared in(table, x.mat(), Form::kBFloat);
      table.matmul(in.View(0, k), w.mat, 0, w.mat.panels(), nullptr, false, out.mat());
      double sum = 0, squares = 0;
      int64_t count = 0;
      for (int64_t c = 0; c < n; ++c) {
        float largest = 0;
        for (int64_t i = 0; i < k; ++i) largest = std::max(largest, std::abs(w.values[static_cast<size_t>(c * k + i)]));
        for (int64_t i = 0; i < k; ++i) {
          const float exact = w.values[static_cast<size_t>(c * k + i)], got = out.at(i, c);
          ASSERT_EQ(got, BF16ToF32(F32ToBF16(got))) << Name(table, format, k, n, k);
          ASSERT_LE(std::abs(got - exact), std::abs(exact) * std::exp2(-7.4) + largest * 2e-5)
              << Name(table, format, k, n, k) << " input " << i << " column " << c;
          if (exact == 0 || std::abs(exact) < largest * 0.01f) continue;
          const double relative = (got - exact) / exact;
          sum += relative, squares += relative * relative, ++count;
        }
      }
      EXPECT_LE(std::abs(sum / static_cast<double>(count)), 0x1p-11) << Name(table, format, k, n, k);
      EXPECT_LE(std::sqrt(squares / static_cast<double>(count)), 0x1p-8 / std::sqrt(3.0) * 1.1) << Name(table, format, k, n, k);
    }
}

// A row alone, in any batch, from any slice of panels: the same bits.
TEST(MatMul, RowsDependOnNothingButThemselves) {
  Rng rng;
  for (const Kernels& table : AllKernels())
    for (const DType format : {DType::kF32, DType::kF16, DType::kBF16, DType::kI8, DType::kQ8_0, DType::kQ4_0, DType::kQ4_1, DType::kQ5_0,
                               DType::kQ5_1, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K}) {
      const int64_t rows = 130, n = 16 * 7 + 5, k = Info(format).block_elems == 256 ? 512 : IsQuantised(format) ? 288 : rng.Int(129, 300);
      const Packed w = RandomPacked(rng, format, n, k);
      Prepared in(table, RandomMat(rng, rows, k).mat(), table.form(format));
      Padded<float> whole(rows, n);
      table.matmul(in.View(0, rows), w.mat, 0, w.mat.panels(), nullptr, false, whole.mat());
      for (const int64_t step : {1, 2, 3, 4, 5, 7, 12, 13, 31, 64}) {
        Padded<float> part(rows, n);
        for (int64_t row = 0; row < rows; row += step) {
          const int64_t count = std::min(step, rows - row);
          for (int64_t panel = 0; panel < w.mat.panels();) {
            const int64_t end = std::min<int64_t>(w.mat.panels(), panel + rng.Int(1, 5));
            table.matmul(in.View(row, count), w.mat, panel, end, nullptr, false, part.mat().Rows(row, count));
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

// The matrix unit's arithmetic is what docs/kernels.md says: per 32 inputs two chains of fused steps, even and odd, subnormals as zero.
TEST(MatMul, TileStepsAreTheDocumentedOnes) {
  Rng rng;
  const auto flush = [](float x) { return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0f, x) : x; };
  const int64_t rows = 20, n = 16, k = 96;
  const auto random = [&](int spread) {  // exponents around the smallest normal product, or around one
    const auto exponent = static_cast<uint16_t>(spread == 0 ? rng.Int(45, 85) : spread == 1 ? rng.Int(0, 2) : rng.Int(112, 142));
    return static_cast<uint16_t>(rng.Int(0, 1) << 15 | exponent << 7 | rng.Int(0, 127));
  };
  for (const Kernels& table : AllKernels()) {
    if (table.form(DType::kBF16) != Form::kBFloat) continue;
    for (int spread = 0; spread < 3; ++spread) {
      std::vector<uint16_t> a(static_cast<size_t>(rows * k)), b(static_cast<size_t>(n * k));
      for (uint16_t& value : a) value = random(spread);
      for (uint16_t& value : b) value = random(spread == 1 ? 2 : spread);
      Padded<float> x(rows, k), out(rows, n);
      for (int64_t t = 0; t < rows; ++t)
        for (int64_t i = 0; i < k; ++i) x.at(t, i) = BF16ToF32(a[static_cast<size_t>(t * k + i)]);
      auto buffer = std::move(*Buffer::Allocate(static_cast<size_t>(PanelBytes(DType::kBF16, k)) + 64));
      const PackedMat w = {DType::kBF16, n, k, PanelBytes(DType::kBF16, k), buffer.data()};
      for (int64_t c = 0; c < n; ++c) PackRow(DType::kBF16, reinterpret_cast<const std::byte*>(b.data() + c * k), c, w);
      Prepared in(table, x.mat(), Form::kBFloat);
      table.matmul(in.View(0, rows), w, 0, 1, nullptr, false, out.mat());
      for (int64_t t = 0; t < rows; ++t)
        for (int64_t c = 0; c < n; ++c) {
          float want = 0;
          for (int64_t i = 0; i < k; i += 32) {
            float sum[2] = {0, 0};
            for (int64_t j = i; j < i + 32; ++j) {
              const float left = flush(x.at(t, j)), right = flush(BF16ToF32(b[static_cast<size_t>(c * k + j)]));
              sum[j % 2] = flush(std::fma(left, right, sum[j % 2]));
            }
            want = flush(want + flush(sum[0] + sum[1]));
          }
          ASSERT_TRUE(SameBits(out.at(t, c), want)) << table.isa << " spread " << spread << ": " << out.at(t, c) << " for " << want;
        }
    }
  }
}

// Integer sums are exact, so tables that use them agree on block formats to the last bit if they have fused multiply-add.
TEST(MatMul, IntegerTablesAgreeOnBlockFormats) {
  Rng rng;
  for (const DType format : kBlockTypes) {
    const int64_t rows = 9, n = 40, k = 512;
    const Packed w = RandomPacked(rng, format, n, k);
    Padded<float> x = RandomMat(rng, rows, k);
    std::vector<float> first;
    for (const Kernels& table : AllKernels().subspan(1)) {
      if (table.form(format) != Form::kInt15) continue;
      Prepared in(table, x.mat(), Form::kInt15);
      Padded<float> out(rows, n);
      table.matmul(in.View(0, rows), w.mat, 0, w.mat.panels(), nullptr, false, out.mat());
      std::vector<float> all;
      for (int64_t t = 0; t < rows; ++t) all.insert(all.end(), out.mat().row(t), out.mat().row(t) + n);
      if (first.empty()) first = all;
      ASSERT_EQ(std::memcmp(first.data(), all.data(), all.size() * sizeof(float)), 0) << Name(table, format, rows, n, k);
    }
  }
}

// Whatever bits a NaN has in the file, as a scale or as a weight, its output is NaN and no other output is.
TEST(MatMul, NanWeightsStayNan) {
  Rng rng;
  for (const Kernels& table : AllKernels())
    for (const DType format : {DType::kF16, DType::kQ8_0, DType::kQ4_0, DType::kQ4_1, DType::kQ5_1, DType::kQ4_K, DType::kQ6_K})
      for (const uint16_t bits : {0x7C01, 0x7E00, 0x7FFF, 0xFFFF}) {
        const int64_t k = 256, n = 18, rows = 3;
        Packed w = RandomPacked(rng, format, n, k);
        std::vector<std::byte> row = RandomFileRow(rng, format, k);
        std::memcpy(row.data() + (format == DType::kQ6_K ? 208 : 0), &bits, 2);
        PackRow(format, row.data(), 7, w.mat);
        Prepared in(table, RandomMat(rng, rows, k).mat(), table.form(format));
        Padded<float> out(rows, n);
        table.matmul(in.View(0, rows), w.mat, 0, w.mat.panels(), nullptr, false, out.mat());
        for (int64_t t = 0; t < rows; ++t)
          for (int64_t c = 0; c < n; ++c) ASSERT_EQ(std::isnan(out.at(t, c)), c == 7) << Name(table, format, rows, n, k) << " column " << c;
      }
}

// The gated product is the product, silu_mul and prepare, to the bit, for any slicing; padding is written, neighbours are not.
TEST(MatMul, GatedIsTheSameAsItsParts) {
  Rng rng;
  for (const Kernels& table : AllKernels()) {
    if (table.matmul_gated == nullptr) continue;
    for (const DType format : {DType::kBF16, DType::kQ4_1, DType::kQ8_0, DType::kQ6_K})
      for (const int64_t rows : {1, 7, 16, 17, 32, 33, 70, 290}) {
        const int64_t half = 16 * rng.Int(1, 7), k = rows == 33 ? 2304 : 256;
        const Packed w = RandomPacked(rng, format, 2 * half, k);
        Prepared in(table, RandomMat(rng, rows, k).mat(), Form::kBFloat);
        std::vector<float> bias(static_cast<size_t>(2 * half));
        for (float& b : bias) b = rng.Normal();
        const float* with = rng.Int(0, 1) == 1 ? bias.data() : nullptr;
        Padded<float> both(rows, 2 * half), activated(rows, half);
        table.matmul(in.View(0, rows), w.mat, 0, w.mat.panels(), with, false, both.mat());
        table.silu_mul(both.mat(), activated.mat());
        Prepared want(table, activated.mat(), Form::kBFloat), got(table, activated.mat(), Form::kBFloat);
        std::memset(got.buffer.data(), 0xFF, got.buffer.bytes());
        for (int64_t row = 0; row < rows;) {
          const int64_t count = rng.Int(0, 2) == 0 ? rows - row : std::min<int64_t>(rows - row, rng.Int(1, 40));
          for (int64_t panel = 0; panel < half / 16;) {
            const int64_t end = std::min<int64_t>(half / 16, panel + rng.Int(1, 4));
            table.matmul_gated(in.View(row, count), w.mat, panel, end, with, {got.row(row), count, got.bytes, got.bytes});
            panel = end;
          }
          row += count;
        }
        const auto used = static_cast<size_t>((half + 31) / 32 * 64);
        for (int64_t t = 0; t < rows; ++t) {
          ASSERT_EQ(std::memcmp(want.row(t), got.row(t), used), 0) << Name(table, format, rows, 2 * half, k) << " row " << t;
          for (size_t i = used; i < static_cast<size_t>(got.bytes); ++i) ASSERT_EQ(got.row(t)[i], std::byte{0xFF}) << i;
        }
      }
  }
}

}  // namespace
}  // namespace sgl::kernels_test
