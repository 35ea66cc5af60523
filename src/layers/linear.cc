// SPDX-License-Identifier: Apache-2.0
#include "layers/linear.h"

#include "base/check.h"
#include "kernels/task_rows.h"

namespace sgl {
namespace {

// Cuts a product of `rows` rows and `panels` panels into tasks: job(row, rows, panel_begin, panel_end). About four tasks per thread, so
// that a thread that loses its core costs little; whole units of panels, which a kernel takes at a time.
template <class Job>
void ForTasks(RunContext& ctx, int64_t rows, int64_t k, int64_t panels, const Job& job) {
  const int64_t wanted_blocks = (rows + TaskRows(k) - 1) / TaskRows(k);
  const int64_t per_block = ((rows + wanted_blocks - 1) / wanted_blocks + 31) / 32 * 32, row_blocks = (rows + per_block - 1) / per_block;
  const int64_t unit = rows <= 16 ? 4 : 2, units = (panels + unit - 1) / unit, threads = ctx.pool.threads();
  int64_t column_blocks = std::max<int64_t>(1, 4 * threads / row_blocks);
  if (column_blocks > units) column_blocks = std::max<int64_t>(1, units / threads * threads);
  ctx.pool.Run(static_cast<int>(row_blocks * column_blocks), [&](int task, int) {
    const int64_t row = task / column_blocks * per_block, column = task % column_blocks;
    const int64_t begin = units * column / column_blocks * unit, end = std::min(panels, units * (column + 1) / column_blocks * unit);
    job(row, std::min(per_block, rows - row), begin, end);
  });
}

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
  int64_t bytes = 0;
  for (const Form form : kForms) bytes += ActivationBytes(form, k);
  return static_cast<size_t>(rows * bytes) + 256;
}

bool Linear::CanGate(const Linear& next) const {
  const Kernels& kernel = kernels();
  const auto reads_bf16 = [&](const Linear& it) { return it.parts_.size() == 1 && kernel.form(it.parts_[0].format) == Form::kBFloat; };
  return kernel.matmul_gated != nullptr && reads_bf16(*this) && reads_bf16(next) && n_ / 2 % kPanel == 0 && n_ % 2 == 0;
}

Activations Linear::PrepareRows(RunContext& ctx, LinearInput in, Form form) const {
  if (form == Form::kFloat && in.norm == nullptr) return FloatActivations(in.x);
  const auto rows = ctx.arena.TakeMat<std::byte>(in.x.rows, ActivationBytes(form, k_));
  ForRows(ctx, in.x.rows, 16, [&](int64_t begin, int64_t end) {
    const float* norm = in.norm == nullptr ? nullptr : in.norm->weight.data();
    kernels().prepare(in.x.Rows(begin, end - begin), norm, in.norm == nullptr ? 0 : in.norm->eps, form, rows.Rows(begin, end - begin));
  });
  return {form, k_, rows};
}

void Linear::Multiply(RunContext& ctx, const PackedMat& part, int64_t column, const Activations& x, Mat<float> out, bool add) const {
  const float* bias = bias_.empty() ? nullptr : bias_.data() + column;
  const Mat<float> part_out = out.Cols(column, part.n);
  ForTasks(ctx, x.rows(), k_, part.panels(), [&](int64_t row, int64_t rows, int64_t begin, int64_t end) {
    kernels().matmul(x.Rows(row, rows), part, begin, end, bias, add, part_out.Rows(row, rows));
  });
}

void Linear::Forward(RunContext& ctx, LinearInput in, Mat<float> out, bool add) const {
  CHECK(in.x.cols == k_ && out.cols == n_ && in.x.rows == out.rows);
  ArenaScope scope(ctx.arena);
  Activations prepared[std::size(kForms)];
  int64_t column = 0;
  for (const PackedMat& part : parts_) {
    const Form form = kernels().form(part.format);
    Activations& x = prepared[static_cast<size_t>(form)];
    if (x.rows() == 0) x = PrepareRows(ctx, in, form);
    Multiply(ctx, part, column, x, out, add);
    column += part.n;
  }
}

void Linear::ForwardPrepared(RunContext& ctx, const Activations& x, Mat<float> out, bool add) const {
  CHECK(x.k == k_ && out.cols == n_ && x.rows() == out.rows && parts_.size() == 1);
  Multiply(ctx, parts_[0], 0, x, out, add);
}

Activations Linear::ForwardGated(RunContext& ctx, LinearInput in, Mat<std::byte> out) const {
  CHECK(in.x.cols == k_ && in.x.rows == out.rows && parts_.size() == 1);
  ArenaScope scope(ctx.arena);
  const Activations x = PrepareRows(ctx, in, Form::kBFloat);
  const PackedMat& w = parts_[0];
  ForTasks(ctx, x.rows(), k_, n_ / 2 / kPanel, [&](int64_t row, int64_t rows, int64_t begin, int64_t end) {
    kernels().matmul_gated(x.Rows(row, rows), w, begin, end, bias_.empty() ? nullptr : bias_.data(), out.Rows(row, rows));
  });
  return {Form::kBFloat, n_ / 2, out};
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

}  // namespace sgl
