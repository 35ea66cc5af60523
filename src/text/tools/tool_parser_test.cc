// SPDX-License-Identifier: Apache-2.0
#include "text/tools/tool_parser.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <random>

#include "text/chat_template.h"
#include "text/tools/tool_samples.h"
#include "text/tools/value_relay.h"

namespace sgl {
namespace {

using tools::SampleTools;
using tools::ToolSample;
using tools::ToolSamples;

using Events = std::vector<ToolEvent>;

// Neighbours of one kind and call joined, so that events of different cuts compare.
Events Joined(const Events& events) {
  Events out;
  for (const ToolEvent& event : events) {
    if (!out.empty() && event.kind != ToolEvent::Kind::kCall && out.back().kind == event.kind && out.back().call == event.call)
      out.back().text += event.text;
    else
      out.push_back(event);
  }
  return out;
}

std::string Print(const Events& events) {
  std::string out;
  for (const ToolEvent& event : Joined(events))
    out += std::string(event.kind == ToolEvent::Kind::kText   ? "text"
                       : event.kind == ToolEvent::Kind::kCall ? "call"
                                                              : "args") +
           " " + std::to_string(event.call) + " " + event.text + "\n";
  return out;
}

Events Parse(const ToolFormat& format, ToolMode mode, std::string_view text, const std::vector<size_t>& cuts) {
  const auto parser = format.make(SampleTools(), mode);
  Events events;
  size_t at = 0;
  for (const size_t cut : cuts) {
    parser->Push(text.substr(at, cut - at), events);
    at = cut;
  }
  parser->Push(text.substr(at), events);
  parser->Finish(events);
  return events;
}

// A prefix of a JSON object is what can be completed: the relay takes it without complaint.
bool StartsJson(std::string_view text) {
  tools::ValueRelay relay(tools::ValueRelay::Dialect::kJson);
  std::string out;
  for (const char c : text)
    if (relay.Push(c, out) == tools::Relay::kBad) return false;
  return true;
}

std::string Where(const ToolSample& sample) { return sample.format + ": " + sample.text; }

// Without white space.
std::string Black(std::string text) {
  text.erase(std::remove_if(text.begin(), text.end(), [](char c) { return c == ' ' || c == '\n'; }), text.end());
  return text;
}

TEST(ToolParser, Samples) {
  for (const ToolSample& sample : ToolSamples()) {
    SCOPED_TRACE(Where(sample));
    const ToolFormat* format = FindToolFormat(sample.format);
    ASSERT_NE(format, nullptr);
    const ParsedText parsed = ParseToolCalls(*format, SampleTools(), sample.text);
    EXPECT_EQ(sample.exact ? parsed.text : Black(parsed.text), sample.exact ? sample.content : Black(sample.content));
    ASSERT_EQ(parsed.calls.size(), sample.calls.size());
    for (size_t i = 0; i < parsed.calls.size(); ++i) {
      EXPECT_EQ(parsed.calls[i].name, sample.calls[i].name);
      EXPECT_EQ(parsed.calls[i].arguments, sample.calls[i].arguments);
      const Result<Json> json = ParseJson(parsed.calls[i].arguments);
      EXPECT_TRUE(json.ok() && json->is_object()) << parsed.calls[i].arguments;
    }
  }
}

TEST(ToolParser, EveryFormatHasASample) {
  for (const ToolFormat& format : ToolFormats()) {
    bool found = false;
    for (const ToolSample& sample : ToolSamples()) found = found || (format.name == sample.format && !sample.calls.empty());
    EXPECT_TRUE(found) << format.name;
  }
}

// Names come once and before their arguments, which are at any time the start of a JSON object.
void CheckStream(const Events& events) {
  std::vector<std::string> arguments;
  for (const ToolEvent& event : events) {
    if (event.kind == ToolEvent::Kind::kText) continue;
    if (event.kind == ToolEvent::Kind::kCall) {
      ASSERT_EQ(static_cast<size_t>(event.call), arguments.size());
      ASSERT_FALSE(event.text.empty());
      arguments.emplace_back();
      continue;
    }
    ASSERT_EQ(static_cast<size_t>(event.call) + 1, arguments.size());
    arguments.back() += event.text;
    ASSERT_TRUE(StartsJson(arguments.back())) << arguments.back();
  }
}

TEST(ToolParser, AnyCutGivesTheSameEvents) {
  const char* more = std::getenv("SGLANG_TEST_CUTS");  // ./test --full asks for more
  const int cuts_per_format = more == nullptr ? 1000 : std::max(1, std::atoi(more));
  std::mt19937 random(20261127);
  std::map<std::string, std::vector<const ToolSample*>> of_format;
  for (const ToolSample& sample : ToolSamples()) of_format[sample.format].push_back(&sample);
  for (const auto& [name, samples] : of_format) {
    const ToolFormat& format = *FindToolFormat(name);
    for (const ToolSample* sample : samples) {
      const std::string_view text = sample->text;
      for (const ToolMode mode : {ToolMode::kStream, ToolMode::kWhole}) {
        const std::string whole = Print(Parse(format, mode, text, {}));
        const int rounds = cuts_per_format / static_cast<int>(samples.size()) + 1;
        for (int round = 0; round < rounds; ++round) {
          std::vector<size_t> cuts;
          const size_t most = round == 0 ? 1 : 1 + random() % 20;  // round 0: byte by byte
          for (size_t at = 0; (at += 1 + random() % most) < text.size();) cuts.push_back(at);
          const Events events = Parse(format, mode, text, cuts);
          ASSERT_EQ(Print(events), whole) << Where(*sample);
          if (round % 64 == 0) {
            SCOPED_TRACE(Where(*sample));
            ASSERT_NO_FATAL_FAILURE(CheckStream(events));
          }
        }
      }
    }
  }
}

// Broken off anywhere: the stream says what the whole says of complete calls, and the rest is the start of a call or text.
TEST(ToolParser, BrokenOffAnywhere) {
  for (const ToolSample& sample : ToolSamples()) {
    const ToolFormat& format = *FindToolFormat(sample.format);
    const std::string text = sample.text;
    const size_t step = sample.exact ? 1 : 5;  // those of the matrix are many and long
    for (size_t size = 0; size <= text.size(); size += step) {
      const std::string part = text.substr(0, size);
      const std::string once = Print(Parse(format, ToolMode::kStream, part, {}));
      ASSERT_EQ(Print(Parse(format, ToolMode::kStream, part, {size / 3, size / 2})), once) << format.name << ": " << part;
      Events events = Parse(format, ToolMode::kStream, part, {});
      const ParsedText whole = ParseToolCalls(format, SampleTools(), part);
      std::vector<ParsedCall> calls;
      for (const ToolEvent& event : events) {
        if (event.kind == ToolEvent::Kind::kCall) calls.push_back({event.text, ""});
        if (event.kind == ToolEvent::Kind::kArguments) calls.back().arguments += event.text;
      }
      ASSERT_LE(whole.calls.size(), calls.size());
      ASSERT_LE(calls.size(), whole.calls.size() + 1);
      for (size_t i = 0; i < calls.size(); ++i) {
        ASSERT_TRUE(StartsJson(calls[i].arguments)) << calls[i].arguments;
        if (i < whole.calls.size()) {
          ASSERT_EQ(calls[i].arguments, whole.calls[i].arguments);
        }
      }
      const bool drops_tags = format.name == "trinity" || format.name == "pythonic" || format.name == "gigachat3";
      if (whole.calls.empty() && !drops_tags) {
        ASSERT_EQ(whole.text, part) << format.name;
      }
    }
  }
}

TEST(ToolParser, ArgumentsStream) {
  const ToolFormat& format = *FindToolFormat("hermes");
  const auto parser = format.make(SampleTools(), ToolMode::kStream);
  Events events;
  parser->Push("<tool_call>\n{\"name\": \"sear", events);
  EXPECT_TRUE(events.empty());
  parser->Push("ch\", \"arguments\": {\"query\": \"ab", events);
  EXPECT_EQ(Print(events), "call 0 search\nargs 0 {\"query\": \"ab\n");
  events.clear();
  parser->Push("cd", events);
  EXPECT_EQ(Print(events), "args 0 cd\n");
  const auto tagged = FindToolFormat("qwen3_coder")->make(SampleTools(), ToolMode::kStream);
  events.clear();
  tagged->Push("<tool_call><function=search><parameter=query>\nsome tex", events);
  EXPECT_EQ(Print(events), "call 0 search\nargs 0 {\"query\": \"some tex\n");
}

// A call that breaks the rules after it was announced ends where it broke; what would have been its end is not text.
TEST(ToolParser, BreaksInTheStream) {
  const ToolFormat& format = *FindToolFormat("hermes");
  const std::string text =
      "<tool_call>{\"name\":\"search\",\"arguments\":{\"a\":1,}}</tool_call><tool_call>{\"name\":\"now\"}</tool_call>!";
  EXPECT_EQ(Print(Parse(format, ToolMode::kStream, text, {})), "call 0 search\nargs 0 {\"a\": 1\ncall 1 now\nargs 1 {}\ntext -1 !\n");
  EXPECT_EQ(Print(Parse(format, ToolMode::kWhole, text, {})), "call 0 now\nargs 0 {}\ntext -1 !\n");
}

TEST(ToolParser, UnknownFunctionsCanBeForwarded) {
  auto tools = std::make_shared<ToolSet>();
  tools->forward_unknown = true;
  const ParsedText parsed =
      ParseToolCalls(*FindToolFormat("hermes"), tools, "<tool_call>{\"name\":\"any\",\"arguments\":{\"a\":1}}</tool_call>");
  ASSERT_EQ(parsed.calls.size(), 1U);
  EXPECT_EQ(parsed.calls[0].name, "any");
}

TEST(ToolParser, LongTextsAreLinear) {
  std::string text = "<tool_call><function=search><parameter=query>";
  for (int i = 0; i < 200000; ++i) text += "<<a";
  std::vector<size_t> cuts;
  for (size_t i = 3; i < text.size(); i += 3) cuts.push_back(i);
  const Events events = Parse(*FindToolFormat("qwen3_coder"), ToolMode::kStream, text, cuts);
  ASSERT_FALSE(events.empty());
  EXPECT_GT(Joined(events).back().text.size(), 590000U);
}

TEST(ToolParser, DetectsFormats) {
  const std::pair<const char*, const char*> cases[] = {
      {"<tool_call>\\n{\"name\": <function-name>}", "hermes"},
      {"<tool_call>\n<function=x>\n<parameter=y>", "qwen3_coder"},
      {"<|python_tag|>", "llama3"},
      {"[TOOL_CALLS]", "mistral"},
      {"<｜tool▁calls▁begin｜> ```json", "deepseekv3"},
      {"<｜tool▁calls▁begin｜>", "deepseekv31"},
      {"<tool_call>{{ name }}<arg_key>", "glm45"},
      {"'<tool_calls{}>'.format(x) '<tool_sep{}>'.format(x)", "hunyuan"},
      {"<|tool_calls_section_begin|><|tool_call_argument_begin|>", "kimi_k2"},
      {"'<' + '｜DSML｜' + 'function_calls>'", "deepseekv32"},
      {"<|channel|>analysis<|message|> functions.", "gpt-oss"},
      {"<seed:tool_call><function=f><parameter=p>", ""},
      {"<|im_start|>{{ message.content }}", ""},
  };
  for (const auto& [text, format] : cases) EXPECT_EQ(DetectToolFormat(text), format) << text;
}

std::string ReadFile(const std::string& path) {
  std::ifstream in(path);
  return std::string((std::istreambuf_iterator<char>(in)), {});
}

// What a template writes of an assistant's calls is what its model learnt to write: it has to come back.
TEST(ToolParser, CallsOfTemplatesComeBack) {
  const std::pair<const char*, const char*> cases[] = {
      {"deepseek_v3", "deepseekv3"}, {"mistral_nemo", "mistral"}, {"qwen2_5", "hermes"}, {"qwen3", "hermes"}};
  const Result<Json> variables = ParseJson(
      R"({"bos_token":"<s>","eos_token":"</s>","tools":[{"type":"function","function":{"name":"weather","description":"d","parameters":
      {"type":"object","properties":{"city":{"type":"string"}}}}}],"messages":[{"role":"user","content":"Q"},{"role":"assistant","content":
      "","tool_calls":[{"id":"123456789","type":"function","function":{"name":"weather","arguments":{"city":"\"São\" [x]","days":3}}},
      {"id":"abcdefghi","type":"function","function":{"name":"now","arguments":{}}}]}]})");
  ASSERT_TRUE(variables.ok());
  for (const auto& [name, format] : cases) {
    SCOPED_TRACE(name);
    const std::string source = ReadFile(std::string(SGLANG_SOURCE_DIR "/tests/goldens/chat_templates/templates/") + name + ".jinja");
    ASSERT_EQ(DetectToolFormat(source), format);
    Json values = *variables;
    if (std::string_view(format) == "deepseekv3") {  // it prints arguments as they are, and calls only where there is no content
      Json::Array& messages = values.as_object()[3].second.as_array();
      messages[1].Set("content", Json());
      for (Json& call : messages[1].as_object()[2].second.as_array()) {
        Json function = call["function"];
        function.Set("arguments", DumpJson(function["arguments"]));
        call.Set("function", std::move(function));
      }
    }
    const auto chat_template = ChatTemplate::Parse(source);
    ASSERT_TRUE(chat_template.ok());
    const Result<std::string> text = (*chat_template)->Render(values);
    ASSERT_TRUE(text.ok()) << text.error().message;
    const ParsedText parsed = ParseToolCalls(*FindToolFormat(format), SampleTools(), text->substr(text->rfind('Q')));
    ASSERT_EQ(parsed.calls.size(), 2U) << *text;
    EXPECT_EQ(parsed.calls[0].name, "weather");
    EXPECT_EQ(parsed.calls[0].arguments, R"({"city": "\"São\" [x]", "days": 3})");
    EXPECT_EQ(parsed.calls[1].name, "now");
    EXPECT_EQ(parsed.calls[1].arguments, "{}");
  }
}

