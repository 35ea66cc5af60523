// The bytes of the KV cache: one K and one V pool per layer, in the layout that `kernels` defines (KvLayer).
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <vector>

#include "base/result.h"
#include "kernels/kernels.h"
#include "tensor/buffer.h"

namespace sgl {

// Thread: engine and compute threads during a step. Lives as long as Engine.
class KvStore {
 public:
  // tokens: pool size, rounded up to kKvBlock.
  static Result<KvStore> Allocate(int layers, int32_t groups, int32_t width, KvType type, int64_t tokens);
  static int64_t BytesPerToken(int layers, int32_t groups, int32_t width, KvType type);
  const KvLayer& layer(int i) const { return layers_[static_cast<size_t>(i)]; }
  int64_t bytes() const { return static_cast<int64_t>(buffer_.bytes()); }

 private:
  Buffer buffer_;
  std::vector<KvLayer> layers_;
};

}  // namespace sgl
