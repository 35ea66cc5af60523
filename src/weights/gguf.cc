// The header of a GGUF file: metadata, tensor table, and where the data lies. Layout: ggml's docs/gguf.md, versions 2 and 3
// (little-endian). Counts and lengths in the file are believed only as far as the bytes that remain could hold them; nothing is reserved on
// their word. SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "base/json.h"
#include "weights/tensor_table.h"

namespace sgl {
namespace {

static_assert(std::endian::native == std::endian::little, "GGUF numbers are read as they lie");

enum ValueType : uint32_t {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kString,
  kArray,
  kU64,
  kI64,
  kF64,
  kValueTypes,
};
constexpr std::array<const char*, kValueTypes> kValueTypeNames = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                                                  "bool", "string", "array", "u64", "i64", "f64"};
// The fewest bytes a value of each type takes: bounds the element count of an array.
constexpr std::array<uint64_t, kValueTypes> kLeastBytes = {1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8};
constexpr uint64_t kLeastKeyValueBytes = 8 + 4 + 1;    // empty key, type, one byte
constexpr uint64_t kLeastTensorBytes = 8 + 4 + 4 + 8;  // empty name, no dimensions, type, offset
constexpr int kMaxArrayDepth = 8;
// Over all arrays of a file. A Json value takes 40 bytes, so this bounds memory at 320 MiB; real vocabularies stay below a million.
constexpr uint64_t kMaxArrayValues = 8 << 20;
constexpr uint32_t kMaxDims = 4;  // ggml's limit
constexpr uint64_t kDefaultAlignment = 32;

struct TypeName {
  uint32_t id;
  const char* name;
};
struct SupportedType {
  uint32_t id;
  DType dtype;
};
// ggml's type ids.
constexpr SupportedType kSupported[] = {
    {0, DType::kF32},  {1, DType::kF16},  {2, DType::kQ4_0},  {3, DType::kQ4_1},  {6, DType::kQ5_0},
    {7, DType::kQ5_1}, {8, DType::kQ8_0}, {12, DType::kQ4_K}, {13, DType::kQ5_K}, {14, DType::kQ6_K},
    {24, DType::kI8},  {26, DType::kI32}, {27, DType::kI64},  {28, DType::kF64},  {30, DType::kBF16},
};
constexpr TypeName kUnsupported[] = {
    {9, "Q8_1"},   {10, "Q2_K"},   {11, "Q3_K"},  {15, "Q8_K"},  {16, "IQ2_XXS"}, {17, "IQ2_XS"}, {18, "IQ3_XXS"},
    {19, "IQ1_S"}, {20, "IQ4_NL"}, {21, "IQ3_S"}, {22, "IQ2_S"}, {23, "IQ4_XS"},  {25, "I16"},    {29, "IQ1_M"},
    {34, "TQ1_0"}, {35, "TQ2_0"},  {39, "MXFP4"}, {40, "NVFP4"}, {41, "Q1_0"},
};

Result<DType> TypeFromId(uint32_t id) {
  for (const SupportedType& t : kSupported)
    if (t.id == id) return t.dtype;
  for (const TypeName& t : kUnsupported)
    if (t.id == id) {
      return Unimplemented(fmt::format("unsupported type {}; supported: F32 F16 BF16 Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 Q4_K Q5_K Q6_K", t.name));
    }
  return InvalidArgument(fmt::format("unknown tensor type {}", id));
}

// Reads forward through the bytes; false (or Truncated) at their end.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : bytes_(bytes) {}
  uint64_t at() const { return at_; }
  uint64_t remaining() const { return bytes_.size() - at_; }

  template <class T>
  bool Take(T& out) {
    if (remaining() < sizeof(T)) return false;
    std::memcpy(&out, bytes_.data() + at_, sizeof(T));
    at_ += sizeof(T);
    return true;
  }
  bool TakeString(std::string_view& out) {
    const uint64_t start = at_;
    uint64_t length = 0;
    if (!Take(length) || length > remaining()) {
      at_ = start;
      return false;
    }
    out = {reinterpret_cast<const char*>(bytes_.data()) + at_, static_cast<size_t>(length)};
    at_ += length;
    return true;
  }
  Error Truncated(std::string_view what) const {
    return InvalidArgument(fmt::format("truncated: {} at byte {} goes beyond the end of the file ({} bytes)", what, at_, bytes_.size()));
  }

 private:
  std::span<const std::byte> bytes_;
  uint64_t at_ = 0;
};

class HeaderParser {
 public:
  HeaderParser(std::span<const std::byte> bytes, const std::string& file, bool mapped)
      : bytes_(bytes), file_(file), mapped_(mapped), reader_(bytes) {}

  Result<GgufHeader> Parse() {
    GgufHeader header;
    uint64_t tensors = 0, values = 0;
    TRY_STATUS(ReadStart(tensors, values));
    for (uint64_t i = 0; i < values; ++i) TRY_STATUS(ReadKeyValue(header.metadata, i));
    TRY(const uint64_t alignment, Alignment(header.metadata));
    for (uint64_t i = 0; i < tensors; ++i) {
      TRY(TensorRef tensor, ReadTensor(i, alignment));
      header.tensors.push_back(std::move(tensor));
    }
    TRY_STATUS(PlaceTensors(header.tensors, alignment));
    return header;
  }

