// Qwen3, dense: an RMS norm over each query and key head before the rotation, head_dim independent of hidden_size.
// SPDX-License-Identifier: Apache-2.0
#include "models/families.h"

namespace sgl {

Result<DecoderConfig> Qwen3Config(const Json& config) {
  TRY(DecoderConfig c, ReadDecoderConfig(config));
  c.qkv_bias = c.output_bias = config.get_bool("attention_bias", false);
  c.qk_norm = true;
  if (config.get_bool("use_sliding_window", false)) {
    const auto first = static_cast<size_t>(std::max<int64_t>(0, config.get_int("max_window_layers", 0)));
    for (size_t i = first; i < c.windows.size(); ++i) c.windows[i] = static_cast<int>(config.get_int("sliding_window", 0));
  }
  return c;
}

}  // namespace sgl
