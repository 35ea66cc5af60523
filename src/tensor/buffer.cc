// SPDX-License-Identifier: Apache-2.0
#include "tensor/buffer.h"

#include <sys/mman.h>
#include <sys/prctl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

namespace sgl {
namespace {
constexpr size_t kHugePage = size_t{2} << 20;
size_t Mapped(size_t bytes) { return (std::max<size_t>(bytes, 1) + kHugePage - 1) / kHugePage * kHugePage; }
}  // namespace

std::string WhyNoHugePages() {
  std::ifstream file("/sys/kernel/mm/transparent_hugepage/enabled");
  std::string modes;
  if (!std::getline(file, modes)) return "this kernel has no transparent huge pages";
  if (modes.find("[never]") != std::string::npos) return "/sys/kernel/mm/transparent_hugepage/enabled is 'never'";
  if (prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) == 1) return "they are disabled for this process";
  void* page = mmap(nullptr, kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return "";
  const bool refused = madvise(page, kHugePage, MADV_HUGEPAGE) != 0;
  const std::string why = refused ? std::string("madvise: ") + std::strerror(errno) : "";
  munmap(page, kHugePage);
  return why;
}

Result<Buffer> Buffer::Allocate(size_t bytes) {
  // Over-map by one huge page and trim, so that the region starts on a huge-page boundary.
  const size_t size = Mapped(bytes), span = size + kHugePage;
  void* raw = mmap(nullptr, span, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (raw == MAP_FAILED) return Error{Code::kExhausted, "cannot allocate " + std::to_string(bytes) + " bytes of memory"};
  const auto begin = reinterpret_cast<uintptr_t>(raw);
  const uintptr_t aligned = (begin + kHugePage - 1) / kHugePage * kHugePage;
  if (aligned != begin) munmap(raw, aligned - begin);
  if (begin + span != aligned + size) munmap(reinterpret_cast<void*>(aligned + size), begin + span - aligned - size);
  Buffer buffer;
  buffer.data_ = reinterpret_cast<std::byte*>(aligned);
  buffer.bytes_ = bytes;
  if (bytes >= kHugePage) (void)madvise(buffer.data_, size, MADV_HUGEPAGE);  // only a hint: without it everything works, slower
  return buffer;
}

Buffer::~Buffer() {
  if (data_ != nullptr) munmap(data_, Mapped(bytes_));
}

}  // namespace sgl
