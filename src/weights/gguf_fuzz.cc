// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "weights/gguf_config.h"
#include "weights/weights.h"

// Whatever the bytes are: an error, or tensors that lie inside them; then the same for the config.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
  const auto file = sgl::ParseGguf(bytes, "fuzz");
  if (!file.ok()) return 0;
  unsigned sum = 0;
  for (const sgl::TensorRef& t : (*file)->tensors()) {
    CHECK((*file)->find(t.name) == &t);
    sum += static_cast<unsigned>(sgl::HuggingFaceName(t.name).size());
    for (int64_t i = 0; i < t.bytes; ++i) sum += static_cast<unsigned>(t.data[i]);
  }
  const auto config = sgl::HuggingFaceConfig(**file);
  CHECK(!config.ok() || config->is_object());
  volatile unsigned sink = sum;
  (void)sink;
  return 0;
}
