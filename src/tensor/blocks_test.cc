// Golden: tests/goldens/blocks/blocks.bin, made by tools/make_block_goldens.py with the Python package gguf.
// SPDX-License-Identifier: Apache-2.0
#include "tensor/blocks.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <vector>

namespace sgl {
namespace {

TEST(Blocks, EqualTheReferenceBitForBit) {
  std::ifstream file(SGLANG_SOURCE_DIR "/tests/goldens/blocks/blocks.bin", std::ios::binary);
  const std::vector<char> bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  std::set<std::string> seen;
  size_t at = 0;
  while (at + 24 <= bytes.size()) {
    const std::string name(bytes.data() + at);
    uint32_t raw_bytes, floats;
    std::memcpy(&raw_bytes, bytes.data() + at + 16, 4);
    std::memcpy(&floats, bytes.data() + at + 20, 4);
    at += 24;
    ASSERT_LE(at + raw_bytes + 4ull * floats, bytes.size());
    const auto dtype = DTypeFromName(name);
    ASSERT_TRUE(dtype.has_value()) << name;
    ASSERT_EQ(RowBytes(*dtype, floats), raw_bytes) << name;
    // One byte off alignment: file data may start anywhere.
    std::vector<std::byte> raw(raw_bytes + 1);
    std::memcpy(raw.data() + 1, bytes.data() + at, raw_bytes);
    std::vector<uint32_t> want(floats);
    std::memcpy(want.data(), bytes.data() + at + raw_bytes, 4ull * floats);
    std::vector<float> got(floats + 1, -77.0f);
    DequantiseRow(*dtype, raw.data() + 1, floats, got.data());
    for (size_t i = 0; i < floats; ++i) ASSERT_EQ(std::bit_cast<uint32_t>(got[i]), want[i]) << name << " element " << i;
    EXPECT_EQ(got[floats], -77.0f) << name;
    seen.insert(name);
    at += raw_bytes + 4ull * floats;
  }
  EXPECT_EQ(at, bytes.size());
  EXPECT_EQ(seen.size(), 11u);
}

TEST(Blocks, AnEmptyRowWritesNothing) {
  float out = 5.0f;
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kQ4_K}) DequantiseRow(dtype, nullptr, 0, &out);
  EXPECT_EQ(out, 5.0f);
}

}  // namespace
}  // namespace sgl
