// Attention and the cache's layout: every table against f64, and the determinism rule bit for bit.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <limits>
#include <numeric>

#include "kernels/test_support.h"

namespace sgl::kernels_test {
namespace {

float Rounded(DType dtype, float x) {
  return dtype == DType::kF32 ? x : dtype == DType::kF16 ? F16ToF32(F32ToF16(x)) : BF16ToF32(F32ToBF16(x));
}

struct Shape {
  DType dtype = DType::kBF16;
  int groups = 2, heads_per_group = 3, width = 64, page_size = 16, positions = 40, rows = 5, window = 0;
  std::string Text() const {
    return std::string(Info(dtype).name) + " G=" + std::to_string(groups) + " hpg=" + std::to_string(heads_per_group) +
           " C=" + std::to_string(width) + " P=" + std::to_string(page_size) + " n=" + std::to_string(positions) +
           " rows=" + std::to_string(rows) + " window=" + std::to_string(window);
  }
};

// Keys, values and queries of a sequence whose last `rows` positions are new.
struct Data {
  Shape shape;
  std::vector<float> k, v;  // [positions][G * C]
  Padded<float> q;
  float scale;
  Data(Rng& rng, const Shape& s) : shape(s), q(RandomMat(rng, s.rows, int64_t{s.groups} * s.heads_per_group * s.width)) {
    k.resize(static_cast<size_t>(s.positions) * s.groups * s.width);
    v.resize(k.size());
    for (float& x : k) x = rng.Normal();
    for (float& x : v) x = rng.Normal();
    scale = 1.5f / std::sqrt(static_cast<float>(s.width));
  }
  int first_pos() const { return shape.positions - shape.rows; }
  int columns() const { return shape.groups * shape.heads_per_group * shape.width; }
};

// A cache full of NaN but for the positions that some row sees. The page table is random.
struct Cache {
  std::vector<uint32_t> k, v;  // big enough for f32
  std::vector<int32_t> pages;
  KvLayer layer;
  int page_size;
  Cache(Rng& rng, const Kernels& table, const Data& data, int page, int first_row = 0, int last_row = -1) : page_size(page) {
    const Shape& s = data.shape;
    const int used = (s.positions + page - 1) / page, total = page == 1 ? (used + 40) / 16 * 16 : used + 3;
    std::vector<int32_t> order(static_cast<size_t>(total));
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), rng.engine);
    pages.assign(order.begin(), order.begin() + used);
    if (page == 1 && rng.Int(0, 2) == 0) std::iota(pages.begin(), pages.end(), 16);  // contiguous blocks for once
    const size_t elems = static_cast<size_t>(total * page + 32) * s.groups * s.width;
    const size_t words = s.dtype == DType::kF32 ? elems : elems / 2 + 1;
    k.assign(words, 0xFFFFFFFFu);  // NaN in every type
    v.assign(words, 0xFFFFFFFFu);
    layer = {k.data(), v.data(), s.dtype, s.groups, s.width};
    const int last_pos = data.first_pos() + (last_row < 0 ? s.rows - 1 : last_row), oldest = data.first_pos() + first_row;
    const int from = s.window > 0 ? std::max(0, oldest - s.window + 1) : 0;
    const int64_t cols = int64_t{s.groups} * s.width;
    const Mat<const float> keys = {data.k.data() + from * cols, last_pos + 1 - from, cols, cols};
    const Mat<const float> values = {data.v.data() + from * cols, last_pos + 1 - from, cols, cols};
    std::vector<int32_t> slots;
    for (int pos = from; pos <= last_pos; ++pos) slots.push_back(pages[static_cast<size_t>(pos / page)] * page + pos % page);
    table.store_kv(keys, values, slots.data(), layer);
  }
};

struct Slicing {
  int rows = kAttnRows;  // per task
  int splits = 0;        // per partial after the first; 0: no partials
};

