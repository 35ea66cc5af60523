// Qwen2 and Qwen2.5: biases on q, k and v; some sizes tie the head.
// SPDX-License-Identifier: Apache-2.0
#include "models/families.h"

namespace sgl {

Result<DecoderConfig> Qwen2Config(const Json& config) {
  TRY(DecoderConfig c, ReadDecoderConfig(config));
  if (config["dual_chunk_attention_config"].is_object())
    return InvalidArgument("config key 'dual_chunk_attention_config' is not supported");
  c.qkv_bias = true;
  if (config.get_bool("use_sliding_window", false)) {  // layers from max_window_layers on are windowed
    const auto first = static_cast<size_t>(std::max<int64_t>(0, config.get_int("max_window_layers", 0)));
    for (size_t i = first; i < c.windows.size(); ++i) c.windows[i] = static_cast<int>(config.get_int("sliding_window", 0));
  }
  return c;
}

}  // namespace sgl
