// SPDX-License-Identifier: Apache-2.0
#include "layers/loader.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/hash.h"
#include "obs/log.h"
#include "tensor/blocks.h"

namespace sgl {
namespace {

constexpr size_t kOverread = 64;    // kernels may read up to this many bytes past a panel
constexpr int64_t kMaxPieces = 64;  // tasks that pack one tensor

bool IsFloatWeight(DType dtype) { return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16 || IsQuantised(dtype); }

// Buffers that training left in checkpoints; every engine computes them itself.
bool IsIgnored(std::string_view name) {
  for (std::string_view suffix : {".rotary_emb.inv_freq", ".rotary_emb.cos_cached", ".rotary_emb.sin_cached", ".masked_bias", ".attn.bias"})
    if (name.size() >= suffix.size() && name.substr(name.size() - suffix.size()) == suffix) return true;
  return false;
}

size_t PackedBytes(DType format, int64_t n, int64_t k) {
  const int64_t panels = (n + kPanel - 1) / kPanel;
  return (static_cast<size_t>(panels * PanelBytes(format, k)) + 63) / 64 * 64;
}

}  // namespace

DType PackedFormat(WeightPrecision precision, DType source, std::string_view name) {
  switch (precision) {
    case WeightPrecision::kF32: return DType::kF32;
    case WeightPrecision::kF16: return IsQuantised(source) ? source : DType::kF16;
    case WeightPrecision::kBF16: return IsQuantised(source) ? source : DType::kBF16;
    case WeightPrecision::kInt8:
      if (name != "model.embed_tokens.weight" && name != "lm_head.weight" && !IsQuantised(source)) return DType::kI8;
      break;
    case WeightPrecision::kAuto: break;
  }
  return source == DType::kF32 ? DType::kF16 : source;
}

Result<WeightLoader> WeightLoader::Create(const ModelFiles& files, ThreadPool& pool, const LoadOptions& options) {
  const WeightPrecision precision = options.precision;
  WeightLoader loader;
  loader.files_ = &files;
  loader.precision_ = precision;
  loader.pool_ = &pool;
  loader.progress_ = options.progress;
  size_t bytes = kOverread;
  for (const TensorRef& tensor : files.weights->tensors()) {
    std::string name = files.is_gguf ? HuggingFaceName(tensor.name) : tensor.name;
    if (name.empty()) name = tensor.name;
    if (!loader.tensors_.emplace(name, &tensor).second)
      return InvalidArgument(fmt::format("{}: tensor '{}' appears twice", tensor.file, name));
    loader.total_bytes_ += tensor.bytes;
    if (tensor.shape.size() != 2 || !IsFloatWeight(tensor.dtype)) continue;
    const DType format = PackedFormat(precision, tensor.dtype, name);
    if (tensor.shape[1] % Info(format).block_elems != 0) continue;  // reported by Matrix if somebody wants it
    // Slices of one format share panels, so this is an upper bound.
    bytes += PackedBytes(format, tensor.shape[0] + kPanel, tensor.shape[1]);
  }
  TRY(loader.memory_, Buffer::Allocate(bytes));
  if (options.packed_cache_dir.empty()) return loader;
  loader.image_id_ = IdentifyPackedImage(options.packed_cache_dir, files, fmt::format("precision {}", static_cast<int>(precision)));
  if (!loader.image_id_) return loader;
  if (auto image = ReadPackedImage(*loader.image_id_, loader.memory_, bytes - kOverread, pool)) {
    loader.cached_ = *std::move(image);
    LOG_INFO("packed weights read from {}", loader.image_id_->path.string());
  } else {
    // A damaged image may have been copied in part: packing counts on zeros.
    TRY(loader.memory_, Buffer::Allocate(bytes));
  }
  return loader;
}

bool WeightLoader::is_cached(uint64_t entry) {
  const size_t index = image_.entries.size();
  image_.entries.push_back(entry);
  if (index < cached_.entries.size() && cached_.entries[index] == entry && used_ <= cached_.bytes) return true;
  if (cached_.bytes > 0) {  // from here on the image is of another packing; padding must be zero
    const size_t begin = static_cast<size_t>(image_.bytes), end = std::min<size_t>(cached_.bytes, memory_.bytes());
    if (begin < end) std::memset(memory_.data() + begin, 0, end - begin);
    cached_ = {};
  }
  return false;
}

Buffer WeightLoader::TakeMemory() {
  if (image_id_ && cached_.entries.size() != image_.entries.size()) WritePackedImage(*image_id_, image_, memory_, *pool_);
  return std::move(memory_);
}

bool WeightLoader::Has(std::string_view name) const { return tensors_.find(name) != tensors_.end(); }

Result<const TensorRef*> WeightLoader::Find(const std::string& name, const std::vector<int64_t>& shape) {
  const auto found = tensors_.find(name);
  if (found == tensors_.end())
    return InvalidArgument(
        fmt::format("{}: tensor '{}' is missing, expected shape [{}]", files_->path.string(), name, fmt::join(shape, ", ")));
  const TensorRef* tensor = found->second;
  if (tensor->shape != shape)
    return InvalidArgument(fmt::format("{}: tensor '{}' has shape [{}], expected [{}]", tensor->file, name, fmt::join(tensor->shape, ", "),
                                       fmt::join(shape, ", ")));
  if (!IsFloatWeight(tensor->dtype))
    return InvalidArgument(fmt::format("{}: tensor '{}' has type {}, expected a floating-point or quantised type", tensor->file, name,
                                       Info(tensor->dtype).name));
  used_names_.insert(name);
  return tensor;
}

int64_t WeightLoader::FileRow(int64_t row, int64_t n, int heads) const {
  return heads > 0 && files_->gguf_permuted_qk ? UnpermutedRow(row, heads, n / heads) : row;
}

Result<std::vector<PackedMat>> WeightLoader::Matrix(const std::vector<Rows>& slices, int64_t k) {
  std::vector<const TensorRef*> sources;
  for (const Rows& slice : slices) {
    TRY(const TensorRef* source, Find(slice.name, {slice.n, k}));
    if (precision_ == WeightPrecision::kInt8 && IsQuantised(source->dtype))
      return InvalidArgument(fmt::format("{}: tensor '{}' is quantised already, as {}: --quantization w8a8_int8 wants F32, F16 or BF16",
                                         source->file, slice.name, Info(source->dtype).name));
    const DType format = PackedFormat(precision_, source->dtype, slice.name);
    if (format == DType::kI8 && k > kMaxInt8Inputs)
      return InvalidArgument(
          fmt::format("{}: tensor '{}' has {} inputs: 8-bit products take {} at most", source->file, slice.name, k, kMaxInt8Inputs));
    if (k % Info(source->dtype).block_elems != 0 || k % Info(format).block_elems != 0)
      return InvalidArgument(
          fmt::format("{}: tensor '{}': {} inputs do not fill whole {} blocks", source->file, slice.name, k, Info(source->dtype).name));
    sources.push_back(source);
  }
  std::vector<PackedMat> mats;
  for (size_t first = 0; first < slices.size();) {
    const DType format = PackedFormat(precision_, sources[first]->dtype, slices[first].name);
    size_t last = first;
    PackedMat mat{.format = format, .n = 0, .k = k, .panel_bytes = PanelBytes(format, k), .data = memory_.data() + used_};
    for (; last < slices.size() && PackedFormat(precision_, sources[last]->dtype, slices[last].name) == format; ++last)
      mat.n += slices[last].n;
    const size_t bytes = PackedBytes(format, mat.n, k);
    CHECK(used_ + bytes + kOverread <= memory_.bytes());
    uint64_t entry = HashBytes(&used_, sizeof used_, static_cast<uint64_t>(format));
    for (size_t i = first; i < last; ++i) entry = HashText(slices[i].name, entry ^ static_cast<uint64_t>(slices[i].heads));
    used_ += bytes;
    const bool cached = is_cached(entry);
    image_.bytes = used_;

    int64_t row0 = 0;
    for (; first < last; ++first) {
      const TensorRef& source = *sources[first];
      const Rows& slice = slices[first];
      // Whole panels, so that no two tasks write to the same cache lines.
      const int64_t row_bytes = RowBytes(source.dtype, k), panels = (slice.n + kPanel - 1) / kPanel;
      const int64_t pieces = std::min<int64_t>(panels, kMaxPieces);
      const auto border = [&](int64_t piece) { return std::min(slice.n, panels * piece / pieces * kPanel); };
      if (!cached)
        pool_->Run(static_cast<int>(pieces), [&](int piece, int) {
          for (int64_t r = border(piece); r < border(piece + 1); ++r)
            PackRow(source.dtype, source.data + FileRow(r, slice.n, slice.heads) * row_bytes, row0 + r, mat);
        });
      row0 += slice.n;
      DropPages(source);
      done_bytes_ += source.bytes;
      if (progress_) progress_(done_bytes_, total_bytes_);
    }
    mats.push_back(mat);
  }
  return mats;
}

Result<std::vector<float>> WeightLoader::Vector(const std::string& name, int64_t n, int heads) {
  TRY(const TensorRef* source, Find(name, {n}));
  std::vector<float> values(static_cast<size_t>(n)), ordered(static_cast<size_t>(n));
  DequantiseRow(source->dtype, source->data, n, values.data());
  for (int64_t i = 0; i < n; ++i) ordered[static_cast<size_t>(i)] = values[static_cast<size_t>(FileRow(i, n, heads))];
  done_bytes_ += source->bytes;
  return ordered;
}

Status WeightLoader::CheckAllUsed() const {
  std::vector<std::string> extra;
  for (const auto& [name, tensor] : tensors_)
    if (!used_names_.contains(name) && !IsIgnored(name)) extra.push_back(fmt::format("'{}'", name));
  if (extra.empty()) return {};
  const size_t count = extra.size();
  extra.resize(std::min<size_t>(count, 5));
  return InvalidArgument(fmt::format("{}: {} tensor(s) that this architecture does not have: {}{}", files_->path.string(), count,
                                     fmt::join(extra, ", "), count > 5 ? ", ..." : ""));
}

}  // namespace sgl
