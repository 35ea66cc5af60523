// Mistral 7B (0.1 has a sliding window), Nemo, Small.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "models/families.h"

namespace sgl {

Result<DecoderConfig> MistralConfig(const Json& config) {
  TRY(DecoderConfig c, ReadDecoderConfig(config));
  const int64_t window = config.get_int("sliding_window", 0);  // null: none
  if (window < 0) return InvalidArgument("config key 'sliding_window' must be null or positive");
  std::fill(c.windows.begin(), c.windows.end(), window < c.shape.context_length ? static_cast<int>(window) : 0);
  return c;
}

}  // namespace sgl
