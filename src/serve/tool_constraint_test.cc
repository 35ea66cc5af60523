// SPDX-License-Identifier: Apache-2.0
#include "serve/api/tool_constraint.h"

#include <gtest/gtest.h>

#include <random>

#include "grammar/grammar.h"
#include "serve/api/chat_format.h"
#include "text/unicode.h"

namespace sgl {
namespace {

using Choice = ToolDemand::Choice;

std::shared_ptr<const ToolSet> Tools(const char* json) { return FunctionsOf(*ParseJson(json), false); }

constexpr const char* kTwo =
    R"([{"function":{"name":"f","parameters":{"type":"dict","properties":{"a":{"type":"int"}}}}},{"function":{"name":"g"}}])";

ToolConstraint Constrain(const char* tools, const char* format, const ToolDemand& demand) {
  Result<ToolConstraint> constraint = ConstrainTools(*Tools(tools), FindToolFormat(format), demand);
  EXPECT_TRUE(constraint.ok());
  return constraint.ok() ? *constraint : ToolConstraint{};
}

TEST(ToolConstraint, RequiredInTheFormatsOwnTags) {
  const ToolConstraint c = Constrain(kTwo, "hermes", {.choice = Choice::kRequired});
  EXPECT_EQ(
      c.structural_tag,
      R"({"type":"structural_tag","format":{"type":"tags_with_separator","tags":[{"type":"tag","begin":"<tool_call>\n{\"name\": \"f\", \"arguments\": ","content":{"type":"json_schema","json_schema":{"type":"object","properties":{"a":{"type":"integer"}}}},"end":"}\n</tool_call>"},{"type":"tag","begin":"<tool_call>\n{\"name\": \"g\", \"arguments\": ","content":{"type":"json_schema","json_schema":{"type":"object"}},"end":"}\n</tool_call>"}],"separator":"\n","at_least_one":true,"stop_after_first":false}})");
  EXPECT_FALSE(c.forced_list);
  EXPECT_EQ(c.json_schema, "");
}

TEST(ToolConstraint, RequiredAsAList) {
  const ToolConstraint c = Constrain(kTwo, "", {.choice = Choice::kRequired, .parallel = false});
  EXPECT_EQ(
      c.json_schema,
      R"({"type":"array","minItems":1,"maxItems":1,"items":{"anyOf":[{"type":"object","properties":{"name":{"type":"string","enum":["f"]},"parameters":{"type":"object","properties":{"a":{"type":"integer"}}}},"required":["name","parameters"],"additionalProperties":false},{"type":"object","properties":{"name":{"type":"string","enum":["g"]},"parameters":{"type":"object"}},"required":["name","parameters"],"additionalProperties":false}]}})");
  EXPECT_TRUE(c.forced_list);
  EXPECT_TRUE(Constrain(kTwo, "pythonic", {.choice = Choice::kRequired}).forced_list);
}

TEST(ToolConstraint, Named) {
  const ToolConstraint c = Constrain(kTwo, "", {.choice = Choice::kNamed, .name = "g"});
  EXPECT_EQ(
      c.json_schema,
      R"({"type":"array","minItems":1,"items":{"type":"object","properties":{"name":{"type":"string","enum":["g"]},"parameters":{"type":"object"}},"required":["name","parameters"],"additionalProperties":false}})");
  const ToolConstraint tags = Constrain(kTwo, "qwen", {.choice = Choice::kNamed, .name = "g", .parallel = false});
  EXPECT_EQ(tags.structural_tag.find("\"f\\\""), std::string::npos);
  EXPECT_NE(tags.structural_tag.find(R"("stop_after_first":true)"), std::string::npos);
}

TEST(ToolConstraint, AutoEnforcesOnlyWhatIsStrict) {
  EXPECT_EQ(Constrain(kTwo, "hermes", {}).structural_tag, "");
  const char* strict =
      R"([{"function":{"name":"f","strict":true,"parameters":{"type":"object","x":1}}},{"function":{"name":"g","parameters":{"y":1}}}])";
  const ToolConstraint c = Constrain(strict, "hermes", {});
  EXPECT_NE(c.structural_tag.find(R"({"type":"triggered_tags","triggers":["<tool_call>"],"tags":[)"), std::string::npos);
  EXPECT_NE(c.structural_tag.find(R"("x":1)"), std::string::npos);
  EXPECT_EQ(c.structural_tag.find(R"("y":1)"), std::string::npos);
  EXPECT_NE(c.structural_tag.find(R"("at_least_one":false)"), std::string::npos);
  EXPECT_NE(Constrain(strict, "hermes", {.strict_level = 2}).structural_tag.find(R"("y":1)"), std::string::npos);
  EXPECT_NE(Constrain(kTwo, "hermes", {.strict_level = 1}).structural_tag, "");
  EXPECT_EQ(Constrain(strict, "gemma4", {}).structural_tag, "");
}

