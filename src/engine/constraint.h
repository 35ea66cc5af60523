// What one request's output has to look like: perhaps some reasoning first, then a grammar.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/ids.h"
#include "grammar/grammar.h"

namespace sgl {

// A function of the output so far: retraction does not change it. Thread: one at a time; Fill on any compute thread.
class OutputConstraint {
 public:
  // matcher: may be null (only the budget counts). think_end: not empty when the output starts with reasoning; the grammar holds behind
  // these tokens. budget: reasoning tokens before think_end is forced. excluded: not empty: the reasoning has none of them, nor of
  // stop_ids, unless they are part of think_end. vocab_size: of the logits.
  OutputConstraint(std::unique_ptr<Matcher> matcher, std::vector<TokenId> think_end, std::optional<int64_t> budget,
                   std::vector<TokenId> excluded, std::vector<TokenId> stop_ids, int64_t vocab_size);

  // The tokens that may come next, one bit each; empty: all of them.
  std::span<const uint32_t> Fill();
  bool nothing_allowed() const { return nothing_; }  // by the last Fill
  bool only_stop() const;                            // the text is complete and nothing may follow

  enum class Verdict { kGoesOn, kRejected, kEnded };
  Verdict Accept(TokenId token);

 private:
  bool thinking() const { return !think_end_.empty(); }
  std::unique_ptr<Matcher> matcher_;
  std::vector<TokenId> think_end_;  // emptied once seen
  std::vector<size_t> border_;      // of think_end_: longest proper prefix that is a suffix, per length
  size_t matched_ = 0;              // tokens of think_end_ that the output ends with
  std::optional<int64_t> left_;     // of the budget
  std::vector<TokenId> excluded_, stop_ids_;
  std::vector<uint32_t> mask_;
  bool nothing_ = false;
};

}  // namespace sgl
