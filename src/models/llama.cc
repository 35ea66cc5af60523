// Llama 2, 3, 3.x, SmolLM 1 and 2, and what has the same graph.
// Source: transformers models/llama (config keys, tensor names); rope scaling in layers/rope.
// SPDX-License-Identifier: Apache-2.0
#include "models/families.h"

namespace sgl {

Result<DecoderConfig> LlamaConfig(const Json& config) {
  TRY(DecoderConfig c, ReadDecoderConfig(config));
  c.qkv_bias = c.output_bias = config.get_bool("attention_bias", false);
  c.mlp_bias = config.get_bool("mlp_bias", false);
  return c;
}

}  // namespace sgl
