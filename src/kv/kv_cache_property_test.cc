// Random operations on KvCache against a naive model; the twin compares everything after each.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cstdio>
#include <random>

#include "kv/kv_cache_twin.h"

namespace sgl {
namespace {

TEST(KvCacheProperty, AgreesWithTheNaiveModel) {
  constexpr int kRounds = 50, kSteps = 2000;  // 10^5 operations
  for (uint32_t seed = 1; seed <= kRounds; ++seed) {
    std::mt19937 random(seed);
    const int32_t pages = 1 + static_cast<int32_t>(random() % 24), page_size = 1 + static_cast<int32_t>(random() % 4);
    std::printf("seed %u pages %d page_size %d\n", seed, pages, page_size);
    std::fflush(stdout);
    KvTwin twin(pages, page_size, [&](uint32_t n) { return n == 0 ? 0 : static_cast<uint32_t>(random() % n); });
    for (int i = 0; i < kSteps; ++i) twin.Step();
    twin.StopAll();
  }
}

}  // namespace
}  // namespace sgl