Padded<float> Attend(const Kernels& table, Data& data, const Cache& cache, const Slicing& slicing, int row_begin = 0, int row_end = -1) {
  const Shape& s = data.shape;
  if (row_end < 0) row_end = s.rows;
  Padded<float> out(s.rows, data.columns());
  const AttnSeq seq = {cache.pages.data(), cache.page_size, data.first_pos(), s.rows, s.window};
  const int splits = (s.positions + kKvSplit - 1) / kKvSplit;
  std::vector<float> scratch(static_cast<size_t>(AttentionScratch(s.heads_per_group, s.width)) + 1, std::nanf(""));
  scratch.back() = 77.0f;
  Mat<float> out_mat = out.mat();
  for (int begin = row_begin; begin < row_end; begin += slicing.rows)
    for (int g = 0; g < s.groups; ++g) {
      const int end = std::min(begin + slicing.rows, row_end);
      if (slicing.splits == 0) {
        table.attention(data.q.mat(), cache.layer, seq, g, s.heads_per_group, begin, end, 0, splits, data.scale, &out_mat, nullptr,
                        scratch.data());
        continue;
      }
      const int64_t one = 2 + s.width, count = int64_t{end - begin} * s.heads_per_group;
      std::vector<float> partials;
      int parts = 0;
      for (int split = 0; split < splits; ++parts) {
        const int stop = std::min(splits, split + (split == 0 ? slicing.splits : 1));
        partials.resize(static_cast<size_t>((parts + 1) * count * one));
        table.attention(data.q.mat(), cache.layer, seq, g, s.heads_per_group, begin, end, split, stop, data.scale, nullptr,
                        partials.data() + parts * count * one, scratch.data());
        split = stop;
      }
      for (int64_t i = 0; i < count; ++i)
        table.attention_merge(partials.data() + i * one, parts, count * one, s.width,
                              out.mat().row(begin + i / s.heads_per_group) + (g * s.heads_per_group + i % s.heads_per_group) * s.width);
    }
  EXPECT_EQ(scratch.back(), 77.0f);
  EXPECT_TRUE(out.GuardsIntact());
  return out;
}

void ExpectSame(Padded<float>& a, Padded<float>& b, int row_begin, int row_end, int columns, const std::string& what) {
  for (int r = row_begin; r < row_end; ++r)
    for (int c = 0; c < columns; ++c)
      ASSERT_TRUE(SameBits(a.at(r, c), b.at(r, c))) << what << " row " << r << " column " << c << ": " << a.at(r, c) << " " << b.at(r, c);
}

// |out - exact| <= 4e-5 * max |v|, with the cache's values taken as exact.
void CheckAgainstF64(const Kernels& table, const Shape& s, Rng& rng) {
  Data data(rng, s);
  const Cache cache(rng, table, data, s.page_size);
  Padded<float> out = Attend(table, data, cache, {});
  const int64_t cols = int64_t{s.groups} * s.width;
  for (int r = 0; r < s.rows; ++r) {
    const int pos = data.first_pos() + r, from = s.window > 0 ? std::max(0, pos - s.window + 1) : 0;
    for (int h = 0; h < s.groups * s.heads_per_group; ++h) {
      const int g = h / s.heads_per_group;
      std::vector<double> score;
      for (int p = from; p <= pos; ++p) {
        double dot = 0;
        for (int c = 0; c < s.width; ++c)
          dot += static_cast<double>(data.q.at(r, h * s.width + c)) *
                 Rounded(s.dtype, data.k[static_cast<size_t>(p * cols + g * s.width + c)]);
        score.push_back(dot * data.scale);
      }
      const double top = *std::max_element(score.begin(), score.end());
      double sum = 0;
      for (double& x : score) sum += x = std::exp(x - top);
      for (int c = 0; c < s.width; ++c) {
        double want = 0, largest = 0;
        for (int p = from; p <= pos; ++p) {
          const double value = Rounded(s.dtype, data.v[static_cast<size_t>(p * cols + g * s.width + c)]);
          want += score[static_cast<size_t>(p - from)] / sum * value;
          largest = std::max(largest, std::abs(value));
        }
        ASSERT_TRUE(std::abs(out.at(r, h * s.width + c) - want) <= 4e-5 * largest)
            << table.isa << " " << s.Text() << " row " << r << " head " << h << " c " << c << ": " << out.at(r, h * s.width + c) << " for "
            << want;
      }
    }
  }
}

