// A fast 64-bit hash of bytes, to notice change and damage. Not for anything that an adversary must not forge.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sgl {

// The value is written to files: it never changes. Eight lanes, so that it runs as fast as memory does.
uint64_t HashBytes(const void* data, size_t bytes, uint64_t seed = 0);
inline uint64_t HashText(std::string_view text, uint64_t seed = 0) { return HashBytes(text.data(), text.size(), seed); }

}  // namespace sgl
