// SPDX-License-Identifier: Apache-2.0
#include "engine/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

namespace sgl {
namespace {

std::vector<float> RandomLogits(size_t n, uint32_t seed, float spread = 3) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal(0, spread);
  std::vector<float> logits(n);
  for (float& x : logits) x = normal(rng);
  return logits;
}

TokenId SampleOnce(const SamplingParams& params, std::vector<float> logits, uint64_t seed = 1, int64_t position = 0) {
  return SamplerState(params, seed, {}).Sample(logits, position, {}).token;
}

// Which tokens may come at all, straight from the definition: sort, cumulate, cut.
std::vector<bool> Allowed(const SamplingParams& p, const std::vector<float>& logits) {
  const size_t n = logits.size();
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return logits[a] > logits[b]; });
  std::vector<double> prob(n);
  double sum = 0;
  for (size_t i = 0; i < n; ++i) sum += prob[i] = std::exp((double{logits[i]} - logits[order[0]]) / p.temperature);
  std::vector<bool> allowed(n, false);
  double before = 0;
  for (size_t rank = 0; rank < n; ++rank) {
    const double q = prob[order[rank]] / sum;
    const bool in_k = p.top_k < 0 || static_cast<int64_t>(rank) < p.top_k;
    allowed[order[rank]] = in_k && before <= p.top_p && q >= p.min_p * prob[order[0]] / sum;
    before += q;
  }
  return allowed;
}

TEST(Sampler, GreedyTakesTheLowestOfEquals) {
  SamplingParams p;
  p.temperature = 0;
  EXPECT_EQ(SampleOnce(p, {1, 5, 5, 2}), 1);
  p.temperature = 0.9;
  p.top_k = 1;
  EXPECT_EQ(SampleOnce(p, {1, 5, 5, 2}), 1);
}

TEST(Sampler, LogprobsAsAtTemperatureOneOnRequest) {
  const std::vector<float> logits = RandomLogits(300, 5);
  SamplingParams params, plain;
  params.temperature = 0.3;
  params.top_k = 5;
  SamplerState::Wanted wanted{.logprob = true, .top = 3, .token_ids = {}, .at_temperature_1 = false};
  std::vector<float> row = logits;
  const SamplerState::Choice scaled = SamplerState(params, 7, {}).Sample(row, 3, wanted);
  wanted.at_temperature_1 = true;
  row = logits;
  const SamplerState::Choice original = SamplerState(params, 7, {}).Sample(row, 3, wanted);
  const SamplerState::Choice expected = PromptLogprobs(logits, original.token, wanted);
  EXPECT_EQ(scaled.token, original.token) << "the choice is the same";
  EXPECT_NE(scaled.logprob, original.logprob);
  EXPECT_EQ(original.logprob, expected.logprob);
  ASSERT_EQ(original.top.size(), 3U);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(original.top[i].logprob, expected.top[i].logprob);
}

TEST(Sampler, FiltersFollowTheDefinition) {
  for (uint32_t trial = 0; trial < 60; ++trial) {
    const std::vector<float> logits = RandomLogits(400, trial, trial % 3 == 0 ? 0.2f : 3);
    SamplingParams p;
    p.temperature = 0.5 + trial % 4 * 0.5;
    if (trial % 2 == 0) p.top_k = 1 + static_cast<int64_t>(trial % 50);
    if (trial % 3 != 1) p.top_p = 0.05 + 0.9 * (trial % 10) / 10.0;
    if (trial % 5 == 0) p.min_p = 0.02 * (trial % 7);
    const std::vector<bool> allowed = Allowed(p, logits);
    std::vector<bool> seen(400, false);
    for (int64_t position = 0; position < 400; ++position) {
      const TokenId token = SampleOnce(p, logits, trial, position);
      ASSERT_TRUE(allowed[static_cast<size_t>(token)]) << "trial " << trial << " token " << token;
      seen[static_cast<size_t>(token)] = true;
    }
    const auto best = static_cast<size_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
    EXPECT_TRUE(trial % 3 == 0 || seen[best]) << "trial " << trial;
  }
}