// A byte-level tokenizer with these special tokens.
std::unique_ptr<Tokenizer> BytesAnd(const std::vector<std::string>& special) {
  GgufVocab vocab;
  vocab.model = "gpt2";
  vocab.pre = "gpt-2";
  uint32_t next = 256;
  for (uint32_t byte = 0; byte < 256; ++byte) {
    const bool shown = (byte >= 33 && byte < 127) || (byte >= 161 && byte != 173);
    std::string text;
    AppendCodePoint(text, shown ? byte : next++);
    vocab.tokens.push_back(text);
    vocab.token_types.push_back(1);
  }
  for (const std::string& text : special) {
    vocab.tokens.push_back(text);
    vocab.token_types.push_back(3);
  }
  auto tokenizer = LoadTokenizer(vocab);
  EXPECT_TRUE(tokenizer.ok());
  return tokenizer.ok() ? *std::move(tokenizer) : nullptr;
}

const std::vector<std::string> kMarks = {"<s>",
                                         "<tool_call>",
                                         "</tool_call>",
                                         "<|action_start|>",
                                         "<|plugin|>",
                                         "<|action_end|>",
                                         "[TOOL_CALLS]",
                                         "[ARGS]",
                                         "<｜tool▁calls▁begin｜>",
                                         "<｜tool▁calls▁end｜>",
                                         "<｜tool▁call▁begin｜>",
                                         "<｜tool▁call▁end｜>",
                                         "<｜tool▁sep｜>",
                                         "｜DSML｜",
                                         "<|tool_calls_section_begin|>",
                                         "<|tool_calls_section_end|>",
                                         "<|tool_call_begin|>",
                                         "<|tool_call_end|>",
                                         "<|tool_call_argument_begin|>",
                                         "<arg_key>",
                                         "</arg_key>",
                                         "<arg_value>",
                                         "</arg_value>",
                                         "<minimax:tool_call>",
                                         "</minimax:tool_call>"};

// A random walk through a grammar, which now and then tries to write one of `ends`: its text, special tokens included; "" if it does not
// end soon.
std::string Walk(const Grammar& grammar, const Tokenizer& tokenizer, const std::vector<std::string>& ends, std::mt19937& random) {
  const auto matcher = grammar.NewMatcher();
  std::vector<uint32_t> mask((static_cast<size_t>(tokenizer.vocab_size()) + 31) / 32);
  std::vector<TokenId> out;
  constexpr TokenId kStop = 256;
  const auto allowed = [&](TokenId id) { return (mask[static_cast<size_t>(id) / 32] >> (id % 32) & 1) != 0; };
  while (out.size() < 600) {
    matcher->Fill(mask);
    if (allowed(kStop) && (out.size() > 200 || random() % 8 == 0)) return tokenizer.Decode(out, false);
    if (random() % 10 == 0) {
      for (const TokenId token : tokenizer.Encode(ends[random() % ends.size()], false)) {
        matcher->Fill(mask);
        if (!allowed(token)) break;
        EXPECT_TRUE(matcher->Accept(token));
        out.push_back(token);
      }
      matcher->Fill(mask);
    }
    std::vector<TokenId> some, tags, any;
    for (TokenId id = 0; id < tokenizer.vocab_size(); ++id) {
      if (id == kStop || !allowed(id)) continue;
      any.push_back(id);
      if (id > kStop || id == '"' || id == '}' || id == ']') tags.push_back(id);
      if (id < 127) some.push_back(id);
    }
    if (any.empty()) {
      if (allowed(kStop)) return tokenizer.Decode(out, false);
      ADD_FAILURE() << "nothing is allowed after " << tokenizer.Decode(out, false);
      return "";
    }
    const std::vector<TokenId>& from = !tags.empty() && random() % 3 == 0 ? tags : some.empty() ? any : some;
    const TokenId token = from[random() % from.size()];
    EXPECT_TRUE(matcher->Accept(token));
    out.push_back(token);
  }
  return "";
}

