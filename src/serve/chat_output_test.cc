// SPDX-License-Identifier: Apache-2.0
#include "serve/api/chat_output.h"

#include <gtest/gtest.h>

#include "serve/api/chat_format.h"
#include "serve/fakes.h"

namespace sgl {
namespace {

ChatFormat Format(IdSource& ids, const char* reasoning, const char* tools) {
  ChatFormat format;
  format.ids = &ids;
  format.reasoning = FindReasoningFormat(reasoning);
  format.reasoning_inside = true;
  format.tools = FindToolFormat(tools);
  format.functions = FunctionsOf(*ParseJson(R"([{"function":{"name":"f"}}])"), false);
  return format;
}

TokenDelta Delta(std::string text, std::vector<TokenId> tokens, bool last = false) {
  TokenDelta delta;
  delta.text = std::move(text);
  delta.tokens = std::move(tokens);
  if (last) delta.finish.emplace();
  return delta;
}

TEST(ChatOutput, EventsAddUpToTheMessage) {
  IdSource ids(1);
  const std::string text = "hm</think>Look: <tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": [1, \"}\"]}}\n</tool_call>\nBye";
  for (size_t piece = 1; piece <= text.size(); ++piece) {
    ChatOutput output(Format(ids, "qwen3", "hermes"));
    ChatMessage sum;
    for (size_t at = 0; at < text.size(); at += piece) {
      output.Push(Delta(text.substr(at, piece), {1}, at + piece >= text.size()));
      for (const ChatEvent& event : output.TakeEvents()) {
        if (event.kind == ChatEvent::Kind::kReasoning) sum.reasoning += event.text;
        if (event.kind == ChatEvent::Kind::kContent) sum.content += event.text;
        if (event.kind == ChatEvent::Kind::kToolCall) sum.tool_calls.push_back({event.id, event.text, "", 0});
        if (event.kind == ChatEvent::Kind::kToolArguments) sum.tool_calls[static_cast<size_t>(event.call)].arguments += event.text;
      }
    }
    const ChatMessage& message = output.message();
    EXPECT_EQ(message.reasoning, "hm");
    EXPECT_EQ(message.content, "Look: \nBye");
    ASSERT_EQ(message.tool_calls.size(), 1U);
    EXPECT_EQ(message.tool_calls[0].arguments, R"({"a": [1, "}"]})");
    EXPECT_EQ(message.tool_calls[0].id.size(), 29U);
    EXPECT_EQ(sum.reasoning, message.reasoning);
    EXPECT_EQ(sum.content, message.content);
    ASSERT_EQ(sum.tool_calls.size(), 1U);
    EXPECT_EQ(sum.tool_calls[0].id, message.tool_calls[0].id);
    EXPECT_EQ(sum.tool_calls[0].arguments, message.tool_calls[0].arguments);
  }
}

TEST(ChatOutput, CountsReasoningTokensToTheEndTag) {
  IdSource ids(1);
  ChatFormat format = Format(ids, "qwen3", "");
  format.think_end = 9;
  ChatOutput one(format);
  one.Push(Delta("I ", {1}));
  one.Push(Delta("think", {2}));
  EXPECT_EQ(one.reasoning_tokens(), 2);
  one.Push(Delta("</think>", {9}));
  one.Push(Delta("So", {3}, true));
  EXPECT_EQ(one.reasoning_tokens(), 3);
  ChatOutput several(format);  // several tokens at once
  several.Push(Delta("I think</think>So", {1, 2, 9, 3}, true));
  EXPECT_EQ(several.reasoning_tokens(), 3);
  format.separate_reasoning = false;  // they count all the same
  ChatOutput mixed(format);
  mixed.Push(Delta("I think</think>So", {1, 2, 9, 3}, true));
  EXPECT_EQ(mixed.reasoning_tokens(), 3);
  EXPECT_EQ(mixed.message().content, "I think</think>So");
  format.reasoning_inside = false;
  ChatOutput none(format);
  none.Push(Delta("So", {1}, true));
  EXPECT_EQ(none.reasoning_tokens(), 0);
}

TEST(ChatFormat, NamesAreResolved) {
  EXPECT_EQ(*ResolveToolFormat("auto", "<tool_call>"), "hermes");
  EXPECT_EQ(*ResolveToolFormat("auto", "plain"), "");
  EXPECT_EQ(*ResolveToolFormat("none", "<tool_call>"), "");
  EXPECT_EQ(*ResolveToolFormat("llama3", "<tool_call>"), "llama3");
  EXPECT_FALSE(ResolveToolFormat("nope", "").ok());
  EXPECT_EQ(SpellingOf("hunyuan", ByteTokenizer()), "hunyuan");
  EXPECT_EQ(*ResolveReasoningFormat("auto", "enable_thinking <think>"), "qwen3");
  EXPECT_EQ(*ResolveReasoningFormat("none", "enable_thinking <think>"), "");
  const Result<std::string> nope = ResolveReasoningFormat("nope", "");
  ASSERT_FALSE(nope.ok());
  EXPECT_NE(nope.error().message.find("deepseek-r1, deepseek-v3"), std::string::npos);
}

}  // namespace
}  // namespace sgl
