// A whole file mapped read-only, and small text files read into memory.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "base/result.h"

namespace sgl {

// Shared and read-only, so every process and rank on the machine uses the same physical pages. No access advice is given for the whole
// file: its pages are either streamed through once (Prefetch, DropPages) or computed on in place for as long as the model lives.
// A file that shrinks while it is mapped ends the process with SIGBUS.
class MappedFile {
 public:
  // Errors: missing, not a regular file, empty, not readable.
  static Result<MappedFile> Open(const std::filesystem::path& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  MappedFile(const std::byte* data, size_t size) : data_(data), size_(size) {}
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// The text of a regular file of at most `max_bytes` bytes.
Result<std::string> ReadText(const std::filesystem::path& path, int64_t max_bytes);

}  // namespace sgl
