// What a step costs besides its kernels: in a steady state, passes through the model and sampling allocate nothing.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "base/counting_new.h"
#include "engine/engine.h"
#include "engine/load.h"
#include "engine/sampler.h"
#include "obs/log.h"

namespace sgl {
namespace {

TEST(Allocations, AreCounted) {
  std::unique_ptr<std::vector<int>> kept;  // outlives the counting, so that no compiler leaves it out
  EXPECT_GE(Allocations([&] { kept = std::make_unique<std::vector<int>>(100); }), 2);
  EXPECT_EQ(kept->size(), 100u);
}

TEST(Allocations, NoneInSteadyDecodingPassesAndSampling) {
  SetLogLevel(LogLevel::kError);
  EngineConfig config;
  config.model_path = (std::filesystem::path(SGLANG_SOURCE_DIR) / "tests/goldens/models/smollm2").string();
  config.max_total_tokens = 4096;
  config.threads = 2;
  Result<std::vector<LoadedModel>> made = LoadReplicas(config);
  ASSERT_TRUE(made.ok()) << made.error().message;
  LoadedModel& loaded = made->front();
  constexpr int kRows = 4, kPromptTokens = 40, kPages = 16;

  std::vector<std::vector<PageId>> pages(kRows);
  std::vector<TokenId> tokens(kRows, 7);
  std::vector<SamplerState> samplers;
  for (int r = 0; r < kRows; ++r) {
    for (int p = 0; p < kPages; ++p) pages[static_cast<size_t>(r)].push_back(static_cast<PageId>(r * kPages + p));
    SamplingParams params;  // one of each kind: plain, top-k, top-p with penalties, greedy
    if (r == 1) params.top_k = 20;
    if (r == 2) params.top_p = 0.9, params.min_p = 0.001;
    if (r == 3) params.temperature = 0;
    samplers.emplace_back(params, static_cast<uint64_t>(r), std::vector<TokenId>{});
  }
  StepPlan plan;
  std::vector<LogitsRow> wanted;
  const std::vector<TokenId> prompt(kPromptTokens, 5);
  const auto step = [&](int first, bool prefill) {
    plan.rows.clear();
    wanted.clear();
    for (int r = 0; r < kRows; ++r) {
      const auto at = static_cast<size_t>(r);
      PlanRow row;
      row.tokens = prefill ? std::span<const TokenId>(prompt) : std::span<const TokenId>(&tokens[at], 1);
      row.first_pos = first;
      row.pages = pages[at].data();
      row.sample = true;
      row.prefill = prefill;
      plan.rows.push_back(row);
      wanted.push_back({r, static_cast<int32_t>(row.tokens.size()) - 1});
    }
    loaded.runner->Run(plan, wanted, {}, [&](size_t begin, Mat<const float>, Mat<float> logits) {
      loaded.pool->Run(static_cast<int>(logits.rows), [&](int i, int) {
        const size_t row = begin + static_cast<size_t>(i);
        const std::span<float> values(logits.row(i), static_cast<size_t>(logits.cols));
        const SamplerState::Choice choice = samplers[row].Sample(values, first + 1, {});
        samplers[row].Accept(choice.token);
        tokens[row] = choice.token;
      });
    });
  };
  step(0, true);
  for (int i = 0; i < 20; ++i) step(kPromptTokens + i, false);  // the vectors that are kept have grown as far as they need
  EXPECT_EQ(Allocations([&] {
              for (int i = 20; i < 120; ++i) step(kPromptTokens + i, false);
            }),
            0);
}

// The whole of Step(): planning, the pass, sampling, text, delivery. Sinks run inside of it, so the first one can begin and end the
// counting.
TEST(Allocations, NoneInSteadyDecodingOfTheWholeEngine) {
  SetLogLevel(LogLevel::kError);
  constexpr int kRequests = 4, kTokens = 110, kFrom = 30, kTo = 100;
  EngineConfig config;
  config.model_path = (std::filesystem::path(SGLANG_SOURCE_DIR) / "tests/goldens/models/smollm2").string();
  config.max_total_tokens = 4096;
  config.threads = 2;
  config.decode_log_interval = 1 << 30;
  config.check_when_busy = false;  // checks allocate
  config.sched.enable_priority_scheduling = true;
  Result<std::unique_ptr<Engine>> engine = Engine::Create(config);
  ASSERT_TRUE(engine.ok()) << engine.error().message;
  std::promise<void> all_there, ended[kRequests];
  (*engine)->Control(PauseGeneration{PauseMode::kInPlace}, {});  // so that all begin in the same step
  int64_t tokens = 0;
  size_t longest_text = 0;
  for (int r = 0; r < kRequests; ++r) {
    GenerateRequest request;
    request.rid = "steady" + std::to_string(r);
    request.prompt = {5, 6, 7, 8 + r};
    request.sampling.max_new_tokens = kTokens;
    request.sampling.ignore_eos = true;
    request.priority = r % 2;
    if (r == 0) request.sampling.temperature = 0;
    if (r == 1) request.sampling.top_k = 20;
    if (r == 2) request.sampling.top_p = 0.9, request.sampling.stop = {"no such text comes"};
    ASSERT_TRUE((*engine)
                    ->Submit(request,
                             [&, r](const TokenDelta& delta) {
                               longest_text = std::max(longest_text, delta.text.size());
                               if (r == 0) {
                                 tokens += static_cast<int64_t>(delta.tokens.size());
                                 if (tokens == kFrom) counting_new::count.store(0);
                                 counting_new::counting.store(tokens >= kFrom && tokens < kTo);
                               }
                               if (delta.finish) ended[r].set_value();
                             })
                    .ok());
  }
  (*engine)->Control(ContinueGeneration{}, [&](const Result<std::string>&) { all_there.set_value(); });
  all_there.get_future().wait();
  for (std::promise<void>& end : ended) end.get_future().wait();
  EXPECT_EQ(tokens, kTokens);
  EXPECT_EQ((*engine)->stats().steps, kTokens) << "they were not together";
  EXPECT_LT(longest_text, 16U) << "texts that do not fit into a string itself would be counted";
  EXPECT_EQ(counting_new::count.load(), 0);
}

TEST(Allocations, TokenLists) {
  TokenList list;
  EXPECT_TRUE(list.empty());
  EXPECT_EQ(Allocations([&] { list.push_back(7); }), 0);
  EXPECT_EQ(list.size(), 1U);
  for (TokenId token = 8; token < 12; ++token) list.push_back(token);
  EXPECT_EQ(std::vector<TokenId>(list.begin(), list.end()), (std::vector<TokenId>{7, 8, 9, 10, 11}));
  const TokenList same = {7, 8, 9, 10, 11};
  EXPECT_TRUE(std::equal(same.begin(), same.end(), list.begin(), list.end()));
  EXPECT_EQ(TokenList({4}).size(), 1U);
}

}  // namespace
}  // namespace sgl