std::string Relayed(tools::ValueRelay::Dialect dialect, std::string_view text) {
  std::string out;
  return tools::RelayAll(dialect, text, out) ? out : "no";
}

TEST(ValueRelay, Json) {
  const std::pair<const char*, const char*> cases[] = {
      {"{ \"a\" :1 ,\"b\":[ true,false , null ] }", "{\"a\": 1, \"b\": [true, false, null]}"},
      {"\"\\ud83d\\ude00\\u00e9\\u000a\\n\\/\"", "\"😀é\\n\\n/\""},
      {"\"\\ud83d x\\udc00\"", "\"\\ud83d x\\udc00\""},
      {"\"\\ud83d\\n\"", "\"\\ud83d\\n\""},
      {"\"a\nb\x01\"", "\"a\\nb\\u0001\""},
      {"-0.5E+10", "-0.5E+10"},
      {"[]", "[]"},
      {"{}", "{}"},
      {"01", "no"},
      {"1.", "no"},
      {".5", "no"},
      {"+1", "no"},
      {"[1,]", "no"},
      {"{\"a\"}", "no"},
      {"{1:2}", "no"},
      {"nul", "no"},
      {"tru e", "no"},
      {"[1 2]", "no"},
      {"\"\\x41\"", "no"},
      {"{\"a\":1", "no"},
      {"'a'", "no"},
      {"1 2", "no"},
      {"", "no"},
      {"NaN", "no"},
  };
  for (const auto& [text, json] : cases) EXPECT_EQ(Relayed(tools::ValueRelay::Dialect::kJson, text), json) << text;
  EXPECT_EQ(Relayed(tools::ValueRelay::Dialect::kJson, std::string(300, '[')), "no");
}

TEST(ValueRelay, Python) {
  const std::pair<const char*, const char*> cases[] = {
      {"{'a': (1, 2,), 3: None, }", "{\"a\": [1, 2], \"3\": null}"},
      {"'\\x41\\u00e9\\U0001F600\\'\"\\q\\\nx'", "\"Aé😀'\\\"\\\\qx\""},
      {"[True, false, +1, 1., .5, -2e3]", "[true, false, 1, 1.0, 0.5, -2e3]"},
      {"{1, 2}", "no"},
      {"x", "no"},
      {".", "no"},
      {"'a", "no"},
      {"[,]", "no"},
      {"{'a': ,}", "no"},
      {"'\\U99999999'", "no"},
  };
  for (const auto& [text, json] : cases) EXPECT_EQ(Relayed(tools::ValueRelay::Dialect::kPython, text), json) << text;
}

}  // namespace
}  // namespace sgl
