// SPDX-License-Identifier: Apache-2.0
#include "layers/attention.h"

#include <cmath>

#include "base/check.h"

namespace sgl {
namespace {

// Partials of one step never take more than this; longer contexts then get fewer, larger parts.
constexpr int64_t kMaxPartialFloats = int64_t{4} << 20;
constexpr int kMinSplitsPerPart = 2;

}  // namespace

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
  const int64_t floats =
      max_rows * (q + 2 * kv) + max_rows * q + kMaxPartialFloats + threads * (AttentionScratch(c.heads / c.groups, c.head_width) + 16);
  return static_cast<size_t>(floats) * sizeof(float) + Linear::ScratchBytes(max_rows, std::max(c.model_width, q)) + 4096;
}

void Attention::MakeSchedule(const Step& step, int heads_per_group, int groups, int head_width, int window, int threads,
                             AttentionSchedule& schedule) {
  schedule.tasks.clear();
  schedule.merges.clear();
  schedule.partial_floats = 0;
  schedule.window = window;
  const int64_t part_floats = 2 + head_width;
  // Work per (sequence, group), in row x split units, to see whether there are enough tasks for everyone without cutting contexts.
  int64_t tasks = 0;
  for (const AttnSeq& seq : step.seqs) tasks += int64_t{groups} * ((seq.rows + kAttnRows - 1) / kAttnRows);
  const bool cut = threads > 1 && tasks < int64_t{4} * threads;

  for (size_t s = 0; s < step.seqs.size(); ++s) {
    const AttnSeq& seq = step.seqs[s];
    for (int32_t row = 0; row < seq.rows; row += kAttnRows) {
      const int32_t row_end = std::min(seq.rows, row + kAttnRows);
      const int32_t first_seen = window > 0 ? std::max(0, seq.first_pos + row - window + 1) : 0;
      const int32_t begin = first_seen / kKvSplit, end = (seq.first_pos + row_end - 1) / kKvSplit + 1;
      const int rows = row_end - row;
      int parts = 1;
      if (cut) {
        parts = std::min<int>((end - begin) / kMinSplitsPerPart, 4 * threads);
        const int64_t per_part = int64_t{groups} * rows * heads_per_group * part_floats;
        while (parts > 1 && schedule.partial_floats + parts * per_part > kMaxPartialFloats) --parts;
        parts = std::max(parts, 1);
      }
      for (int32_t group = 0; group < groups; ++group) {
        // A part holds the merged state of several splits; merging parts in order is the same arithmetic only if each part is ONE split.
        // So parts are written split by split: `parts` tasks, each leaving one partial per split it covers.
        const int32_t splits = end - begin;
        const int64_t split_stride = int64_t{rows} * heads_per_group * part_floats;
        const bool direct = parts == 1;
        const int64_t base = schedule.partial_floats;
        if (!direct && base + splits * split_stride > kMaxPartialFloats) {
          schedule.tasks.push_back({.seq = static_cast<int32_t>(s),
                                    .group = group,
                                    .row_begin = row,
                                    .row_end = row_end,
                                    .split_begin = begin,
                                    .split_end = end});
          continue;
        }
        for (int part = 0; part < parts; ++part) {
          const int32_t from = begin + splits * part / parts, to = begin + splits * (part + 1) / parts;
          schedule.tasks.push_back({.seq = static_cast<int32_t>(s),
                                    .group = group,
                                    .row_begin = row,
                                    .row_end = row_end,
                                    .split_begin = from,
                                    .split_end = to,
                                    .partials = direct ? -1 : base + (from - begin) * split_stride});
        }
        if (direct) continue;
        schedule.partial_floats += splits * split_stride;
        for (int32_t r = row; r < row_end; ++r)
          for (int j = 0; j < heads_per_group; ++j)
            schedule.merges.push_back({.row = step.first_row[s] + r,
                                       .head = group * heads_per_group + j,
                                       .partials = base + (int64_t{r - row} * heads_per_group + j) * part_floats,
                                       .stride = split_stride,
                                       .parts = splits});
      }
    }
  }
}

void Attention::Scores(RunContext& ctx, const Step& step, const KvLayer& kv, const AttentionSchedule& schedule, Mat<const float> q,
                       Mat<float> out) const {
  const Kernels& kernel = kernels();
  const int heads_per_group = config_.heads / config_.groups;
  const float scale = 1.0f / std::sqrt(static_cast<float>(config_.head_width));
  ArenaScope scope(ctx.arena);
  const int64_t scratch_floats = (AttentionScratch(heads_per_group, config_.head_width) + 15) / 16 * 16;
  float* scratch = ctx.arena.Take<float>(scratch_floats * ctx.pool.threads());
  float* partials = schedule.partial_floats > 0 ? ctx.arena.Take<float>(schedule.partial_floats) : nullptr;

  ctx.pool.Run(static_cast<int>(schedule.tasks.size()), [&](int index, int worker) {
    const AttentionTask& task = schedule.tasks[static_cast<size_t>(index)];
    AttnSeq seq = step.seqs[static_cast<size_t>(task.seq)];
    seq.window = config_.window;
    const int32_t row0 = step.first_row[static_cast<size_t>(task.seq)];
    const Mat<const float> seq_q = q.Rows(row0, seq.rows);
    Mat<float> seq_out = out.Rows(row0, seq.rows);
    float* mine = scratch + scratch_floats * worker;
    if (task.partials < 0) {
      kernel.attention(seq_q, kv, seq, task.group, heads_per_group, task.row_begin, task.row_end, task.split_begin, task.split_end, scale,
                       &seq_out, nullptr, mine);
      return;
    }
    const int64_t split_stride = int64_t{task.row_end - task.row_begin} * heads_per_group * (2 + config_.head_width);
    for (int32_t split = task.split_begin; split < task.split_end; ++split)
      kernel.attention(seq_q, kv, seq, task.group, heads_per_group, task.row_begin, task.row_end, split, split + 1, scale, nullptr,
                       partials + task.partials + (split - task.split_begin) * split_stride, mine);
  });
  if (schedule.merges.empty()) return;
  ForRows(ctx, static_cast<int64_t>(schedule.merges.size()), 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const AttentionMerge& merge = schedule.merges[static_cast<size_t>(i)];
      kernel.attention_merge(partials + merge.partials, merge.parts, merge.stride, config_.head_width,
                             out.row(merge.row) + int64_t{merge.head} * config_.head_width);
    }
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

  if (schedule.window != c.window) MakeSchedule(step, c.heads / c.groups, c.groups, c.head_width, c.window, ctx.pool.threads(), schedule);
  Scores(ctx, step, kv, schedule, q, mixed);
  output_.Forward(ctx, mixed, out, add);
}

}  // namespace sgl
