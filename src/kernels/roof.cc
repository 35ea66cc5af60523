// SPDX-License-Identifier: Apache-2.0
#include "kernels/roof.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace sgl {

std::string_view Name(RoofUnit unit) {
  switch (unit) {
    case RoofUnit::kFma: return "f32 fma";
    case RoofUnit::kDot8: return "8-bit dot products";
    case RoofUnit::kAmxBf16: return "AMX bf16";
    case RoofUnit::kAmxInt8: return "AMX int8";
  }
  return "";
}

uint64_t ReadStream(const std::byte* data, int64_t bytes) {
  using V [[gnu::vector_size(16), gnu::may_alias]] = uint64_t;
  const int64_t quarter = bytes / 4 / 64 * 64;
  V sum[4] = {};
  for (int64_t i = 0; i < quarter; i += 64)
    for (int s = 0; s < 4; ++s) {
      const std::byte* p = data + s * quarter + i;
      __builtin_prefetch(p + 1024);
      const V* v = reinterpret_cast<const V*>(p);
      sum[s] ^= v[0] ^ v[1] ^ v[2] ^ v[3];
    }
  const V all = sum[0] ^ sum[1] ^ sum[2] ^ sum[3];
  return all[0] ^ all[1];
}

#if defined(__x86_64__)
namespace {

constexpr int kStepsPerRound = 10;  // instructions of one asm block below

// clang-format off
#define SGL_TEN(op, r)                                                                                                    \
  op " %%" r "14,%%" r "15,%%" r "0\n" op " %%" r "14,%%" r "15,%%" r "1\n" op " %%" r "14,%%" r "15,%%" r "2\n"           \
  op " %%" r "14,%%" r "15,%%" r "3\n" op " %%" r "14,%%" r "15,%%" r "4\n" op " %%" r "14,%%" r "15,%%" r "5\n"           \
  op " %%" r "14,%%" r "15,%%" r "6\n" op " %%" r "14,%%" r "15,%%" r "7\n" op " %%" r "14,%%" r "15,%%" r "8\n"           \
  op " %%" r "14,%%" r "15,%%" r "9\n"
#define SGL_CLOBBERS "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm14", "xmm15"
// clang-format on

// __builtin_cpu_supports also checks that the system saves the registers.
bool HasWide() { return __builtin_cpu_supports("avx512f"); }
bool HasFma() { return HasWide() || (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")); }

__attribute__((target("avx512f"))) void Wide(bool dots, int64_t rounds) {
  asm volatile("vpxorq %%zmm14,%%zmm14,%%zmm14\n vpxorq %%zmm15,%%zmm15,%%zmm15\n" ::: "xmm14", "xmm15");
  if (dots)
    for (int64_t i = 0; i < rounds; ++i) asm volatile(SGL_TEN("vpdpbusd", "zmm")::: SGL_CLOBBERS);
  else
    for (int64_t i = 0; i < rounds; ++i) asm volatile(SGL_TEN("vfmadd231ps", "zmm")::: SGL_CLOBBERS);
}
__attribute__((target("avx2,fma"))) void Narrow(int64_t rounds) {
  asm volatile("vpxor %%ymm14,%%ymm14,%%ymm14\n vpxor %%ymm15,%%ymm15,%%ymm15\n" ::: "xmm14", "xmm15");
  for (int64_t i = 0; i < rounds; ++i) asm volatile(SGL_TEN("vfmadd231ps", "ymm")::: SGL_CLOBBERS);
}

// The processor has the tiles and Linux lets this process use them.
bool AskForTiles() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  constexpr unsigned kBf16 = 1u << 22, kTile = 1u << 24, kInt8 = 1u << 25;
  if ((d & (kBf16 | kTile | kInt8)) != (kBf16 | kTile | kInt8)) return false;
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// One step loads two tiles of each side and makes the four products.
__attribute__((target("amx-tile,amx-int8,amx-bf16"))) double Tiles(bool int8, const std::byte* tiles, int64_t bytes, int64_t rounds) {
  constexpr int64_t kTileBytes = 1024, kStep = 4 * kTileBytes;
  const TileConfig config;
  asm volatile("ldtilecfg %0" ::"m"(config));
  asm volatile("tilezero %%tmm0\n tilezero %%tmm1\n tilezero %%tmm2\n tilezero %%tmm3\n" ::: "memory");
  const int64_t stride = 64, steps = bytes / kStep;
  for (int64_t round = 0; round < rounds; ++round)
    for (int64_t i = 0; i < steps; ++i) {
      const std::byte* p = tiles + i * kStep;
      asm volatile(
          "tileloadd (%0,%1,1), %%tmm4\n tileloadd 1024(%0,%1,1), %%tmm5\n"
          "tileloadd 2048(%0,%1,1), %%tmm6\n tileloadd 3072(%0,%1,1), %%tmm7\n" ::"r"(p),
          "r"(stride)
          : "memory");
      if (int8)
        asm volatile(
            "tdpbssd %%tmm6,%%tmm4,%%tmm0\n tdpbssd %%tmm7,%%tmm4,%%tmm1\n"
            "tdpbssd %%tmm6,%%tmm5,%%tmm2\n tdpbssd %%tmm7,%%tmm5,%%tmm3\n" ::
                : "memory");
      else
        asm volatile(
            "tdpbf16ps %%tmm6,%%tmm4,%%tmm0\n tdpbf16ps %%tmm7,%%tmm4,%%tmm1\n"
            "tdpbf16ps %%tmm6,%%tmm5,%%tmm2\n tdpbf16ps %%tmm7,%%tmm5,%%tmm3\n" ::
                : "memory");
    }
  asm volatile("tilerelease" ::: "memory");
  return static_cast<double>(rounds * steps) * 4 * 2 * 16 * 16 * (int8 ? 64 : 32);
}

}  // namespace

bool HasUnit(RoofUnit unit) {
  static const bool tiles = AskForTiles();
  switch (unit) {
    case RoofUnit::kFma: return HasFma();
    case RoofUnit::kDot8: return HasWide() && __builtin_cpu_supports("avx512vnni");
    case RoofUnit::kAmxBf16:
    case RoofUnit::kAmxInt8: return tiles;
  }
  return false;
}

double RunUnit(RoofUnit unit, const std::byte* tiles, int64_t bytes, int64_t rounds) {
  if (unit == RoofUnit::kAmxBf16 || unit == RoofUnit::kAmxInt8) return Tiles(unit == RoofUnit::kAmxInt8, tiles, bytes, rounds);
  const bool dots = unit == RoofUnit::kDot8, wide = HasWide();
  if (wide)
    Wide(dots, rounds);
  else
    Narrow(rounds);
  const double lanes = wide ? 16 : 8;  // of 32 bits
  return static_cast<double>(rounds * kStepsPerRound) * lanes * (dots ? 8 : 2);
}
#else
bool HasUnit(RoofUnit) { return false; }
double RunUnit(RoofUnit, const std::byte*, int64_t, int64_t) { return 0; }
#endif

}  // namespace sgl
