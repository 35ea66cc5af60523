// Matrix products per table and format: GB/s of weights for few rows, next to a plain streaming read of the same bytes, and GFLOP/s
// (GOP/s) for many rows, next to what registers alone reach (the matrix unit: fed from the second-level cache). One core. Medians of short
// slices in the thread's CPU time, because a shared machine pauses; each slice is paired with one of its roof.
//   kernels_bench [table [format]]
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <random>
#include <string_view>
#include <vector>

#include "kernels/bench_slices.h"
#include "kernels/kernels.h"
#include "kernels/roof.h"
#include "kernels/task_rows.h"
#include "tensor/buffer.h"

namespace sgl {
namespace {

constexpr int64_t kBytes = int64_t{160} << 20;
constexpr int kSlices = 9;

// The roof of a product in `form`, GFLOP/s or GOP/s, or 0 where none fits the table.
double Roof(std::string_view isa, Form form, const std::byte* data) {
  constexpr int64_t kTileBytes = int64_t{512} << 10;  // fed from the second-level cache
  const bool wide = isa.substr(0, 6) == "avx512" || isa == "amx";
  if (!wide || (form != Form::kFloat && isa == "avx512-basic")) return 0;
  const bool tiles = isa == "amx" && form != Form::kFloat;
  const RoofUnit unit = form == Form::kFloat  ? RoofUnit::kFma
                        : !tiles              ? RoofUnit::kDot8
                        : form == Form::kInt8 ? RoofUnit::kAmxInt8
                                              : RoofUnit::kAmxBf16;
  if (!HasUnit(unit)) return 0;
  double operations = 0;
  const double seconds = Seconds([&] { operations = RunUnit(unit, data, kTileBytes, tiles ? 40 : 400000); });
  return operations / seconds * 1e-9;
}

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
    const Mat<float> result = MakeMat(out.as<float>(), in.rows(), w.n);
    const int64_t step = TaskRows(w.k);
    for (int64_t row = 0; row < in.rows(); row += step) {  // in slices, as a thread pool hands them out
      const int64_t rows = std::min(step, in.rows() - row);
      for (int64_t panel = 0; panel < w.panels(); panel += 64)
        table.matmul(in.Rows(row, rows), w, panel, std::min(panel + 64, w.panels()), nullptr, false, result.Rows(row, rows));
    }
  }

  // Weights that come from memory: GB/s next to reading alone.
  void Stream(const Kernels& table, DType format, int64_t k, int64_t rows) {
    PackedMat w = {format, 0, k, PanelBytes(format, k), weights.data()};
    w.n = kBytes / w.panel_bytes * kPanel;
    const int64_t bytes = w.panels() * w.panel_bytes;
    const Activations in = Prepare(table, format, rows, k);
    std::vector<double> share, rate, roof;
    for (int i = 0; i < kSlices; ++i) {
      const double read = Seconds([&] { sink ^= ReadStream(weights.data(), bytes); }), product = Seconds([&] { Product(table, in, w); });
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
      const int repeats = static_cast<int>((std::string_view(table.isa) == "amx" ? 3e9 : 1e8) / operations) + 1;
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
    for (const DType format : {DType::kF32, DType::kF16, DType::kBF16, DType::kI8, DType::kQ8_0, DType::kQ4_0, DType::kQ4_1, DType::kQ5_0,
                               DType::kQ5_1, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K}) {
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
