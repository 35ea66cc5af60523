// What planning and committing cost while nothing but decoding happens: no allocation. And a burst with a common prefix, in full size.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "base/counting_new.h"
#include "sched/scheduler.h"

namespace sgl {
namespace {

constexpr int32_t kPageSize = 16;

SchedRequest Request(uint64_t id, int common, int own, int64_t max_new) {
  SchedRequest r;
  r.id = RequestId{id};
  for (int i = 0; i < common; ++i) r.prompt.push_back(i);
  for (int i = 0; i < own; ++i) r.prompt.push_back(static_cast<TokenId>(1'000'000 * id) + i);
  r.max_new_tokens = max_new;
  return r;
}

// One step with made-up tokens; how many tokens it computed.
int64_t Step(Scheduler& sched, std::vector<Sampled>& sampled, std::vector<Ended>& ended) {
  EXPECT_TRUE(sched.Sweep({}).empty());
  ended.clear();
  const StepPlan& plan = sched.Plan({}, ended);
  const int64_t tokens = plan.tokens;
  sampled.clear();
  for (const PlanRow& row : plan.rows)
    if (row.sample) sampled.push_back({.token = 7, .hit = {}});
  (void)sched.Commit(sampled, {});
  return tokens;
}

TEST(SteadyState, DecodingDoesNotAllocate) {
  for (const bool mixed : {false, true}) {
    SchedConfig config;
    config.enable_mixed_chunk = mixed;
    KvCache cache(4096, kPageSize, true);
    Scheduler sched(config, cache);
    for (uint64_t id = 1; id <= 32; ++id) ASSERT_TRUE(sched.Add(Request(id, 0, 40, 1000), {}).ok());
    std::vector<Sampled> sampled;
    std::vector<Ended> ended;
    while (sched.stats().waiting > 0) Step(sched, sampled, ended);
    Step(sched, sampled, ended);
    EXPECT_EQ(Allocations([&] {
                for (int i = 0; i < 200; ++i) EXPECT_EQ(Step(sched, sampled, ended), 32);
              }),
              0);
  }
}

TEST(SteadyState, ABurstComputesItsCommonPrefixOnce) {
  constexpr int kRequests = 32, kCommon = 1024, kOwn = 16;
  for (const char* policy : {"fcfs", "lpm", "dfs-weight", "lof", "random", "routing-key"}) {
    for (const int chunk : {2048, 256, -1}) {
      SCOPED_TRACE(std::string(policy) + ", chunks of " + std::to_string(chunk));
      SchedConfig config;
      config.schedule_policy = policy;
      config.chunked_prefill_size = chunk;
      KvCache cache(1024, kPageSize, true);
      Scheduler sched(config, cache);
      for (uint64_t id = 1; id <= kRequests; ++id) ASSERT_TRUE(sched.Add(Request(id, kCommon, kOwn, 1), {}).ok());
      std::vector<Sampled> sampled;
      std::vector<Ended> ended;
      int64_t computed = 0;
      while (!sched.idle()) computed += Step(sched, sampled, ended);
      EXPECT_EQ(computed, kCommon + kRequests * kOwn);
    }
  }
}

}  // namespace
}  // namespace sgl
