// SPDX-License-Identifier: Apache-2.0
#include "tensor/dtype.h"

#include "base/check.h"

namespace sgl {
namespace {
constexpr DTypeInfo kTypes[] = {
    {DType::kF32, "F32", 1, 4},       {DType::kF16, "F16", 1, 2},     {DType::kBF16, "BF16", 1, 2},     {DType::kI8, "I8", 1, 1},
    {DType::kI32, "I32", 1, 4},       {DType::kI64, "I64", 1, 8},     {DType::kU8, "U8", 1, 1},         {DType::kBool, "BOOL", 1, 1},
    {DType::kF64, "F64", 1, 8},       {DType::kQ4_0, "Q4_0", 32, 18}, {DType::kQ4_1, "Q4_1", 32, 20},   {DType::kQ5_0, "Q5_0", 32, 22},
    {DType::kQ5_1, "Q5_1", 32, 24},   {DType::kQ8_0, "Q8_0", 32, 34}, {DType::kQ4_K, "Q4_K", 256, 144}, {DType::kQ5_K, "Q5_K", 256, 176},
    {DType::kQ6_K, "Q6_K", 256, 210},
};
struct Alias {
  std::string_view name;
  DType dtype;
};
constexpr Alias kAliases[] = {{"float32", DType::kF32}, {"float", DType::kF32},     {"float16", DType::kF16},
                              {"half", DType::kF16},    {"bfloat16", DType::kBF16}, {"bf16", DType::kBF16}};
}  // namespace

const DTypeInfo& Info(DType dtype) { return kTypes[static_cast<int>(dtype)]; }

std::optional<DType> DTypeFromName(std::string_view name) {
  for (const DTypeInfo& t : kTypes)
    if (t.name == name) return t.dtype;
  for (const Alias& a : kAliases)
    if (a.name == name) return a.dtype;
  return std::nullopt;
}

bool IsQuantised(DType dtype) { return Info(dtype).block_elems > 1; }

int64_t RowBytes(DType dtype, int64_t elems) {
  const DTypeInfo& info = Info(dtype);
  DCHECK(elems % info.block_elems == 0);
  return elems / info.block_elems * info.block_bytes;
}

}  // namespace sgl
