// Radix tree and page pool under arbitrary operations: each input byte is one choice.
// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>

#include "kv/kv_cache_twin.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  size_t at = 0;
  const auto choose = [&](uint32_t n) -> uint32_t { return n == 0 || at >= size ? 0 : data[at++] % n; };
  const auto pages = static_cast<int32_t>(1 + choose(24)), page_size = static_cast<int32_t>(1 + choose(4));
  sgl::KvTwin twin(pages, page_size, choose);
  for (int steps = 0; at < size && steps < 400; ++steps) twin.Step();
  twin.StopAll();
  return 0;
}
