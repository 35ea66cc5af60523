// SPDX-License-Identifier: Apache-2.0
#include "serve/api/tool_constraint.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "grammar/grammar.h"
#include "serve/api/chat_format.h"
#include "text/reasoning/reasoning_parser.h"
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
  const char* odd = R"([{"function":{"name":"2f"}}])";  // no name in Python
  EXPECT_TRUE(Constrain(odd, "pythonic", {.choice = Choice::kRequired}).forced_list);
  EXPECT_FALSE(Constrain(odd, "hermes", {.choice = Choice::kRequired}).forced_list);
  const char* quote = R"([{"function":{"name":"f\"x"}}])";
  EXPECT_TRUE(Constrain(quote, "hermes", {.choice = Choice::kRequired}).forced_list);
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
  EXPECT_EQ(Constrain(strict, "pythonic", {}).structural_tag, "");
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
                                         "</minimax:tool_call>",
                                         "<|start|>",
                                         "<|end|>",
                                         "<|channel|>",
                                         "<|constrain|>",
                                         "<|message|>",
                                         "<|tool_call>",
                                         "<tool_call|>",
                                         "<|\"|>",
                                         "<|function_call|>",
                                         "<|tool_call_start|>",
                                         "<｜tool_calls_begin｜>",
                                         "<｜tool_calls_end｜>",
                                         "<｜tool_call_begin｜>",
                                         "<｜tool_call_end｜>",
                                         "<｜tool_sep｜>"};

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

constexpr const char* kSchemas =
    R"([{"function":{"name":"f","parameters":{"type":"object","properties":{"s":{"type":"string"},"n":{"type":"integer","minimum":0,"maximum":99},
    "e":{"$ref":"#/$defs/colour"},"l":{"type":"array","items":{"type":"string"},"minItems":1,"maxItems":2},"z":{"type":"object","properties":
    {"k":{"type":"boolean"},"m":{"anyOf":[{"type":"string"},{"type":"null"}]}},"required":["k"],"additionalProperties":false}},
    "required":["s","e"],"additionalProperties":false,"$defs":{"colour":{"type":"string","enum":["red","blue"]}}}}},
    {"function":{"name":"g","parameters":{"type":"object","properties":{},"additionalProperties":false}}},
    {"function":{"name":"h","parameters":{"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"boolean"},"c":
    {"type":["string","null"]}},"additionalProperties":false}}}])";

// 3, and 3.0 or 3e0, which JSON Schema counts as integers, too.
bool IsWhole(const Json& value) { return value.is_number() && std::floor(value.as_double()) == value.as_double(); }

bool Either(const Json& value, std::initializer_list<bool> kinds) {
  return std::find(kinds.begin(), kinds.end(), true) != kinds.end() || value.is_null();
}

// Whether a call's arguments fit the schema in kSchemas; "" or what does not.
std::string Misfit(const ParsedCall& call) {
  const Result<Json> parsed = ParseJson(call.arguments);
  if (!parsed.ok() || !parsed->is_object()) return "no object";
  const Json& a = *parsed;
  for (const auto& [name, value] : a.as_object()) {
    if (std::string_view(call.name == "f" ? "snelz" : call.name == "h" ? "abc" : "").find(name) == std::string_view::npos) return name;
    if (value.is_null() && name != "c") return name;
  }
  if (call.name == "h")
    return Either(a["a"], {IsWhole(a["a"])}) && Either(a["b"], {a["b"].is_bool()}) && Either(a["c"], {a["c"].is_string()}) ? "" : "h";
  if (call.name != "f") return "";
  if (!a["s"].is_string()) return "s";
  if (a["e"] != Json("red") && a["e"] != Json("blue")) return "e";
  if (!Either(a["n"], {IsWhole(a["n"]) && a["n"].as_double() >= 0 && a["n"].as_double() < 100})) return "n";
  if (const Json& l = a["l"]; !l.is_null()) {
    if (!l.is_array() || l.as_array().empty() || l.as_array().size() > 2) return "l";
    for (const Json& one : l.as_array())
      if (!one.is_string()) return "l";
  }
  const Json& z = a["z"];
  return z.is_null() || (z["k"].is_bool() && Either(z["m"], {z["m"].is_string()})) ? "" : "z";
}

