// Packed weights kept on disk, so that the next start reads them instead of packing again.
//
// An image belongs to exactly one packing: its key covers the model's files (header, size, time of change, the ends of every tensor), the
// precision and the layout that this processor's kernels want. Sampling the content instead of hashing all of it is what makes a start
// fast: a full hash would read the whole model from disk to save packing it. Who edits a file in place changes its time; who restores the
// time too has to delete the image.
// The image is read into huge pages rather than mapped: the kernel maps files in small pages, and reading weights through those costs
// more in every single step than the copy costs once.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "tensor/buffer.h"
#include "tensor/dtype.h"
#include "weights/weights.h"

namespace sgl {

struct PackedImageId {
  std::filesystem::path path;
  uint64_t key = 0;
};
// options: whatever else decides how weights are packed. Nothing when the model's files cannot be looked at.
std::optional<PackedImageId> IdentifyPackedImage(const std::filesystem::path& dir, const ModelFiles& files, const std::string& options);

// What packing did, in order: one entry per packed matrix. An image is used up to the first entry that differs.
struct PackedImage {
  std::vector<uint64_t> entries;
  uint64_t bytes = 0;  // of the payload
};

// Reads an image into `memory`, in parallel, verifying every byte. Nothing, with one line in the log, when it is stale, damaged or larger
// than the memory; nothing and no line when there is none. `memory` may have been written to all the same, in its first `capacity` bytes.
std::optional<PackedImage> ReadPackedImage(const PackedImageId& id, const Buffer& memory, size_t capacity, ThreadPool& pool);

// Writes an image beside its place and renames it, so that readers see a whole one or none. A failure is a line in the log.
void WritePackedImage(const PackedImageId& id, const PackedImage& image, const Buffer& memory, ThreadPool& pool);

}  // namespace sgl
