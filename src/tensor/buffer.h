// Buffer: owned, 64-byte aligned, zeroed memory for weights, KV pages and scratch. Asks for huge pages when large.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "base/result.h"

namespace sgl {

// Why large buffers do not get huge pages on this system; "" when they do. Asked once, at start.
std::string WhyNoHugePages();

class Buffer {
 public:
  Buffer() = default;
  // Zeroed by the kernel on first touch. Error kExhausted when the system refuses.
  static Result<Buffer> Allocate(size_t bytes);
  ~Buffer();
  Buffer(Buffer&& other) noexcept : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }

  std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(data_);
  }

 private:
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace sgl
