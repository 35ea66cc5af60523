// For this room's tests: files built byte by byte, temporary directories, and the goldens.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "weights/weights.h"

namespace sgl::test {

// Bytes in an allocation of exactly their size, so that the sanitizers see a read past the end.
inline std::vector<std::byte> Bytes(std::string_view text) {
  std::vector<std::byte> bytes(text.size());
  if (!text.empty()) std::memcpy(bytes.data(), text.data(), text.size());
  return bytes;
}

template <class T>
std::string Raw(T value) {
  static_assert(std::is_trivially_copyable_v<T>);
  return std::string(reinterpret_cast<const char*>(&value), sizeof value);
}

inline std::string ReadAll(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

class TempDir {
 public:
  TempDir() {
    std::string name = (std::filesystem::temp_directory_path() / "sgl-weights-XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path Write(const std::string& name, std::string_view text) const {
    const std::filesystem::path file = path_ / name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << text;
    return file;
  }

 private:
  std::filesystem::path path_;
};

inline std::string Safetensors(std::string_view header, size_t data_bytes) {
  std::string out = Raw(uint64_t{header.size()}) + std::string(header);
  for (size_t i = 0; i < data_bytes; ++i) out += static_cast<char>(i);
  return out;
}
// A file with U8 tensors of one byte each.
inline std::string SafetensorsOf(const std::vector<std::string>& names) {
  std::string header;
  for (size_t i = 0; i < names.size(); ++i) {
    header += (i == 0 ? "{" : ",") + ("\"" + names[i] + "\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[") + std::to_string(i) + "," +
              std::to_string(i + 1) + "]}";
  }
  return Safetensors(header + "}", names.size());
}

enum GgufType : uint32_t { kU8 = 0, kU16 = 2, kU32 = 4, kI32 = 5, kF32 = 6, kBool = 7, kString = 8, kArray = 9, kU64 = 10 };

// Writes a GGUF file in memory. Counts may be overridden to lie.
class GgufBuilder {
 public:
  static std::string Text(std::string_view s) { return Raw(uint64_t{s.size()}) + std::string(s); }

  GgufBuilder& Value(std::string_view key, uint32_t type, const std::string& raw) {
    values_ += Text(key) + Raw(type) + raw;
    ++value_count;
    return *this;
  }
  GgufBuilder& String(std::string_view key, std::string_view s) { return Value(key, kString, Text(s)); }
  GgufBuilder& Number(std::string_view key, uint32_t n) { return Value(key, kU32, Raw(n)); }
  GgufBuilder& Float(std::string_view key, float f) { return Value(key, kF32, Raw(f)); }
  GgufBuilder& Numbers(std::string_view key, const std::vector<uint32_t>& all) {
    std::string raw = Raw(uint32_t{kU32}) + Raw(uint64_t{all.size()});
    for (const uint32_t n : all) raw += Raw(n);
    return Value(key, kArray, raw);
  }
  GgufBuilder& Strings(std::string_view key, const std::vector<std::string>& all) {
    std::string raw = Raw(uint32_t{kString}) + Raw(uint64_t{all.size()});
    for (const std::string& s : all) raw += Text(s);
    return Value(key, kArray, raw);
  }
  // dims: innermost first, as in the file.
  GgufBuilder& Tensor(std::string_view name, const std::vector<uint64_t>& dims, uint32_t type, uint64_t offset) {
    tensors_ += Text(name) + Raw(static_cast<uint32_t>(dims.size()));
    for (const uint64_t d : dims) tensors_ += Raw(d);
    tensors_ += Raw(type) + Raw(offset);
    ++tensor_count;
    return *this;
  }
  std::string Build(size_t data_bytes, uint64_t alignment = 32) const {
    std::string out = magic + Raw(version) + Raw(tensor_count) + Raw(value_count) + values_ + tensors_;
    while (out.size() % alignment != 0) out += '\0';
    return out + std::string(data_bytes, '\x5a');
  }

  std::string magic = "GGUF";
  uint32_t version = 3;
  uint64_t tensor_count = 0, value_count = 0;

 private:
  std::string values_, tensors_;
};

std::filesystem::path GoldenDir();

// One line per tensor: name, dtype, shape, bytes in hex. Sorted, so that two such texts compare whole files.
std::string Describe(const WeightFile& file);
std::string DescribeGolden(const std::vector<std::string>& files);  // the same from expected.json

}  // namespace sgl::test
