// For tests that count allocations or let memory run out: replaces every form of operator new of the program that it is included in. Only
// by one source file of a test binary: it defines them. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <new>

#include "base/allocation_hook.h"

namespace sgl {

namespace counting_new {

inline std::atomic<bool> counting{false};
inline std::atomic<int64_t> count{0};

inline void* Allocate(size_t bytes) {
  if (const auto hook = before_allocation.load(std::memory_order_relaxed)) hook();
  if (counting.load(std::memory_order_relaxed)) count.fetch_add(1, std::memory_order_relaxed);
  void* memory = std::malloc(bytes == 0 ? 1 : bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace counting_new

// How often run() allocated, on every thread.
template <class F>
int64_t Allocations(const F& run) {
  counting_new::count.store(0);
  counting_new::counting.store(true);
  run();
  counting_new::counting.store(false);
  return counting_new::count.load();
}

std::atomic<void (*)()> before_allocation{nullptr};

}  // namespace sgl

void* operator new(size_t bytes) { return sgl::counting_new::Allocate(bytes); }
void* operator new[](size_t bytes) { return sgl::counting_new::Allocate(bytes); }
// Sorting algorithms and parsers take their buffers with these.
void* operator new(size_t bytes, const std::nothrow_t&) noexcept {
  try {
    return sgl::counting_new::Allocate(bytes);
  } catch (...) {
    return nullptr;
  }
}
void* operator new[](size_t bytes, const std::nothrow_t& nothrow) noexcept { return operator new(bytes, nothrow); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { std::free(memory); }
void operator delete[](void* memory, const std::nothrow_t&) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t) noexcept { std::free(memory); }
