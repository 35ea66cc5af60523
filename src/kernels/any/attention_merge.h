// Softmax state of a (row, head): how results of splits become one. The same code merges splits within a task and partials of several.
// Source: arXiv:2205.14135 (rescaling).
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "kernels/simd.h"

namespace sgl::KERNEL_ISA {

inline constexpr float kNothing = -__builtin_inff();

struct Running {
  float max = kNothing, sum = 0.0f;
  // Takes in a part that is not empty; its values then enter as fma(part, theirs, mine * ours).
  void Merge(float part_max, float part_sum, float& ours, float& theirs) {
    if (sum == 0.0f) {  // the first part is taken as it is
      max = part_max;
      sum = part_sum;
      ours = 0.0f;
      theirs = 1.0f;
      return;
    }
    const float top = part_max > max ? part_max : max;
    float factors[kLanes];
    Store(Exp(SelectLanes(0, 1, Set(max - top), Set(part_max - top))), factors);
    ours = factors[0];
    theirs = factors[1];
    sum = sum * ours + part_sum * theirs;
    max = top;
  }
};
SIMD_FN F32x16 MergeValues(F32x16 mine, F32x16 part, float ours, float theirs) {
  return Fma(Add(part, Zero()), Set(theirs), Mul(mine, Set(ours)));  // + 0: a stored part and a fresh one agree on the sign of zero
}
SIMD_FN F32x16 Normalise(F32x16 acc, float sum) { return sum == 0.0f ? Zero() : Div(acc, Set(sum)); }

}  // namespace sgl::KERNEL_ISA
