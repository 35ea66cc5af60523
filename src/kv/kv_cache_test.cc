// SPDX-License-Identifier: Apache-2.0
#include "kv/kv_cache.h"

#include <gtest/gtest.h>

#include <numeric>

namespace sgl {
namespace {

std::vector<TokenId> Range(int from, int to) {
  std::vector<TokenId> tokens(static_cast<size_t>(to - from));
  std::iota(tokens.begin(), tokens.end(), from);
  return tokens;
}

// Reserves, inserts and gives back what is left: a sequence that came and went.
RadixNode* Put(KvCache& cache, const std::vector<TokenId>& tokens, std::string_view key = "") {
  const auto page_size = static_cast<size_t>(cache.page_size());
  auto pages = cache.Reserve(static_cast<int32_t>((tokens.size() + page_size - 1) / page_size));
  EXPECT_TRUE(pages.has_value());
  if (!pages) return nullptr;
  RadixNode* node = cache.Insert(tokens, key, *pages, 0);
  cache.Return(std::span<const PageId>(*pages).subspan(tokens.size() / page_size));
  return node;
}

TEST(KvCache, ReserveIsAllOrNothing) {
  KvCache cache(4, 16, true);
  std::vector<PageId> pages;
  EXPECT_TRUE(cache.Reserve(3, pages));
  EXPECT_FALSE(cache.Reserve(2, pages));
  EXPECT_EQ(pages.size(), 3u);
  EXPECT_EQ(cache.free_pages(), 1);
  EXPECT_EQ(cache.held_pages(), 3);
  cache.Return(pages);
  EXPECT_EQ(cache.free_pages(), 4);
  cache.CheckInvariants();
}

TEST(KvCache, MatchesWholePagesUpToTheLimit) {
  KvCache cache(8, 4, true);
  Put(cache, Range(0, 14));
  EXPECT_EQ(cache.evictable_pages(), 3);
  EXPECT_EQ(cache.Match(Range(0, 14), "", 100).tokens, 12);
  EXPECT_EQ(cache.Match(Range(0, 14), "", 11).tokens, 8);
  EXPECT_EQ(cache.Match(Range(0, 14), "", 3).tokens, 0);
  EXPECT_EQ(cache.Match(Range(0, 14), "", -1).tokens, 0);
  EXPECT_EQ(cache.Match(Range(1, 14), "", 100).tokens, 0);
  cache.CheckInvariants();
}

TEST(KvCache, NamespacesNeverShare) {
  KvCache cache(8, 4, true);
  Put(cache, Range(0, 8), "a");
  EXPECT_EQ(cache.Match(Range(0, 8), "", 8).tokens, 0);
  EXPECT_EQ(cache.Match(Range(0, 8), "b", 8).tokens, 0);
  EXPECT_EQ(cache.Match(Range(0, 8), "a", 8).tokens, 8);
  Put(cache, Range(0, 8), "b");
  EXPECT_EQ(cache.evictable_pages(), 4);
}

TEST(KvCache, DuplicatesGoBackAndTheTableIsRewritten) {
  KvCache cache(8, 4, true);
  Put(cache, Range(0, 8));
  const auto cached = cache.Match(Range(0, 8), "", 8).pages;
  auto pages = cache.Reserve(4);
  ASSERT_TRUE(pages.has_value());
  const PageId third = (*pages)[2], tail = (*pages)[3];
  cache.Insert(Range(0, 14), "", *pages, 0);
  EXPECT_EQ((*pages)[0], cached[0]);
  EXPECT_EQ((*pages)[1], cached[1]);
  EXPECT_EQ((*pages)[2], third);
  EXPECT_TRUE(cache.is_held(tail));
  EXPECT_EQ(cache.held_pages(), 1);
  EXPECT_EQ(cache.free_pages(), 4);
  cache.CheckInvariants();
}

TEST(KvCache, EvictsTheTailOfTheOldestUnlockedLeaf) {
  KvCache cache(6, 1, true);
  Put(cache, Range(0, 3));
  Put(cache, Range(10, 13));
  cache.Match(Range(0, 3), "", 3);  // now the other one is older
  auto pages = cache.Reserve(1);
  EXPECT_EQ(cache.MatchedTokens(Range(0, 3), "", 3), 3);
  EXPECT_EQ(cache.MatchedTokens(Range(10, 13), "", 3), 2);

  const PrefixMatch match = cache.Match(Range(10, 12), "", 2);
  cache.Lock(match.node);
  auto more = cache.Reserve(3);  // only the unlocked three are left to take
  ASSERT_TRUE(more.has_value());
  EXPECT_FALSE(cache.Reserve(1).has_value());
  EXPECT_EQ(cache.MatchedTokens(Range(0, 3), "", 3), 0);
  EXPECT_EQ(cache.MatchedTokens(Range(10, 13), "", 3), 2);
  EXPECT_EQ(cache.protected_pages(), 2);
  cache.Unlock(match.node);
  EXPECT_TRUE(cache.Reserve(1).has_value());
  cache.CheckInvariants();
}

TEST(KvCache, SplitKeepsTheLocksOfTheDeeperNode) {
  KvCache cache(8, 2, true);
  RadixNode* node = Put(cache, Range(0, 8));
  cache.Lock(node);
  EXPECT_EQ(cache.Match(Range(0, 4), "", 4).tokens, 4);  // splits the locked node
  cache.CheckInvariants();
  EXPECT_EQ(cache.protected_pages(), 4);
  cache.Unlock(node);
  EXPECT_EQ(cache.evictable_pages(), 4);
  EXPECT_EQ(cache.locks(), 0);
  cache.CheckInvariants();
}

TEST(KvCache, PeekLeavesNoTrace) {
  KvCache cache(4, 1, true);
  Put(cache, Range(0, 2));
  Put(cache, Range(10, 12));
  EXPECT_EQ(cache.MatchedTokens(Range(0, 2), "", 2), 2);  // does not make it younger
  EXPECT_TRUE(cache.Reserve(2).has_value());
  EXPECT_EQ(cache.MatchedTokens(Range(0, 2), "", 2), 0);
  EXPECT_EQ(cache.MatchedTokens(Range(10, 12), "", 2), 2);
}

TEST(KvCache, FlushFreesTheTreeAndLeavesLoansAlone) {
  KvCache cache(8, 4, true);
  Put(cache, Range(0, 8), "a");
  Put(cache, Range(0, 8), "b");
  auto pages = cache.Reserve(2);
  cache.Flush();
  EXPECT_EQ(cache.free_pages(), 6);
  EXPECT_EQ(cache.held_pages(), 2);
  EXPECT_EQ(cache.evictable_pages(), 0);
  EXPECT_EQ(cache.MatchedTokens(Range(0, 8), "a", 8), 0);
  cache.CheckInvariants();
}

TEST(KvCache, WithoutTreeNothingIsKept) {
  KvCache cache(4, 4, false);
  auto pages = cache.Reserve(3);
  ASSERT_TRUE(pages.has_value());
  cache.Insert(Range(0, 9), "", *pages, 0);
  EXPECT_EQ(cache.held_pages(), 1);
  EXPECT_EQ(cache.free_pages(), 3);
  EXPECT_EQ(cache.Match(Range(0, 9), "", 9).tokens, 0);
  cache.CheckInvariants();
}

// One node per page, as deep as a long conversation makes it: nothing may recurse.
TEST(KvCache, DeepPathsDoNotOverflowTheStack) {
  constexpr int kDepth = 3000;
  KvCache cache(200'000, 1, true);
  std::vector<TokenId> tokens;
  std::vector<PageId> pages;
  for (int i = 0; i < kDepth; ++i) {
    tokens.push_back(i % 7);
    ASSERT_TRUE(cache.Reserve(1, pages));
    cache.Insert(tokens, "", pages, i);
  }
  cache.CheckInvariants();
  EXPECT_EQ(cache.MatchedTokens(tokens, "", kDepth), kDepth);
  auto all = cache.Reserve(200'000 - 5);  // evicts from the end of the chain upwards
  ASSERT_TRUE(all.has_value());
  EXPECT_EQ(cache.MatchedTokens(tokens, "", kDepth), 5);
  cache.CheckInvariants();
}

TEST(KvCache, PathsAreLookedAtWithoutTouchingThem) {
  KvCache cache(20, 4, true);
  RadixNode* deep = Put(cache, Range(0, 16));
  std::vector<TokenId> fork = Range(0, 8);
  fork.insert(fork.end(), {100, 101, 102, 103});
  RadixNode* side = Put(cache, fork);
  const PrefixPath whole = cache.MatchedPath(Range(0, 16), "", 100), half = cache.MatchedPath(Range(0, 13), "", 100);
  EXPECT_EQ(whole.nodes.size(), 2u);
  EXPECT_EQ(whole.nodes.back(), deep);
  EXPECT_EQ(whole.tokens, 16);
  EXPECT_EQ(half.nodes, whole.nodes) << "in part";
  EXPECT_EQ(half.tokens, 12);
  const PrefixPath other = cache.MatchedPath(fork, "", 100);
  EXPECT_EQ(other.nodes.front(), whole.nodes.front());
  EXPECT_EQ(other.nodes.back(), side);
  EXPECT_TRUE(cache.MatchedPath(Range(50, 60), "", 100).nodes.empty());
  EXPECT_TRUE(cache.MatchedPath(Range(0, 16), "x", 100).nodes.empty());
}

// What an Unlock would free, as told before and as seen after.
TEST(KvCache, PagesFreedByUnlockAreThoseNobodyElseLocks) {
  KvCache cache(20, 4, true);
  RadixNode* deep = Put(cache, Range(0, 16));
  std::vector<TokenId> fork = Range(0, 8);
  fork.insert(fork.end(), {100, 101, 102, 103});
  RadixNode* side = Put(cache, fork);
  cache.Lock(deep);
  EXPECT_EQ(cache.PagesFreedByUnlock(deep), 4);
  cache.Lock(side);
  EXPECT_EQ(cache.PagesFreedByUnlock(deep), 2);
  EXPECT_EQ(cache.PagesFreedByUnlock(side), 1);
  cache.Lock(deep);
  EXPECT_EQ(cache.PagesFreedByUnlock(deep), 0);
  cache.Unlock(deep);
  const int32_t before = cache.evictable_pages(), told = cache.PagesFreedByUnlock(deep);
  cache.Unlock(deep);
  EXPECT_EQ(cache.evictable_pages() - before, told);
  cache.Unlock(side);
}

using KvCacheDeathTest = testing::Test;

TEST(KvCacheDeathTest, MisuseIsCaught) {
  KvCache cache(4, 4, true);
  auto pages = cache.Reserve(2);
  ASSERT_TRUE(pages.has_value());
  EXPECT_DEATH(
      {
        cache.Return(*pages);
        cache.Return(*pages);
      },
      "does not own it");
  RadixNode* node = cache.Insert(Range(0, 8), "", *pages, 0);
  EXPECT_DEATH(cache.Return(*pages), "does not own it");
  EXPECT_DEATH(cache.Unlock(node), "unlocked more often");
  cache.Lock(node);
  EXPECT_DEATH(cache.Flush(), "flushed while in use");
}

}  // namespace
}  // namespace sgl
