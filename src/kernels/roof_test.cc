// SPDX-License-Identifier: Apache-2.0
#include "kernels/roof.h"

#include <gtest/gtest.h>

#include "tensor/buffer.h"

namespace sgl {
namespace {

TEST(Roof, OperationsGrowWithRounds) {
  Result<Buffer> tiles = Buffer::Allocate(64 << 10);
  ASSERT_TRUE(tiles.ok());
  for (const RoofUnit unit : kRoofUnits) {
    EXPECT_FALSE(Name(unit).empty());
    if (!HasUnit(unit)) continue;
    const double one = RunUnit(unit, tiles->data(), 64 << 10, 1), ten = RunUnit(unit, tiles->data(), 64 << 10, 10);
    EXPECT_GT(one, 0);
    EXPECT_EQ(ten, 10 * one);
  }
}

TEST(Roof, ReadStreamSeesEveryByte) {
  constexpr int64_t kBytes = 4096;
  Result<Buffer> made = Buffer::Allocate(kBytes);
  ASSERT_TRUE(made.ok());
  std::byte* data = made->data();
  EXPECT_EQ(ReadStream(data, kBytes), 0u);
  for (int64_t i = 0; i < kBytes; ++i) {
    data[i] = std::byte{1};
    EXPECT_NE(ReadStream(data, kBytes), 0u) << i;
    data[i] = std::byte{0};
  }
}

}  // namespace
}  // namespace sgl
