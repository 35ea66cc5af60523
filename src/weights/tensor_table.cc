// SPDX-License-Identifier: Apache-2.0
#include "weights/tensor_table.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>

namespace sgl {

std::optional<int64_t> TensorBytes(DType dtype, std::span<const int64_t> shape) {
  const DTypeInfo& info = Info(dtype);
  int64_t elems = 1, bytes = 0;
  for (const int64_t dim : shape)
    if (__builtin_mul_overflow(elems, dim, &elems)) return std::nullopt;
  if (elems % info.block_elems != 0) return std::nullopt;
  if (__builtin_mul_overflow(elems / info.block_elems, int64_t{info.block_bytes}, &bytes)) return std::nullopt;
  return bytes;
}

std::string ShapeText(std::span<const int64_t> shape) { return fmt::format("[{}]", fmt::join(shape.begin(), shape.end(), ", ")); }

std::string Quoted(std::string_view name) {
  constexpr size_t kShown = 128;
  std::string out;
  AppendJsonString(out, name.substr(0, kShown));
  if (name.size() > kShown) out += "...";
  return out;
}

std::string SomeOf(const std::vector<std::string>& names) {
  const size_t shown = std::min<size_t>(names.size(), 3);
  std::string out = fmt::format("{}", fmt::join(names.begin(), names.begin() + static_cast<ptrdiff_t>(shown), ", "));
  if (names.size() > shown) out += fmt::format(" and {} more", names.size() - shown);
  return out;
}

Result<TensorTable> TensorTable::Make(std::vector<TensorRef> tensors) {
  TensorTable table;
  table.tensors_ = std::move(tensors);
  table.by_name_.resize(table.tensors_.size());
  std::iota(table.by_name_.begin(), table.by_name_.end(), 0u);
  const auto name = [&](uint32_t i) -> const std::string& { return table.tensors_[i].name; };
  std::stable_sort(table.by_name_.begin(), table.by_name_.end(), [&](uint32_t a, uint32_t b) { return name(a) < name(b); });
  for (size_t i = 1; i < table.by_name_.size(); ++i) {
    const TensorRef& a = table.tensors_[table.by_name_[i - 1]];
    const TensorRef& b = table.tensors_[table.by_name_[i]];
    if (a.name == b.name) {
      return InvalidArgument(a.file == b.file ? fmt::format("{}: tensor {} appears twice", a.file, Quoted(a.name))
                                              : fmt::format("tensor {} is both in {} and in {}", Quoted(a.name), a.file, b.file));
    }
  }
  return table;
}

const TensorRef* TensorTable::find(std::string_view name) const {
  const auto at =
      std::lower_bound(by_name_.begin(), by_name_.end(), name, [&](uint32_t i, std::string_view n) { return tensors_[i].name < n; });
  return at != by_name_.end() && tensors_[*at].name == name ? &tensors_[*at] : nullptr;
}

}  // namespace sgl
