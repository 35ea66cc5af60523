// Matrix products per table and format: GB/s of weights for one row, next to a plain streaming read of the same bytes, and GFLOP/s
// (GOP/s) for many rows, next to what registers alone reach. One core. Medians of short slices in the thread's CPU time, because a
// shared machine pauses; each slice is paired with one of its roof.
//   kernels_bench [table [format]]
// SPDX-License-Identifier: Apache-2.0
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <random>
#include <string_view>
#include <vector>

#include "kernels/kernels.h"
#include "tensor/buffer.h"

namespace sgl {
namespace {

constexpr int64_t kBytes = int64_t{160} << 20;
constexpr int kSlices = 9;

template <class F>
double Seconds(F f) {
  timespec begin{}, end{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
  f();
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
  return static_cast<double>(end.tv_sec - begin.tv_sec) + static_cast<double>(end.tv_nsec - begin.tv_nsec) * 1e-9;
}
double Median(std::vector<double>& values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

// The roof: 64-byte vector loads with prefetch, four streams.
uint64_t ReadAll(const std::byte* data, int64_t bytes) {
  using V [[gnu::vector_size(32), gnu::may_alias]] = uint64_t;
  const int64_t quarter = bytes / 4 / 64 * 64;
  V sum[4] = {};
  for (int64_t i = 0; i < quarter; i += 64)
    for (int s = 0; s < 4; ++s) {
      const std::byte* p = data + s * quarter + i;
      __builtin_prefetch(p + 1024);
      sum[s] ^= *reinterpret_cast<const V*>(p) ^ *reinterpret_cast<const V*>(p + 32);
    }
  const V all = sum[0] ^ sum[1] ^ sum[2] ^ sum[3];
  return all[0] ^ all[1] ^ all[2] ^ all[3];
}

#if defined(__x86_64__)
// Registers only: ten chains of 512-bit fma (32 operations each) or 8-bit dot products (128 operations each).
#define SGL_TEN(op)                                                                                                              \
  op " %%zmm30,%%zmm31,%%zmm0\n" op " %%zmm30,%%zmm31,%%zmm1\n" op " %%zmm30,%%zmm31,%%zmm2\n" op " %%zmm30,%%zmm31,%%zmm3\n" op \
     " %%zmm30,%%zmm31,%%zmm4\n" op " %%zmm30,%%zmm31,%%zmm5\n" op " %%zmm30,%%zmm31,%%zmm6\n" op " %%zmm30,%%zmm31,%%zmm7\n" op \
     " %%zmm30,%%zmm31,%%zmm8\n" op " %%zmm30,%%zmm31,%%zmm9\n"
#define SGL_CLOBBERS "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm30", "xmm31"
constexpr int kRoofSteps = 400000;
bool HasDots() { return __builtin_cpu_supports("avx512vnni"); }
__attribute__((target("avx512f"))) double Roof(bool dots) {
  timespec begin{}, end{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
  asm volatile("vpxord %%zmm30,%%zmm30,%%zmm30\n vpxord %%zmm31,%%zmm31,%%zmm31\n" ::: "xmm30", "xmm31");
  if (dots)
    for (int i = 0; i < kRoofSteps; ++i) asm volatile(SGL_TEN("vpdpbusd")::: SGL_CLOBBERS);
  else
    for (int i = 0; i < kRoofSteps; ++i) asm volatile(SGL_TEN("vfmadd231ps")::: SGL_CLOBBERS);
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
  const double ns = static_cast<double>(end.tv_sec - begin.tv_sec) * 1e9 + static_cast<double>(end.tv_nsec - begin.tv_nsec);
  return kRoofSteps * 10.0 * (dots ? 128 : 32) / ns;
}
#else
bool HasDots() { return false; }
double Roof(bool) { return 0; }
#endif

struct Bench {
  Buffer weights, x, q, scale, sum, out;
  uint64_t sink = 0;

  Activations View(int64_t rows, int64_t k) const {
    return {MakeMat<const float>(x.as<float>(), rows, k), MakeMat<const int8_t>(q.as<int8_t>(), rows, k),
            MakeMat<const float>(scale.as<float>(), rows, k / 32), MakeMat<const int32_t>(sum.as<int32_t>(), rows, k / 32)};
  }
  void Product(const Kernels& table, const PackedMat& w, int64_t rows) const {
    for (int64_t panel = 0; panel < w.panels(); panel += 64)  // in slices, as a thread pool hands them out
      table.matmul(View(rows, w.k), w, panel, std::min(panel + 64, w.panels()), nullptr, MakeMat(out.as<float>(), rows, w.n));
  }

  void OneRow(const Kernels& table, DType format, int64_t k) {
    PackedMat w = {format, 0, k, PanelBytes(format, k), weights.data()};
    w.n = kBytes / w.panel_bytes * kPanel;
    const int64_t bytes = w.panels() * w.panel_bytes;
    std::vector<double> share, rate, roof;
    for (int i = 0; i < kSlices; ++i) {
      const double read = Seconds([&] { sink ^= ReadAll(weights.data(), bytes); }), product = Seconds([&] { Product(table, w, 1); });
      share.push_back(read / product);
      rate.push_back(static_cast<double>(bytes) / product * 1e-9);
      roof.push_back(static_cast<double>(bytes) / read * 1e-9);
    }
    std::printf("%-12s %-5s K=%-5ld M=1    %6.1f GB/s, reading alone %6.1f: %3.0f %%\n", table.isa, Info(format).name.data(),
                static_cast<long>(k), Median(rate), Median(roof), Median(share) * 100);
  }

  void ManyRows(const Kernels& table, DType format, int64_t n, int64_t k, int64_t rows) {
    const PackedMat w = {format, n, k, PanelBytes(format, k), weights.data()};
    const double operations = 2.0 * static_cast<double>(n * k * rows);
    std::vector<double> rate, share;
    const bool wide = std::string_view(table.isa) == "avx512" && (!IsQuantised(format) || HasDots());
    Product(table, w, rows);
    for (int i = 0; i < kSlices; ++i) {
      const int repeats = static_cast<int>(1e8 / operations) + 1;
      rate.push_back(operations * repeats * 1e-9 / Seconds([&] {
                       for (int r = 0; r < repeats; ++r) Product(table, w, rows);
                     }));
      if (wide) share.push_back(rate.back() / Roof(IsQuantised(format)));
    }
    const double best = *std::max_element(rate.begin(), rate.end());
    std::printf("%-12s %-5s N=%-5ld K=%-5ld M=%-4ld %7.1f G/s median, %7.1f best, %3.0f %% of the registers' roof\n", table.isa,
                Info(format).name.data(), static_cast<long>(n), static_cast<long>(k), static_cast<long>(rows), Median(rate), best,
                share.empty() ? 0.0 : Median(share) * 100);
  }
};

int Main(std::string_view isa, std::string_view format_name) {
  Bench b;
  for (auto [buffer, bytes] : {std::pair{&b.weights, kBytes + 4096},
                               {&b.x, int64_t{512 * 2048 * 4}},
                               {&b.q, int64_t{512 * 2048}},
                               {&b.scale, int64_t{512 * 64 * 4}},
                               {&b.sum, int64_t{512 * 64 * 4}},
                               {&b.out, int64_t{512 * 8192 * 4}}}) {
    Result<Buffer> made = Buffer::Allocate(static_cast<size_t>(bytes));
    if (!made.ok()) return 1;
    *buffer = std::move(*made);
    // Bytes that are harmless numbers in every format.
    std::minstd_rand rng(7);
    for (size_t i = 0; i < buffer->bytes(); i += 4) {
      const uint32_t word = 0x20202020u + (rng() & 0x1B1B1B1Bu);
      std::memcpy(buffer->data() + i, &word, 4);
    }
  }
  for (int64_t i = 0; i < 512 * 64; ++i) b.sum.as<int32_t>()[i] = 100;
  for (const Kernels& table : AllKernels()) {
    if (!isa.empty() && isa != table.isa) continue;
    for (const DType format : {DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0, DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1,
                               DType::kQ4_K, DType::kQ5_K, DType::kQ6_K}) {
      if (!format_name.empty() && format_name != Info(format).name) continue;
      const bool super = Info(format).block_elems == 256;
      for (const int64_t k : {super ? 512 : 576, 2048}) b.OneRow(table, format, k);
      for (const int64_t rows : {4, 16, 128, 512}) {
        b.ManyRows(table, format, 3072, super ? 512 : 576, rows);
        b.ManyRows(table, format, 576, 1536, rows);
        b.ManyRows(table, format, 8192, 2048, rows);
      }
    }
  }
  return b.sink == 1 ? 2 : 0;
}

}  // namespace
}  // namespace sgl

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  return sgl::Main(argc > 1 ? argv[1] : "", argc > 2 ? argv[2] : "");
}
