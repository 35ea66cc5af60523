// The float micro-kernel that plain matrix products and attention share.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "kernels/simd.h"

namespace sgl::KERNEL_ISA {

// c[r][16p + i] += sum over j ascending of a[r][j] * b[p][j][i], one fma chain per element that starts from c.
// rows <= kTileRows, panels <= kTilePanels. a: rows lda floats apart. b: panels b_stride floats apart, each [k][16]. c: rows ldc apart.
void FloatTile(int rows, int panels, const float* a, int64_t lda, int64_t k, const float* b, int64_t b_stride, float* c, int64_t ldc);

}  // namespace sgl::KERNEL_ISA
