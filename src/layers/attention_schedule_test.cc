// The schedule covers every score exactly once, whatever is shared or cut, and what it computes has the bits of each sequence alone.
// SPDX-License-Identifier: Apache-2.0
#include "layers/attention_schedule.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstdlib>
#include <map>
#include <random>
#include <set>

namespace sgl {
namespace {

std::mt19937 Engine() {
  const char* given = std::getenv("SGLANG_TEST_SEED");
  const unsigned seed = given != nullptr ? static_cast<unsigned>(std::strtoul(given, nullptr, 10)) : std::random_device{}();
  std::printf("SGLANG_TEST_SEED=%u\n", seed);
  return std::mt19937(seed);
}

// Sequences of which many begin with the same pages, at several depths.
struct Sequences {
  static constexpr int kPage = 16;
  std::vector<std::vector<int32_t>> tables;
  Step step;
  int32_t pages = 0;

  Sequences(std::mt19937& rng, int count, int longest, bool some_prefill) {
    const auto pick = [&](int low, int high) { return std::uniform_int_distribution<int>(low, high)(rng); };
    tables.reserve(static_cast<size_t>(count));
    for (int s = 0; s < count; ++s) {
      const int rows = some_prefill && pick(0, 3) == 0 ? pick(9, 70) : pick(0, 4) == 0 ? pick(1, 8) : 1, first_pos = pick(0, longest);
      const auto used = static_cast<size_t>((first_pos + rows + kPage - 1) / kPage);
      std::vector<int32_t> table;
      if (s > 0 && pick(0, 4) > 0) {
        const auto& other = tables[static_cast<size_t>(pick(0, s - 1))];
        const size_t same = std::min({other.size(), static_cast<size_t>(first_pos / kPage), static_cast<size_t>(pick(0, longest) / kPage)});
        table.assign(other.begin(), other.begin() + static_cast<std::ptrdiff_t>(same));
      }
      while (table.size() < used) table.push_back(pages++);
      tables.push_back(std::move(table));
      step.first_row.push_back(step.size());
      step.seqs.push_back({.pages = tables.back().data(), .page_size = kPage, .first_pos = first_pos, .rows = rows});
      for (int r = 0; r < rows; ++r) {
        step.tokens.push_back(TokenId{0});
        step.positions.push_back(first_pos + r);
      }
    }
  }
};

void ExpectCovered(const Step& step, const AttentionShape& shape, const AttentionSchedule& schedule) {
  std::map<std::pair<int32_t, int32_t>, std::multiset<int32_t>> covered;  // (row, group) -> splits
  std::map<std::pair<int32_t, int32_t>, std::set<int64_t>> places;        // of partials
  std::set<std::pair<int32_t, int32_t>> direct;
  for (const AttentionTask& task : schedule.tasks()) {
    const AttnTask call = schedule.Kernel(step, task);
    ASSERT_GE(call.rows, 1);
    ASSERT_LE(call.rows, kAttnRows);
    ASSERT_LT(call.split_begin, call.split_end);
    ASSERT_LT(task.group_begin, task.group_end);
    for (int i = 0; i < call.rows * (task.group_end - task.group_begin); ++i) {
      const int row = i % call.rows;
      ASSERT_EQ(call.pos[row], step.positions[static_cast<size_t>(call.row[row])]);
      const std::pair key(call.row[row], task.group_begin + i / call.rows);
      for (int split = call.split_begin; split < call.split_end; ++split) {
        covered[key].insert(split);
        if (task.partials < 0) continue;
        const int64_t at = call.part[row] + task.partials + (split - call.split_begin) * schedule.merge_stride();
        ASSERT_TRUE(places[key].insert(at).second);
      }
      if (task.partials >= 0) continue;
      ASSERT_TRUE(direct.insert(key).second);
    }
  }
  std::set<int64_t> taken;
  std::set<std::pair<int32_t, int32_t>> merged;
  for (const AttentionMerge& merge : schedule.merges()) {
    const std::pair key(merge.row, merge.group);
    ASSERT_TRUE(merged.insert(key).second);
    ASSERT_EQ(places[key].size(), static_cast<size_t>(merge.parts));
    for (int i = 0; i < merge.parts; ++i) {
      const int64_t at = merge.partials + i * schedule.merge_stride();
      ASSERT_TRUE(places[key].contains(at));
      ASSERT_TRUE(taken.insert(merge.group * schedule.partial_floats() / shape.groups + at).second) << "two rows share a place";
      ASSERT_LE((at + schedule.merge_stride()) * shape.groups, schedule.partial_floats());
    }
  }
  for (int32_t row = 0; row < step.size(); ++row)
    for (int32_t group = 0; group < shape.groups; ++group) {
      const std::pair key(row, group);
      ASSERT_NE(direct.contains(key), merged.contains(key)) << "row " << row;
      const int32_t pos = step.positions[static_cast<size_t>(row)];
      const int32_t first = shape.window > 0 ? std::max(0, pos - shape.window + 1) / kKvSplit : 0;
      for (int32_t split = first; split <= pos / kKvSplit; ++split) ASSERT_EQ(covered[key].count(split), 1u) << "row " << row;
    }
}

TEST(AttentionSchedule, CoversEverySplitOfEveryRowOnce) {
  std::mt19937 rng = Engine();
  AttentionSchedule schedule;
  for (int i = 0; i < 200; ++i) {
    const Sequences some(rng, 1 + i % 24, i % 5 == 0 ? 200 : 3000, i % 2 == 0);
    for (const int threads : {1, 2, 16}) {
      const AttentionShape shape = {
          .heads_per_group = 1 + i % 4, .groups = 1 + i % 3, .width = 8, .window = i % 7 == 0 ? 300 : 0, .threads = threads};
      schedule.Make(some.step, shape);
      ExpectCovered(some.step, shape, schedule);
      if (::testing::Test::HasFatalFailure()) return;
    }
  }
}

int64_t SplitsRead(const AttentionSchedule& schedule) {
  int64_t splits = 0;
  for (const AttentionTask& task : schedule.tasks()) splits += (task.split_end - task.split_begin) * (task.group_end - task.group_begin);
  return splits;
}

TEST(AttentionSchedule, ReadsSharedPagesOnceAndBalancesTheRest) {
  // 32 requests, 1,024 tokens in common, 40 of their own.
  Step step;
  std::vector<std::vector<int32_t>> tables(32);
  for (int s = 0; s < 32; ++s) {
    for (int i = 0; i < 67; ++i) tables[static_cast<size_t>(s)].push_back(i < 64 ? i : 100 + 3 * s + i);
    step.first_row.push_back(s);
    step.seqs.push_back({.pages = tables[static_cast<size_t>(s)].data(), .page_size = 16, .first_pos = 1063, .rows = 1});
    step.positions.push_back(1063);
    step.tokens.push_back(TokenId{0});
  }
  AttentionSchedule schedule;
  schedule.Make(step, {.heads_per_group = 3, .groups = 3, .width = 64, .window = 0, .threads = 2});
  EXPECT_EQ(SplitsRead(schedule), 3 * (4 + 32));
  // One long context over many threads: nobody has more than a few splits.
  Step one;
  std::vector<int32_t> table(512);
  one.first_row = {0};
  one.seqs.push_back({.pages = table.data(), .page_size = 16, .first_pos = 8191, .rows = 1});
  one.positions = {8191};
  one.tokens = {TokenId{0}};
  schedule.Make(one, {.heads_per_group = 3, .groups = 1, .width = 64, .window = 0, .threads = 8});
  EXPECT_EQ(SplitsRead(schedule), 32);
  for (const AttentionTask& task : schedule.tasks()) EXPECT_LE(task.split_end - task.split_begin, 2);
}

struct Cache {
  std::vector<std::byte> k, v;
  KvLayer layer;
  Cache(std::mt19937& rng, const AttentionShape& shape, int32_t pages) {
    const int32_t slots = pages * Sequences::kPage;
    const auto bytes = static_cast<size_t>(slots / kKvBlock * shape.groups * KvChunkBytes(KvType::kBF16, shape.width) + kKvSlack);
    k.resize(bytes);
    v.resize(bytes);
    layer = {k.data(), v.data(), KvType::kBF16, shape.groups, shape.width};
    std::normal_distribution<float> normal;
    const int64_t cols = int64_t{shape.groups} * shape.width;
    std::vector<float> keys(static_cast<size_t>(cols)), values(keys.size());
    for (int32_t slot = 0; slot < slots; ++slot) {
      for (float& x : keys) x = normal(rng);
      for (float& x : values) x = normal(rng);
      kernels().store_kv(MakeMat<const float>(keys.data(), 1, cols), MakeMat<const float>(values.data(), 1, cols), &slot, layer);
    }
  }
};

std::vector<float> Compute(const Step& step, const AttentionShape& shape, const KvLayer& layer, Mat<const float> q) {
  AttentionSchedule schedule;
  schedule.Make(step, shape);
  std::vector<float> out(static_cast<size_t>(q.rows * q.cols)),
      scratch(static_cast<size_t>(AttentionScratch(shape.heads_per_group, shape.width)));
  std::vector<float> partials(static_cast<size_t>(schedule.partial_floats()));
  Mat<float> result = MakeMat(out.data(), q.rows, q.cols);
  for (const AttentionTask& task : schedule.tasks())
    schedule.Run(kernels(), step, task, 0.25f, q, layer, result, partials.data(), scratch.data());
  for (const AttentionMerge& merge : schedule.merges()) schedule.Run(kernels(), merge, partials.data(), result);
  return out;
}

TEST(AttentionSchedule, EachSequenceHasTheBitsItHasAlone) {
  std::mt19937 rng = Engine();
  std::normal_distribution<float> normal;
  for (int i = 0; i < 4; ++i) {
    const Sequences some(rng, 12, 900, i % 2 == 0);
    AttentionShape shape = {.heads_per_group = 3, .groups = 2, .width = 16, .window = i == 3 ? 270 : 0, .threads = 1};
    const Cache cache(rng, shape, some.pages);
    const int64_t cols = int64_t{shape.groups} * shape.heads_per_group * shape.width;
    std::vector<float> q(static_cast<size_t>(some.step.size() * cols));
    for (float& x : q) x = normal(rng);
    const Mat<const float> queries = MakeMat<const float>(q.data(), some.step.size(), cols);
    std::vector<float> alone;
    for (size_t s = 0; s < some.step.seqs.size(); ++s) {
      const AttnSeq& seq = some.step.seqs[s];
      Step one;
      one.first_row = {0};
      one.seqs = {seq};
      for (int r = 0; r < seq.rows; ++r) {
        one.tokens.push_back(TokenId{0});
        one.positions.push_back(seq.first_pos + r);
      }
      const std::vector<float> part = Compute(one, shape, cache.layer, queries.Rows(some.step.first_row[s], seq.rows));
      alone.insert(alone.end(), part.begin(), part.end());
    }
    for (const int threads : {1, 2, 16}) {
      shape.threads = threads;
      const std::vector<float> together = Compute(some.step, shape, cache.layer, queries);
      for (size_t at = 0; at < alone.size(); ++at)
        ASSERT_EQ(std::bit_cast<uint32_t>(together[at]), std::bit_cast<uint32_t>(alone[at])) << threads << " threads, element " << at;
    }
  }
}

}  // namespace
}  // namespace sgl
