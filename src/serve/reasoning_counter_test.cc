// SPDX-License-Identifier: Apache-2.0
#include "serve/reasoning_counter.h"

#include <gtest/gtest.h>

#include "serve/fakes.h"

namespace sgl {
namespace {

int64_t Count(const char* format, bool inside, std::string_view answer, size_t at_once = 1) {
  const ByteTokenizer tokenizer;
  ReasoningCounter counter(*FindReasoningFormat(format), inside, tokenizer);
  const std::vector<TokenId> tokens = tokenizer.Encode(answer, false);
  for (size_t at = 0; at < tokens.size(); at += at_once) counter.Push(std::span(tokens).subspan(at, std::min(at_once, tokens.size() - at)));
  return counter.tokens();
}

TEST(ReasoningCounter, CountsFromTagToTag) {
  for (const size_t at_once : {size_t{1}, size_t{5}, size_t{100}}) {
    EXPECT_EQ(Count("qwen3", true, "hm</think>Yes", at_once), 10);
    EXPECT_EQ(Count("qwen3", true, "hm", at_once), 2);
    EXPECT_EQ(Count("qwen3", false, "<think>hm</think>Yes", at_once), 17);
    EXPECT_EQ(Count("qwen3", false, "Yes </think> no", at_once), 0);
    EXPECT_EQ(Count("qwen3", false, "\n <thin ice", at_once), 0);
    EXPECT_EQ(Count("qwen3", true, "</think>", at_once), 8);
    EXPECT_EQ(Count("minimax-append-think", true, "hm</think>", at_once), 0);
  }
}

TEST(ReasoningCounter, PromptsThatEndWithATag) {
  const ByteTokenizer tokenizer;
  const auto ends = [&](const char* format, std::string_view prompt) {
    return EndsInReasoning(*FindReasoningFormat(format), tokenizer.Encode(prompt, true), tokenizer);
  };
  EXPECT_TRUE(ends("qwen3", "user: hi\nassistant: <think>\n"));
  EXPECT_TRUE(ends("qwen3", "<think>"));
  EXPECT_FALSE(ends("qwen3", "<think>\n\n</think>\n\n"));
  EXPECT_FALSE(ends("qwen3", "what is <think> for?"));
  EXPECT_FALSE(ends("mistral", "<think>"));
  EXPECT_FALSE(ends("minimax-append-think", "<think>"));
}

}  // namespace
}  // namespace sgl
