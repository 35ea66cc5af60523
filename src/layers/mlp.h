// Gated feed-forward: down(silu(gate x) * up x).  Source: arXiv:2002.05202.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>

#include "layers/linear.h"

namespace sgl {

class GatedMlp {
 public:
  static Result<GatedMlp> Load(WeightLoader& loader, const std::string& name, int64_t width, int64_t hidden, bool bias);
  void Forward(RunContext& ctx, LinearInput h, Mat<float> out, bool add = false) const;  // both [T, D]; out += with `add`
  static size_t ScratchBytes(int64_t rows, int64_t width, int64_t hidden);

 private:
  Linear gate_up_, down_;
  int64_t hidden_ = 0;  // F
};

}  // namespace sgl
