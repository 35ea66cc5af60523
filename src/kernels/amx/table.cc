// The table of CPUs with AMX: what has no tile kernel runs the AVX-512 code, compiled again in this namespace.
// SPDX-License-Identifier: Apache-2.0
#include "kernels/any/kernels_any.h"

namespace sgl::KERNEL_ISA {

Kernels AmxTable() {
  Kernels table = Table();
  table.isa = "amx";
  return table;
}

}  // namespace sgl::KERNEL_ISA
