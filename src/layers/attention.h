// Self-attention over the paged cache: projections, optional q/k norms, rotation, cache write, scores, output.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <optional>
#include <string>

#include "layers/attention_schedule.h"
#include "layers/context.h"
#include "layers/linear.h"

namespace sgl {

struct AttentionConfig {
  int64_t model_width = 0;    // D
  int heads = 0, groups = 0;  // H, G
  int head_width = 0;         // C
  bool qkv_bias = false, output_bias = false;
  bool qk_norm = false;  // RMS over each head, before the rotation (Qwen3)
  float norm_eps = 1e-6f;
  int window = 0;  // sliding window in tokens; 0: none
};

// Thread: Forward from the engine thread.
class Attention {
 public:
  static Result<Attention> Load(WeightLoader& loader, const std::string& name, const AttentionConfig& config);

  // out [T, D] = attention(h [T, D]), or += with `add`. cos_sin: Rope::Angles of this step. schedule is remade when the window differs.
  void Forward(RunContext& ctx, const Step& step, const KvLayer& kv, Mat<const float> cos_sin, AttentionSchedule& schedule, LinearInput h,
               Mat<float> out, bool add = false) const;

  // Arena bytes that Forward needs for steps of at most max_rows tokens.
  static size_t ScratchBytes(const AttentionConfig& config, int64_t max_rows, int threads);

 private:
  void Scores(RunContext& ctx, const Step& step, const KvLayer& kv, const AttentionSchedule& schedule, Mat<const float> q,
              Mat<float> out) const;

  AttentionConfig config_;
  Linear qkv_, output_;
  std::optional<RmsNorm> q_norm_, k_norm_;
};

}  // namespace sgl
