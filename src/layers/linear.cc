// SPDX-License-Identifier: Apache-2.0
#include "layers/linear.h"

#include "base/check.h"

namespace sgl {
namespace {

constexpr int64_t kRowsPerTask = 256;  // activations of one task stay in L2
constexpr int64_t kMinPanels = 8;      // enough weight streams in flight for one core

}  // namespace

Result<Linear> Linear::Load(WeightLoader& loader, std::vector<WeightLoader::Rows> slices, int64_t k, bool bias) {
  Linear linear;
  linear.k_ = k;
  if (bias) {
    for (const auto& slice : slices) {
      TRY(std::vector<float> part, loader.Vector(slice.name + ".bias", slice.n, slice.heads));
      linear.bias_.insert(linear.bias_.end(), part.begin(), part.end());
    }
  }
  for (auto& slice : slices) {
    linear.n_ += slice.n;
    slice.name += ".weight";
  }
  TRY(linear.parts_, loader.Matrix(slices, k));
  return linear;
}

size_t Linear::ScratchBytes(int64_t rows, int64_t k) {
  const auto t = static_cast<size_t>(rows), groups = static_cast<size_t>((k + 31) / 32);
  return 2 * t * static_cast<size_t>(k) + t * groups * 8 + 256;
}

void Linear::Forward(RunContext& ctx, Mat<const float> x, Mat<float> out) const {
  CHECK(x.cols == k_ && out.cols == n_ && x.rows == out.rows);
  const Kernels& kernel = kernels();
  ArenaScope scope(ctx.arena);
  Activations activations{.f32 = x, .q = {}, .q_scale = {}, .q_sum = {}};
  bool quantised = false;
  for (const PackedMat& part : parts_) quantised |= IsQuantised(part.format);
  if (quantised) {
    const auto q = ctx.arena.TakeMat<int8_t>(x.rows, 2 * k_);
    const auto scale = ctx.arena.TakeMat<float>(x.rows, k_ / 32);
    const auto sum = ctx.arena.TakeMat<int32_t>(x.rows, k_ / 32);
    ForRows(ctx, x.rows, 16, [&](int64_t begin, int64_t end) {
      const int64_t count = end - begin;
      kernel.quantise(x.Rows(begin, count), q.Rows(begin, count), scale.Rows(begin, count), sum.Rows(begin, count));
    });
    activations = {.f32 = x, .q = q, .q_scale = scale, .q_sum = sum};
  }
  int64_t column = 0;
  for (const PackedMat& part : parts_) {
    const int64_t row_blocks = (x.rows + kRowsPerTask - 1) / kRowsPerTask;
    // About four tasks per thread, so that a thread that loses its core costs little; none smaller than kMinPanels.
    const int64_t wanted = std::max<int64_t>(1, int64_t{4} * ctx.pool.threads() / row_blocks);
    const int64_t per_task = std::max(kMinPanels, (part.panels() + wanted - 1) / wanted);
    const int64_t column_blocks = (part.panels() + per_task - 1) / per_task;
    const float* bias = bias_.empty() ? nullptr : bias_.data() + column;
    const Mat<float> part_out = out.Cols(column, part.n);
    ctx.pool.Run(static_cast<int>(row_blocks * column_blocks), [&](int task, int) {
      const int64_t row = task / column_blocks * kRowsPerTask, panel = task % column_blocks * per_task;
      const int64_t rows = std::min(kRowsPerTask, x.rows - row);
      Activations slice{.f32 = x.Rows(row, rows), .q = {}, .q_scale = {}, .q_sum = {}};
      if (quantised) {
        slice.q = activations.q.Rows(row, rows);
        slice.q_scale = activations.q_scale.Rows(row, rows);
        slice.q_sum = activations.q_sum.Rows(row, rows);
      }
      kernel.matmul(slice, part, panel, std::min(part.panels(), panel + per_task), bias, part_out.Rows(row, rows));
    });
    column += part.n;
  }
}

Result<Embedding> Embedding::Load(WeightLoader& loader, const std::string& name, int64_t vocab, int64_t width) {
  Embedding embedding;
  TRY(embedding.table_, Linear::Load(loader, {{.name = name, .n = vocab}}, width, false));
  return embedding;
}

void Embedding::Lookup(RunContext& ctx, std::span<const TokenId> tokens, Mat<float> out) const {
  ForRows(ctx, static_cast<int64_t>(tokens.size()), 16, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) UnpackRow(table_.parts().front(), tokens[static_cast<size_t>(t)], out.row(t));
  });
}

Result<RmsNorm> RmsNorm::Load(WeightLoader& loader, const std::string& name, int64_t width, float eps) {
  RmsNorm norm;
  norm.eps = eps;
  TRY(norm.weight, loader.Vector(name + ".weight", width));
  return norm;
}

void RmsNorm::Apply(RunContext& ctx, Mat<const float> x, Mat<float> y) const {
  ForRows(ctx, x.rows, 16, [&](int64_t begin, int64_t end) {
    kernels().rms_norm(x.Rows(begin, end - begin), weight.data(), eps, y.Rows(begin, end - begin));
  });
}

void AddInto(RunContext& ctx, Mat<const float> x, Mat<float> y) {
  ForRows(ctx, x.rows, 64, [&](int64_t begin, int64_t end) { kernels().add(x.Rows(begin, end - begin), y.Rows(begin, end - begin)); });
}

}  // namespace sgl
