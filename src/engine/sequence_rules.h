// Logit processors that look at all tokens so far: a limit for reasoning, no n-gram twice. Their meaning: SGLang's processors of those
// kinds. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <optional>
#include <span>
#include <vector>

#include "base/ids.h"
#include "sched/request.h"

namespace sgl {

// A pure function of prompt and output. Thread: one at a time.
class SequenceRules {
 public:
  SequenceRules(const SamplingParams& params, std::span<const TokenId> prompt);

  void Accept(TokenId token);  // it became output
  // The last thing that happens to logits before one is chosen. A token that is impossible already is not forced.
  void Apply(std::span<float> logits) const;

 private:
  void LimitThinking(std::span<float> logits) const;
  void ForbidRepetition(std::span<float> logits) const;

  std::optional<ThinkingLimit> limit_;
  std::optional<int64_t> thought_;  // tokens since the start tag; nothing: not in reasoning
  TokenId last_ = -1;
  std::optional<NoRepeatNgram> ngram_;
  std::vector<TokenId> history_;  // prompt and output; only with ngram_
};

}  // namespace sgl
