// SPDX-License-Identifier: Apache-2.0
#include "tensor/half.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

namespace sgl {
namespace {

TEST(Half, EveryFp16ValueRoundTrips) {
  for (uint32_t h = 0; h < 0x10000; ++h) {
    const float f = F16ToF32(static_cast<uint16_t>(h));
    if (std::isnan(f)) {
      EXPECT_TRUE(std::isnan(F16ToF32(F32ToF16(f))));
    } else {
      ASSERT_EQ(F32ToF16(f), h) << f;
    }
  }
}

// The nearest representable neighbour, ties to even, found by brute force between the two candidates.
TEST(Half, Fp16RoundsToNearestEven) {
  std::mt19937 rng(11);
  std::uniform_real_distribution<float> exponent(-26, 17);
  for (int i = 0; i < 200000; ++i) {
    const float f = std::ldexp(1.0f + static_cast<float>(rng() % 4096) / 4096.0f, static_cast<int>(exponent(rng)));
    const uint16_t h = F32ToF16(f);
    const double got = F16ToF32(h);
    if (std::isinf(got)) {
      EXPECT_GE(f, 65520.0f);
      continue;
    }
    const double below = h != 0 ? F16ToF32(static_cast<uint16_t>(h - 1)) : -1, above = F16ToF32(static_cast<uint16_t>(h + 1));
    const double error = std::abs(got - f);
    ASSERT_LE(error, std::abs(below - f)) << f;
    if (!std::isinf(above)) {
      ASSERT_LE(error, std::abs(above - f)) << f;
      if (error == std::abs(above - f) || error == std::abs(below - f)) {
        ASSERT_EQ(h & 1, 0) << f;
      }
    }
  }
}

TEST(Half, Bf16KeepsNanAndRounds) {
  EXPECT_TRUE(std::isnan(BF16ToF32(F32ToBF16(std::numeric_limits<float>::quiet_NaN()))));
  EXPECT_EQ(BF16ToF32(F32ToBF16(1.0f + 0x1p-8f)), 1.0f);            // tie to even
  EXPECT_EQ(BF16ToF32(F32ToBF16(1.0f + 0x3p-8f)), 1.0f + 0x4p-8f);  // tie to even, upwards
  EXPECT_EQ(BF16ToF32(F32ToBF16(-std::numeric_limits<float>::infinity())), -std::numeric_limits<float>::infinity());
}

}  // namespace
}  // namespace sgl
