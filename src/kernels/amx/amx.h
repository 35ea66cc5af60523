// Kernels on the tile registers. Contracts: kernels/kernels.h.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "kernels/any/kernels_any.h"

namespace sgl::KERNEL_ISA {

void TileAttention(Mat<const float> q, const KvLayer& kv, const AttnTask& task, Mat<float>* out, float* partials, float* scratch);

}  // namespace sgl::KERNEL_ISA
