// Linear: y = x W^T + b, threaded over output columns (and rows when there are many).
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <vector>

#include "layers/context.h"
#include "layers/loader.h"

namespace sgl {

struct RmsNorm {
  std::vector<float> weight;
  float eps = 1e-5f;
  static Result<RmsNorm> Load(WeightLoader& loader, const std::string& name, int64_t width, float eps);
  void Apply(RunContext& ctx, Mat<const float> x, Mat<float> y) const;  // y may be x
};

// Rows to multiply, [T, K], normalised first if there is a norm: in the same pass that rounds them for the product.
struct LinearInput {
  Mat<const float> x;
  const RmsNorm* norm = nullptr;
  LinearInput(Mat<const float> rows) : x(rows) {}
  LinearInput(Mat<float> rows) : x(rows) {}
  LinearInput(Mat<const float> rows, const RmsNorm& first) : x(rows), norm(&first) {}
};

// Thread: Forward from the engine thread. Immutable after loading.
class Linear {
 public:
  // slices: the tensors' names without ".weight"; with `bias` each also has "<name>.bias".
  static Result<Linear> Load(WeightLoader& loader, std::vector<WeightLoader::Rows> slices, int64_t k, bool bias);

  // out: [T, N] = product, or += with `add`; may not overlap in.x. Takes scratch from ctx.arena.
  void Forward(RunContext& ctx, LinearInput in, Mat<float> out, bool add = false) const;

  // Whether gate and up rows in this one and `next` after it can go through ForwardGated and ForwardPrepared.
  bool CanGate(const Linear& next) const;
  // out: [T, ActivationBytes(kBFloat, N/2)] = silu(first half) * second half, as the next product reads it.
  Activations ForwardGated(RunContext& ctx, LinearInput in, Mat<std::byte> out) const;
  void ForwardPrepared(RunContext& ctx, const Activations& x, Mat<float> out, bool add) const;

  int64_t inputs() const { return k_; }
  int64_t outputs() const { return n_; }
  // Bytes of arena that Forward needs for T rows.
  static size_t ScratchBytes(int64_t rows, int64_t k);
  const std::vector<PackedMat>& parts() const { return parts_; }

 private:
  Activations PrepareRows(RunContext& ctx, LinearInput in, Form form) const;
  void Multiply(RunContext& ctx, const PackedMat& part, int64_t column, const Activations& x, Mat<float> out, bool add) const;

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

}  // namespace sgl