 private:
  Status ReadStart(uint64_t& tensors, uint64_t& values) {
    std::array<char, 4> magic{};
    uint32_t version = 0;
    if (!reader_.Take(magic)) return reader_.Truncated("the magic");
    if (std::string_view(magic.data(), 4) != "GGUF") {
      return InvalidArgument(fmt::format("not a GGUF file: expected \"GGUF\", found {}", Quoted({magic.data(), 4})));
    }
    if (!reader_.Take(version)) return reader_.Truncated("the version");
    if (version == 0x02000000 || version == 0x03000000) return Unimplemented("big-endian GGUF files are not supported");
    if (version != 2 && version != 3) return Unimplemented(fmt::format("expected GGUF version 2 or 3, found {}", version));
    if (!reader_.Take(tensors) || !reader_.Take(values)) return reader_.Truncated("the counts");
    if (values > reader_.remaining() / kLeastKeyValueBytes) return reader_.Truncated(fmt::format("a list of {} metadata values", values));
    if (tensors > reader_.remaining() / kLeastTensorBytes) return reader_.Truncated(fmt::format("a list of {} tensors", tensors));
    return {};
  }

  Status ReadKeyValue(GgufMetadata& metadata, uint64_t index) {
    std::string_view key;
    uint32_t type = 0;
    if (!reader_.TakeString(key)) return reader_.Truncated(fmt::format("the key of metadata value {}", index));
    if (!reader_.Take(type)) return reader_.Truncated(fmt::format("the type of {}", Quoted(key)));
    auto value = ReadValue(type, 0);
    if (!value.ok()) return std::move(value).error().In("metadata " + Quoted(key));
    if (!metadata.values.emplace(std::string(key), *std::move(value)).second) {
      return InvalidArgument(fmt::format("metadata {} appears twice", Quoted(key)));
    }
    return {};
  }

  template <class T>
  Result<Json> Number() {
    T value;
    if (!reader_.Take(value)) return reader_.Truncated("a number");
    if constexpr (std::is_floating_point_v<T>)
      return Json(double{value});
    else if constexpr (std::is_same_v<T, uint64_t>)
      return Json(value);
    else
      return Json(int64_t{value});
  }

  Result<Json> ReadValue(uint32_t type, int depth) {
    switch (type) {
      case kU8: return Number<uint8_t>();
      case kI8: return Number<int8_t>();
      case kU16: return Number<uint16_t>();
      case kI16: return Number<int16_t>();
      case kU32: return Number<uint32_t>();
      case kI32: return Number<int32_t>();
      case kF32: return Number<float>();
      case kU64: return Number<uint64_t>();
      case kI64: return Number<int64_t>();
      case kF64: return Number<double>();
      case kBool: {
        uint8_t value = 0;
        if (!reader_.Take(value)) return reader_.Truncated("a bool");
        if (value > 1) return InvalidArgument(fmt::format("expected a bool (0 or 1), found {}", value));
        return Json(value == 1);
      }
      case kString: {
        std::string_view text;
        if (!reader_.TakeString(text)) return reader_.Truncated("a string");
        return Json(text);
      }
      case kArray: return ReadArray(depth + 1);
      default: return InvalidArgument(fmt::format("unknown value type {}", type));
    }
  }

  Result<Json> ReadArray(int depth) {
    uint32_t type = 0;
    uint64_t count = 0;
    if (depth > kMaxArrayDepth) return InvalidArgument(fmt::format("arrays are nested more than {} deep", kMaxArrayDepth));
    if (!reader_.Take(type) || !reader_.Take(count)) return reader_.Truncated("an array");
    if (type >= kValueTypes) return InvalidArgument(fmt::format("unknown array element type {}", type));
    if (count > reader_.remaining() / kLeastBytes[type])
      return reader_.Truncated(fmt::format("an array of {} {}", count, kValueTypeNames[type]));
    if (count > kMaxArrayValues - array_values_) {
      return Error{Code::kTooLarge, fmt::format("expected at most {} array elements in all of the metadata, found more", kMaxArrayValues)};
    }
    array_values_ += count;
    Json::Array array;
    array.reserve(static_cast<size_t>(count));
    for (uint64_t i = 0; i < count; ++i) {
      TRY(Json value, ReadValue(type, depth));
      array.push_back(std::move(value));
    }
    return Json(std::move(array));
  }

  static Result<uint64_t> Alignment(const GgufMetadata& metadata) {
    const Json* value = metadata.find("general.alignment");
    if (value == nullptr) return kDefaultAlignment;
    if (!value->is_int() || value->as_int() <= 0 || value->as_int() > (1 << 30) ||
        !std::has_single_bit(static_cast<uint64_t>(value->as_int()))) {
      return InvalidArgument(fmt::format("general.alignment: expected a power of two, found {}", DumpJson(*value)));
    }
    return static_cast<uint64_t>(value->as_int());
  }