// What the server makes of an answer: reasoning out of messages first.
ParsedText Read(const ToolFormat& format, const ToolTag& tag, std::shared_ptr<const ToolSet> functions, const std::string& text) {
  if (tag.answer_begin.empty()) return ParseToolCalls(format, std::move(functions), text);
  return ParseToolCalls(format, std::move(functions), ParseReasoning(*FindReasoningFormat("gpt-oss"), false, text).text);
}

struct Compiled {
  std::shared_ptr<const Grammar> grammar;
  std::shared_ptr<const Tokenizer> tokenizer;
};
// The grammar of a demand, with or without special tokens.
Compiled CompileFor(const ToolFormat& format, const ToolSet& functions, ToolDemand demand, bool special) {
  Compiled out;
  out.tokenizer = BytesAnd(special ? kMarks : std::vector<std::string>{"<s>"});
  demand.special = [&](std::string_view text) { return out.tokenizer->TokenToId(text).value_or(0) > 256; };
  const Result<ToolConstraint> constraint = ConstrainTools(functions, &format, demand);
  EXPECT_TRUE(constraint.ok());
  if (!constraint.ok() || constraint->structural_tag.empty()) return out;
  GrammarOptions options;
  options.disable_any_whitespace = true;
  const auto vocabulary = std::make_shared<const Vocabulary>(*out.tokenizer, out.tokenizer->vocab_size(), std::vector<TokenId>{256});
  const auto grammar = Grammar::Compile({GrammarKind::kStructuralTag, constraint->structural_tag}, options, vocabulary);
  EXPECT_TRUE(grammar.ok()) << grammar.error().message << constraint->structural_tag;
  if (grammar.ok()) out.grammar = *grammar;
  return out;
}

// Whatever a format's grammar allows, its parser reads as calls that fit the schemas; with and without special tokens.
TEST(ToolConstraint, WhatGrammarsAllowParsersRead) {
  const auto functions = Tools(kSchemas);
  std::mt19937 random(3);
  for (const ToolFormat& format : ToolFormats()) {
    ASSERT_NE(format.tag, nullptr) << format.name;
    for (const bool special : {false, true}) {
      SCOPED_TRACE(std::string(format.name) + (special ? ", special tokens" : ""));
      const Compiled forced = CompileFor(format, *functions, {.choice = Choice::kRequired}, special);
      ASSERT_NE(forced.grammar, nullptr);
      const ToolTag tag = format.tag("f", [&](std::string_view text) { return forced.tokenizer->TokenToId(text).value_or(0) > 256; });
      const std::vector<std::string> ends = {tag.value_end + tag.end, tag.end, tag.value_end, tag.text_quote, tag.message_end};
      int ended = 0;
      for (int round = 0; round < 40; ++round) {
        const std::string text = Walk(*forced.grammar, *forced.tokenizer, ends, random);
        if (text.empty()) continue;
        ++ended;
        const ParsedText parsed = Read(format, tag, functions, text);
        ASSERT_GE(parsed.calls.size(), 1U) << text;
        for (const char c : parsed.text) ASSERT_TRUE(c == ' ' || c == '\n') << text;
        for (const ParsedCall& call : parsed.calls) ASSERT_EQ(Misfit(call), "") << text << "\n" << call.name << call.arguments;
      }
      EXPECT_GT(ended, 3);
      // And text with such calls in it.
      const Compiled free = CompileFor(format, *functions, {.strict_level = 2}, special);
      EXPECT_EQ(free.grammar == nullptr, format.name == "llama3" || format.name == "pythonic");
      for (int round = 0; free.grammar != nullptr && round < 10; ++round)
        for (const ParsedCall& call : Read(format, tag, functions, Walk(*free.grammar, *free.tokenizer, ends, random)).calls)
          ASSERT_EQ(Misfit(call), "") << call.name << call.arguments;
    }
  }
}

