// The dense pre-norm decoder that most families share: x += attention(norm(x)); x += mlp(norm(x)). A family fills DecoderConfig.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "layers/attention.h"
#include "layers/mlp.h"
#include "layers/rope.h"
#include "models/model.h"

namespace sgl {

struct DecoderConfig {
  ModelShape shape;
  int heads = 0;          // H
  int64_t mlp_width = 0;  // F
  float norm_eps = 1e-5f;
  bool qkv_bias = false, output_bias = false, mlp_bias = false;
  bool qk_norm = false;
  bool tied = false;  // the head is the embedding
  Rope rope;
  std::vector<int> windows;  // [L] sliding window of each layer, 0: none
};

// What all families read the same way. Errors name the key.
Result<DecoderConfig> ReadDecoderConfig(const Json& config);

Result<std::unique_ptr<Model>> LoadDecoder(DecoderConfig config, const ModelFiles& files, ThreadPool& pool, const LoadOptions& options);

}  // namespace sgl
