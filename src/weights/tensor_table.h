// What the readers of all formats share: sizes with overflow checks, names for messages, and look-up by name.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "weights/mapped_file.h"
#include "weights/weights.h"

namespace sgl {

// Bytes of a tensor; nothing if the number of elements or of bytes exceeds 2^63-1, or the elements do not fill whole blocks.
std::optional<int64_t> TensorBytes(DType dtype, std::span<const int64_t> shape);

std::string ShapeText(std::span<const int64_t> shape);  // "[2, 3]"
// A name out of a file, for a message: quoted, escaped, cut after 128 bytes.
std::string Quoted(std::string_view name);
// At most three of the names: "a, b, c and 4 more".
std::string SomeOf(const std::vector<std::string>& names);

// Tensors in file order with look-up by name. The order of tensors() never changes.
class TensorTable {
 public:
  // Error: two tensors of one name.
  static Result<TensorTable> Make(std::vector<TensorRef> tensors);
  const std::vector<TensorRef>& tensors() const { return tensors_; }
  const TensorRef* find(std::string_view name) const;

 private:
  std::vector<TensorRef> tensors_;
  std::vector<uint32_t> by_name_;  // indices into tensors_, sorted by name
};

// The header of one safetensors file, checked.
Result<std::vector<TensorRef>> ReadSafetensors(std::span<const std::byte> bytes, const std::string& file, bool mapped);

// The header of one GGUF file (or part), checked.
struct GgufHeader {
  GgufMetadata metadata;
  std::vector<TensorRef> tensors;
};
Result<GgufHeader> ReadGguf(std::span<const std::byte> bytes, const std::string& file, bool mapped);

}  // namespace sgl