// Whatever a format's grammar allows, its parser reads as calls that fit the schemas; with and without special tokens.
TEST(ToolConstraint, WhatGrammarsAllowParsersRead) {
  const char* tools =
      R"([{"function":{"name":"f","parameters":{"type":"object","properties":{"s":{"type":"string"},"n":{"type":"integer","minimum":0,"maximum":99},
    "e":{"type":"string","enum":["red","blue"]}},"required":["s","e"],"additionalProperties":false}}},
    {"function":{"name":"g","parameters":{"type":"object","properties":{},"additionalProperties":false}}}])";
  const auto functions = Tools(tools);
  std::mt19937 random(3);
  for (const ToolFormat& format : ToolFormats()) {
    if (format.tag == nullptr) continue;
    for (const bool special : {false, true}) {
      SCOPED_TRACE(std::string(format.name) + (special ? ", special tokens" : ""));
      const auto tokenizer = BytesAnd(special ? kMarks : std::vector<std::string>{"<s>"});
      ToolDemand demand{.choice = Choice::kRequired};
      demand.special = [&](std::string_view text) { return tokenizer->TokenToId(text).has_value() && *tokenizer->TokenToId(text) > 256; };
      const Result<ToolConstraint> constraint = ConstrainTools(*functions, &format, demand);
      ASSERT_TRUE(constraint.ok());
      ASSERT_NE(constraint->structural_tag, "");
      const auto vocabulary = std::make_shared<const Vocabulary>(*tokenizer, tokenizer->vocab_size(), std::vector<TokenId>{256});
      GrammarOptions options;
      options.disable_any_whitespace = true;
      const auto grammar = Grammar::Compile({GrammarKind::kStructuralTag, constraint->structural_tag}, options, vocabulary);
      ASSERT_TRUE(grammar.ok()) << grammar.error().message << constraint->structural_tag;
      const ToolTag tag = format.tag("f", demand.special);
      const std::vector<std::string> ends = {tag.value_end + tag.end, tag.end};
      int ended = 0;
      for (int round = 0; round < 40; ++round) {
        const std::string text = Walk(**grammar, *tokenizer, ends, random);
        if (text.empty()) continue;
        ++ended;
        const ParsedText parsed = ParseToolCalls(format, functions, text);
        ASSERT_GE(parsed.calls.size(), 1U) << text;
        for (const char c : parsed.text) ASSERT_TRUE(c == ' ' || c == '\n') << text;
        for (const ParsedCall& call : parsed.calls) {
          const Result<Json> arguments = ParseJson(call.arguments);
          ASSERT_TRUE(arguments.ok() && arguments->is_object()) << text;
          if (call.name != "f") continue;
          EXPECT_TRUE((*arguments)["s"].is_string()) << text;
          EXPECT_TRUE((*arguments)["e"] == Json("red") || (*arguments)["e"] == Json("blue")) << text;
          EXPECT_TRUE((*arguments)["n"].is_null() || (*arguments)["n"].is_number()) << text;
        }
      }
      EXPECT_GT(ended, 3);
      // And text with such calls in it.
      demand.choice = Choice::kAuto;
      demand.strict_level = 2;
      const Result<ToolConstraint> free = ConstrainTools(*functions, &format, demand);
      ASSERT_TRUE(free.ok());
      EXPECT_EQ(free->structural_tag.empty(), format.name == "llama3");
      if (free->structural_tag.empty()) continue;
      const auto loose = Grammar::Compile({GrammarKind::kStructuralTag, free->structural_tag}, {}, vocabulary);
      ASSERT_TRUE(loose.ok()) << loose.error().message << free->structural_tag;
      for (int round = 0; round < 10; ++round) Walk(**loose, *tokenizer, ends, random);
    }
  }
}

TEST(ToolConstraint, SchemasThatTagsCannotWriteBecomeAList) {
  const auto required = [](const char* property) {
    const std::string tools =
        std::string(R"([{"function":{"name":"f","parameters":{"type":"object","properties":{"a":)") + property + "}}}}]";
    return Constrain(tools.c_str(), "qwen3_coder", {.choice = Choice::kRequired}).forced_list;
  };
  EXPECT_FALSE(required(R"({"type":"string","description":"x"})"));
  EXPECT_FALSE(required(R"({"type":"array","items":{"type":"string","pattern":"a"}})"));
  EXPECT_TRUE(required(R"({"type":"string","pattern":"a"})"));
  EXPECT_TRUE(required(R"({"type":["string","null"]})"));
  EXPECT_TRUE(required(R"({"anyOf":[{"type":"string"},{"type":"integer"}]})"));
}

TEST(ToolConstraint, KnowsAFormatsSpecialTokens) {
  const auto special = [](std::string_view text) { return text == "<|tool_call_begin|>" || text == "<|tool_calls_section_end|>"; };
  EXPECT_EQ(SpecialTokensOf(*FindToolFormat("kimi_k2"), special),
            (std::vector<std::string>{"<|tool_call_begin|>", "<|tool_calls_section_end|>"}));
  EXPECT_TRUE(SpecialTokensOf(*FindToolFormat("pythonic"), special).empty());
}

TEST(ToolConstraint, DefinitionsMeetAtTheRoot) {
  const char* same = R"([{"function":{"name":"f","parameters":{"$defs":{"d":{"type":"string"}},"$ref":"#/$defs/d"}}},
                         {"function":{"name":"g","parameters":{"$defs":{"d":{"type":"string"},"e":{}}}}}])";
  const ToolConstraint c = Constrain(same, "", {.choice = Choice::kRequired});
  EXPECT_NE(c.json_schema.find(R"("parameters":{"$ref":"#/$defs/d"})"), std::string::npos) << c.json_schema;
  EXPECT_NE(c.json_schema.find(R"("$defs":{"d":{"type":"string"},"e":{}})"), std::string::npos) << c.json_schema;
  const char* other = R"([{"function":{"name":"f","parameters":{"$defs":{"d":{"type":"string"}}}}},
                          {"function":{"name":"g","parameters":{"$defs":{"d":{"type":"integer"}}}}}])";
  const Result<ToolConstraint> conflict = ConstrainTools(*Tools(other), nullptr, {.choice = Choice::kRequired});
  ASSERT_FALSE(conflict.ok());
  EXPECT_EQ(conflict.error().message, "Tool definition 'd' has multiple schemas, which is not supported.");
}

}  // namespace
}  // namespace sgl
