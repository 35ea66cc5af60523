// Opens GGUF files, also those split into parts, as one set of tensors.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>

#include "base/json.h"
#include "weights/tensor_table.h"

namespace sgl {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMaxParts = 65535;  // split.count is a u16

class GgufFiles : public GgufFile {
 public:
  GgufFiles(std::vector<MappedFile> maps, GgufMetadata metadata, TensorTable table)
      : maps_(std::move(maps)), metadata_(std::move(metadata)), table_(std::move(table)) {}
  const std::vector<TensorRef>& tensors() const override { return table_.tensors(); }
  const TensorRef* find(std::string_view name) const override { return table_.find(name); }
  const GgufMetadata& metadata() const override { return metadata_; }

 private:
  std::vector<MappedFile> maps_;
  GgufMetadata metadata_;
  TensorTable table_;
};

Result<std::unique_ptr<GgufFile>> Make(std::vector<MappedFile> maps, GgufHeader header) {
  TRY(TensorTable table, TensorTable::Make(std::move(header.tensors)));
  return std::unique_ptr<GgufFile>(std::make_unique<GgufFiles>(std::move(maps), std::move(header.metadata), std::move(table)));
}

int64_t IntOr(const GgufMetadata& metadata, std::string_view key, int64_t fallback) {
  const Json* value = metadata.find(key);
  return value != nullptr && value->is_int() ? value->as_int() : fallback;
}

std::string PartSuffix(int64_t number, int64_t count) { return fmt::format("-{:05}-of-{:05}.gguf", number + 1, count); }

// Checks that a part says of itself that it is part `number` of `count`.
Status CheckPart(const fs::path& path, const GgufMetadata& metadata, int64_t number, int64_t count) {
  const int64_t found_number = IntOr(metadata, "split.no", -1), found_count = IntOr(metadata, "split.count", -1);
  if (found_number == number && found_count == count) return {};
  return InvalidArgument(
      fmt::format("{}: expected split.no {} and split.count {}, found {} and {}", path.string(), number, count, found_number, found_count));
}

// Appends the tensors of parts 2..count to `header`, the first part's.
Status AddParts(const fs::path& first, int64_t count, std::vector<MappedFile>& maps, GgufHeader& header) {
  const std::string name = first.string(), suffix = PartSuffix(0, count);
  if (!name.ends_with(suffix)) {
    return InvalidArgument(fmt::format("{}: the first of {} parts: expected a name that ends with {}", name, count, suffix));
  }
  const std::string stem = name.substr(0, name.size() - suffix.size());
  std::vector<std::string> missing;
  std::error_code ignored;
  for (int64_t i = 1; i < count; ++i)
    if (const std::string part = stem + PartSuffix(i, count); !fs::exists(part, ignored)) missing.push_back(part);
  if (!missing.empty()) return NotFound(fmt::format("{}: parts are missing: {}", name, SomeOf(missing)));
  for (int64_t i = 1; i < count; ++i) {
    const fs::path path = stem + PartSuffix(i, count);
    TRY(MappedFile map, MappedFile::Open(path));
    TRY(GgufHeader part, ReadGguf(map.bytes(), path.string(), true));
    TRY_STATUS(CheckPart(path, part.metadata, i, count));
    std::move(part.tensors.begin(), part.tensors.end(), std::back_inserter(header.tensors));
    maps.push_back(std::move(map));
  }
  const auto found = static_cast<int64_t>(header.tensors.size());
  if (const int64_t total = IntOr(header.metadata, "split.tensors.count", found); total != found) {
    return InvalidArgument(fmt::format("{}: expected {} tensors in all parts (split.tensors.count), found {}", name, total, found));
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<GgufFile>> ParseGguf(std::span<const std::byte> bytes, const std::string& name) {
  TRY(GgufHeader header, ReadGguf(bytes, name, false));
  return Make({}, std::move(header));
}

Result<std::unique_ptr<GgufFile>> OpenGguf(const fs::path& file) {
  std::vector<MappedFile> maps;
  TRY(MappedFile map, MappedFile::Open(file));
  TRY(GgufHeader header, ReadGguf(map.bytes(), file.string(), true));
  maps.push_back(std::move(map));
  const int64_t count = IntOr(header.metadata, "split.count", 1), number = IntOr(header.metadata, "split.no", 0);
  if (count < 0 || count > kMaxParts)
    return InvalidArgument(fmt::format("{}: split.count: expected 1..{}, found {}", file.string(), kMaxParts, count));
  if (number != 0) {
    return InvalidArgument(
        fmt::format("{}: this is part {} of {}; open the first part (...{})", file.string(), number + 1, count, PartSuffix(0, count)));
  }
  if (count > 1) TRY_STATUS(AddParts(file, count, maps, header));
  return Make(std::move(maps), std::move(header));
}

}  // namespace sgl
