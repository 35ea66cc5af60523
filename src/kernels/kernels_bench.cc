// Matrix products per table and format: GB/s of weights for few rows, next to a plain streaming read of the same bytes, and GFLOP/s
// (GOP/s) for many rows, next to what registers alone reach (the matrix unit: fed from the second-level cache). One core. Medians of short
// slices in the thread's CPU time, because a shared machine pauses; each slice is paired with one of its roof.
//   kernels_bench [table [format]]
// SPDX-License-Identifier: Apache-2.0
#include <time.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

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
__attribute__((target("avx512f"))) double VectorRoof(bool dots) {
  asm volatile("vpxord %%zmm30,%%zmm30,%%zmm30\n vpxord %%zmm31,%%zmm31,%%zmm31\n" ::: "xmm30", "xmm31");
  const double seconds = Seconds([&] {
    if (dots)
      for (int i = 0; i < kRoofSteps; ++i) asm volatile(SGL_TEN("vpdpbusd")::: SGL_CLOBBERS);
    else
      for (int i = 0; i < kRoofSteps; ++i) asm volatile(SGL_TEN("vfmadd231ps")::: SGL_CLOBBERS);
  });
  return kRoofSteps * 10.0 * (dots ? 128 : 32) / seconds * 1e-9;
}

// The matrix unit fed from the second-level cache: 2 x 2 tiles, four tile loads for four products, over 512 KiB.
constexpr int64_t kTileRoofBytes = int64_t{512} << 10;
__attribute__((target("amx-tile,amx-bf16,amx-int8"))) double TileRoof(const std::byte* data, bool bytes) {
  alignas(64) uint8_t config[64] = {1};
  for (int tile = 0; tile < 8; ++tile) {
    config[16 + 2 * tile] = 64;
    config[48 + tile] = 16;
  }
  asm volatile("" : "+m"(config));
  _tile_loadconfig(config);
  constexpr int kPasses = 40;
  const double seconds = Seconds([&]() __attribute__((target("amx-tile,amx-bf16,amx-int8"))) {
    for (int pass = 0; pass < kPasses; ++pass)
      for (int64_t i = 0; i < kTileRoofBytes; i += 4096) {
        const std::byte* at = data + i;
        _tile_loadd(4, at, 64);
        _tile_loadd(5, at + 1024, 64);
        _tile_loadd(6, at + 2048, 64);
        _tile_loadd(7, at + 3072, 64);
        if (bytes) {
          _tile_dpbssd(0, 4, 6);
          _tile_dpbssd(1, 4, 7);
          _tile_dpbssd(2, 5, 6);
          _tile_dpbssd(3, 5, 7);
        } else {
          _tile_dpbf16ps(0, 4, 6);
          _tile_dpbf16ps(1, 4, 7);
          _tile_dpbf16ps(2, 5, 6);
          _tile_dpbf16ps(3, 5, 7);
        }
      }
  });
  _tile_release();
  return kPasses * static_cast<double>(kTileRoofBytes / 1024) * 16 * 16 * (bytes ? 128 : 64) / seconds * 1e-9;
}
// The roof of a product in `form`, or 0 where none was measured.
double Roof(std::string_view isa, Form form, const std::byte* data) {
  if (form == Form::kBFloat) return TileRoof(data, false);
  if (isa.substr(0, 6) != "avx512" && isa != "amx") return 0;
  if (form == Form::kInt15 && (isa == "avx512-basic" || !HasDots())) return 0;
  return VectorRoof(form == Form::kInt15);
}
#else
double Roof(std::string_view, Form, const std::byte*) { return 0; }
#endif

struct Bench {
  Buffer weights, x, prepared, out;
  uint64_t sink = 0;

  Activations Prepare(const Kernels& table, DType format, int64_t rows, int64_t k) const {
    const Form form = table.form(format);
    const int64_t bytes = ActivationBytes(form, k);
    table.prepare(MakeMat<const float>(x.as<float>(), rows, k), nullptr, 0, form, {prepared.data(), rows, bytes, bytes});
    return {form, k, {prepared.data(), rows, bytes, bytes}};
  }
  void Product(const Kernels& table, const Activations& in, const PackedMat& w) const {
    for (int64_t panel = 0; panel < w.panels(); panel += 64)  // in slices, as a thread pool hands them out
      table.matmul(in, w, panel, std::min(panel + 64, w.panels()), nullptr, false, MakeMat(out.as<float>(), in.rows(), w.n));
  }

