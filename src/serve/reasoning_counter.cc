// SPDX-License-Identifier: Apache-2.0
#include "serve/reasoning_counter.h"

#include <algorithm>

#include "text/tools/input.h"

namespace sgl {

bool EndsInReasoning(const ReasoningFormat& format, std::span<const TokenId> prompt, const Tokenizer& tokenizer) {
  constexpr size_t kTail = 32;  // tokens that a tag and white space behind it may take
  const std::string end = tokenizer.Decode(prompt.last(std::min(kTail, prompt.size())), false);
  return !format.prepend && tools::Trim(end).ends_with(format.start);
}

ReasoningCounter::ReasoningCounter(const ReasoningFormat& format, bool inside, const Tokenizer& tokenizer)
    : tokenizer_(tokenizer), parser_(MakeReasoningParser(format, inside)) {}

void ReasoningCounter::Push(std::span<const TokenId> tokens) {
  for (const TokenId token : tokens) {
    const std::string_view text = tokenizer_.TokenBytes(token);
    const bool before = parser_->in_reasoning();
    events_.clear();
    parser_->Push(text, events_);
    bytes_ += text.size();
    for (const ReasoningEvent& event : events_)
      if (!event.reasoning) content_bytes_ += event.text.size();
    const bool after = parser_->in_reasoning();
    if (before || after) ++count_;
    // What looked like the beginning of a tag, white space say, was content after all.
    if (!after && content_bytes_ == bytes_) count_ = 0;
  }
}

}  // namespace sgl