Shape RandomShape(Rng& rng) {
  const DType dtypes[] = {DType::kF32, DType::kF16, DType::kBF16};
  const int widths[] = {1, 7, 16, 20, 33, 64, 80, 128}, page_sizes[] = {1, 16, 48, 64};
  Shape s;
  s.dtype = dtypes[rng.Int(0, 2)];
  s.groups = rng.Int(1, 3);
  s.heads_per_group = rng.Int(1, 5);
  s.width = widths[rng.Int(0, 7)];
  s.page_size = page_sizes[rng.Int(0, 3)];
  s.rows = rng.Int(0, 1) == 0 ? 1 : rng.Int(2, 70);
  s.positions = s.rows + (rng.Int(0, 3) == 0 ? 0 : rng.Int(0, 700));
  s.window = rng.Int(0, 2) == 0 ? rng.Int(1, 300) : 0;
  return s;
}

TEST(Attention, IsWithinTheBoundAndNeverTouchesStaleSlots) {
  Rng rng;
  for (const Kernels& table : AllKernels())
    for (int i = 0; i < 25; ++i) {
      CheckAgainstF64(table, RandomShape(rng), rng);
      if (HasFatalFailure()) return;
    }
}

TEST(Attention, EveryLengthAroundABlockAndASplit) {
  Rng rng;
  for (const Kernels& table : AllKernels())
    for (const int positions : {1, 2, 15, 16, 17, 31, 32, 33, 255, 256, 257, 271, 272, 273, 511, 512, 513}) {
      Shape s;
      s.positions = positions;
      s.rows = std::min(positions, rng.Int(1, 3));
      s.page_size = rng.Int(0, 1) == 0 ? 1 : 16;
      s.width = 24;
      CheckAgainstF64(table, s, rng);
      if (HasFatalFailure()) return;
    }
}

TEST(Attention, SmallWindowsAcrossASplit) {
  Rng rng;
  for (const Kernels& table : AllKernels())
    for (const int window : {1, 2, 5, 16, 31}) {
      Shape s;
      s.rows = 60;
      s.positions = 256 + rng.Int(1, 59);
      s.window = window;
      s.width = 16;
      CheckAgainstF64(table, s, rng);
      if (HasFatalFailure()) return;
    }
}

// Chunks of rows, partials merged, page sizes, page orders: the same bits.
TEST(Attention, ResultsDependOnTheRowAlone) {
  Rng rng;
  for (const Kernels& table : AllKernels())
    for (int i = 0; i < 12; ++i) {
      const Shape s = RandomShape(rng);
      const std::string what = std::string(table.isa) + " " + s.Text();
      Data data(rng, s);
      const Cache cache(rng, table, data, s.page_size);
      Padded<float> whole = Attend(table, data, cache, {});
      for (const int rows : {1, 2, 7, 31}) {
        Padded<float> chunked = Attend(table, data, cache, {.rows = rows});
        ExpectSame(whole, chunked, 0, s.rows, data.columns(), what + " chunk " + std::to_string(rows));
      }
      for (const int splits : {1, 2}) {
        Padded<float> merged = Attend(table, data, cache, {.rows = rng.Int(1, kAttnRows), .splits = splits});
        ExpectSame(whole, merged, 0, s.rows, data.columns(), what + " partials of " + std::to_string(splits));
      }
      for (const int page : {1, 16, 64}) {
        const Cache other(rng, table, data, page);
        Padded<float> moved = Attend(table, data, other, {});
        ExpectSame(whole, moved, 0, s.rows, data.columns(), what + " pages of " + std::to_string(page));
      }
      // Later rows not yet in the cache: the slots behind a task's last row hold NaN.
      const int last = rng.Int(0, s.rows - 1), first = rng.Int(0, last);
      const Cache early(rng, table, data, s.page_size, first, last);
      Padded<float> part = Attend(table, data, early, {}, first, last + 1);
      ExpectSame(whole, part, first, last + 1, data.columns(), what + " rows not yet there");
      if (HasFatalFailure()) return;
    }
}

