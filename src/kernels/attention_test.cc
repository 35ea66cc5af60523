// Attention and the cache's layout: every table against f64, and the determinism rule bit for bit.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <limits>
#include <numeric>

#include "kernels/test_support.h"

namespace sgl::kernels_test {
namespace {

const char* Name(KvType type) {
  const char* names[] = {"f32", "f16", "bf16", "fp8_e5m2", "fp8_e4m3", "int8"};
  return names[static_cast<int>(type)];
}

// What a code of a one-byte float stands for.
float SmallFloatValue(KvType type, int code) {
  const int mantissa = type == KvType::kF8E5M2 ? 2 : 3, bias = type == KvType::kF8E5M2 ? 15 : 7;
  const int exponent = code >> mantissa, rest = code & ((1 << mantissa) - 1);
  return exponent == 0 ? std::ldexp(static_cast<float>(rest), 1 - bias - mantissa)
                       : std::ldexp(static_cast<float>(rest + (1 << mantissa)), exponent - bias - mantissa);
}
int LargestCode(KvType type) { return type == KvType::kF8E5M2 ? 0x7B : 0x7E; }

// The nearest code, the even one of two.
int SmallFloatCode(KvType type, float x) {
  if (!std::isfinite(x)) return 0x7F | (std::signbit(x) ? 0x80 : 0);
  const int largest = LargestCode(type), sign = std::signbit(x) ? 0x80 : 0;
  const double magnitude = std::min(std::abs(x), SmallFloatValue(type, largest));
  int low = 0, high = largest;  // value(low) <= magnitude <= value(high)
  while (high - low > 1) (SmallFloatValue(type, (low + high) / 2) <= magnitude ? low : high) = (low + high) / 2;
  const double below = magnitude - SmallFloatValue(type, low), above = SmallFloatValue(type, high) - magnitude;
  return (below < above || (below == above && low % 2 == 0) ? low : high) | sign;
}

float I8Scale(const float* x, int width) {
  float most = 0;
  for (int c = 0; c < width; ++c) most = std::max(most, std::abs(x[c]));
  return most / 127.0f;
}

// x as the cache holds it; x belongs to a head of `width` elements at `head`.
float Cached(KvType type, float x, const float* head, int width) {
  switch (type) {
    case KvType::kF32: return x;
    case KvType::kF16: return F16ToF32(F32ToF16(x));
    case KvType::kBF16: return BF16ToF32(F32ToBF16(x));
    case KvType::kI8: {
      const float scale = I8Scale(head, width);
      return scale == 0 ? 0 : std::nearbyint(x / scale) * scale;
    }
    default: {
      const int code = SmallFloatCode(type, x);
      return (code & 0x80) != 0 ? -SmallFloatValue(type, code & 0x7F) : SmallFloatValue(type, code);
    }
  }
}

// The portable table is slow.
int Times(const Kernels& table, int times) { return std::string_view(table.isa) == "portable" ? (times + 2) / 3 : times; }

bool HasTiles(const Kernels& table) { return std::string_view(table.isa) == "amx"; }

struct Shape {
  KvType type = KvType::kBF16;
  int groups = 2, heads_per_group = 3, width = 64, page_size = 16, positions = 40, rows = 5, window = 0;
  std::string Text() const {
    return std::string(Name(type)) + " G=" + std::to_string(groups) + " hpg=" + std::to_string(heads_per_group) +
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
  std::vector<uint32_t> k, v;
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
    const size_t blocks = static_cast<size_t>(total * page + 47) / 16;
    const size_t bytes = blocks * static_cast<size_t>(s.groups * KvChunkBytes(s.type, s.width)) + kKvSlack;
    k.assign(bytes / 4, 0xFFFFFFFFu);  // NaN in every type
    v.assign(bytes / 4, 0xFFFFFFFFu);
    layer = {k.data(), v.data(), s.type, s.groups, s.width};
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

// Rows as tasks name them.
struct Rows {
  std::vector<int32_t> row, pos;
  std::vector<int64_t> part;
  AttnTask Task(const Shape& s, const Cache& cache, int group, float scale) const {
    return {.pages = cache.pages.data(),
            .page_size = cache.page_size,
            .window = s.window,
            .rows = static_cast<int32_t>(row.size()),
            .row = row.data(),
            .pos = pos.data(),
            .part = part.data(),
            .group = group,
            .heads_per_group = s.heads_per_group,
            .split_begin = 0,
            .split_end = (s.positions + kKvSplit - 1) / kKvSplit,
            .scale = scale};
  }
};

struct Slicing {
  int rows = kAttnRows;  // per task
  int splits = 0;        // per call that writes partials; 0: no partials
};

Padded<float> Attend(const Kernels& table, Data& data, const Cache& cache, const Slicing& slicing, int row_begin = 0, int row_end = -1) {
  const Shape& s = data.shape;
  if (row_end < 0) row_end = s.rows;
  Padded<float> out(s.rows, data.columns());
  const int splits = (s.positions + kKvSplit - 1) / kKvSplit;
  std::vector<float> scratch(static_cast<size_t>(AttentionScratch(s.heads_per_group, s.width)) + 1, std::nanf(""));
  scratch.back() = 77.0f;
  Mat<float> out_mat = out.mat();
  const int64_t one = 2 + s.width, stride = one * s.heads_per_group;
  for (int begin = row_begin; begin < row_end; begin += slicing.rows)
    for (int g = 0; g < s.groups; ++g) {
      Rows rows;
      for (int r = begin; r < std::min(begin + slicing.rows, row_end); ++r) {
        rows.row.push_back(r);
        rows.pos.push_back(data.first_pos() + r);
        rows.part.push_back((r - begin) * splits * stride);
      }
      AttnTask task = rows.Task(s, cache, g, data.scale);
      if (slicing.splits == 0) {
        table.attention(data.q.mat(), cache.layer, task, &out_mat, nullptr, scratch.data());
        continue;
      }
      std::vector<float> partials(rows.row.size() * static_cast<size_t>(splits * stride) + 1, 55.0f);
      for (int split = 0; split < splits; split += slicing.splits) {
        task.split_begin = split;
        task.split_end = std::min(splits, split + slicing.splits);
        table.attention(data.q.mat(), cache.layer, task, nullptr, partials.data() + split * stride, scratch.data());
      }
      EXPECT_EQ(partials.back(), 55.0f);
      for (size_t r = 0; r < rows.row.size(); ++r)
        for (int j = 0; j < s.heads_per_group; ++j)
          table.attention_merge(partials.data() + rows.part[r] + j * one, splits, stride, s.width,
                                out_mat.row(rows.row[r]) + (g * s.heads_per_group + j) * s.width);
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

// The bounds of kernels.h, with the cache's values taken as exact.
void CheckAgainstF64(const Kernels& table, const Shape& s, Rng& rng) {
  Data data(rng, s);
  const Cache cache(rng, table, data, s.page_size);
  Padded<float> out = Attend(table, data, cache, {});
  const int64_t cols = int64_t{s.groups} * s.width;
  const bool tiles = HasTiles(table) && KvIsPaired(s.type);
  const double bound = tiles ? 4.2e-3 : 4e-5;
  const auto query = [&](float x) { return static_cast<double>(x) * data.scale; };
  std::vector<double> keys(data.k.size()), values(data.v.size());
  for (size_t i = 0; i < keys.size(); ++i) {
    const size_t head = i / static_cast<size_t>(s.width) * static_cast<size_t>(s.width);
    keys[i] = Cached(s.type, data.k[i], &data.k[head], s.width);
    values[i] = Cached(s.type, data.v[i], &data.v[head], s.width);
  }
  for (int r = 0; r < s.rows; ++r) {
    const int pos = data.first_pos() + r, from = s.window > 0 ? std::max(0, pos - s.window + 1) : 0;
    for (int h = 0; h < s.groups * s.heads_per_group; ++h) {
      const int g = h / s.heads_per_group;
      std::vector<double> score;
      for (int p = from; p <= pos; ++p) {
        double dot = 0;
        for (int c = 0; c < s.width; ++c)
          dot += query(data.q.at(r, h * s.width + c)) * keys[static_cast<size_t>(p * cols + g * s.width + c)];
        score.push_back(dot);
      }
      const double top = *std::max_element(score.begin(), score.end());
      double sum = 0;
      for (double& x : score) sum += x = std::exp(x - top);
      for (int c = 0; c < s.width; ++c) {
        double want = 0, largest = 0;
        for (int p = from; p <= pos; ++p) {
          const double value = values[static_cast<size_t>(p * cols + g * s.width + c)];
          want += score[static_cast<size_t>(p - from)] / sum * value;
          largest = std::max(largest, std::abs(value));
        }
        ASSERT_TRUE(std::abs(out.at(r, h * s.width + c) - want) <= bound * largest)
            << table.isa << " " << s.Text() << " row " << r << " head " << h << " c " << c << ": " << out.at(r, h * s.width + c) << " for "
            << want;
      }
    }
  }
}

Shape RandomShape(Rng& rng) {
  const int widths[] = {1, 7, 16, 20, 33, 64, 80, 96, 128}, page_sizes[] = {1, 16, 48, 64}, ratios[] = {1, 2, 3, 4, 7, 8};
  Shape s;
  s.type = kKvTypes[rng.Int(0, 5)];
  s.groups = rng.Int(1, 3);
  s.heads_per_group = ratios[rng.Int(0, 5)];
  s.width = widths[rng.Int(0, 8)];
  s.page_size = page_sizes[rng.Int(0, 3)];
  s.rows = rng.Int(0, 1) == 0 ? 1 : rng.Int(2, 70);
  s.positions = s.rows + (rng.Int(0, 3) == 0 ? 0 : rng.Int(0, 700));
  s.window = rng.Int(0, 2) == 0 ? rng.Int(1, 300) : 0;
  return s;
}

TEST(Attention, IsWithinTheBoundAndNeverTouchesStaleSlots) {
  Rng rng;
  for (const Kernels& table : AllKernels())
    for (int i = 0; i < Times(table, 25); ++i) {
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
      s.type = kKvTypes[rng.Int(0, 5)];
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
      s.type = kKvTypes[rng.Int(0, 5)];
      CheckAgainstF64(table, s, rng);
      if (HasFatalFailure()) return;
    }
}

// Chunks of rows, partials merged, page sizes, page orders: the same bits.
TEST(Attention, ResultsDependOnTheRowAlone) {
  Rng rng;
  for (const Kernels& table : AllKernels())
    for (int i = 0; i < Times(table, 12); ++i) {
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
  for (const Kernels& table : AllKernels())
    for (const KvType type : kKvTypes) {
      Shape s;
      s.type = type;
      s.positions = 520;
      s.rows = 2;
      s.window = 9;
      Data data(rng, s);
      const Cache cache(rng, table, data, 16);
      std::vector<float> scratch(static_cast<size_t>(AttentionScratch(s.heads_per_group, s.width)));
      std::vector<float> partials(static_cast<size_t>(s.rows * s.heads_per_group * (2 + s.width)), 3.0f);
      const Rows rows = {{0, 1}, {518, 519}, {0, int64_t{s.heads_per_group} * (2 + s.width)}};
      AttnTask task = rows.Task(s, cache, 1, data.scale);
      task.split_end = 1;
      table.attention(data.q.mat(), cache.layer, task, nullptr, partials.data(), scratch.data());
      for (size_t i = 0; i < partials.size(); ++i)
        ASSERT_EQ(partials[i], i % static_cast<size_t>(2 + s.width) == 0 ? -std::numeric_limits<float>::infinity() : 0.0f)
            << table.isa << " " << Name(type) << " " << i;
    }
}

// Rows of several sequences that begin with the same pages, over the splits they share, then each its own rest: the bits of each alone.
TEST(Attention, SharedPrefixesAreReadForAllAtOnce) {
  Rng rng;
  for (const Kernels& table : AllKernels())
    for (const KvType type : kKvTypes) {
      constexpr int kSequences = 5, kShared = 2;
      Shape s;
      s.type = type;
      s.positions = 600;
      s.rows = 1;
      const int64_t one = 2 + s.width, stride = one * s.heads_per_group, row_floats = 3 * stride;
      const Data first(rng, s);
      Padded<float> q(kSequences, first.columns()), together(kSequences, first.columns());
      std::vector<Cache> caches;
      std::vector<Padded<float>> alone;
      Rows rows;
      for (int i = 0; i < kSequences; ++i) {
        Data data(rng, s);
        const size_t same = static_cast<size_t>(kShared * kKvSplit * s.groups * s.width);
        std::copy_n(first.k.begin(), same, data.k.begin());
        std::copy_n(first.v.begin(), same, data.v.begin());
        caches.emplace_back(rng, table, data, 16);
        alone.push_back(Attend(table, data, caches.back(), {}));
        for (int c = 0; c < data.columns(); ++c) q.at(i, c) = data.q.at(0, c);
        rows.row.push_back(i);
        rows.pos.push_back(599);
        rows.part.push_back(i * row_floats);
      }
      std::vector<float> scratch(static_cast<size_t>(AttentionScratch(s.heads_per_group, s.width)));
      std::vector<float> partials(static_cast<size_t>(kSequences * row_floats));
      for (int g = 0; g < s.groups; ++g) {
        AttnTask task = rows.Task(s, caches[3], g, first.scale);
        task.split_end = kShared;
        table.attention(q.mat(), caches[3].layer, task, nullptr, partials.data(), scratch.data());
        for (int i = 0; i < kSequences; ++i) {
          task.rows = 1;
          task.row = &rows.row[static_cast<size_t>(i)];
          task.pos = &rows.pos[static_cast<size_t>(i)];
          task.part = &rows.part[static_cast<size_t>(i)];
          task.pages = caches[static_cast<size_t>(i)].pages.data();
          task.split_begin = kShared;
          task.split_end = 3;
          table.attention(q.mat(), caches[static_cast<size_t>(i)].layer, task, nullptr, partials.data() + kShared * stride, scratch.data());
          for (int j = 0; j < s.heads_per_group; ++j)
            table.attention_merge(partials.data() + i * row_floats + j * one, 3, stride, s.width,
                                  together.mat().row(i) + (g * s.heads_per_group + j) * s.width);
        }
      }
      for (int i = 0; i < kSequences; ++i)
        for (int c = 0; c < first.columns(); ++c)
          ASSERT_TRUE(SameBits(together.at(i, c), alone[static_cast<size_t>(i)].at(0, c))) << table.isa << " " << Name(type) << " " << i;
    }
}

// A value that is not a number spoils exactly the rows that see it, however rows are put together.
TEST(Attention, WhatIsNotFiniteStaysWithTheRowsThatSeeIt) {
  Rng rng;
  for (const Kernels& table : AllKernels())
    for (const KvType type : kKvTypes) {
      Shape s;
      s.type = type;
      s.positions = 300;
      s.rows = 40;
      Data data(rng, s);
      const int bad = 277;
      data.v[static_cast<size_t>(bad * s.groups * s.width)] = rng.Int(0, 1) == 0 ? std::nanf("") : std::numeric_limits<float>::infinity();
      const Cache cache(rng, table, data, 16);
      Padded<float> whole = Attend(table, data, cache, {}), single = Attend(table, data, cache, {.rows = 1});
      for (int r = 0; r < s.rows; ++r)
        for (int c = 0; c < data.columns(); ++c) {
          const std::string what = std::string(table.isa) + " " + Name(type) + " row " + std::to_string(r) + " column " + std::to_string(c);
          const bool spoiled = data.first_pos() + r >= bad && c < s.heads_per_group * s.width && (type == KvType::kI8 || c % s.width == 0);
          ASSERT_EQ(std::isfinite(whole.at(r, c)), !spoiled) << what;
          if (spoiled) continue;
          ASSERT_TRUE(SameBits(whole.at(r, c), single.at(r, c))) << what;
        }
    }
}

TEST(StoreKv, PutsRoundedValuesWhereTheLayoutSays) {
  Rng rng;
  for (const Kernels& table : AllKernels())
    for (const KvType type : kKvTypes)
      for (const int width : {1, 5, 16, 21, 64}) {
        const int groups = rng.Int(1, 3), tokens = 11, cols = groups * width, slot_count = 64, even = (width + 1) / 2 * 2;
        Padded<float> k = RandomMat(rng, tokens, cols), v = RandomMat(rng, tokens, cols);
        k.at(1, 0) = 1e38f;
        v.at(2, cols - 1) = -3e-6f;
        for (int c = 0; c < cols; ++c) v.at(4, c) = 0.0f;
        for (int c = 0; c < cols; ++c) k.at(5, c) = std::ldexp(rng.Normal(), rng.Int(-20, 16));  // every exponent of the small types
        std::vector<int32_t> slots(slot_count);
        std::iota(slots.begin(), slots.end(), 0);
        std::shuffle(slots.begin(), slots.end(), rng.engine);
        for (int t = 6; t < tokens; ++t) slots[static_cast<size_t>(t)] = 70 + t - 6;  // and some that follow one another
        const size_t chunk = static_cast<size_t>(KvChunkBytes(type, width)), size = static_cast<size_t>(KvElemBytes(type));
        const size_t bytes = 5 * static_cast<size_t>(groups) * chunk;
        std::vector<uint8_t> k_cache(bytes, 0xAB), v_cache(bytes, 0xAB), k_want = k_cache, v_want = v_cache;
        table.store_kv(k.mat(), v.mat(), slots.data(), {k_cache.data(), v_cache.data(), type, groups, width});
        const auto put = [&](std::vector<uint8_t>& cache, size_t start, int at, float x, const float* head) {
          uint32_t code = std::bit_cast<uint32_t>(x);
          if (type == KvType::kF16) code = F32ToF16(x);
          if (type == KvType::kBF16) code = F32ToBF16(x);
          if (type == KvType::kF8E5M2 || type == KvType::kF8E4M3) code = static_cast<uint32_t>(SmallFloatCode(type, x));
          if (type == KvType::kI8) {
            const float scale = I8Scale(head, width);
            code = (scale == 0 ? 0 : static_cast<uint32_t>(std::nearbyint(std::abs(x) / scale))) | (std::signbit(x) ? 0x80u : 0u);
          }
          std::memcpy(&cache[start + static_cast<size_t>(at) * size], &code, size);
        };
        for (int t = 0; t < tokens; ++t)
          for (int g = 0; g < groups; ++g) {
            const int slot = slots[static_cast<size_t>(t)], s = slot % 16;
            const size_t start = static_cast<size_t>(slot / 16 * groups + g) * chunk;
            const float *key = &k.at(t, g * width), *value = &v.at(t, g * width);
            for (int c = 0; c < width; ++c) {
              put(k_want, start, KvIsPaired(type) ? (c / 2 * 16 + s) * 2 + c % 2 : c * 16 + s, key[c], key);
              put(v_want, start, KvIsPaired(type) ? (s / 2 * width + c) * 2 + s % 2 : s * width + c, value[c], value);
            }
            if (KvIsPaired(type) && width % 2 != 0) put(k_want, start, (width / 2 * 16 + s) * 2 + 1, 0.0f, key);
            if (type != KvType::kI8) continue;
            const float k_scale = I8Scale(key, width), v_scale = I8Scale(value, width);
            std::memcpy(&k_want[start + static_cast<size_t>(16 * even + 4 * s)], &k_scale, 4);
            std::memcpy(&v_want[start + static_cast<size_t>(16 * even + 4 * s)], &v_scale, 4);
          }
        for (size_t i = 0; i < bytes; ++i) {
          ASSERT_EQ(k_cache[i], k_want[i]) << table.isa << " " << Name(type) << " C=" << width << " byte " << i;
          ASSERT_EQ(v_cache[i], v_want[i]) << table.isa << " " << Name(type) << " C=" << width << " byte " << i;
        }
      }
}

}  // namespace
}  // namespace sgl::kernels_test
