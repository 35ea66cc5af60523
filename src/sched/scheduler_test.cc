// SPDX-License-Identifier: Apache-2.0
#include "sched/scheduler.h"

#include <gtest/gtest.h>

#include <numeric>

#include "sched/policies.h"

namespace sgl {
namespace {

SchedConfig Config() {
  SchedConfig c;
  c.context_length = 64;
  return c;
}

std::vector<TokenId> Tokens(int first, size_t count) {
  std::vector<TokenId> tokens(count);
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}

SchedRequest Request(uint64_t id, std::vector<TokenId> prompt, int64_t max_new) {
  SchedRequest r;
  r.id = RequestId{id};
  r.prompt = std::move(prompt);
  r.max_new_tokens = max_new;
  return r;
}

// One whole step in which every sampled token is 5.
std::vector<Ended> Step(Scheduler& sched, TimePoint now = {}) {
  std::vector<Ended> ended = sched.Sweep(now);
  const StepPlan& plan = sched.Plan(now, ended);
  std::vector<Sampled> sampled;
  for (const PlanRow& row : plan.rows) {
    if (row.sample) sampled.push_back({5, std::nullopt});
  }
  for (Ended& e : sched.Commit(sampled, now)) ended.push_back(std::move(e));
  sched.CheckInvariants();
  return ended;
}

// What a retraction frees: the request's own pages, and those of the tree that only it kept from being evicted.
TEST(Scheduler, CountsWhatRetractionsMakeAvailable) {
  KvCache cache(6, 4, true);
  SchedConfig config = Config();
  config.clip_max_new_tokens = 1;  // lets more in than memory can hold
  Scheduler sched(config, cache);
  ASSERT_TRUE(sched.Add(Request(1, Tokens(0, 4), 15), {}).ok());
  ASSERT_TRUE(sched.Add(Request(2, Tokens(100, 6), 15), {}).ok());
  for (int i = 0; i < 12 && sched.stats().retractions == 0; ++i) Step(sched);
  EXPECT_EQ(sched.stats().retractions, 1);
  EXPECT_EQ(sched.stats().retraction_gain, 12) << "the longer prompt goes, with three pages of four tokens";
  EXPECT_EQ(sched.stats().test_retractions, 0);
}

TEST(Scheduler, RetractionsForTestsAreCountedApart) {
  KvCache cache(100, 4, true);
  SchedConfig config = Config();
  config.test_retract_interval = 2;
  Scheduler sched(config, cache);
  ASSERT_TRUE(sched.Add(Request(1, Tokens(0, 4), 12), {}).ok());
  ASSERT_TRUE(sched.Add(Request(2, Tokens(100, 4), 12), {}).ok());
  for (int i = 0; i < 3; ++i) Step(sched);
  EXPECT_EQ(sched.stats().retractions, 1);
  EXPECT_EQ(sched.stats().test_retractions, 1);
}

TEST(Scheduler, RefusesWhatCanNeverRun) {
  KvCache cache(4, 4, true);
  Scheduler sched(Config(), cache);
  EXPECT_EQ(sched.Add(Request(1, {}, 1), {}).error().code, Code::kInvalidArgument);
  EXPECT_EQ(sched.Add(Request(2, Tokens(0, 17), 1), {}).error().code, Code::kInvalidArgument);  // pool
  EXPECT_TRUE(sched.Add(Request(3, Tokens(0, 16), 1), {}).ok());
  KvCache large(100, 4, true);
  Scheduler short_context(Config(), large);
  EXPECT_EQ(short_context.Add(Request(1, Tokens(0, 65), 1), {}).error().code, Code::kInvalidArgument);
  EXPECT_TRUE(short_context.Add(Request(2, Tokens(0, 64), 1), {}).ok());
}

// The estimate of the output alone never keeps a request out when it is the only one.
TEST(Scheduler, APromptOfTheWholePoolRuns) {
  KvCache cache(4, 4, true);
  Scheduler sched(Config(), cache);
  ASSERT_TRUE(sched.Add(Request(1, Tokens(0, 16), 1), {}).ok());
  const auto ended = Step(sched);
  ASSERT_EQ(ended.size(), 1u);
  EXPECT_EQ(ended[0].finish.kind, FinishKind::kLength);
  EXPECT_TRUE(sched.idle());
}

TEST(Scheduler, NewTokenRatioDecaysAndComesBackWhenIdle) {
  SchedConfig c = Config();
  c.new_token_ratio_decay_steps = 4;
  KvCache cache(8, 4, true);
  Scheduler sched(c, cache);
  EXPECT_DOUBLE_EQ(sched.stats().new_token_ratio, 0.7);
  ASSERT_TRUE(sched.Add(Request(1, Tokens(0, 4), 9), {}).ok());
  Step(sched);
  EXPECT_DOUBLE_EQ(sched.stats().new_token_ratio, 0.7);  // prefill
  Step(sched);
  EXPECT_NEAR(sched.stats().new_token_ratio, 0.7 - 0.7 * 0.86 / 4, 1e-12);
  for (int i = 0; i < 5; ++i) Step(sched);
  EXPECT_NEAR(sched.stats().new_token_ratio, 0.7 * 0.14, 1e-12);
  for (int i = 0; i < 3; ++i) Step(sched);
  EXPECT_TRUE(sched.idle());
  EXPECT_DOUBLE_EQ(sched.stats().new_token_ratio, 0.7);
}

TEST(Scheduler, RetractionRaisesTheRatio) {
  SchedConfig c = Config();
  c.retract_decode_steps = 6;
  c.test_retract_interval = 2;
  KvCache cache(100, 1, true);
  Scheduler sched(c, cache);
  ASSERT_TRUE(sched.Add(Request(1, Tokens(0, 2), 30), {}).ok());
  ASSERT_TRUE(sched.Add(Request(2, Tokens(10, 3), 40), {}).ok());
  for (int i = 0; i < 3; ++i) Step(sched);
  EXPECT_EQ(sched.stats().retractions, 1);
  EXPECT_EQ(sched.retractions_of(RequestId{2}), 1);  // the longer prompt
  EXPECT_EQ(sched.retractions_of(RequestId{1}), 0);
  EXPECT_EQ(sched.retractions_of(RequestId{99}), 0);
  EXPECT_NEAR(sched.stats().new_token_ratio, (2 + 6.0) / (30 + 1), 1e-12);
}

TEST(Scheduler, RetractionsAreKnownUntilTheNextCall) {
  SchedConfig c = Config();
  c.test_retract_interval = 2;
  KvCache cache(100, 1, true);
  Scheduler sched(c, cache);
  ASSERT_TRUE(sched.Add(Request(1, Tokens(0, 2), 30), {}).ok());
  ASSERT_TRUE(sched.Add(Request(2, Tokens(10, 3), 40), {}).ok());
  for (int i = 0; i < 3; ++i) Step(sched);
  sched.Abort(RequestId{2}, Finish::Abort("Aborted"));
  ASSERT_EQ(sched.Sweep({}).size(), 1u);
  EXPECT_EQ(sched.retractions_of(RequestId{2}), 1);
  std::vector<Ended> ended;
  sched.Plan({}, ended);
  EXPECT_EQ(sched.retractions_of(RequestId{2}), 0);
}

// The engine's stand-in token is a stop id; still the finish is NaN, except at the limit. K and V are thrown away either way.
TEST(Scheduler, NanLeavesNothingInTheCache) {
  for (const int64_t max_new : {9, 1}) {
    KvCache cache(8, 1, true);
    Scheduler sched(Config(), cache);
    SchedRequest r = Request(1, Tokens(0, 4), max_new);
    r.stop_ids = {7};
    ASSERT_TRUE(sched.Add(r, {}).ok());
    std::vector<Ended> ended;
    ASSERT_EQ(sched.Plan({}, ended).rows.size(), 1u);
    Finish nan;
    nan.matched = std::string("NaN happened");
    const std::vector<Sampled> sampled = {{7, nan}};
    ended = sched.Commit(sampled, {});
    ASSERT_EQ(ended.size(), 1u);
    if (max_new == 1) {
      EXPECT_EQ(ended[0].finish.kind, FinishKind::kLength);
    } else {
      EXPECT_EQ(ended[0].finish.matched, nan.matched);
    }
    EXPECT_EQ(cache.free_pages(), 8);
  }
}

TEST(Scheduler, AbortInFlightEndsInCommit) {
  KvCache cache(8, 4, true);
  Scheduler sched(Config(), cache);
  ASSERT_TRUE(sched.Add(Request(1, Tokens(0, 4), 9), {}).ok());
  std::vector<Ended> ended;
  ASSERT_EQ(sched.Plan({}, ended).rows.size(), 1u);
  sched.Abort(RequestId{1}, Finish::Abort("Aborted"));
  sched.Abort(RequestId{1}, Finish::Abort("second reason"));
  const std::vector<Sampled> sampled = {{5, std::nullopt}};
  ended = sched.Commit(sampled, {});
  ASSERT_EQ(ended.size(), 1u);
  EXPECT_EQ(ended[0].finish.message, "Aborted");
  EXPECT_TRUE(sched.idle());
  EXPECT_TRUE(sched.Sweep({}).empty());
}

// Between Sweep and Plan an abort is late for the one and early for the other: not computed, and still ended.
TEST(Scheduler, AbortBetweenSweepAndPlanIsNotComputed) {
  KvCache cache(16, 4, true);
  Scheduler sched(Config(), cache);
  ASSERT_TRUE(sched.Add(Request(1, Tokens(0, 4), 9), {}).ok());
  Step(sched);
  ASSERT_TRUE(sched.Add(Request(2, Tokens(10, 4), 9), {}).ok());
  sched.Abort(RequestId{1}, Finish::Abort("Aborted"));
  sched.Abort(RequestId{2}, Finish::Abort("Aborted"));
  std::vector<Ended> ended;
  EXPECT_TRUE(sched.Plan({}, ended).empty());
  EXPECT_EQ(sched.Sweep({}).size(), 2u);
  EXPECT_TRUE(sched.idle());
}

// The same between two chunks, with memory so short that the others need its pages at once.
TEST(Scheduler, AnAbortedPartialRequestGivesWayFirst) {
  SchedConfig c = Config();
  c.chunked_prefill_size = 4;
  c.clip_max_new_tokens = 1;
  KvCache cache(27, 1, true);
  Scheduler sched(c, cache);
  for (uint64_t id = 1; id <= 12; ++id) ASSERT_TRUE(sched.Add(Request(id, {static_cast<TokenId>(id)}, 50), {}).ok());
  ASSERT_TRUE(sched.Add(Request(13, Tokens(100, 5), 0), {}).ok());
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(Step(sched).empty());
  ASSERT_EQ(sched.stats().running, 13);
  sched.Abort(RequestId{13}, Finish::Abort("Aborted"));
  std::vector<Ended> ended;
  EXPECT_EQ(sched.Plan({}, ended).rows.size(), 12u);
  EXPECT_TRUE(ended.empty());
  EXPECT_EQ(sched.retractions_of(RequestId{13}), 1);
  sched.CheckInvariants();
  sched.Commit(std::vector<Sampled>(12), {});
  ended = sched.Sweep({});
  ASSERT_EQ(ended.size(), 1u);
  EXPECT_EQ(ended[0].id, RequestId{13});
}

TEST(Scheduler, AnAbortedPartialRequestIsNotComputed) {
  SchedConfig c = Config();
  c.chunked_prefill_size = 4;
  KvCache cache(20, 1, true);
  Scheduler sched(c, cache);
  ASSERT_TRUE(sched.Add(Request(1, Tokens(0, 9), 2), {}).ok());
  Step(sched);
  sched.Abort(RequestId{1}, Finish::Abort("Aborted"));
  std::vector<Ended> ended;
  EXPECT_TRUE(sched.Plan({}, ended).empty());
  ended = sched.Sweep({});
  ASSERT_EQ(ended.size(), 1u);
  EXPECT_EQ(ended[0].finish.message, "Aborted");
  EXPECT_EQ(cache.evictable_pages(), 4);
}

TEST(Scheduler, GivesItsPagesBackWhenItGoes) {
  KvCache cache(8, 4, true);
  {
    Scheduler sched(Config(), cache);
    ASSERT_TRUE(sched.Add(Request(1, Tokens(0, 9), 9), {}).ok());
    Step(sched);
    EXPECT_GT(cache.held_pages(), 0);
  }
  EXPECT_EQ(cache.held_pages(), 0);
  EXPECT_EQ(cache.locks(), 0);
}

// A page every page_size tokens, not earlier and not later.
TEST(Scheduler, DecodeTakesPagesAsItGrows) {
  KvCache cache(8, 4, true);
  Scheduler sched(Config(), cache);
  ASSERT_TRUE(sched.Add(Request(1, Tokens(0, 3), 20), {}).ok());
  Step(sched);
  for (int i = 3; i < 22; ++i) {
    std::vector<Ended> ended;
    const StepPlan& plan = sched.Plan({}, ended);
    ASSERT_EQ(plan.rows.size(), 1u);
    EXPECT_EQ(plan.rows[0].first_pos, i);
    EXPECT_EQ(cache.protected_pages() + cache.held_pages(), i / 4 + 1);
    const std::vector<Sampled> sampled = {{5, std::nullopt}};
    sched.Commit(sampled, {});
  }
  EXPECT_TRUE(sched.idle());
}

using SchedulerDeathTest = testing::Test;

TEST(Scheduler, CountsByPriority) {
  SchedConfig config = Config();
  config.enable_priority_scheduling = true;
  config.default_priority_value = 3;
  config.max_running_requests = 2;
  config.disable_priority_preemption = true;
  KvCache cache(64, 4, true);
  Scheduler sched(config, cache);
  const auto add = [&](uint64_t id, std::optional<int64_t> priority) {
    SchedRequest request = Request(id, Tokens(static_cast<int>(100 * id), 8), 4);
    request.priority = priority;
    ASSERT_TRUE(sched.Add(std::move(request), {}).ok());
  };
  const auto load = [&](int64_t priority) {
    const auto found = sched.priorities().find(priority);
    return found == sched.priorities().end() ? std::pair(-1, -1) : std::pair(found->second.running, found->second.waiting);
  };
  EXPECT_TRUE(sched.priorities().empty());
  add(1, 7);
  add(2, 7);
  add(3, {});
  EXPECT_EQ(load(7), std::pair(0, 2));
  EXPECT_EQ(load(3), std::pair(0, 1));
  (void)Step(sched);
  EXPECT_EQ(load(7), std::pair(2, 0));
  EXPECT_EQ(load(3), std::pair(0, 1));
  sched.RetractAll({});
  EXPECT_EQ(load(7), std::pair(0, 2));
  sched.Abort(RequestId{2}, Finish::Abort("Aborted"));
  while (!sched.idle()) (void)Step(sched);
  EXPECT_EQ(load(7), std::pair(0, 0)) << "a priority stays";
  EXPECT_EQ(load(3), std::pair(0, 0));
  EXPECT_EQ(sched.priorities().size(), 2U);
  for (uint64_t id = 10; id < 200; ++id) add(id, static_cast<int64_t>(id));
  EXPECT_EQ(sched.priorities().size(), 100U) << "clients choose the values, so there is a limit";
  while (!sched.idle()) (void)Step(sched);

  config.enable_priority_scheduling = false;
  Scheduler without(config, cache);
  SchedRequest request = Request(1, Tokens(0, 8), 4);
  request.priority = 7;
  ASSERT_TRUE(without.Add(std::move(request), {}).ok());
  EXPECT_TRUE(without.priorities().empty());
}

TEST(SchedulerDeathTest, CallsOutOfOrderAreCaught) {
  KvCache cache(8, 4, true);
  Scheduler sched(Config(), cache);
  ASSERT_TRUE(sched.Add(Request(1, Tokens(0, 3), 20), {}).ok());
  EXPECT_DEATH((void)sched.Add(Request(1, Tokens(0, 3), 20), {}), "used twice");
  std::vector<Ended> ended;
  sched.Plan({}, ended);
  EXPECT_DEATH(sched.Plan({}, ended), "Plan twice");
  EXPECT_DEATH(sched.Sweep({}), "between Plan and Commit");
  EXPECT_DEATH(sched.Commit({}, {}), "per row with sample");
}

TEST(Policies, NamesAreKnown) {
  for (const char* name : {"fcfs", "lpm", "lof"}) EXPECT_TRUE(IsSchedulePolicy(name));
  EXPECT_FALSE(IsSchedulePolicy(""));
  EXPECT_FALSE(IsSchedulePolicy("priority"));
}

// lpm with `waiting` requests, the last of which is cached: where does it come in the plan?
uint64_t FirstServed(int waiting) {
  SchedConfig c = Config();
  c.schedule_policy = "lpm";
  KvCache cache(2000, 1, true);
  Scheduler sched(c, cache);
  EXPECT_TRUE(sched.Add(Request(1000, Tokens(0, 10), 1), {}).ok());
  Step(sched);
  for (int i = 1; i < waiting; ++i) EXPECT_TRUE(sched.Add(Request(static_cast<uint64_t>(i), {1000 + i, 7}, 1), {}).ok());
  EXPECT_TRUE(sched.Add(Request(static_cast<uint64_t>(waiting), Tokens(0, 10), 1), {}).ok());
  std::vector<Ended> ended;
  return Index(sched.Plan({}, ended).rows.at(0).id);
}

TEST(Policies, LpmGivesUpOnLongQueues) {
  EXPECT_EQ(FirstServed(128), 128u);
  EXPECT_EQ(FirstServed(129), 1u);
}

std::vector<int32_t> Order(const char* policy, const std::vector<Waiting>& queue, const KvCache& cache) {
  std::vector<int32_t> order(queue.size());
  std::iota(order.begin(), order.end(), 0);
  FindPolicy(policy)->order(queue, cache, order);
  return order;
}

TEST(Policies, LpmPutsTwinsOfUncachedPromptsLast) {
  KvCache cache(100, 1, true);
  const auto a = Tokens(0, 33), b = Tokens(0, 32), c = Tokens(0, 31), d = Tokens(500, 5);
  auto pages = cache.Reserve(3);
  cache.Insert(std::span<const TokenId>(d).first(3), "", *pages, 0);
  std::vector<Waiting> queue = {{a, "", 32, 1}, {b, "", 31, 1}, {c, "", 30, 1}, {a, "x", 32, 1}, {d, "", 4, 1}};
  // b agrees with a in 32 tokens; c is shorter than that; the fourth is in another namespace.
  EXPECT_EQ(Order("lpm", queue, cache), (std::vector<int32_t>{4, 0, 2, 3, 1}));
}

TEST(Policies, LofPutsTheLargestLimitFirst) {
  KvCache cache(1, 1, true);
  const auto a = Tokens(0, 1);
  EXPECT_EQ(Order("lof", {{a, "", 0, 3}, {a, "", 0, 9}, {a, "", 0, 3}}, cache), (std::vector<int32_t>{1, 0, 2}));
}

}  // namespace
}  // namespace sgl
