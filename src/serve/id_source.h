// Request ids and the like: 32 hexadecimal digits, uuid4's look, not guessable from each other in practice but no secret either.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <mutex>
#include <random>
#include <string>

namespace sgl {

// Thread: any.
class IdSource {
 public:
  explicit IdSource(uint64_t seed) : random_(seed) {}
  std::string Next() {
    uint64_t high = 0, low = 0;
    {
      std::lock_guard lock(mutex_);
      high = random_();
      low = random_();
    }
    high = (high & ~uint64_t{0xF000}) | 0x4000;                // version 4
    low = (low & ~(uint64_t{3} << 62)) | (uint64_t{2} << 62);  // variant 1
    std::string id(32, '0');
    for (int i = 0; i < 16; ++i) {
      id[static_cast<size_t>(i)] = "0123456789abcdef"[(high >> (60 - 4 * i)) & 15];
      id[static_cast<size_t>(i) + 16] = "0123456789abcdef"[(low >> (60 - 4 * i)) & 15];
    }
    return id;
  }

 private:
  std::mutex mutex_;  // ids are made on http and text threads
  std::mt19937_64 random_;
};

}  // namespace sgl