// The draw must follow the distribution: chi-square over 6 tokens, with and without filters.
TEST(Sampler, FrequenciesFollowTheProbabilities) {
  const std::vector<float> logits = {0.0f, 1.0f, -0.5f, 0.7f, -2.0f, 0.2f};
  for (const bool filtered : {false, true}) {
    SamplingParams p;
    p.temperature = 0.8;
    if (filtered) p.top_k = 4;
    const std::vector<bool> allowed = Allowed(p, logits);
    double sum = 0;
    std::vector<double> expected(6, 0);
    for (size_t i = 0; i < 6; ++i) sum += expected[i] = allowed[i] ? std::exp(logits[i] / 0.8) : 0;
    constexpr int kDraws = 40000;
    std::vector<int> counts(6, 0);
    for (int i = 0; i < kDraws; ++i) ++counts[static_cast<size_t>(SampleOnce(p, logits, 99, i))];
    double chi2 = 0;
    for (size_t i = 0; i < 6; ++i) {
      const double e = expected[i] / sum * kDraws;
      if (e == 0) {
        EXPECT_EQ(counts[i], 0);
        continue;
      }
      chi2 += (counts[i] - e) * (counts[i] - e) / e;
    }
    EXPECT_LT(chi2, 25) << "filtered " << filtered;  // 5 degrees of freedom: p < 0.0002; the seed is fixed
  }
}

TEST(Sampler, SeedAndPositionFixTheDraw) {
  const std::vector<float> logits = RandomLogits(1000, 5, 1);
  const SamplingParams p;
  int differ = 0;
  for (int64_t position = 0; position < 50; ++position) {
    EXPECT_EQ(SampleOnce(p, logits, 7, position), SampleOnce(p, logits, 7, position));
    differ += SampleOnce(p, logits, 7, position) != SampleOnce(p, logits, 8, position);
  }
  EXPECT_GT(differ, 40);
}

TEST(Sampler, UniformIsUniform) {
  std::vector<int> buckets(16, 0);
  for (int64_t i = 0; i < 16000; ++i) {
    const double u = UniformAt(static_cast<uint64_t>(i % 10), i / 10);
    ASSERT_GE(u, 0);
    ASSERT_LT(u, 1);
    ++buckets[static_cast<size_t>(u * 16)];
  }
  for (const int count : buckets) EXPECT_NEAR(count, 1000, 130);
}

TEST(Sampler, PenaltiesInOrder) {
  SamplingParams p;
  p.temperature = 0;
  p.frequency_penalty = 0.5;
  p.presence_penalty = 0.25;
  p.repetition_penalty = 2;
  p.logit_bias = {{3, 1.0f}};
  SamplerState state(p, 0, {});
  state.Accept(1);
  state.Accept(1);
  state.Accept(2);
  std::vector<float> logits = {0, 4, -1, 1};
  const auto choice = state.Sample(logits, 0, {});
  // token 1: (4 - 2*0.5 - 0.25) / 2; token 2: (-1 - 0.5 - 0.25) * 2; token 3: 1 + bias
  EXPECT_EQ(logits, (std::vector<float>{0, 1.375f, -3.5f, 2}));
  EXPECT_EQ(choice.token, 3);
}

TEST(Sampler, StopTokensWaitForMinNewTokens) {
  SamplingParams p;
  p.temperature = 0;
  p.min_new_tokens = 2;
  SamplerState state(p, 0, {1});
  for (const TokenId expected : {0, 0, 1}) {
    std::vector<float> logits = {1, 9, 0};
    const TokenId token = state.Sample(logits, 0, {}).token;
    EXPECT_EQ(token, expected);
    state.Accept(token);
  }
}

