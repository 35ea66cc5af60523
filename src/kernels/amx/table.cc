// The table of processors with a matrix unit (AMX): that of AVX-512 with VNNI, but for the products.
// SPDX-License-Identifier: Apache-2.0
#include "kernels/amx/kernels_amx.h"
#include "kernels/any/packed.h"

namespace sgl::avx512vnni {
Kernels Table();
}

namespace sgl::KERNEL_ISA {

Form FormOf(DType format) { return format == DType::kF32 ? Form::kFloat : Form::kBFloat; }

Kernels Table() {
  Kernels table = avx512vnni::Table();
  table.isa = "amx";
  table.form = FormOf;
  table.matmul = MatMul;
  table.matmul_gated = MatMulGated;
  return table;
}

}  // namespace sgl::KERNEL_ISA
