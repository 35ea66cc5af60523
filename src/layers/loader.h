// Fills layers from a model's files: finds tensors by their Hugging Face names, checks shapes, packs, and accounts for every tensor.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "kernels/kernels.h"
#include "layers/packed_image.h"
#include "tensor/buffer.h"
#include "weights/weights.h"

namespace sgl {

// How weights are kept in memory.
enum class WeightPrecision {
  kAuto,  // as the file has them; F32 files as F16
  kF32,   // everything, quantised blocks too: the reference path
  kF16,   // plain types as F16, quantised blocks as they are
  kBF16,
  kInt8,  // layers' matrices as bytes with a scale per output, made from plain types; the embedding and the head as the file has them
};

struct LoadOptions {
  WeightPrecision precision = WeightPrecision::kAuto;
  std::function<void(int64_t done, int64_t total)> progress;  // bytes of the files; called now and then
  std::string packed_cache_dir{};                             // where packed weights are kept between starts; "": nowhere
};

// What a rank-2 weight of `source` type is packed as. name: Hugging Face's.
DType PackedFormat(WeightPrecision precision, DType source, std::string_view name);

// Thread: one, while loading. The packed memory moves out with TakeMemory and must outlive the layers.
class WeightLoader {
 public:
  // Adds up what packing will need and allocates it once; fills it from the packed cache if that has an image of these weights.
  static Result<WeightLoader> Create(const ModelFiles& files, ThreadPool& pool, const LoadOptions& options);

  bool Has(std::string_view name) const;

  // One named slice of rows of a packed matrix. heads > 0: rows are `heads` rotary heads, un-permuted when the file is a GGUF that
  // stores them for interleaved rotation.
  struct Rows {
    std::string name;
    int64_t n = 0;
    int heads = 0;
  };
  // Packs the slices one below the other. Slices of the same format share a PackedMat; a change of format starts a new one.
  // Errors: missing or mis-shaped tensor, by name, with what was expected; an input width that a block format cannot hold.
  Result<std::vector<PackedMat>> Matrix(const std::vector<Rows>& slices, int64_t k);

  // A vector as f32, e.g. a norm's weight or a bias. heads as above.
  Result<std::vector<float>> Vector(const std::string& name, int64_t n, int heads = 0);

  // The model has no use for this one (a stored head of a model that ties it).
  void Ignore(const std::string& name) { used_names_.insert(name); }

  // Tensors nobody asked for: an error that lists them, apart from the ones that every loader ignores (rotary tables).
  Status CheckAllUsed() const;

  // Everything is loaded: keeps the packed weights on disk, if wanted and not there yet, and gives the memory away.
  Buffer TakeMemory();
  int64_t packed_bytes() const { return static_cast<int64_t>(used_); }

 private:
  Result<const TensorRef*> Find(const std::string& name, const std::vector<int64_t>& shape);
  int64_t FileRow(int64_t row, int64_t n, int heads) const;

  const ModelFiles* files_ = nullptr;
  WeightPrecision precision_ = WeightPrecision::kAuto;
  ThreadPool* pool_ = nullptr;
  std::function<void(int64_t, int64_t)> progress_;
  std::map<std::string, const TensorRef*, std::less<>> tensors_;  // by Hugging Face name
  std::set<std::string, std::less<>> used_names_;
  Buffer memory_;
  size_t used_ = 0;
  std::optional<PackedImageId> image_id_;  // nothing: no packed cache
  PackedImage image_;                      // what is packed so far
  PackedImage cached_;                     // what memory_ holds already; empty from the first difference on
  bool is_cached(uint64_t entry);          // the next matrix to pack is in memory_
  int64_t done_bytes_ = 0, total_bytes_ = 0;
};

}  // namespace sgl