// What the models' own templates write, a grammar has to allow.
TEST(ToolConstraint, GrammarsAllowWhatModelsLearnt) {
  const std::pair<const char*, const char*> cases[] = {
      {"gemma4", "<|tool_call>call:f{e:<|\"|>red<|\"|>,n:5,s:<|\"|>a {b}<|\"|>,z:{k:true,m:<|\"|>x<|\"|>}}<tool_call|>"},
      {"gemma4", "<|tool_call>call:g{}<tool_call|><|tool_call>call:h{c:<|\"|>x<|\"|>}<tool_call|>"},
      {"gigachat3", "<|function_call|>{\"name\": \"f\", \"arguments\": {\"s\": \"x\", \"e\": \"red\"}}"},
      {"gpt-oss",
       "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary to=functions.f <|constrain|>json<|message|>"
       "{\"s\": \"x\", \"e\": \"red\"}"},
      {"lfm2", "<|tool_call_start|>[f(s=\"x\", e=\"red\", l=[\"a\", \"b\"]), h(b=True), g()]<|tool_call_end|>"},
      {"mimo",
       "<tool_call>\n<function=f>\n<parameter=s>a\nb</parameter>\n<parameter=n>5</parameter>\n<parameter=e>red</parameter>\n</function>\n"
       "</tool_call>"},
      {"minicpm5",
       "<function name=\"f\"><param name=\"s\"><![CDATA[a < b]]></param><param name=\"e\">blue</param></function>\n<function "
       "name=\"g\"></function>"},
      {"poolside_v1",
       "<tool_call>f\n<arg_key>s</arg_key>\n<arg_value>x</arg_value>\n<arg_key>e</arg_key>\n<arg_value>red</arg_value>\n</tool_call>"},
      {"pythonic", "[h(a=1, c=\"x, y\"), h(c=null), g(), h(b=False)]"},
      {"step3",
       "<｜tool_calls_begin｜>\n<｜tool_call_begin｜>function<｜tool_sep｜><steptml:invoke name=\"f\">\n<steptml:parameter "
       "name=\"s\">x</steptml:parameter>\n<steptml:parameter name=\"e\">red</steptml:parameter>\n</steptml:invoke><｜tool_call_end｜>\n"
       "<｜tool_calls_end｜>"},
  };
  const auto functions = Tools(kSchemas);
  for (const auto& [name, text] : cases) {
    for (const bool special : {false, true}) {
      SCOPED_TRACE(std::string(name) + (special ? ", special tokens: " : ": ") + text);
      if (!special && std::string_view(name) == "gigachat3") continue;  // without the token it writes another beginning
      const ToolFormat& format = *FindToolFormat(name);
      const Compiled forced = CompileFor(format, *functions, {.choice = Choice::kRequired}, special);
      ASSERT_NE(forced.grammar, nullptr);
      const auto matcher = forced.grammar->NewMatcher();
      std::string read;
      for (const TokenId token : forced.tokenizer->Encode(text, false)) {
        ASSERT_TRUE(matcher->Accept(token)) << "after " << read;
        read += forced.tokenizer->Decode(std::vector<TokenId>{token}, false);
      }
      EXPECT_TRUE(matcher->can_end());
      const ParsedText parsed = Read(format, format.tag("f", [](std::string_view) { return false; }), functions, text);
      ASSERT_GE(parsed.calls.size(), 1U);
      for (const ParsedCall& call : parsed.calls) EXPECT_EQ(Misfit(call), "") << call.name << call.arguments;
    }
  }
}

