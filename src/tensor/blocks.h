// GGUF's quantised block formats as the file stores them -> f32. Exact and plain; the reference for every kernel.
// Source: the GGUF format description (github.com/ggml-org/ggml, docs/gguf.md) and spec of each block; element order is the file's.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"

namespace sgl {

// out[0..elems) = the row's values. src: elems elements of any plain float type or block format. Precondition: elems % block_elems == 0.
void DequantiseRow(DType dtype, const std::byte* src, int64_t elems, float* out);

}  // namespace sgl