  // The table's entry without data; its offset goes to offsets_.
  Result<TensorRef> ReadTensor(uint64_t index, uint64_t alignment) {
    std::string_view name;
    if (!reader_.TakeString(name)) return reader_.Truncated(fmt::format("the name of tensor {}", index));
    auto tensor = ReadTensorBody(alignment);
    if (!tensor.ok()) return std::move(tensor).error().In("tensor " + Quoted(name));
    tensor->name = std::string(name);
    return tensor;
  }

  Result<TensorRef> ReadTensorBody(uint64_t alignment) {
    TensorRef tensor;
    uint32_t dims = 0, type = 0;
    uint64_t offset = 0;
    if (!reader_.Take(dims)) return reader_.Truncated("the number of dimensions");
    if (dims > kMaxDims) return InvalidArgument(fmt::format("expected at most {} dimensions, found {}", kMaxDims, dims));
    for (uint32_t i = 0; i < dims; ++i) {
      int64_t size = 0;
      if (!reader_.Take(size)) return reader_.Truncated("a dimension");
      if (size < 0) return InvalidArgument(fmt::format("dimension {} is {}: too large", i, static_cast<uint64_t>(size)));
      tensor.shape.push_back(size);
    }
    if (!reader_.Take(type) || !reader_.Take(offset)) return reader_.Truncated("the type and offset");
    std::reverse(tensor.shape.begin(), tensor.shape.end());  // the file has the innermost dimension first
    TRY(const DType dtype, TypeFromId(type));
    tensor.dtype = dtype;
    const DTypeInfo& info = Info(tensor.dtype);
    if (IsQuantised(tensor.dtype) && (dims == 0 || tensor.shape.back() % info.block_elems != 0)) {
      return InvalidArgument(fmt::format("expected rows of a multiple of {} elements for {}, found shape {}", info.block_elems, info.name,
                                         ShapeText(tensor.shape)));
    }
    const std::optional<int64_t> bytes = TensorBytes(tensor.dtype, tensor.shape);
    if (!bytes) return InvalidArgument(fmt::format("shape {} overflows", ShapeText(tensor.shape)));
    if (offset % alignment != 0)
      return InvalidArgument(fmt::format("expected an offset that is a multiple of {}, found {}", alignment, offset));
    tensor.bytes = *bytes;
    tensor.file = file_;
    tensor.mapped = mapped_;
    offsets_.push_back(offset);
    return tensor;
  }

  // Turns offsets into pointers, once the table's end tells where the data begins. Unlike safetensors, gaps are allowed: padding.
  Status PlaceTensors(std::vector<TensorRef>& tensors, uint64_t alignment) {
    const uint64_t start = (reader_.at() + alignment - 1) / alignment * alignment;
    const uint64_t available = start <= bytes_.size() ? bytes_.size() - start : 0;
    for (size_t i = 0; i < tensors.size(); ++i) {
      TensorRef& tensor = tensors[i];
      const auto bytes = static_cast<uint64_t>(tensor.bytes);
      if (offsets_[i] > available || bytes > available - offsets_[i]) {
        return InvalidArgument(fmt::format("tensor {}: expected {} bytes at offset {}, found {} bytes of data: the file is truncated",
                                           Quoted(tensor.name), bytes, offsets_[i], available));
      }
      tensor.data = bytes_.data() + std::min<uint64_t>(start + offsets_[i], bytes_.size());
    }
    return CheckOverlap(tensors);
  }

  static Status CheckOverlap(const std::vector<TensorRef>& tensors) {
    std::vector<const TensorRef*> sorted;
    for (const TensorRef& tensor : tensors)
      if (tensor.bytes != 0) sorted.push_back(&tensor);
    std::sort(sorted.begin(), sorted.end(), [](const TensorRef* a, const TensorRef* b) { return a->data < b->data; });
    for (size_t i = 1; i < sorted.size(); ++i) {
      if (sorted[i - 1]->data + sorted[i - 1]->bytes > sorted[i]->data) {
        return InvalidArgument(fmt::format("tensors {} and {} overlap", Quoted(sorted[i - 1]->name), Quoted(sorted[i]->name)));
      }
    }
    return {};
  }

  const std::span<const std::byte> bytes_;
  const std::string& file_;
  const bool mapped_;
  Reader reader_;
  uint64_t array_values_ = 0;
  std::vector<uint64_t> offsets_;  // of each tensor, relative to the data section
};

}  // namespace

const Json* GgufMetadata::find(std::string_view key) const {
  const auto at = values.find(key);
  return at == values.end() ? nullptr : &at->second;
}

Result<GgufHeader> ReadGguf(std::span<const std::byte> bytes, const std::string& file, bool mapped) {
  auto header = HeaderParser(bytes, file, mapped).Parse();
  if (!header.ok()) return std::move(header).error().In(file);
  return header;
}

}  // namespace sgl
