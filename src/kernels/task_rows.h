// How many rows a task of a matrix product should have at most, so that its activations stay in the second-level cache beside the weights.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstdint>

namespace sgl {

inline int64_t TaskRows(int64_t k) {
  constexpr int64_t kTaskBytes = int64_t{1} << 20, kDepth = 2048;  // kernels take deeper products stretch by stretch
  return std::clamp<int64_t>(kTaskBytes / (2 * std::min(k, kDepth)) / 32 * 32, 64, 512);
}

}  // namespace sgl
