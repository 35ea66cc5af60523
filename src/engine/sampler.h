// Logits -> one token, and its log-probabilities. Order of operations and formulas: SGLang's sampler.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/ids.h"
#include "engine/logits_scan.h"
#include "engine/sequence_rules.h"
#include "sched/request.h"

namespace sgl {

struct TopLogprob {
  float logprob = 0;
  TokenId token = 0;
};

// What sampling has to remember of one request. A pure function of the request and its output so far: retraction does not change it.
// Thread: engine; different requests may be sampled on different compute threads.
class SamplerState {
 public:
  // seed: the request's own, or one drawn by the engine. stop_ids: masked until min_new_tokens are there. prompt: for rules that look at
  // it.
  SamplerState(const SamplingParams& params, uint64_t seed, std::vector<TokenId> stop_ids, std::span<const TokenId> prompt = {});

  void Accept(TokenId token);  // the token became output

  struct Wanted {
    bool logprob = false;
    int top = 0;                         // how many of the likeliest tokens
    std::span<const TokenId> token_ids;  // and these
    bool at_temperature_1 = false;       // as if that were the temperature; the choice is made at the real one
  };
  struct Choice {
    TokenId token = 0;
    bool is_nan = false;  // the logits hold no usable number
    float logprob = 0;
    std::vector<TopLogprob> top, token_ids;
  };
  // logits: [V], overwritten. position: of the token whose logits these are; with the seed it fixes the draw.
  // allowed: one bit per token that may be chosen (bit t % 32 of word t / 32); empty: all. at_end: only a stop token may come, so
  // min_new_tokens does not count.
  Choice Sample(std::span<float> logits, int64_t position, const Wanted& wanted, std::span<const uint32_t> allowed = {},
                bool at_end = false);

 private:
  void Penalise(std::span<float> logits, bool at_end) const;
  TokenId Draw(size_t vocabulary, int64_t position);  // after scan_ has seen the logits

  SamplingParams params_;
  bool greedy_ = false, penalises_ = false;
  float inv_temperature_ = 1;
  uint64_t seed_ = 0;
  int64_t outputs_ = 0;
  std::vector<TokenId> stop_ids_;
  std::unordered_map<TokenId, int32_t> counts_;  // output tokens only, if anything depends on them
  std::optional<SequenceRules> rules_;           // nothing: none asked for
  LogitsScan scan_;
};

// Plain log-softmax of one row at a token, the likeliest and the given tokens (prompt log-probabilities).
SamplerState::Choice PromptLogprobs(std::span<const float> logits, TokenId token, const SamplerState::Wanted& wanted);

// A uniform number in [0, 1) that depends on seed and position only.
double UniformAt(uint64_t seed, int64_t position);

}  // namespace sgl
