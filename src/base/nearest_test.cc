// SPDX-License-Identifier: Apache-2.0
#include "base/nearest.h"

#include <gtest/gtest.h>

namespace sgl {
namespace {

TEST(Nearest, DistanceCountsEdits) {
  EXPECT_EQ(EditDistance("", "abc"), 3);
  EXPECT_EQ(EditDistance("kitten", "sitting"), 3);
  EXPECT_EQ(EditDistance("same", "same"), 0);
  EXPECT_EQ(EditDistance("ab", "ba"), 2);
}

TEST(Nearest, TakesTheClosestAndGivesUpFarAway) {
  const std::vector<std::string> names = {"host", "port", "model-path"};
  EXPECT_EQ(Nearest("prot", names), "port");
  EXPECT_EQ(Nearest("modle-pth", names), "model-path");
  EXPECT_EQ(Nearest("speculative", names), "");
  EXPECT_EQ(Nearest("x", {}), "");
}

}  // namespace
}  // namespace sgl
