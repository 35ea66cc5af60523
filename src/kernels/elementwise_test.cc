// The small loops: every table, every length around the vector width, odd strides and starts, against f64.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <limits>

#include "kernels/test_support.h"

namespace sgl::kernels_test {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr int kLengths[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 576, 1000};

// Relative to what is wanted; NaN never passes.
#define ASSERT_CLOSE(got, want, bound) \
  ASSERT_TRUE(std::abs((got) - (want)) <= (bound)*std::abs(want) + 1e-35) << table.isa << ": " << (got) << " for " << (want)

TEST(RmsNorm, IsWithinFourUlpAndFixedPerRow) {
  Rng rng;
  for (const Kernels& table : AllKernels())
    for (const int n : kLengths) {
      const int rows = rng.Int(1, 4);
      Padded<float> x = RandomMat(rng, rows, n), w = RandomMat(rng, 1, n), y(rows, n), again(1, n);
      table.rms_norm(x.mat(), w.mat().data, 1e-5f, y.mat());
      ASSERT_TRUE(y.GuardsIntact());
      for (int t = 0; t < rows; ++t) {
        double squares = 0;
        for (int i = 0; i < n; ++i) squares += static_cast<double>(x.at(t, i)) * x.at(t, i);
        const double scale = 1 / std::sqrt(squares / n + 1e-5);
        for (int i = 0; i < n; ++i) ASSERT_CLOSE(y.at(t, i), x.at(t, i) * scale * w.at(0, i), 5e-7);
        table.rms_norm(x.mat().Rows(t, 1), w.mat().data, 1e-5f, again.mat());
        for (int i = 0; i < n; ++i) ASSERT_TRUE(SameBits(y.at(t, i), again.at(0, i)));
      }
      table.rms_norm(x.mat(), w.mat().data, 1e-5f, x.mat());  // in place
      for (int t = 0; t < rows; ++t)
        for (int i = 0; i < n; ++i) ASSERT_TRUE(SameBits(y.at(t, i), x.at(t, i)));
    }
}

TEST(Rope, RotatesPairsOfBothKinds) {
  Rng rng;
  for (const Kernels& table : AllKernels())
    for (const int rotary : {2, 4, 6, 16, 30, 32, 34, 64, 128})
      for (const bool interleaved : {false, true}) {
        const int width = rotary + rng.Int(0, 1) * 5, heads = rng.Int(1, 3), rows = rng.Int(1, 3);
        Padded<float> x = RandomMat(rng, rows, int64_t{heads} * width), before = x, angles = RandomMat(rng, rows, rotary);
        table.rope(x.mat(), heads, width, rotary, interleaved, angles.mat());
        ASSERT_TRUE(x.GuardsIntact());
        for (int t = 0; t < rows; ++t)
          for (int h = 0; h < heads; ++h) {
            for (int i = 0; i < rotary / 2; ++i) {
              const int a = h * width + (interleaved ? 2 * i : i), b = h * width + (interleaved ? 2 * i + 1 : i + rotary / 2);
              const double c = angles.at(t, i), s = angles.at(t, rotary / 2 + i), p = before.at(t, a), q = before.at(t, b);
              ASSERT_TRUE(std::abs(x.at(t, a) - (p * c - q * s)) <= 2.4e-7 * (std::abs(p * c) + std::abs(q * s))) << table.isa;
              ASSERT_TRUE(std::abs(x.at(t, b) - (q * c + p * s)) <= 2.4e-7 * (std::abs(q * c) + std::abs(p * s))) << table.isa;
            }
            for (int i = rotary; i < width; ++i) ASSERT_TRUE(SameBits(x.at(t, h * width + i), before.at(t, h * width + i)));
          }
      }
}

TEST(SiluMul, IsWithinFourUlp) {
  Rng rng;
  for (const Kernels& table : AllKernels())
    for (const int n : kLengths) {
      const int rows = rng.Int(1, 3);
      Padded<float> x = RandomMat(rng, rows, 2 * n), y(rows, n);
      for (int t = 0; t < rows; ++t)
        for (int i = 0; i < n; ++i) x.at(t, i) *= static_cast<float>(rng.Int(1, 25));
      table.silu_mul(x.mat(), y.mat());
      ASSERT_TRUE(y.GuardsIntact());
      for (int t = 0; t < rows; ++t)
        for (int i = 0; i < n; ++i) {
          const double g = x.at(t, i);
          ASSERT_CLOSE(y.at(t, i), g / (1 + std::exp(-g)) * x.at(t, n + i), 5e-7);
        }
      table.silu_mul(x.mat(), x.mat().Cols(0, n));  // into its own first half
      for (int t = 0; t < rows; ++t)
        for (int i = 0; i < n; ++i) ASSERT_TRUE(SameBits(y.at(t, i), x.at(t, i)));
    }
}

TEST(SiluMul, KeepsToTheEdges) {
  for (const Kernels& table : AllKernels()) {
    float x[8] = {0.0f, 200.0f, -200.0f, std::nanf(""), 1.0f, 1.0f, 1.0f, 1.0f}, y[4];
    table.silu_mul(MakeMat<const float>(x, 1, 8), MakeMat(y, 1, 4));
    EXPECT_EQ(y[0], 0.0f);
    EXPECT_EQ(y[1], 200.0f);
    EXPECT_TRUE(std::abs(y[2]) <= 1e-35f);
    EXPECT_TRUE(std::isnan(y[3]));
  }
}

TEST(Add, AddsEveryElement) {
  Rng rng;
  for (const Kernels& table : AllKernels())
    for (const int n : kLengths) {
      Padded<float> x = RandomMat(rng, 2, n), y = RandomMat(rng, 2, n), before = y;
      table.add(x.mat(), y.mat());
      ASSERT_TRUE(y.GuardsIntact());
      for (int t = 0; t < 2; ++t)
        for (int i = 0; i < n; ++i) ASSERT_TRUE(SameBits(y.at(t, i), before.at(t, i) + x.at(t, i))) << table.isa;
    }
}

TEST(ArgMax, FindsTheFirstLargest) {
  Rng rng;
  const float nan = std::nanf("");
  for (const Kernels& table : AllKernels()) {
    for (const int n : kLengths)
      for (int round = 0; round < 20; ++round) {
        Padded<float> x(1, n);
        for (int i = 0; i < n; ++i) x.at(0, i) = rng.Int(0, 9) == 0 ? nan : static_cast<float>(rng.Int(-3, 3));
        int want = 0;
        bool any = false;
        for (int i = 0; i < n; ++i)
          if (!std::isnan(x.at(0, i)) && (!any || x.at(0, i) > x.at(0, want))) want = i, any = true;
        ASSERT_EQ(table.argmax(x.mat().data, n), want) << table.isa << " n=" << n;
      }
    const float all_nan[3] = {nan, nan, nan}, low[3] = {nan, -kInf, -kInf}, high[3] = {1, kInf, kInf};
    EXPECT_EQ(table.argmax(all_nan, 3), 0);
    EXPECT_EQ(table.argmax(low, 3), 1);
    EXPECT_EQ(table.argmax(high, 3), 1);
  }
}

TEST(SoftmaxStats, AreWithinTheBound) {
  Rng rng;
  for (const Kernels& table : AllKernels())
    for (const int n : {1, 2, 15, 16, 17, 1023, 1024, 1025, 5000, 49152}) {
      Padded<float> x = RandomMat(rng, 1, n);
      for (int i = 0; i < n; ++i) x.at(0, i) *= 5;
      const float inverse = rng.Int(0, 1) == 0 ? 1.0f : 1.6f;
      float max = 0;
      double sum = 0, want = 0;
      table.softmax_stats(x.mat().data, n, inverse, &max, &sum);
      ASSERT_EQ(max, *std::max_element(x.mat().data, x.mat().data + n));
      for (int i = 0; i < n; ++i) want += std::exp((static_cast<double>(x.at(0, i)) - max) * inverse);
      ASSERT_CLOSE(sum, want, 4e-6);
    }
}

TEST(Tables, NamesAreKnownAndDistinct) {
  ASSERT_FALSE(AllKernels().empty());
  EXPECT_STREQ(AllKernels()[0].isa, "portable");
  EXPECT_TRUE(ForcedIsaIsValid("portable"));
  EXPECT_FALSE(ForcedIsaIsValid("avx512vnni"));  // a namespace, not a name
  EXPECT_FALSE(ForcedIsaIsValid(""));
  EXPECT_FALSE(ForcedIsaIsValid("avx9"));
  for (size_t i = 0; i < AllKernels().size(); ++i)
    for (size_t j = 0; j < i; ++j) EXPECT_STRNE(AllKernels()[i].isa, AllKernels()[j].isa);
  EXPECT_TRUE(ForcedIsaIsValid(kernels().isa));
}

}  // namespace
}  // namespace sgl::kernels_test
