// SPDX-License-Identifier: Apache-2.0
#include "grammar/grammar_cache.h"

#include <gtest/gtest.h>

#include <future>
#include <new>

#include "grammar/test_kit.h"

namespace sgl {
namespace {

// A compiler whose jobs wait until they are let go or cancelled.
struct Gate {
  std::promise<void> open;
  std::shared_future<void> opened = open.get_future().share();
  std::atomic<int> started{0}, cancelled{0};

  GrammarCache::Compile compile() {
    return [this](const GrammarKey& key, const std::atomic<bool>* stop) -> Result<std::shared_ptr<const Grammar>> {
      ++started;
      while (opened.wait_for(std::chrono::milliseconds(1)) != std::future_status::ready)
        if (stop->load()) {
          ++cancelled;
          return InvalidArgument("cancelled");
        }
      return Grammar::Compile(key, {}, TestVocabulary(), stop);
    };
  }
};

const GrammarKey kRegex{GrammarKind::kRegex, "a+"}, kBad{GrammarKind::kRegex, "("};

TEST(GrammarCache, TheSameKeyIsCompiledOnceAndRemembered) {
  Gate gate;
  GrammarCache cache(gate.compile(), 1);
  std::promise<void> both;
  std::atomic<int> done{0};
  const auto count = [&] {
    if (++done == 2) both.set_value();
  };
  const auto a = cache.Get(kRegex, count), b = cache.Get(kRegex, count);
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_EQ(*a, *b);
  EXPECT_FALSE((*a)->ready());
  gate.open.set_value();
  both.get_future().wait();
  EXPECT_TRUE((*a)->ready() && (*a)->result().ok());
  const auto again = cache.Get(kRegex, [] { ADD_FAILURE(); });
  EXPECT_TRUE((*again)->ready());
  EXPECT_EQ(cache.stats().compiled, 1);
  EXPECT_EQ(cache.stats().hits, 2);
  cache.Flush();
  EXPECT_EQ(cache.stats().entries, 0);
}

TEST(GrammarCache, WhatIsWrongIsRememberedToo) {
  Gate gate;
  gate.open.set_value();
  GrammarCache cache(gate.compile(), 1);
  std::promise<void> first;
  const auto a = cache.Get(kBad, [&] { first.set_value(); });
  first.get_future().wait();
  EXPECT_EQ((*a)->result().error().message, "at character 0: unmatched '('");
  const auto b = cache.Get(kBad, [] { ADD_FAILURE(); });
  EXPECT_TRUE((*b)->ready());
  EXPECT_EQ(gate.started.load(), 1);
}

TEST(GrammarCache, WhatMemoryDidNotSufficeForIsCompiledAgain) {
  std::atomic<int> started{0};
  GrammarCache cache(
      [&](const GrammarKey& key, const std::atomic<bool>* stop) -> Result<std::shared_ptr<const Grammar>> {
        if (started++ == 0) throw std::bad_alloc();
        return Grammar::Compile(key, {}, TestVocabulary(), stop);
      },
      1);
  std::promise<void> first, second;
  int told = 0;
  const auto a = cache.Get(kRegex, [&] {
    if (told++ == 0) throw std::bad_alloc();  // who is told may be short of memory, too
    first.set_value();
  });
  first.get_future().wait();
  EXPECT_EQ((*a)->result().error().message, "out of memory");
  const auto b = cache.Get(kRegex, [&] { second.set_value(); });
  second.get_future().wait();
  EXPECT_TRUE((*b)->result().ok());
}

TEST(GrammarCache, AJobThatNobodyWaitsForIsCancelled) {
  Gate gate;
  GrammarCache cache(gate.compile(), 1);
  const auto a = cache.Get(kRegex, [] {}), b = cache.Get(kRegex, [] {});
  while (gate.started.load() == 0) std::this_thread::yield();
  cache.Drop(*a);
  EXPECT_EQ(gate.cancelled.load(), 0);
  cache.Drop(*b);
  while (gate.cancelled.load() == 0) std::this_thread::yield();
  std::promise<void> again;
  gate.open.set_value();
  const auto c = cache.Get(kRegex, [&] { again.set_value(); });
  again.get_future().wait();
  EXPECT_TRUE((*c)->result().ok());
}

TEST(GrammarCache, LeastRecentlyUsedGrammarsGo) {
  Gate gate;
  gate.open.set_value();
  GrammarCache cache(gate.compile(), 1, 1);  // room for one
  for (const char* pattern : {"a", "b", "c"}) {
    std::promise<void> done;
    ASSERT_TRUE(cache.Get({GrammarKind::kRegex, pattern}, [&] { done.set_value(); }).ok());
    done.get_future().wait();
  }
  EXPECT_EQ(cache.stats().entries, 1);
}

TEST(GrammarCache, EndsWhileJobsRun) {
  Gate gate;
  auto cache = std::make_unique<GrammarCache>(gate.compile(), 2);
  for (const char* pattern : {"a", "b", "c"}) ASSERT_TRUE(cache->Get({GrammarKind::kRegex, pattern}, [] {}).ok());
  while (gate.started.load() < 2) std::this_thread::yield();
  cache.reset();
  EXPECT_EQ(gate.cancelled.load(), 2);
}

}  // namespace
}  // namespace sgl
