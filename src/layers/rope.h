// Rotary position embedding: inverse frequencies per variant, and the angles of one step.
// Sources: arXiv:2104.09864 (RoPE), arXiv:2309.00071 (YaRN), the Llama 3.1 model card's frequency scaling.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "layers/context.h"

namespace sgl {

struct Rope {
  std::vector<float> inv_freq;  // [rotary/2]
  float magnitude = 1;          // multiplies cosines and sines (YaRN)
  int rotary() const { return static_cast<int>(inv_freq.size()) * 2; }

  // From a Hugging Face config: rope_parameters, or rope_theta and rope_scaling. Types: default, linear, llama3, yarn.
  // Errors name the key. head_width: C; max_position: max_position_embeddings.
  static Result<Rope> FromConfig(const Json& config, int head_width, int64_t max_position);

  // cos_sin: [T, rotary]: rotary/2 cosines, then as many sines (what Kernels::rope reads). Each row depends on its position only.
  void Angles(RunContext& ctx, std::span<const int32_t> positions, Mat<float> cos_sin) const;
};

}  // namespace sgl