  // Weights that come from memory: GB/s next to reading alone.
  void Stream(const Kernels& table, DType format, int64_t k, int64_t rows) {
    PackedMat w = {format, 0, k, PanelBytes(format, k), weights.data()};
    w.n = kBytes / w.panel_bytes * kPanel;
    const int64_t bytes = w.panels() * w.panel_bytes;
    const Activations in = Prepare(table, format, rows, k);
    std::vector<double> share, rate, roof;
    for (int i = 0; i < kSlices; ++i) {
      const double read = Seconds([&] { sink ^= ReadAll(weights.data(), bytes); }), product = Seconds([&] { Product(table, in, w); });
      share.push_back(read / product);
      rate.push_back(static_cast<double>(bytes) / product * 1e-9);
      roof.push_back(static_cast<double>(bytes) / read * 1e-9);
    }
    std::printf("%-12s %-5s K=%-5ld M=%-4ld %6.1f GB/s, reading alone %6.1f: %3.0f %%\n", table.isa, Info(format).name.data(),
                static_cast<long>(k), static_cast<long>(rows), Median(rate), Median(roof), Median(share) * 100);
  }

  void ManyRows(const Kernels& table, DType format, int64_t n, int64_t k, int64_t rows) {
    const PackedMat w = {format, n, k, PanelBytes(format, k), weights.data()};
    const double operations = 2.0 * static_cast<double>(n * k * rows);
    std::vector<double> rate, share;
    const Activations in = Prepare(table, format, rows, k);
    Product(table, in, w);
    for (int i = 0; i < kSlices; ++i) {
      const int repeats = static_cast<int>((in.form == Form::kBFloat ? 3e9 : 1e8) / operations) + 1;
      rate.push_back(operations * repeats * 1e-9 / Seconds([&] {
                       for (int r = 0; r < repeats; ++r) Product(table, in, w);
                     }));
      if (const double roof = Roof(table.isa, in.form, weights.data()); roof > 0) share.push_back(rate.back() / roof);
    }
    const double best = *std::max_element(rate.begin(), rate.end());
    std::printf("%-12s %-5s N=%-5ld K=%-5ld M=%-4ld %7.1f G/s median, %7.1f best, %3.0f %% of the roof\n", table.isa,
                Info(format).name.data(), static_cast<long>(n), static_cast<long>(k), static_cast<long>(rows), Median(rate), best,
                share.empty() ? 0.0 : Median(share) * 100);
  }
};

int Main(std::string_view isa, std::string_view format_name) {
  Bench b;
  constexpr int64_t kMaxRows = 512, kMaxK = 8192, kMaxN = 16384;
  for (auto [buffer, bytes] : {std::pair{&b.weights, kBytes + 4096},
                               {&b.x, kMaxRows * kMaxK * 4},
                               {&b.prepared, kMaxRows * kMaxK * 4 + kMaxRows * 64},
                               {&b.out, kMaxRows * kMaxN * 4 + kBytes / 2}}) {
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
  for (const Kernels& table : AllKernels()) {
    if (!isa.empty() && isa != table.isa) continue;
    for (const DType format : {DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0, DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1,
                               DType::kQ4_K, DType::kQ5_K, DType::kQ6_K}) {
      if (!format_name.empty() && format_name != Info(format).name) continue;
      const bool super = Info(format).block_elems == 256;
      for (const int64_t k : {super ? 512 : 576, 2048})
        for (const int64_t rows : {1, 4, 16}) b.Stream(table, format, k, rows);
      for (const int64_t rows : {32, 64, 256, 512}) {
        b.ManyRows(table, format, 3072, super ? 512 : 576, rows);  // SmolLM2-135M
        b.ManyRows(table, format, 576, 1536, rows);
        b.ManyRows(table, format, 9728, super ? 1024 : 896, rows);  // Qwen2.5-0.5B
        b.ManyRows(table, format, 896, super ? 5120 : 4864, rows);
        b.ManyRows(table, format, 16384, 2048, rows);  // Llama-3.2-1B
        b.ManyRows(table, format, 2048, 8192, rows);
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
