// The plain element types, read sixteen at a time as floats.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "kernels/simd.h"

namespace sgl::KERNEL_ISA {

struct F32Elem {
  using Type = float;
  SIMD_FN F32x16 LoadLanes(const Type* p) { return Load(p); }
};
struct F16Elem {
  using Type = uint16_t;
  SIMD_FN F32x16 LoadLanes(const Type* p) { return LoadF16(p); }
};
struct BF16Elem {
  using Type = uint16_t;
  SIMD_FN F32x16 LoadLanes(const Type* p) { return LoadBF16(p); }
};

}  // namespace sgl::KERNEL_ISA
