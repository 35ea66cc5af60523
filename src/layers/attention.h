// Self-attention over the paged cache: projections, optional q/k norms, rotation, cache write, scores, output.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <optional>
#include <string>

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

// How the scores of one step are cut into tasks. The same for all layers with the same window; depends on work only, never on results.
struct AttentionTask {
  int32_t seq = 0, group = 0;
  int32_t row_begin = 0, row_end = 0;      // rows of the sequence
  int32_t split_begin = 0, split_end = 0;  // splits of kKvSplit positions
  int64_t partials = -1;                   // offset into the partials buffer, or -1: writes its output itself
};
struct AttentionMerge {       // one (row, head) whose splits went to several tasks
  int32_t row = 0, head = 0;  // row of the step
  int64_t partials = 0, stride = 0;
  int32_t parts = 0;
};
struct AttentionSchedule {
  std::vector<AttentionTask> tasks;
  std::vector<AttentionMerge> merges;
  int64_t partial_floats = 0;
  int window = -1;  // the window it was made for
};

// Thread: Forward from the engine thread.
class Attention {
 public:
  static Result<Attention> Load(WeightLoader& loader, const std::string& name, const AttentionConfig& config);

  // out [T, D] = attention(h [T, D]), or += with `add`. cos_sin: Rope::Angles of this step. schedule is remade when the window differs.
  void Forward(RunContext& ctx, const Step& step, const KvLayer& kv, Mat<const float> cos_sin, AttentionSchedule& schedule, LinearInput h,
               Mat<float> out, bool add = false) const;

  static void MakeSchedule(const Step& step, int heads_per_group, int groups, int head_width, int window, int threads,
                           AttentionSchedule& schedule);
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
