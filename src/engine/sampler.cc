// SPDX-License-Identifier: Apache-2.0
#include "engine/sampler.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/kernels.h"

namespace sgl {
namespace {

constexpr double kGreedyBelow = 1e-6;
constexpr float kLowest = std::numeric_limits<float>::lowest();  // instead of -inf: JSON has no infinities

uint64_t Mix(uint64_t z) {  // SplitMix64's finaliser
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

void FillLogprobs(std::span<const float> logits, float inv_temperature, LogitsScan& scan, const SamplerState::Wanted& wanted,
                  SamplerState::Choice& choice) {
  const double log_sum = std::log(scan.sum());
  const auto logprob = [&](float logit) {
    return std::max(kLowest, static_cast<float>((static_cast<double>(logit) - scan.max()) * inv_temperature - log_sum));
  };
  choice.logprob = logprob(logits[static_cast<size_t>(choice.token)]);
  if (wanted.top > 0)
    for (const Candidate& c : scan.Likeliest(static_cast<size_t>(wanted.top))) choice.top.push_back({logprob(c.logit), c.token});
  for (const TokenId id : wanted.token_ids) {
    const bool known = id >= 0 && static_cast<size_t>(id) < logits.size();
    choice.token_ids.push_back({known ? logprob(logits[static_cast<size_t>(id)]) : kLowest, id});
  }
}

// Tokens without a bit become impossible.
void Forbid(std::span<const uint32_t> allowed, std::span<float> logits) {
  constexpr float kNever = -std::numeric_limits<float>::infinity();
  std::array<float, 32> none;
  none.fill(kNever);
  for (size_t w = 0; w * 32 < logits.size(); ++w) {
    const size_t end = std::min<size_t>(32, logits.size() - w * 32);
    uint32_t forbidden = w < allowed.size() ? ~allowed[w] : ~uint32_t{0};
    if (end < 32) forbidden &= (uint32_t{1} << end) - 1;
    float* row = logits.data() + w * 32;
    if (forbidden == ~uint32_t{0}) {
      std::memcpy(row, none.data(), sizeof none);
    } else {
      for (; forbidden != 0; forbidden &= forbidden - 1) row[std::countr_zero(forbidden)] = kNever;
    }
  }
}

}  // namespace

double UniformAt(uint64_t seed, int64_t position) {
  const uint64_t bits = Mix(Mix(seed + 0x9E3779B97F4A7C15u) + 0x9E3779B97F4A7C15u * (static_cast<uint64_t>(position) + 1));
  return static_cast<double>(bits >> 11) * 0x1p-53;
}

SamplerState::SamplerState(const SamplingParams& params, uint64_t seed, std::vector<TokenId> stop_ids, std::span<const TokenId> prompt)
    : params_(params), seed_(seed), stop_ids_(std::move(stop_ids)) {
  greedy_ = params.temperature < kGreedyBelow || params.top_k == 1;
  penalises_ = params.frequency_penalty != 0 || params.presence_penalty != 0 || params.repetition_penalty != 1;
  if (params.thinking_limit || params.no_repeat_ngram) rules_.emplace(params, prompt);
  inv_temperature_ = greedy_ ? 1.0f : static_cast<float>(1.0 / params.temperature);
}

void SamplerState::Accept(TokenId token) {
  if (penalises_) ++counts_[token];
  if (rules_) rules_->Accept(token);
  ++outputs_;
}

void SamplerState::Penalise(std::span<float> logits, bool at_end) const {
  const auto frequency = static_cast<float>(params_.frequency_penalty), presence = static_cast<float>(params_.presence_penalty);
  const auto repetition = static_cast<float>(params_.repetition_penalty);
  if (frequency != 0 || presence != 0)
    for (const auto& [token, count] : counts_) logits[static_cast<size_t>(token)] -= frequency * static_cast<float>(count) + presence;
  if (outputs_ < params_.min_new_tokens && !at_end)
    for (const TokenId id : stop_ids_)
      if (id >= 0 && static_cast<size_t>(id) < logits.size()) logits[static_cast<size_t>(id)] = -std::numeric_limits<float>::infinity();
  if (repetition != 1)
    for (const auto& [token, count] : counts_) {
      float& logit = logits[static_cast<size_t>(token)];
      logit = logit < 0 ? logit * repetition : logit / repetition;
    }
  for (const auto& [token, bias] : params_.logit_bias)
    if (token >= 0 && static_cast<size_t>(token) < logits.size()) logits[static_cast<size_t>(token)] += bias;
}

TokenId SamplerState::Draw(size_t vocabulary, int64_t position) {
  const double u = UniformAt(seed_, position);
  const bool all = params_.top_k < 0 || static_cast<size_t>(params_.top_k) >= vocabulary;
  if (all && params_.top_p >= 1 && params_.min_p <= 0) return scan_.DrawAll(u);
  return scan_.DrawFiltered({all ? vocabulary : static_cast<size_t>(params_.top_k), params_.top_p, params_.min_p}, u);
}

SamplerState::Choice SamplerState::Sample(std::span<float> logits, int64_t position, const Wanted& wanted,
                                          std::span<const uint32_t> allowed, bool at_end) {
  Penalise(logits, at_end);
  if (!allowed.empty()) Forbid(allowed, logits);
  if (rules_) rules_->Apply(logits);
  const std::span<const uint32_t> mask = rules_ ? std::span<const uint32_t>() : allowed;  // rules may bring tokens back
  Choice choice;
  if (!greedy_ || wanted.logprob) {
    scan_.Scan(logits, inv_temperature_, mask);
    choice.is_nan = !scan_.usable();
  }
  if (!choice.is_nan) {
    choice.token = greedy_ ? static_cast<TokenId>(kernels().argmax(logits.data(), static_cast<int64_t>(logits.size())))
                           : Draw(logits.size(), position);
    choice.is_nan = !std::isfinite(logits[static_cast<size_t>(choice.token)]);
  }
  if (!choice.is_nan && wanted.logprob) {
    const float inv_temperature = wanted.at_temperature_1 ? 1.0F : inv_temperature_;
    if (inv_temperature != inv_temperature_) scan_.Scan(logits, inv_temperature, mask);
    FillLogprobs(logits, inv_temperature, scan_, wanted, choice);
  }
  return choice;
}

SamplerState::Choice PromptLogprobs(std::span<const float> logits, TokenId token, const SamplerState::Wanted& wanted) {
  SamplerState::Choice choice;
  choice.token = token;
  LogitsScan scan;
  scan.Scan(logits, 1.0f);
  choice.is_nan = !scan.usable();
  choice.logprob = kLowest;
  if (!choice.is_nan) FillLogprobs(logits, 1.0f, scan, wanted, choice);
  return choice;
}

}  // namespace sgl
