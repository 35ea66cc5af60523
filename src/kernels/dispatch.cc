// Which tables this CPU can run, and which of them is used.
// SPDX-License-Identifier: Apache-2.0
#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

#include <cstdlib>
#include <vector>

#include "kernels/kernels.h"

namespace sgl {
namespace portable {
Kernels Table();
}
#if defined(__x86_64__)
namespace {
bool HasF16C() {  // clang 14's __builtin_cpu_supports does not know it: leaf 1, ecx bit 29
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c >> 29 & 1u) != 0;
}
// Tiles, bf16 and int8 products, and AVX512-BF16, and the system lets us use the tiles: each process has to ask, once, for all threads.
bool HasMatrixUnit() {
#if defined(__linux__)
  constexpr unsigned kBF16 = 1u << 22, kTile = 1u << 24, kInt8 = 1u << 25, kAll = kBF16 | kTile | kInt8;
  constexpr long kAskPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || (d & kAll) != kAll) return false;
  if (__get_cpuid_count(7, 1, &a, &b, &c, &d) == 0 || (a >> 5 & 1u) == 0) return false;
  return syscall(SYS_arch_prctl, kAskPermission, kTileData) == 0;
#else
  return false;
#endif
}
}  // namespace
namespace avx2 {
Kernels Table();
}
namespace avx512 {
Kernels Table();
}
namespace avx512vnni {
Kernels Table();
}
namespace amx {
Kernels Table();
}
#endif

std::span<const Kernels> AllKernels() {
  static const std::vector<Kernels> tables = [] {
    std::vector<Kernels> found{portable::Table()};
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && HasF16C()) found.push_back(avx2::Table());
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq")) {
      found.push_back(avx512::Table());
      if (__builtin_cpu_supports("avx512vnni")) {
        found.back().isa = "avx512-basic";
        found.push_back(avx512vnni::Table());
        if (HasMatrixUnit()) found.push_back(amx::Table());
      }
    }
#endif
    return found;
  }();
  return tables;
}

const Kernels& kernels() {
  static const Kernels& chosen = []() -> const Kernels& {
    const std::span<const Kernels> tables = AllKernels();
    const char* forced = std::getenv("SGLANG_CPU_ISA");
    for (const Kernels& table : tables)
      if (forced != nullptr && std::string_view(forced) == table.isa) return table;
    return tables.back();
  }();
  return chosen;
}

bool ForcedIsaIsValid(std::string_view name) {
  for (const Kernels& table : AllKernels())
    if (name == table.isa) return true;
  return false;
}

}  // namespace sgl
