// SPDX-License-Identifier: Apache-2.0
#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
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

struct Candidate {
  float logit;
  TokenId token;
};
// A total order, so that results do not depend on the algorithm: likelier first, then the lower id.
bool Before(const Candidate& a, const Candidate& b) { return a.logit != b.logit ? a.logit > b.logit : a.token < b.token; }

// The `count` likeliest tokens in order.
void Likeliest(std::span<const float> logits, size_t count, std::vector<Candidate>& out) {
  count = std::min(count, logits.size());
  out.clear();
  if (count == 0) return;
  if (count * 8 >= logits.size()) {
    for (size_t i = 0; i < logits.size(); ++i) out.push_back({logits[i], static_cast<TokenId>(i)});
    std::nth_element(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(count - 1), out.end(), Before);
    out.resize(count);
    std::sort(out.begin(), out.end(), Before);
    return;
  }
  // A heap whose front is the worst kept candidate: most logits fail the first comparison.
  for (size_t i = 0; i < logits.size(); ++i) {
    const Candidate c{logits[i], static_cast<TokenId>(i)};
    if (out.size() < count) {
      out.push_back(c);
      std::push_heap(out.begin(), out.end(), Before);
    } else if (Before(c, out.front())) {
      std::pop_heap(out.begin(), out.end(), Before);
      out.back() = c;
      std::push_heap(out.begin(), out.end(), Before);
    }
  }
  std::sort_heap(out.begin(), out.end(), Before);
}

void FillLogprobs(std::span<const float> logits, float inv_temperature, float max, double sum, const SamplerState::Wanted& wanted,
                  SamplerState::Choice& choice) {
  const double log_sum = std::log(sum);
  const auto logprob = [&](float logit) {
    return std::max(kLowest, static_cast<float>((static_cast<double>(logit) - max) * inv_temperature - log_sum));
  };
  choice.logprob = logprob(logits[static_cast<size_t>(choice.token)]);
  std::vector<Candidate> likeliest;
  Likeliest(logits, static_cast<size_t>(wanted.top), likeliest);
  for (const Candidate& c : likeliest) choice.top.push_back({logprob(c.logit), c.token});
  for (const TokenId id : wanted.token_ids) {
    const bool known = id >= 0 && static_cast<size_t>(id) < logits.size();
    choice.token_ids.push_back({known ? logprob(logits[static_cast<size_t>(id)]) : kLowest, id});
  }
}

// Tokens without a bit become impossible.
void Forbid(std::span<const uint32_t> allowed, std::span<float> logits) {
  constexpr float kNever = -std::numeric_limits<float>::infinity();
  for (size_t w = 0; w * 32 < logits.size(); ++w) {
    const uint32_t bits = w < allowed.size() ? allowed[w] : 0;
    if (bits == ~uint32_t{0}) continue;
    const size_t end = std::min<size_t>(32, logits.size() - w * 32);
    float* row = logits.data() + w * 32;
    if (bits == 0) {
      std::fill(row, row + end, kNever);
    } else {
      for (size_t i = 0; i < end; ++i) row[i] = (bits >> i & 1) != 0 ? row[i] : kNever;
    }
  }
}

}  // namespace

double UniformAt(uint64_t seed, int64_t position) {
  const uint64_t bits = Mix(Mix(seed + 0x9E3779B97F4A7C15u) + 0x9E3779B97F4A7C15u * (static_cast<uint64_t>(position) + 1));
  return static_cast<double>(bits >> 11) * 0x1p-53;
}

SamplerState::SamplerState(const SamplingParams& params, uint64_t seed, std::vector<TokenId> stop_ids)
    : params_(params), seed_(seed), stop_ids_(std::move(stop_ids)) {
  greedy_ = params.temperature < kGreedyBelow || params.top_k == 1;
  inv_temperature_ = greedy_ ? 1.0f : static_cast<float>(1.0 / params.temperature);
}

void SamplerState::Accept(TokenId token) {
  ++counts_[token];
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

TokenId SamplerState::Draw(std::span<const float> logits, float max, double sum, int64_t position) const {
  const double u = UniformAt(seed_, position);
  const auto weight = [&](float logit) { return std::exp((static_cast<double>(logit) - max) * inv_temperature_); };
  const bool all = params_.top_k < 0 || static_cast<size_t>(params_.top_k) >= logits.size();
  if (all && params_.top_p >= 1 && params_.min_p <= 0) {
    double left = u * sum;
    TokenId last = 0;
    for (size_t i = 0; i < logits.size(); ++i) {
      const double w = weight(logits[i]);
      if (w > 0) last = static_cast<TokenId>(i);
      if ((left -= w) < 0) return static_cast<TokenId>(i);
    }
    return last;  // rounding left a sliver
  }
  // Take the likeliest until top-k, top-p and min-p are all satisfied; ask for more only if the nucleus is larger than expected.
  std::vector<Candidate> kept;
  const size_t limit = all ? logits.size() : static_cast<size_t>(params_.top_k);
  double mass = 0;
  for (size_t count = std::min<size_t>(limit, 128);; count = std::min(limit, count * 8)) {
    Likeliest(logits, count, kept);
    const size_t found = kept.size();
    mass = 0;
    size_t keep = 0;
    for (; keep < found; ++keep) {
      const double w = weight(kept[keep].logit);
      // A token stays while the mass before it is within top_p and it is not below min_p of the likeliest (whose weight is 1).
      if (keep > 0 && (mass > params_.top_p * sum || w < params_.min_p)) break;
      mass += w;
    }
    const bool complete = keep < found || count >= limit;
    kept.resize(keep);
    if (complete) break;
  }
  double left = u * mass;
  for (const Candidate& c : kept)
    if ((left -= weight(c.logit)) < 0) return c.token;
  return kept.front().token;
}

SamplerState::Choice SamplerState::Sample(std::span<float> logits, int64_t position, const Wanted& wanted,
                                          std::span<const uint32_t> allowed, bool at_end) const {
  Penalise(logits, at_end);
  if (!allowed.empty()) Forbid(allowed, logits);
  const Kernels& kernel = kernels();
  const auto n = static_cast<int64_t>(logits.size());
  Choice choice;
  float max = 0;
  double sum = 0;
  if (!greedy_ || wanted.logprob) {
    kernel.softmax_stats(logits.data(), n, inv_temperature_, &max, &sum);
    choice.is_nan = !std::isfinite(max) || !std::isfinite(sum);
  }
  if (!choice.is_nan) {
    choice.token = greedy_ ? static_cast<TokenId>(kernel.argmax(logits.data(), n)) : Draw(logits, max, sum, position);
    choice.is_nan = !std::isfinite(logits[static_cast<size_t>(choice.token)]);
  }
  if (!choice.is_nan && wanted.logprob) FillLogprobs(logits, inv_temperature_, max, sum, wanted, choice);
  return choice;
}

SamplerState::Choice PromptLogprobs(std::span<const float> logits, TokenId token, const SamplerState::Wanted& wanted) {
  SamplerState::Choice choice;
  choice.token = token;
  float max = 0;
  double sum = 0;
  kernels().softmax_stats(logits.data(), static_cast<int64_t>(logits.size()), 1.0f, &max, &sum);
  choice.is_nan = !std::isfinite(max) || !std::isfinite(sum);
  choice.logprob = kLowest;
  if (!choice.is_nan) FillLogprobs(logits, 1.0f, max, sum, wanted, choice);
  return choice;
}

}  // namespace sgl
