// SPDX-License-Identifier: Apache-2.0
#include "engine/sequence_rules.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace sgl {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

void Force(TokenId token, std::span<float> logits) {
  if (token < 0 || static_cast<size_t>(token) >= logits.size() || !std::isfinite(logits[static_cast<size_t>(token)])) return;
  std::fill(logits.begin(), logits.end(), kNever);
  logits[static_cast<size_t>(token)] = 0;
}

}  // namespace

SequenceRules::SequenceRules(const SamplingParams& params, std::span<const TokenId> prompt)
    : limit_(params.thinking_limit), ngram_(params.no_repeat_ngram) {
  if (!limit_ && !ngram_) return;
  for (const TokenId token : prompt) Accept(token);
}

void SequenceRules::Accept(TokenId token) {
  last_ = token;
  if (ngram_) history_.push_back(token);
  if (!limit_) return;
  if (thought_) ++*thought_;
  if (token == limit_->start && !thought_) thought_ = 0;
  if (token == limit_->end) thought_.reset();
}

void SequenceRules::Apply(std::span<float> logits) const {
  if (limit_) LimitThinking(logits);
  if (ngram_) ForbidRepetition(logits);
}

// A line ends before the tag, as in what models are trained on.
void SequenceRules::LimitThinking(std::span<float> logits) const {
  if (!thought_ || *thought_ < limit_->tokens) return;
  Force(limit_->newline && last_ != *limit_->newline ? *limit_->newline : limit_->end, logits);
}

void SequenceRules::ForbidRepetition(std::span<float> logits) const {
  const auto size = static_cast<size_t>(ngram_->size), window = static_cast<size_t>(ngram_->window);
  if (history_.size() < size) return;
  const size_t begin = history_.size() > window ? history_.size() - window : 0;
  const std::span<const TokenId> recent = std::span(history_).last(size - 1);
  for (size_t at = begin; at + size <= history_.size(); ++at) {
    if (!std::equal(recent.begin(), recent.end(), history_.begin() + static_cast<ptrdiff_t>(at))) continue;
    const TokenId next = history_[at + size - 1];
    const bool exempt = std::find(ngram_->exempt.begin(), ngram_->exempt.end(), next) != ngram_->exempt.end();
    if (!exempt && static_cast<size_t>(next) < logits.size()) logits[static_cast<size_t>(next)] = kNever;
  }
}

}  // namespace sgl
