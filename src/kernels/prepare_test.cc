// Activations in every form, normalised or not.
// SPDX-License-Identifier: Apache-2.0
#include "kernels/test_support.h"

namespace sgl::kernels_test {
namespace {

struct Int15Row {
  const int8_t* q;
  const float* scale;
  const int32_t* sum;
  Int15Row(Prepared& rows, int64_t t)
      : q(reinterpret_cast<const int8_t*>(rows.row(t))),
        scale(reinterpret_cast<const float*>(rows.row(t) + 2 * rows.k)),
        sum(reinterpret_cast<const int32_t*>(rows.row(t) + 2 * rows.k + rows.k / 32 * 4)) {}
};

TEST(Prepare, Int15RoundsToTheNearestCode) {
  Rng rng;
  for (const Kernels& table : AllKernels())
    for (const int groups : {1, 2, 3, 18}) {
      const int rows = rng.Int(1, 4), k = groups * 32;
      Padded<float> x = RandomMat(rng, rows, k);
      for (int i = 0; i < 32; ++i) x.at(0, i) *= rng.Int(0, 2) == 0 ? 0.0f : rng.Int(0, 1) == 0 ? 1e-42f : 1e30f;
      Prepared got(table, x.mat(), Form::kInt15);
      for (int t = 0; t < rows; ++t) {
        const Int15Row row(got, t);
        for (int g = 0; g < groups; ++g) {
          float largest = 0;
          int total = 0;
          for (int i = g * 32; i < g * 32 + 32; ++i) largest = std::max(largest, std::abs(x.at(t, i)));
          ASSERT_TRUE(SameBits(row.scale[g], largest / 16319.0f)) << table.isa;
          for (int i = g * 32; i < g * 32 + 32; ++i) {
            const int at = g * 64 + i % 32, high = row.q[at], low = row.q[at + 32], whole = 128 * high + low;
            ASSERT_TRUE(high >= -127 && low >= -64 && low <= 64) << table.isa;
            ASSERT_TRUE(std::abs(whole - static_cast<double>(x.at(t, i)) / row.scale[g]) <= 0.502) << table.isa << " " << x.at(t, i);
            total += whole;
          }
          ASSERT_EQ(row.sum[g], total) << table.isa;
        }
      }
    }
}

TEST(Prepare, Int15ZeroTinyAndBrokenGroups) {
  for (const Kernels& table : AllKernels()) {
    std::vector<float> x(160, 0.0f);
    x[40] = 1e-45f;             // the scale underflows to zero
    x[64 + 5] = std::nanf("");  // NaN must be seen downstream: through the scale
    x[96 + 7] = std::numeric_limits<float>::infinity();
    x[128] = -1e-40f;  // a subnormal scale
    Prepared got(table, MakeMat<const float>(x.data(), 1, 160), Form::kInt15);
    const Int15Row row(got, 0);
    for (int i = 0; i < 128; ++i) ASSERT_EQ(row.q[i], 0) << table.isa;
    EXPECT_EQ(row.scale[0], 0.0f);
    EXPECT_EQ(row.scale[1], 0.0f);
    EXPECT_EQ(row.sum[0], 0);
    EXPECT_TRUE(std::isnan(row.scale[2]));
    EXPECT_TRUE(std::isinf(row.scale[3]));
    EXPECT_NEAR(row.q[256], -127, 1);
    for (int i = 0; i < 320; ++i) ASSERT_TRUE(row.q[i] >= -127) << table.isa;
  }
}

// Rounded to nearest even, NaN stays NaN, and what is missing to whole tiles is zero.
TEST(Prepare, BFloatsAreRoundedAndPadded) {
  Rng rng;
  for (const Kernels& table : AllKernels())
    for (const int k : {1, 2, 15, 16, 17, 31, 32, 33, 48, 576}) {
      Padded<float> x = RandomMat(rng, 3, k);
      x.at(0, 0) = std::nanf("");
      x.at(1, 0) = 1.00390625f;  // a tie
      Prepared got(table, x.mat(), Form::kBFloat);
      for (int t = 0; t < 3; ++t) {
        const auto* row = reinterpret_cast<const uint16_t*>(got.row(t));
        for (int i = 0; i < k; ++i) ASSERT_EQ(row[i], F32ToBF16(x.at(t, i))) << table.isa << " K=" << k << " element " << i;
        for (int i = k; i < (k + 31) / 32 * 32; ++i) ASSERT_EQ(row[i], 0) << table.isa << " K=" << k;
      }
    }
}

TEST(Prepare, Int8RoundsToTheNearestCode) {
  Rng rng;
  for (const Kernels& table : AllKernels())
    for (const int k : {1, 15, 16, 63, 64, 65, 200}) {
      Padded<float> x = RandomMat(rng, 4, k);
      for (int i = 0; i < k; ++i) x.at(1, i) = 0;
      x.at(2, k / 2) = std::nanf("");
      x.at(3, 0) = 1e30f;
      Prepared got(table, x.mat(), Form::kInt8);
      EXPECT_TRUE(std::isnan(got.Int8Scale(2)));
      EXPECT_EQ(got.Int8Scale(1), 0.0f);
      for (const int t : {0, 1, 3}) {
        const auto* q = reinterpret_cast<const int8_t*>(got.row(t));
        float largest = 0;
        int total = 0;
        for (int i = 0; i < k; ++i) largest = std::max(largest, std::abs(x.at(t, i))), total += q[i];
        ASSERT_TRUE(SameBits(got.Int8Scale(t), largest / 127.0f)) << table.isa;
        ASSERT_EQ(got.Int8Sum(t), total) << table.isa;
        for (int i = 0; i < k; ++i) ASSERT_LE(std::abs(got.at(t, i) - x.at(t, i)), largest / 127 * 0.5001) << table.isa << " K=" << k;
        for (int i = k; i < (k + 63) / 64 * 64; ++i) ASSERT_EQ(q[i], 0) << table.isa;
      }
    }
}

// A norm on the way gives what rms_norm gives, bit for bit.
TEST(Prepare, NormalisesOnTheWay) {
  Rng rng;
  for (const Kernels& table : AllKernels())
    for (const Form form : kForms) {
      const int k = form == Form::kInt15 ? 96 : rng.Int(1, 200), rows = 3;
      Padded<float> x = RandomMat(rng, rows, k), norm = RandomMat(rng, 1, k), y(rows, k);
      table.rms_norm(x.mat(), norm.mat().row(0), 1e-5f, y.mat());
      Prepared fused(table, x.mat(), form, norm.mat().row(0), 1e-5f), apart(table, y.mat(), form);
      for (int t = 0; t < rows; ++t) {
        const size_t bytes = static_cast<size_t>(form == Form::kFloat   ? 4 * k
                                                 : form == Form::kInt15 ? 2 * k + k / 4
                                                 : form == Form::kInt8  ? k
                                                                        : 2 * k);
        ASSERT_EQ(std::memcmp(fused.row(t), apart.row(t), bytes), 0) << table.isa << " K=" << k << " row " << t;
      }
    }
}

TEST(Prepare, RowsLieInDifferentCacheSets) {
  for (const Form form : kForms)
    for (const int64_t k : {32, 576, 1024, 2048, 4096}) EXPECT_EQ(ActivationBytes(form, k) / 64 % 2, 1) << k;
}

}  // namespace
}  // namespace sgl::kernels_test
