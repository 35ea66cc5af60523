// One safetensors file: u64 header length n, n bytes of JSON, then the data that the JSON's offsets point into.
// Format: the safetensors README, version 0.4. Checks follow the reference reader: the tensors must tile the data exactly.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <unordered_set>

#include "base/json.h"
#include "weights/tensor_table.h"

namespace sgl {
namespace {

constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the reference reader's limit

// What a header entry says; the range is relative to the data and not yet known to be inside it.
struct Entry {
  TensorRef tensor;
  int64_t begin = 0, end = 0;
};

// The top-level keys of `text`, a valid JSON object: how many, and one that appears twice as written (escapes are not decoded).
// Json keeps only the last of equal keys, and a lost tensor that is empty or shares the range of its twin leaves no hole in the data.
struct Keys {
  size_t count = 0;
  std::string_view twice;
};
Keys ScanKeys(std::string_view text) {
  Keys keys;
  std::unordered_set<std::string_view> seen;
  int depth = 0;
  std::string_view last;  // the latest string at depth 1; a ':' makes it a key
  for (size_t i = 0; i < text.size(); ++i) {
    switch (text[i]) {
      case '"': {
        const size_t begin = ++i;
        while (i < text.size() && text[i] != '"') i += text[i] == '\\' ? 2 : 1;
        if (depth == 1) last = text.substr(begin, i - begin);
        break;
      }
      case ':':
        if (depth != 1) break;
        ++keys.count;
        if (!seen.insert(last).second) keys.twice = last;
        break;
      case '{':
      case '[': ++depth; break;
      case '}':
      case ']': --depth; break;
      default: break;
    }
  }
  return keys;
}

// A list of integers in [0, 2^63); nothing if `value` is anything else.
std::optional<std::vector<int64_t>> Sizes(const Json& value) {
  if (!value.is_array()) return std::nullopt;
  std::vector<int64_t> sizes;
  sizes.reserve(value.as_array().size());
  for (const Json& item : value.as_array()) {
    if (!item.is_int() || item.as_int() < 0) return std::nullopt;
    sizes.push_back(item.as_int());
  }
  return sizes;
}

std::string Shown(const Json& value) {
  std::string text = DumpJson(value);
  if (text.size() > 80) text = text.substr(0, 80) + "...";
  return text;
}

Status CheckMetadata(const Json& metadata) {
  if (metadata.is_null()) return {};
  if (!metadata.is_object()) return InvalidArgument(fmt::format("__metadata__: expected an object, found {}", metadata.type_name()));
  for (const auto& [key, value] : metadata.as_object()) {
    if (!value.is_string()) return InvalidArgument(fmt::format("__metadata__: {}: expected a string, found {}", Quoted(key), Shown(value)));
  }
  return {};
}

// Errors do not yet name the file and the tensor.
Result<Entry> ReadEntry(const Json& value) {
  if (!value.is_object()) return InvalidArgument(fmt::format("expected an object, found {}", Shown(value)));
  const Json& dtype_name = value["dtype"];
  if (!dtype_name.is_string()) return InvalidArgument(fmt::format("dtype: expected a string, found {}", Shown(dtype_name)));
  const auto shape = Sizes(value["shape"]);
  if (!shape) return InvalidArgument(fmt::format("shape: expected a list of sizes, found {}", Shown(value["shape"])));
  const auto range = Sizes(value["data_offsets"]);
  if (!range || range->size() != 2 || (*range)[0] > (*range)[1]) {
    return InvalidArgument(fmt::format("data_offsets: expected [begin, end] with begin <= end, found {}", Shown(value["data_offsets"])));
  }
  const std::optional<DType> dtype = DTypeFromName(dtype_name.as_string());
  // Aliases ("float32") and block formats are not safetensors names.
  if (!dtype || IsQuantised(*dtype) || Info(*dtype).name != dtype_name.as_string()) {
    return Unimplemented(
        fmt::format("unsupported dtype {}; supported: F64 F32 F16 BF16 I64 I32 I8 U8 BOOL", Quoted(dtype_name.as_string())));
  }
  const std::optional<int64_t> bytes = TensorBytes(*dtype, *shape);
  if (!bytes) return InvalidArgument(fmt::format("shape {} overflows", ShapeText(*shape)));
  Entry entry;
  entry.begin = (*range)[0];
  entry.end = (*range)[1];
  entry.tensor.dtype = *dtype;
  entry.tensor.shape = *shape;
  entry.tensor.bytes = *bytes;
  if (entry.end - entry.begin != *bytes) {
    return InvalidArgument(fmt::format("expected {} bytes for {} {}, found data_offsets [{}, {}]", *bytes, dtype_name.as_string(),
                                       ShapeText(*shape), entry.begin, entry.end));
  }
  return entry;
}

// The entries, in order of their ranges, must follow each other from 0 to data_bytes.
Status CheckTiling(const std::vector<Entry>& entries, int64_t data_bytes) {
  std::vector<const Entry*> sorted;
  sorted.reserve(entries.size());
  for (const Entry& e : entries) sorted.push_back(&e);
  std::sort(sorted.begin(), sorted.end(),
            [](const Entry* a, const Entry* b) { return std::pair(a->begin, a->end) < std::pair(b->begin, b->end); });
  int64_t at = 0;
  for (const Entry* e : sorted) {
    if (e->begin != at) {
      return InvalidArgument(fmt::format("tensor {}: expected its data at offset {}, found {} ({})", Quoted(e->tensor.name), at, e->begin,
                                         e->begin < at ? "overlaps the tensor before it" : "leaves a hole"));
    }
    if (e->end > data_bytes) {
      return InvalidArgument(fmt::format("tensor {}: expected data up to offset {}, found {} bytes of data: the file is truncated",
                                         Quoted(e->tensor.name), e->end, data_bytes));
    }
    at = e->end;
  }
  if (at != data_bytes) return InvalidArgument(fmt::format("expected {} bytes of data by the header, found {}", at, data_bytes));
  return {};
}

// The JSON text between the length and the data.
Result<std::string_view> HeaderText(std::span<const std::byte> bytes) {
  uint64_t length = 0;
  if (bytes.size() < sizeof length) return InvalidArgument(fmt::format("truncated: expected at least 8 bytes, found {}", bytes.size()));
  std::memcpy(&length, bytes.data(), sizeof length);
  if (length > kMaxHeaderBytes) {
    return InvalidArgument(fmt::format("expected a header of at most {} bytes, found length {}", kMaxHeaderBytes, length));
  }
  if (length > bytes.size() - sizeof length) {
    return InvalidArgument(fmt::format("truncated: expected a header of {} bytes, found {}", length, bytes.size() - sizeof length));
  }
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + sizeof length, static_cast<size_t>(length));
  if (text.empty() || text[0] != '{') return InvalidArgument("expected a header that starts with '{'");
  return text;
}

Result<std::vector<TensorRef>> Read(std::span<const std::byte> bytes, const std::string& file, bool mapped) {
  TRY(const std::string_view text, HeaderText(bytes));
  auto parsed = ParseJson(text);
  if (!parsed.ok()) return std::move(parsed).error().In("header");
  if (!parsed->is_object()) return InvalidArgument("header: expected a JSON object");
  if (const Keys keys = ScanKeys(text); keys.count != parsed->as_object().size()) {
    return InvalidArgument(fmt::format("header: expected {} different names, found {}: {} appears twice", keys.count,
                                       parsed->as_object().size(), Quoted(keys.twice)));
  }
  const std::span<const std::byte> data = bytes.subspan(sizeof(uint64_t) + text.size());
  std::vector<Entry> entries;
  entries.reserve(parsed->as_object().size());
  for (const auto& [name, value] : parsed->as_object()) {
    if (name == "__metadata__") {
      TRY_STATUS(CheckMetadata(value));
      continue;
    }
    auto entry = ReadEntry(value);
    if (!entry.ok()) return std::move(entry).error().In("tensor " + Quoted(name));
    entry->tensor.name = name;
    entry->tensor.file = file;
    entry->tensor.mapped = mapped;
    entries.push_back(*std::move(entry));
  }
  TRY_STATUS(CheckTiling(entries, static_cast<int64_t>(data.size())));
  std::vector<TensorRef> tensors;
  tensors.reserve(entries.size());
  for (Entry& e : entries) {
    e.tensor.data = data.data() + e.begin;
    tensors.push_back(std::move(e.tensor));
  }
  return tensors;
}

}  // namespace

Result<std::vector<TensorRef>> ReadSafetensors(std::span<const std::byte> bytes, const std::string& file, bool mapped) {
  auto tensors = Read(bytes, file, mapped);
  if (!tensors.ok()) return std::move(tensors).error().In(file);
  return tensors;
}

}  // namespace sgl
