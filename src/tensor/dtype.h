// Element and block types of tensors, as safetensors and GGUF name them.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

namespace sgl {

enum class DType : uint8_t {
  kF32,
  kF16,
  kBF16,
  kI8,
  kI32,
  kI64,
  kU8,
  kBool,
  kF64,
  // GGUF block formats; the names are GGUF's.
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ8_0,
  kQ4_K,
  kQ5_K,
  kQ6_K,
};

struct DTypeInfo {
  DType dtype;
  std::string_view name;  // "F32", "Q4_K"
  int block_elems;        // elements per block; 1 for plain types
  int block_bytes;        // bytes per block
};

const DTypeInfo& Info(DType dtype);
std::optional<DType> DTypeFromName(std::string_view name);  // "BF16", "bfloat16", "Q4_K"; nothing if unknown
bool IsQuantised(DType dtype);                              // a block format

// Bytes of a row of `elems` elements. Precondition: elems % block_elems == 0.
int64_t RowBytes(DType dtype, int64_t elems);

}  // namespace sgl