TEST(Sampler, LogprobsAreThoseOfTheTemperedDistribution) {
  std::vector<float> logits = RandomLogits(300, 3);
  const std::vector<float> original = logits;
  SamplingParams p;
  p.temperature = 0.7;
  p.top_k = 5;
  const std::vector<TokenId> ids = {0, 299, 5000};
  const auto choice = SamplerState(p, 11, {}).Sample(logits, 4, {.logprob = true, .top = 6, .token_ids = ids});
  double sum = 0;
  for (const float x : original) sum += std::exp(x / 0.7);
  const auto expected = [&](TokenId t) { return original[static_cast<size_t>(t)] / 0.7 - std::log(sum); };
  EXPECT_NEAR(choice.logprob, expected(choice.token), 1e-4);
  ASSERT_EQ(choice.top.size(), 6u);
  for (size_t i = 0; i < 6; ++i) {
    EXPECT_NEAR(choice.top[i].logprob, expected(choice.top[i].token), 1e-4);
    if (i > 0) {
      EXPECT_GE(choice.top[i - 1].logprob, choice.top[i].logprob);
    }
  }
  ASSERT_EQ(choice.token_ids.size(), 3u);
  EXPECT_NEAR(choice.token_ids[1].logprob, expected(299), 1e-4);
  EXPECT_EQ(choice.token_ids[2].logprob, std::numeric_limits<float>::lowest());  // outside the vocabulary
}

TEST(Sampler, MaskedTokensNeverGiveInfinity) {
  std::vector<float> logits = {-std::numeric_limits<float>::infinity(), 1, 2};
  const std::vector<TokenId> ids = {0};
  const auto choice = SamplerState(SamplingParams{}, 1, {}).Sample(logits, 0, {.logprob = true, .top = 3, .token_ids = ids});
  EXPECT_FALSE(choice.is_nan);
  for (const TopLogprob& top : choice.top) EXPECT_TRUE(std::isfinite(top.logprob));
  EXPECT_TRUE(std::isfinite(choice.token_ids[0].logprob));
}

TEST(Sampler, AMaskForbidsWhatItDoesNotAllow) {
  for (const size_t n : {5, 64, 1000, 2048, 3001})
    for (const uint32_t every : {1, 2, 31, 32, 700}) {
      std::vector<float> logits = RandomLogits(n, every, 3);
      std::vector<uint32_t> allowed((n + 31) / 32);
      for (size_t i = 0; i < n; i += every) allowed[i / 32] |= uint32_t{1} << i % 32;
      if (every > 1) logits[n - 1 - (n % every == 1 ? 1 : 0)] = std::numeric_limits<float>::quiet_NaN();  // forbidden, so nobody minds
      std::vector<float> expected = logits;
      for (size_t i = 0; i < n; ++i)
        if (i % every != 0) expected[i] = -std::numeric_limits<float>::infinity();
      std::vector<float> row = logits;
      SamplingParams params;
      const auto choice = SamplerState(params, 7, {}).Sample(row, 3, {}, allowed);
      EXPECT_EQ(row, expected);
      EXPECT_FALSE(choice.is_nan);
      EXPECT_EQ(choice.token, SampleOnce(params, expected, 7, 3));
      params.temperature = 0;
      row = logits;
      EXPECT_EQ(SamplerState(params, 7, {}).Sample(row, 3, {}, allowed).token, SampleOnce(params, expected));
    }
}

TEST(Sampler, NanIsReported) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const double temperature : {0.0, 1.0}) {
    SamplingParams p;
    p.temperature = temperature;
    std::vector<float> logits = {nan, nan, nan};
    EXPECT_TRUE(SamplerState(p, 0, {}).Sample(logits, 0, {}).is_nan);
  }
  std::vector<float> some = {1, nan, 2};
  EXPECT_TRUE(SamplerState(SamplingParams{}, 0, {}).Sample(some, 0, {.logprob = true, .top = 2, .token_ids = {}}).is_nan);
  EXPECT_TRUE(PromptLogprobs(some, 0, {.logprob = true, .top = 2, .token_ids = {}}).is_nan);
}

}  // namespace
}  // namespace sgl
