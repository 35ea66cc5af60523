// Linear: y = x W^T + b, threaded over output columns (and rows when there are many).
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <vector>

#include "layers/context.h"
#include "layers/loader.h"

namespace sgl {

// Thread: Forward from the engine thread. Immutable after loading.
class Linear {
 public:
  // slices: the tensors' names without ".weight"; with `bias` each also has "<name>.bias".
  static Result<Linear> Load(WeightLoader& loader, std::vector<WeightLoader::Rows> slices, int64_t k, bool bias);

  // x: [T, K], out: [T, N], may not overlap. Takes scratch from ctx.arena if the weights are quantised.
  void Forward(RunContext& ctx, Mat<const float> x, Mat<float> out) const;

  int64_t inputs() const { return k_; }
  int64_t outputs() const { return n_; }
  // Bytes of arena that Forward needs for T rows.
  static size_t ScratchBytes(int64_t rows, int64_t k);
  const std::vector<PackedMat>& parts() const { return parts_; }

 private:
  std::vector<PackedMat> parts_;  // output columns in order
  std::vector<float> bias_;       // [N] or empty
  int64_t n_ = 0, k_ = 0;
};

// Token embedding, looked up from packed rows; the same matrix serves as the output head when the model ties them.
class Embedding {
 public:
  static Result<Embedding> Load(WeightLoader& loader, const std::string& name, int64_t vocab, int64_t width);
  void Lookup(RunContext& ctx, std::span<const TokenId> tokens, Mat<float> out) const;  // out: [T, D]
  const Linear& as_head() const { return table_; }

 private:
  Linear table_;
};

struct RmsNorm {
  std::vector<float> weight;
  float eps = 1e-5f;
  static Result<RmsNorm> Load(WeightLoader& loader, const std::string& name, int64_t width, float eps);
  void Apply(RunContext& ctx, Mat<const float> x, Mat<float> y) const;  // y may be x
};

void AddInto(RunContext& ctx, Mat<const float> x, Mat<float> y);  // y += x

}  // namespace sgl
