// SPDX-License-Identifier: Apache-2.0
#include "layers/mlp.h"

namespace sgl {

Result<GatedMlp> GatedMlp::Load(WeightLoader& loader, const std::string& name, int64_t width, int64_t hidden, bool bias) {
  GatedMlp mlp;
  mlp.hidden_ = hidden;
  TRY(mlp.gate_up_,
      Linear::Load(loader, {{.name = name + ".gate_proj", .n = hidden}, {.name = name + ".up_proj", .n = hidden}}, width, bias));
  TRY(mlp.down_, Linear::Load(loader, {{.name = name + ".down_proj", .n = width}}, hidden, bias));
  return mlp;
}

size_t GatedMlp::ScratchBytes(int64_t rows, int64_t width, int64_t hidden) {
  return static_cast<size_t>(rows * 2 * hidden) * sizeof(float) + Linear::ScratchBytes(rows, std::max(width, hidden)) + 4096;
}

void GatedMlp::Forward(RunContext& ctx, LinearInput h, Mat<float> out, bool add) const {
  ArenaScope scope(ctx.arena);
  const int64_t rows = h.x.rows;
  if (gate_up_.CanGate(down_)) {
    const auto space = ctx.arena.TakeMat<std::byte>(rows, ActivationBytes(Form::kBFloat, hidden_));
    const Activations activated = gate_up_.ForwardGated(ctx, h, space);
    return down_.ForwardPrepared(ctx, activated, out, add);
  }
  const Mat<float> both = ctx.arena.TakeMat<float>(rows, 2 * hidden_);
  gate_up_.Forward(ctx, h, both);
  const Mat<float> activated = both.Cols(0, hidden_);  // in place
  ForRows(ctx, rows, 8,
          [&](int64_t begin, int64_t end) { kernels().silu_mul(both.Rows(begin, end - begin), activated.Rows(begin, end - begin)); });
  down_.Forward(ctx, activated, out, add);
}

}  // namespace sgl
