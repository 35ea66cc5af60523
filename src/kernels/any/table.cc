// The table of one instruction set.
// SPDX-License-Identifier: Apache-2.0
#include "kernels/any/kernels_any.h"
#include "kernels/any/packed.h"

namespace sgl::KERNEL_ISA {

namespace {
Form FormOf(DType format) { return format == DType::kI8 ? Form::kInt8 : CodeBits(format) == 0 ? Form::kFloat : Form::kInt15; }
}  // namespace

void MatMul(const Activations& x, const PackedMat& w, int64_t panel_begin, int64_t panel_end, const float* bias, bool add, Mat<float> out) {
  if (w.format == DType::kI8)
    MatMulInt8(x, w, panel_begin, panel_end, bias, add, out);
  else if (CodeBits(w.format) == 0)
    MatMulPlain(x.floats(), w, panel_begin, panel_end, bias, add, out);
  else
    MatMulBlocks(x, w, panel_begin, panel_end, bias, add, out);
}

Kernels Table() {
  return {.isa = kIsaName,
          .rms_norm = RmsNorm,
          .rope = Rope,
          .silu_mul = SiluMul,
          .add = AddTo,
          .form = FormOf,
          .prepare = Prepare,
          .matmul = MatMul,
          .matmul_gated = nullptr,
          .store_kv = StoreKv,
          .attention = Attention,
          .attention_merge = AttentionMerge,
          .argmax = ArgMax,
          .softmax_stats = SoftmaxStats};
}

}  // namespace sgl::KERNEL_ISA
