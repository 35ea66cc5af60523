// How many tokens of an answer are reasoning, for APIs that pass the answer on as it is.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <memory>
#include <span>
#include <vector>

#include "base/ids.h"
#include "text/reasoning/reasoning_parser.h"
#include "text/tokenizer.h"

namespace sgl {

// Whether a prompt ends with a tag that starts reasoning, so that the answer is more of it.
bool EndsInReasoning(const ReasoningFormat& format, std::span<const TokenId> prompt, const Tokenizer& tokenizer);

// Looks at tokens, not at text: tags may be special tokens, which a text leaves out. Thread: whoever owns it (http).
class ReasoningCounter {
 public:
  // inside: the answer begins as reasoning. The tokenizer must outlive it.
  ReasoningCounter(const ReasoningFormat& format, bool inside, const Tokenizer& tokenizer);
  void Push(std::span<const TokenId> tokens);
  int64_t tokens() const { return count_; }  // so far, tags included

 private:
  const Tokenizer& tokenizer_;
  std::unique_ptr<ReasoningParser> parser_;
  std::vector<ReasoningEvent> events_;  // of one token
  size_t bytes_ = 0, content_bytes_ = 0;
  int64_t count_ = 0;
};

}  // namespace sgl
