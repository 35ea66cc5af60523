// SPDX-License-Identifier: Apache-2.0
#include "kv/kv_store.h"

namespace sgl {

int64_t KvStore::BytesPerToken(int layers, int32_t groups, int32_t width, KvType type) {
  return int64_t{2} * layers * groups * KvChunkBytes(type, width) / kKvBlock;
}

Result<KvStore> KvStore::Allocate(int layers, int32_t groups, int32_t width, KvType type, int64_t tokens) {
  tokens = (tokens + kKvBlock - 1) / kKvBlock * kKvBlock;
  KvStore store;
  TRY(store.buffer_, Buffer::Allocate(static_cast<size_t>(BytesPerToken(layers, groups, width, type) * tokens + kKvSlack)));
  const int64_t half = tokens / kKvBlock * groups * KvChunkBytes(type, width);
  for (int i = 0; i < layers; ++i) {
    std::byte* base = store.buffer_.data() + 2 * half * i;
    store.layers_.push_back({.k = base, .v = base + half, .type = type, .groups = groups, .width = width});
  }
  return store;
}

}  // namespace sgl
