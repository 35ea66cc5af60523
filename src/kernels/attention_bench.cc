// Attention per table and cache type, one core: decoding, GB/s of keys and values next to a plain streaming read of the same bytes;
// prefill, G operations/s next to what the tile registers reach with operands streamed from the second-level cache. Medians of short
// slices in the thread's CPU time, each paired with one of its roof.
//   attention_bench [table [type]]
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <numeric>
#include <random>
#include <string_view>
#include <vector>

#include "kernels/bench_slices.h"
#include "kernels/kernels.h"
#include "kernels/roof.h"
#include "tensor/buffer.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace sgl {
namespace {

constexpr int64_t kPoolBytes = int64_t{192} << 20;
constexpr int kSlices = 9;
constexpr const char* kTypeNames[] = {"f32", "f16", "bf16", "fp8_e5m2", "fp8_e4m3", "int8"};

bool HasTiles() {
  for (const Kernels& table : AllKernels())
    if (std::string_view(table.isa) == "amx") return true;
  return false;
}

#if defined(__x86_64__)
struct alignas(64) FullTiles {
  uint8_t palette = 1, start = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
// The roof of prefill: 2 x 2 tiles of bf16, operands from 1 MiB. G operations/s.
__attribute__((target("amx-tile,amx-bf16"))) double TileRoof(const std::byte* data) {
  static const FullTiles kShapes;
  _tile_loadconfig(&kShapes);
  constexpr int64_t kSet = 1 << 20;
  const double seconds = Seconds([&]() __attribute__((target("amx-tile,amx-bf16"))) {
    for (int pass = 0; pass < 8; ++pass)
      for (int64_t at = 0; at < kSet; at += 4096) {
        _tile_loadd(4, data + at, 64);
        _tile_loadd(5, data + at + 1024, 64);
        _tile_loadd(6, data + at + 2048, 64);
        _tile_loadd(7, data + at + 3072, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
      }
  });
  _tile_release();
  return 8.0 * (kSet / 4096) * 4 * 16 * 16 * 32 * 2 / seconds * 1e-9;
}
#else
double TileRoof(const std::byte*) { return 0; }
#endif

struct Case {
  int groups, heads_per_group, width;
};

struct Bench {
  Buffer pool, q, out, scratch;
  std::vector<int32_t> pages, row, pos;
  int64_t part = 0;
  uint64_t sink = 0;

  // A pool of `bytes` with plausible contents, as much of it as whole blocks fill.
  KvLayer Layer(const Kernels& table, KvType type, const Case& c, int64_t bytes, int64_t& tokens) {
    const int64_t block = c.groups * KvChunkBytes(type, c.width);
    const int64_t blocks = (bytes - 2 * kKvSlack) / 2 / block;
    tokens = blocks * kKvBlock;
    KvLayer layer = {pool.data(), pool.data() + blocks * block + kKvSlack, type, c.groups, c.width};
    std::minstd_rand rng(3);
    std::normal_distribution<float> normal;
    const int64_t cols = int64_t{c.groups} * c.width;
    std::vector<float> rows(static_cast<size_t>(64 * cols));
    for (float& x : rows) x = normal(rng);
    std::vector<int32_t> slots(64);
    std::iota(slots.begin(), slots.end(), 0);
    const Mat<const float> mat = MakeMat<const float>(rows.data(), 64, cols);
    table.store_kv(mat, mat, slots.data(), layer);
    for (int64_t b = 4; b < blocks; ++b) {
      std::memcpy(static_cast<std::byte*>(layer.k) + b * block, static_cast<std::byte*>(layer.k) + b % 4 * block,
                  static_cast<size_t>(block));
      std::memcpy(static_cast<std::byte*>(layer.v) + b * block, static_cast<std::byte*>(layer.v) + b % 4 * block,
                  static_cast<size_t>(block));
    }
    pages.resize(static_cast<size_t>(blocks));
    std::iota(pages.begin(), pages.end(), 0);
    return layer;
  }

  AttnTask Task(const Case& c, int first_pos, int rows, int group) {
    row.resize(kAttnRows);
    pos.resize(kAttnRows);
    for (int i = 0; i < rows; ++i) {
      row[static_cast<size_t>(i)] = first_pos % 2048 + i;
      pos[static_cast<size_t>(i)] = first_pos + i;
    }
    return {.pages = pages.data(),
            .rows = rows,
            .row = row.data(),
            .pos = pos.data(),
            .part = &part,
            .group = group,
            .heads_per_group = c.heads_per_group,
            .split_begin = 0,
            .split_end = (first_pos + rows - 1) / kKvSplit + 1,
            .scale = 1.0f / std::sqrt(static_cast<float>(c.width))};
  }

  void Decode(const Kernels& table, KvType type, const Case& c) {
    int64_t tokens = 0;
    const KvLayer layer = Layer(table, type, c, kPoolBytes, tokens);
    constexpr int kContext = 8192;
    const int64_t sequences = tokens / kContext, cols = int64_t{c.groups} * c.heads_per_group * c.width;
    const Mat<const float> queries = MakeMat<const float>(q.as<float>(), 2048, cols);
    Mat<float> result = MakeMat(out.as<float>(), 2048, cols);
    const int64_t bytes = sequences * kContext / kKvBlock * 2 * c.groups * KvChunkBytes(type, c.width);
    const int64_t stride = int64_t{c.heads_per_group} * (2 + c.width), plane = kContext / kKvSplit * stride;
    std::vector<float> partials(static_cast<size_t>(c.groups * plane));
    std::vector<double> rate, share;
    for (int i = 0; i < kSlices; ++i) {
      const double read = Seconds([&] { sink ^= ReadStream(pool.data(), bytes); });
      const double seconds = Seconds([&] {
        for (int64_t s = 0; s < sequences; ++s) {  // as the engine does: all groups of a split, then the next split
          for (int split = 0; split < kContext / kKvSplit; ++split)
            for (int g = 0; g < c.groups; ++g) {
              AttnTask task = Task(c, kContext - 1, 1, g);
              task.pages = pages.data() + s * kContext / kKvBlock;
              task.split_begin = split;
              task.split_end = split + 1;
              task.fetch_next = split % 4 != 3;
              table.attention(queries, layer, task, nullptr, partials.data() + g * plane + split * stride, scratch.as<float>());
            }
          for (int h = 0; h < c.groups * c.heads_per_group; ++h)
            table.attention_merge(partials.data() + h / c.heads_per_group * plane + h % c.heads_per_group * (2 + c.width),
                                  kContext / kKvSplit, stride, c.width, result.row(0) + int64_t{h} * c.width);
        }
      });
      rate.push_back(static_cast<double>(bytes) / seconds * 1e-9);
      share.push_back(read / seconds);
    }
    std::printf("%-12s %-8s G=%d H/G=%d C=%-3d decode 8192    %6.1f GB/s, %3.0f %% of reading alone\n", table.isa,
                kTypeNames[static_cast<int>(type)], c.groups, c.heads_per_group, c.width, Median(rate), Median(share) * 100);
  }

  void Prefill(const Kernels& table, KvType type, const Case& c, int length) {
    int64_t tokens = 0;
    const KvLayer layer = Layer(table, type, c, int64_t{2} * length * c.groups * c.width * 4 + (1 << 16), tokens);
    const int64_t cols = int64_t{c.groups} * c.heads_per_group * c.width;
    const Mat<const float> queries = MakeMat<const float>(q.as<float>(), 2048, cols);
    Mat<float> result = MakeMat(out.as<float>(), 2048, cols);
    const double scores = 0.5 * length * (length + 1) * c.heads_per_group;
    std::vector<double> rate, share, each;
    for (int i = 0; i < kSlices; ++i) {
      const double seconds = Seconds([&] {
        for (int first = 0; first < length; first += kAttnRows)
          table.attention(queries, layer, Task(c, first, std::min(kAttnRows, length - first), i % c.groups), &result, nullptr,
                          scratch.as<float>());
      });
      rate.push_back(4 * c.width * scores / seconds * 1e-9);
      each.push_back(seconds / scores * 1e9);
      if (HasTiles()) share.push_back(rate.back() / TileRoof(pool.data()));
    }
    std::printf("%-12s %-8s G=%d H/G=%d C=%-3d prefill %-5d %6.0f G/s, %4.2f ns a score, %3.0f %% of tiles\n", table.isa,
                kTypeNames[static_cast<int>(type)], c.groups, c.heads_per_group, c.width, length, Median(rate), Median(each),
                share.empty() ? 0.0 : Median(share) * 100);
  }
};

int Main(std::string_view isa, std::string_view type_name) {
  Bench b;
  for (auto [buffer, bytes] : {std::pair{&b.pool, kPoolBytes + 4096},
                               {&b.q, int64_t{2048 * 4096 * 4}},
                               {&b.out, int64_t{2048 * 4096 * 4}},
                               {&b.scratch, AttentionScratch(8, 128) * 4}}) {
    Result<Buffer> made = Buffer::Allocate(static_cast<size_t>(bytes));
    if (!made.ok()) return 1;
    *buffer = std::move(*made);
  }
  std::minstd_rand rng(7);
  std::normal_distribution<float> normal;
  for (int64_t i = 0; i < 2048 * 4096; ++i) b.q.as<float>()[i] = i < 4096 * 64 ? normal(rng) : b.q.as<float>()[i - 4096 * 64];
  for (const Kernels& table : AllKernels()) {
    if (isa.empty() ? std::string_view(table.isa) == "portable" : isa != table.isa) continue;
    for (const KvType type : kKvTypes) {
      if (!type_name.empty() && type_name != kTypeNames[static_cast<int>(type)]) continue;
      for (const Case c : {Case{3, 3, 64}, Case{8, 4, 64}, Case{2, 7, 64}, Case{8, 4, 128}}) {
        b.Decode(table, type, c);
        b.Prefill(table, type, c, 2048);
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
