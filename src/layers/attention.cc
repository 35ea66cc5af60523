// SPDX-License-Identifier: Apache-2.0
#include "layers/attention.h"

#include <cmath>

#include "base/check.h"

namespace sgl {
Result<Attention> Attention::Load(WeightLoader& loader, const std::string& name, const AttentionConfig& c) {
  Attention attention;
  attention.config_ = c;
  const int64_t q = int64_t{c.heads} * c.head_width, kv = int64_t{c.groups} * c.head_width;
  TRY(attention.qkv_, Linear::Load(loader,
                                   {{.name = name + ".q_proj", .n = q, .heads = c.heads},
                                    {.name = name + ".k_proj", .n = kv, .heads = c.groups},
                                    {.name = name + ".v_proj", .n = kv}},
                                   c.model_width, c.qkv_bias));
  TRY(attention.output_, Linear::Load(loader, {{.name = name + ".o_proj", .n = c.model_width}}, q, c.output_bias));
  if (c.qk_norm) {
    TRY(attention.q_norm_, RmsNorm::Load(loader, name + ".q_norm", c.head_width, c.norm_eps));
    TRY(attention.k_norm_, RmsNorm::Load(loader, name + ".k_norm", c.head_width, c.norm_eps));
  }
  return attention;
}

size_t Attention::ScratchBytes(const AttentionConfig& c, int64_t max_rows, int threads) {
  const int64_t q = int64_t{c.heads} * c.head_width, kv = int64_t{c.groups} * c.head_width;
  const int64_t floats = max_rows * (q + 2 * kv) + max_rows * q + AttentionSchedule::kMaxPartialFloats +
                         threads * (AttentionScratch(c.heads / c.groups, c.head_width) + 16);
  return static_cast<size_t>(floats) * sizeof(float) + Linear::ScratchBytes(max_rows, std::max(c.model_width, q)) + 4096;
}

void Attention::Scores(RunContext& ctx, const Step& step, const KvLayer& kv, const AttentionSchedule& schedule, Mat<const float> q,
                       Mat<float> out) const {
  const Kernels& kernel = kernels();
  const int heads_per_group = config_.heads / config_.groups;
  const float scale = 1.0f / std::sqrt(static_cast<float>(config_.head_width));
  ArenaScope scope(ctx.arena);
  const int64_t scratch_floats = (AttentionScratch(heads_per_group, config_.head_width) + 15) / 16 * 16;
  float* scratch = ctx.arena.Take<float>(scratch_floats * ctx.pool.threads());
  float* partials = schedule.partial_floats() > 0 ? ctx.arena.Take<float>(schedule.partial_floats()) : nullptr;

  ctx.pool.Run(static_cast<int>(schedule.tasks().size()), [&](int index, int worker) {
    schedule.Run(kernel, step, schedule.tasks()[static_cast<size_t>(index)], scale, q, kv, out, partials,
                 scratch + scratch_floats * worker);
  });
  ForRows(ctx, static_cast<int64_t>(schedule.merges().size()), 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) schedule.Run(kernel, schedule.merges()[static_cast<size_t>(i)], partials, out);
  });
}

void Attention::Forward(RunContext& ctx, const Step& step, const KvLayer& kv, Mat<const float> cos_sin, AttentionSchedule& schedule,
                        LinearInput h, Mat<float> out, bool add) const {
  const AttentionConfig& c = config_;
  const int64_t rows = h.x.rows, q_width = int64_t{c.heads} * c.head_width, kv_width = int64_t{c.groups} * c.head_width;
  ArenaScope scope(ctx.arena);
  const Mat<float> qkv = ctx.arena.TakeMat<float>(rows, q_width + 2 * kv_width);
  const Mat<float> mixed = ctx.arena.TakeMat<float>(rows, q_width);
  qkv_.Forward(ctx, h, qkv);
  const Mat<float> q = qkv.Cols(0, q_width), k = qkv.Cols(q_width, kv_width), v = qkv.Cols(q_width + kv_width, kv_width);

  const Kernels& kernel = kernels();
  ForRows(ctx, rows, 4, [&](int64_t begin, int64_t end) {
    const int64_t count = end - begin;
    if (c.qk_norm) {
      for (int64_t t = begin; t < end; ++t) {
        const Mat<float> q_heads = MakeMat(q.row(t), c.heads, c.head_width), k_heads = MakeMat(k.row(t), c.groups, c.head_width);
        kernel.rms_norm(q_heads, q_norm_->weight.data(), q_norm_->eps, q_heads);
        kernel.rms_norm(k_heads, k_norm_->weight.data(), k_norm_->eps, k_heads);
      }
    }
    const auto angles = cos_sin.Rows(begin, count);
    const int rotary = static_cast<int>(cos_sin.cols);
    kernel.rope(q.Rows(begin, count), c.heads, c.head_width, rotary, false, angles);
    kernel.rope(k.Rows(begin, count), c.groups, c.head_width, rotary, false, angles);
    kernel.store_kv(k.Rows(begin, count), v.Rows(begin, count), step.slots.data() + begin, kv);
  });

  if (!schedule.IsFor(c.window))
    schedule.Make(step, {.heads_per_group = c.heads / c.groups,
                         .groups = c.groups,
                         .width = c.head_width,
                         .window = c.window,
                         .threads = ctx.pool.threads()});
  Scores(ctx, step, kv, schedule, q, mixed);
  output_.Forward(ctx, mixed, out, add);
}

}  // namespace sgl
