// Which tables this CPU can run, and which of them is used.
// SPDX-License-Identifier: Apache-2.0
#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
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

// Tiles, bf16 and int8 products (leaf 7, edx bits 24, 22, 25), AVX512-BF16 (leaf 7.1, eax bit 5) and VBMI, and the kernel's leave to
// use the tile registers, which every thread of the process then has.
bool HasAmx() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  const bool tiles = (d >> 24 & d >> 22 & d >> 25 & 1u) != 0, vbmi = (c >> 1 & 1u) != 0;
  if (__get_cpuid_count(7, 1, &a, &b, &c, &d) == 0 || (a >> 5 & 1u) == 0 || !tiles || !vbmi) return false;
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
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
Kernels AmxTable();
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
        if (HasAmx()) found.push_back(amx::AmxTable());
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
