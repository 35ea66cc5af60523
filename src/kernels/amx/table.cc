// The table of CPUs with AMX: what has no tile kernel runs the AVX-512 code, compiled again in this namespace.
// SPDX-License-Identifier: Apache-2.0
#include "kernels/amx/amx.h"

namespace sgl::KERNEL_ISA {

Kernels AmxTable() {
  Kernels table = Table();
  table.isa = "amx";
  table.attention = TileAttention;
  table.form = TileForm;
  table.matmul = TileMatMul;
  table.matmul_gated = TileMatMulGated;
  return table;
}

}  // namespace sgl::KERNEL_ISA
