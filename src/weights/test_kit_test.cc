// SPDX-License-Identifier: Apache-2.0
#include "weights/test_kit.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/json.h"
#include "weights/tensor_table.h"

namespace sgl::test {
namespace {

std::string Joined(std::vector<std::string> lines) {
  std::sort(lines.begin(), lines.end());
  std::string out;
  for (const std::string& line : lines) out += line + "\n";
  return out;
}

}  // namespace

std::filesystem::path GoldenDir() { return std::filesystem::path(SGLANG_SOURCE_DIR) / "tests/goldens/weights"; }

std::string Describe(const WeightFile& file) {
  std::vector<std::string> lines;
  for (const TensorRef& t : file.tensors()) {
    std::string hex;
    for (int64_t i = 0; i < t.bytes; ++i) hex += fmt::format("{:02x}", static_cast<unsigned>(t.data[i]));
    lines.push_back(fmt::format("{} {} {} {}", t.name, Info(t.dtype).name, ShapeText(t.shape), hex));
  }
  return Joined(std::move(lines));
}

std::string DescribeGolden(const std::vector<std::string>& files) {
  std::vector<std::string> lines;
  const auto golden = ParseJson(ReadAll(GoldenDir() / "expected.json"));
  EXPECT_TRUE(golden.ok());
  for (const std::string& file : files) {
    const Json& tensors = (*golden)["files"][file];
    EXPECT_TRUE(tensors.is_array()) << file;
    for (const Json& t : tensors.is_array() ? tensors.as_array() : Json::Array{}) {
      const Json::Array& a = t.as_array();
      std::vector<int64_t> shape;
      for (const Json& n : a[2].as_array()) shape.push_back(n.as_int());
      lines.push_back(fmt::format("{} {} {} {}", a[0].as_string(), a[1].as_string(), ShapeText(shape), a[3].as_string()));
    }
  }
  return Joined(std::move(lines));
}

}  // namespace sgl::test