// Where reasoning ends for another reason, a grammar that reads it from the first token cannot hold.
TEST(ToolConstraint, AnswersOfMessages) {
  const ToolConstraint c = Constrain(kTwo, "gpt-oss", {.choice = Choice::kRequired});
  EXPECT_TRUE(c.from_first_token);
  EXPECT_NE(c.structural_tag.find(R"("stop_after_first":true)"), std::string::npos);
  EXPECT_TRUE(Constrain(kTwo, "gpt-oss", {.choice = Choice::kRequired, .bounded_reasoning = true}).forced_list);
  EXPECT_EQ(Constrain(kTwo, "gpt-oss", {.strict_level = 2, .bounded_reasoning = true}).structural_tag, "");
  EXPECT_FALSE(Constrain(kTwo, "hermes", {.choice = Choice::kRequired, .bounded_reasoning = true}).from_first_token);
  // With auto there may be remarks, and an answer; when forced there may not.
  const auto functions = Tools(kSchemas);
  const auto reads = [&](const ToolDemand& demand, const char* text) {
    const Compiled compiled = CompileFor(*FindToolFormat("gpt-oss"), *functions, demand, true);
    const auto matcher = compiled.grammar->NewMatcher();
    for (const TokenId token : compiled.tokenizer->Encode(text, false))
      if (!matcher->Accept(token)) return false;
    return matcher->can_end();
  };
  const char* answer = "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>Hi";
  const char* remark =
      "<|channel|>commentary<|message|>First f.<|end|><|start|>assistant<|channel|>commentary to=functions.g "
      "<|constrain|>json<|message|>{}";
  EXPECT_TRUE(reads({.strict_level = 1}, answer));
  EXPECT_TRUE(reads({.strict_level = 1}, remark));
  EXPECT_FALSE(reads({.choice = Choice::kRequired}, answer));
  EXPECT_FALSE(reads({.choice = Choice::kRequired}, remark));
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
  EXPECT_FALSE(required(R"({"type":["string","null"]})"));  // any text is one of them
  EXPECT_FALSE(required(R"({"anyOf":[{"type":"string"},{"type":"integer"}]})"));
  EXPECT_TRUE(required(R"({"anyOf":[{"type":"string"},{"type":"integer","minimum":3}]})"));
  EXPECT_TRUE(required(R"({"anyOf":[{"type":"string"},{"type":"object"}]})"));
  EXPECT_FALSE(required(R"({"anyOf":[{"type":"string","enum":["x"]},{"type":"null"}]})"));
  EXPECT_TRUE(required(R"({"type":"string","enum":["x","</parameter>"]})"));
  EXPECT_TRUE(required(R"({"$ref":"#/$defs/none"})"));
}

TEST(ToolConstraint, ObjectsOfManyFormsInGemmasOwn) {
  const auto forced = [](const char* property) {
    const std::string tools =
        std::string(R"([{"function":{"name":"f","parameters":{"type":"object","properties":{"a":)") + property + "}}}}]";
    return !Constrain(tools.c_str(), "gemma4", {.choice = Choice::kRequired}).forced_list;
  };
  EXPECT_TRUE(forced(R"({"type":"array","items":{"type":"object","properties":{"b":{"type":"array","items":{"type":"integer"}}}}})"));
  EXPECT_TRUE(forced(R"({"oneOf":[{"type":"string"},{"type":"object","properties":{"x":{"type":"null"}}}]})"));
  EXPECT_FALSE(forced(R"({"type":"object"})"));  // members of any name
  EXPECT_FALSE(forced(R"({"type":"array"})"));
  EXPECT_FALSE(forced(R"({"type":"object","properties":{"a b":{"type":"null"}}})"));
  EXPECT_FALSE(forced(R"({"type":"string","pattern":"a"})"));
}

TEST(ToolConstraint, KnowsAFormatsSpecialTokens) {
  const auto special = [](std::string_view text) { return text == "<|tool_call_begin|>" || text == "<|tool_calls_section_end|>"; };
  EXPECT_EQ(SpecialTokensOf(*FindToolFormat("kimi_k2"), special),
            (std::vector<std::string>{"<|tool_call_begin|>", "<|tool_calls_section_end|>"}));
  EXPECT_TRUE(SpecialTokensOf(*FindToolFormat("pythonic"), special).empty());
  EXPECT_TRUE(SpecialTokensOf(*FindToolFormat("gpt-oss"), [](std::string_view text) { return text == "<|channel|>"; }).empty());
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
