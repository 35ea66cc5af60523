// SPDX-License-Identifier: Apache-2.0
#include "text/reasoning/reasoning_parser.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <random>

namespace sgl {
namespace {

struct Sample {
  const char* format;
  bool inside;
  const char* text;
  const char* reasoning;
  const char* content;
};

constexpr Sample kSamples[] = {
    {"deepseek-r1", true, "I think</think>\n\nSo.", "I think", "\n\nSo."},
    {"deepseek-r1", true, "<think>\nI think\n</think>So </think>.", "\nI think\n", "So </think>."},
    {"deepseek-r1", true, "<think><think>x</think>y", "x", "y"},
    {"deepseek-r1", true, "\n<think>x", "x", ""},
    {"deepseek-r1", true, "cut of</thin", "cut of</thin", ""},
    {"deepseek-r1", true, " a", " a", ""},
    {"deepseek-r1", true, "<thi", "<thi", ""},
    {"deepseek-r1", true, "", "", ""},
    {"deepseek-r1", true, "</think>", "", ""},
    {"qwen3", false, "So it is <think>", "", "So it is <think>"},
    {"qwen3", false, "<think>x</think>y", "x", "y"},
    {"qwen3", false, " \n", "", " \n"},
    {"qwen3", true, "x<tool_call>{}</tool_call>", "x", "<tool_call>{}</tool_call>"},
    {"glm45", true, "x<tool_call>f</think>", "x", "<tool_call>f</think>"},
    {"hunyuan", false, "<think>x<tool_calls>f", "x", "<tool_calls>f"},
    {"hunyuan:opensource", false, "<think:opensource>x</think></think:opensource>y", "x</think>", "y"},
    {"hunyuan:opensource", true, "x<tool_calls:opensource>f", "x", "<tool_calls:opensource>f"},
    {"kimi_k2", true, "x<|tool_calls_section_begin|>f", "x", "<|tool_calls_section_begin|>f"},
    {"deepseek-r1", true, "x<tool_call>f", "x<tool_call>f", ""},
    {"kimi", false, "◁think▷é ◁/◁/think▷ja", "é ◁/", "ja"},
    {"kimi", false, "plain", "", "plain"},
    {"mistral", true, "[THINK]a[/TH][/THINK]b", "a[/TH]", "b"},
    {"gemma4", false, "<|channel>thought\nhm<channel|>ok", "hm", "ok"},
    {"gemma4", false, "<|channel>thoughts", "", "<|channel>thoughts"},
    {"minimax-append-think", false, "x</think>y", "", "<think>x</think>y"},
    {"gpt-oss", false, "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>Hi<|return|>", "hm", "Hi"},
    {"gpt-oss", false,
     "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>commentary to=functions.f <|constrain|>json<|message|>{}<|call|>",
     "hm", "<|start|>assistant<|channel|>commentary to=functions.f <|constrain|>json<|message|>{}<|call|>"},
    {"gpt-oss", false, "<|channel|>commentary<|message|>First<|end|><|start|>assistant<|channel|>analysis<|message|>so", "so", "First"},
    {"gpt-oss", false, "plain", "", "plain"},
    {"gpt-oss", false,
     "<|channel|>commentary to=functions.f<|message|> {\"a\": \"<|end|>\"} <|end|><|start|>assistant<|channel|>final<|message|>x", "",
     "<|channel|>commentary to=functions.f<|message|> {\"a\": \"<|end|>\"} <|call|>x"},
    {"gpt-oss", false, "<|channel|>commentary to=functions.f<|message|>{\"a\"<|end|><|channel|>final<|message|>x", "",
     "<|channel|>commentary to=functions.f<|message|>{\"a\"<|call|>x"},
};

std::string Parse(const Sample& sample, const std::vector<size_t>& cuts, std::string* content) {
  const auto parser = MakeReasoningParser(*FindReasoningFormat(sample.format), sample.inside);
  const std::string_view text = sample.text;
  std::vector<ReasoningEvent> events;
  size_t at = 0;
  for (const size_t cut : cuts) {
    parser->Push(text.substr(at, cut - at), events);
    at = cut;
  }
  parser->Push(text.substr(at), events);
  parser->Finish(events);
  std::string reasoning;
  for (const ReasoningEvent& event : events) (event.reasoning ? reasoning : *content) += event.text;
  return reasoning;
}

TEST(ReasoningParser, SamplesAtAnyCut) {
  const char* more = std::getenv("SGLANG_TEST_CUTS");  // ./test --full asks for more
  const int rounds = more == nullptr ? 100 : std::max(1, std::atoi(more));
  std::mt19937 random(7);
  for (const Sample& sample : kSamples) {
    SCOPED_TRACE(std::string(sample.format) + ": " + sample.text);
    const SplitReasoning whole = ParseReasoning(*FindReasoningFormat(sample.format), sample.inside, sample.text);
    EXPECT_EQ(whole.reasoning, sample.reasoning);
    EXPECT_EQ(whole.text, sample.content);
    const size_t size = std::string_view(sample.text).size();
    for (int round = 0; round < rounds; ++round) {
      std::vector<size_t> cuts;
      const size_t most = round == 0 ? 1 : 1 + random() % 12;
      for (size_t at = 0; (at += 1 + random() % most) < size;) cuts.push_back(at);
      std::string content;
      ASSERT_EQ(Parse(sample, cuts, &content), sample.reasoning);
      ASSERT_EQ(content, sample.content);
    }
  }
}

TEST(ReasoningParser, KnowsWhereItIs) {
  const auto parser = MakeReasoningParser(*FindReasoningFormat("qwen3"), true);
  std::vector<ReasoningEvent> events;
  EXPECT_TRUE(parser->in_reasoning());
  parser->Push("x</thi", events);
  EXPECT_TRUE(parser->in_reasoning());
  EXPECT_EQ(events.back().text, "x");
  parser->Push("nk>y", events);
  EXPECT_FALSE(parser->in_reasoning());
  EXPECT_FALSE(MakeReasoningParser(*FindReasoningFormat("kimi"), false)->in_reasoning());
}

TEST(ReasoningParser, DetectsFormats) {
  const std::pair<const char*, const char*> cases[] = {
      {"<|im_start|>{% if enable_thinking is false %}<think>\n\n</think>", "qwen3"},
      {"<|im_start|>assistant\\n<think>\\n", "qwen3-thinking"},
      {"<｜Assistant｜><think>\\n  .split('</think>')", "deepseek-r1"},
      {"<｜Assistant｜>{% if thinking %}<think>", "deepseek-v3"},
      {"<arg_key> <think>", "glm45"},
      {"<|channel|>analysis", "gpt-oss"},
      {"plain", ""},
  };
  for (const auto& [text, format] : cases) EXPECT_EQ(DetectReasoningFormat(text), format) << text;
}

}  // namespace
}  // namespace sgl
