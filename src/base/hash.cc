// SPDX-License-Identifier: Apache-2.0
#include "base/hash.h"

#include <cstring>

namespace sgl {

uint64_t HashBytes(const void* data, size_t bytes, uint64_t seed) {
  constexpr uint64_t kMul = 0x9E3779B97F4A7C15u;
  constexpr size_t kLanes = 8, kStep = kLanes * 8;
  const auto mix = [](uint64_t h, uint64_t word) {
    h = (h ^ word) * kMul;
    return h ^ (h >> 29);
  };
  const auto* p = static_cast<const unsigned char*>(data);
  uint64_t lane[kLanes];
  for (size_t i = 0; i < kLanes; ++i) lane[i] = seed + kMul * (i + 1);
  uint64_t left = bytes;
  for (; left >= kStep; left -= kStep, p += kStep)
    for (size_t i = 0; i < kLanes; ++i) {
      uint64_t word;
      std::memcpy(&word, p + 8 * i, 8);
      lane[i] = mix(lane[i], word);
    }
  uint64_t hash = mix(seed, bytes);
  for (const uint64_t l : lane) hash = mix(hash, l);
  for (uint64_t i = 0; i < left; i += 8) {
    uint64_t word = 0;
    for (uint64_t j = i; j < left && j < i + 8; ++j) word |= uint64_t{p[j]} << (8 * (j - i));
    hash = mix(hash, word);
  }
  return mix(hash, hash >> 32);
}

}  // namespace sgl