TEST(Attention, AnEmptySplitGivesTheEmptyPartial) {
  Rng rng;
  for (const Kernels& table : AllKernels()) {
    Shape s;
    s.positions = 520;
    s.rows = 2;
    s.window = 9;
    Data data(rng, s);
    const Cache cache(rng, table, data, 16);
    std::vector<float> scratch(static_cast<size_t>(AttentionScratch(s.heads_per_group, s.width)));
    std::vector<float> partials(static_cast<size_t>(s.rows * s.heads_per_group * (2 + s.width)), 3.0f);
    const AttnSeq seq = {cache.pages.data(), 16, data.first_pos(), s.rows, s.window};
    table.attention(data.q.mat(), cache.layer, seq, 1, s.heads_per_group, 0, s.rows, 0, 1, data.scale, nullptr, partials.data(),
                    scratch.data());
    for (size_t i = 0; i < partials.size(); ++i)
      ASSERT_EQ(partials[i], i % static_cast<size_t>(2 + s.width) == 0 ? -std::numeric_limits<float>::infinity() : 0.0f) << table.isa << i;
  }
}

TEST(StoreKv, PutsRoundedValuesWhereTheLayoutSays) {
  Rng rng;
  for (const Kernels& table : AllKernels())
    for (const DType dtype : kPlainTypes)
      for (const int width : {1, 5, 16, 21, 64}) {
        const int groups = rng.Int(1, 3), tokens = 9, cols = groups * width, slot_count = 64;
        Padded<float> k = RandomMat(rng, tokens, cols), v = RandomMat(rng, tokens, cols);
        k.at(0, 0) = std::nanf("");
        k.at(1, 0) = 1e38f;
        v.at(2, cols - 1) = -3e-6f;
        std::vector<int32_t> slots(slot_count);
        std::iota(slots.begin(), slots.end(), 0);
        std::shuffle(slots.begin(), slots.end(), rng.engine);
        const size_t bytes = static_cast<size_t>(slot_count * cols) * Info(dtype).block_bytes;
        std::vector<uint8_t> k_cache(bytes, 0xAB), v_cache(bytes, 0xAB), k_want = k_cache, v_want = v_cache;
        table.store_kv(k.mat(), v.mat(), slots.data(), {k_cache.data(), v_cache.data(), dtype, groups, width});
        const auto put = [&](std::vector<uint8_t>& cache, size_t at, float x) {
          const uint16_t half = dtype == DType::kF16 ? F32ToF16(x) : F32ToBF16(x);
          if (dtype == DType::kF32)
            std::memcpy(&cache[at * 4], &x, 4);
          else
            std::memcpy(&cache[at * 2], &half, 2);
        };
        for (int t = 0; t < tokens; ++t)
          for (int g = 0; g < groups; ++g)
            for (int c = 0; c < width; ++c) {
              const int s = slots[static_cast<size_t>(t)], start = ((s / 16) * groups + g) * 16 * width;
              put(k_want, static_cast<size_t>(start + c * 16 + s % 16), k.at(t, g * width + c));
              put(v_want, static_cast<size_t>(start + s % 16 * width + c), v.at(t, g * width + c));
            }
        // Only a NaN's payload may differ.
        for (size_t i = 0; i < bytes; ++i) {
          const size_t size = static_cast<size_t>(Info(dtype).block_bytes),
                       nan = (slots[0] / 16 * groups * 16 * width + slots[0] % 16) * size;
          if (i >= nan && i < nan + size) continue;
          ASSERT_EQ(k_cache[i], k_want[i]) << table.isa << " " << Info(dtype).name << " C=" << width << " byte " << i;
          ASSERT_EQ(v_cache[i], v_want[i]) << table.isa << " " << Info(dtype).name << " C=" << width << " byte " << i;
        }
        float back = 0;
        const size_t at = static_cast<size_t>(slots[0] / 16 * groups * 16 * width + slots[0] % 16);
        DequantiseRow(dtype, reinterpret_cast<const std::byte*>(k_cache.data()) + at * Info(dtype).block_bytes, 1, &back);
        EXPECT_TRUE(std::isnan(back));
      }
}

}  // namespace
}  // namespace sgl::kernels_test
