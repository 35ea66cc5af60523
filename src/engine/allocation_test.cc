// What a step costs besides its kernels: in a steady state, passes through the model and sampling allocate nothing.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <vector>

#include "base/counting_new.h"
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

}  // namespace
}  // namespace sgl
