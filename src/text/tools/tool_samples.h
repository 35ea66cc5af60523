// What models write, and what is to become of it: samples of every format, for tests and fuzzers.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "text/tools/tool_matrix.h"
#include "text/tools/tool_parser.h"
#include "text/tools/value_relay.h"

namespace sgl::tools {

struct ToolSample {
  std::string format, text, content;
  std::vector<ParsedCall> calls;
  bool exact = true;  // false: white space in the content is left out of the comparison
};

inline std::shared_ptr<const ToolSet> SampleTools() {
  auto tools = std::make_shared<ToolSet>();
  const Result<Json> weather = ParseJson(R"({"type":"object","properties":{"city":{"type":"string"},"days":{"type":"integer"},
    "now":{"type":"boolean"},"ratio":{"type":"number"},"where":{"$ref":"#/$defs/place"},"tags":{"type":"array"},
    "maybe":{"anyOf":[{"type":"string"},{"type":"null"}]}},"$defs":{"place":{"type":"object"}}})");
  tools->functions = {{"weather", *weather, false}, {"now", {}, false}, {"search", {}, false}};
  return tools;
}

// The rules that all formats keep, in each of them: text before and after calls, several, none of their arguments, brackets, quotes and
// tags in strings, functions that are not there.
inline std::vector<ToolSample> MatrixSamples() {
  const auto text = [](std::string name, std::string value) {
    std::string quoted;
    AppendEscaped(quoted, value);
    quoted = '"' + quoted + '"';
    return WrittenValue{std::move(name), std::move(value), quoted, quoted, true};
  };
  const std::string odd = "São {x} [y], (z) \"q\" it's 🙂\nnext: a = b";
  const std::string tags = "</tool_call><|action_end|><｜tool▁call▁end｜><|tool_call_end|><|call|><tool_call|>]})```";
  const WrittenValue days{"days", "", "3", "3"}, now{"now", "", "true", "True"};
  const WrittenValue where{"where", "", R"({"a": [1, {"b": "c"}], "d": null})", R"({'a': (1, {'b': "c"}), 'd': None})"};
  const WrittenCall weather{"weather", {text("city", odd), days, where, now}}, other{"now", {}};
  const WrittenCall third{"search", {text("query", "x")}}, nobody{"nobody", {text("city", odd)}},
      tagged{"search", {text("query", tags), days}};
  const std::string ends = "</arg_value></parameter></function></param></steptml:parameter></invoke></｜DSML｜parameter>" + tags;
  const WrittenCall boxed{"weather", {{"tags", "", "[\"" + ends + "\"]", "[\"" + ends + "\"]"}, days}};
  std::vector<ToolSample> out;
  for (const WrittenFormat& format : WrittenFormats()) {
    const auto add = [&](const std::string& before, std::vector<WrittenCall> calls, const std::string& after,
                         std::vector<WrittenCall> found) {
      ToolSample sample{format.format, before + format.begin, "", {}, false};
      for (size_t i = 0; i < calls.size(); ++i)
        sample.text += (i == 0 ? "" : format.separator) + format.call(calls[i], static_cast<int>(i));
      sample.text += format.end + after;
      sample.content = found.empty() ? sample.text : before + after;
      for (const WrittenCall& call : found) sample.calls.push_back({call.name, JsonOf(call)});
      out.push_back(std::move(sample));
    };
    add("Before: ", {weather}, "After.", {weather});
    add("", {weather, other, third}, "", {weather, other, third});
    add("", {nobody, other, nobody, third}, "", {other, third});
    add("One\n", {nobody, nobody}, "two", {});
    add("", {other}, "", {other});
    add("", {boxed, other}, "Then", {boxed, other});
    if (format.texts_may_have_tags) add("", {tagged, other}, "Then", {tagged, other});
  }
  return out;
}

inline const std::vector<ToolSample>& ToolSamples() {
  static const std::vector<ToolSample> samples = [] {
    std::vector<ToolSample> out = {
        // hermes: text around, two calls, escapes, nesting, members in any order.
        {"hermes",
         "Let me see.\n<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"S\\u00e3o \\\"P\\\" [x] </tool\", \"days\":3,"
         "\"where\":{\"a\":[1,2.5e3,{}],\"b\":null}}}\n</tool_call>\n<tool_call>\n{\"arguments\": {}, \"name\": "
         "\"now\"}\n</tool_call>\nDone.",
         "Let me see.\n\nDone.",
         {{"weather", "{\"city\": \"São \\\"P\\\" [x] </tool\", \"days\": 3, \"where\": {\"a\": [1, 2.5e3, {}], \"b\": null}}"},
          {"now", "{}"}}},
        {"qwen25", "<tool_call>\n{\"name\": \"now\"}\n</tool_call>", "", {{"now", "{}"}}},
        {"qwen",
         "<tool_call>{\"name\":\"search\",\"parameters\":{\"query\":\"\\ud83d\\ude00 \\/\"}}",
         "",
         {{"search", "{\"query\": \"😀 /\"}"}}},
        {"hermes",
         "<tool_call>{\"name\": \"search\", \"arguments\": \"{\\\"query\\\": 1}\"}</tool_call>",
         "",
         {{"search", "{\"query\": 1}"}}},
        {"hermes",
         "<tool_call>{\"id\":[1],\"name\":\"search\",\"arguments\":{\"query\":1},\"index\":0}</tool_call>",
         "",
         {{"search", "{\"query\": 1}"}}},
        // One bracket too many.
        {"hermes", "<tool_call>\n{\"name\": \"now\", \"arguments\": {}}}\n</tool_call>ok", "ok", {{"now", "{}"}}},
        // No call after all: the text stays whole.
        {"hermes", "a <tool_call> b", "a <tool_call> b", {}},
        {"hermes",
         " <tool_call>\n{\"name\": \"nobody\", \"arguments\": {}}\n</tool_call> x",
         " <tool_call>\n{\"name\": \"nobody\", \"arguments\": {}}\n</tool_call> x",
         {}},
        {"hermes",
         "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": }}\n</tool_call>",
         "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": }}\n</tool_call>",
         {}},
        {"hermes", "just text <tool", "just text <tool", {}},
        {"hermes", " \n ", " \n ", {}},
        // Beside one that is a call they are left out.
        {"hermes",
         "<tool_call>\n{\"name\": \"nobody\", \"arguments\": {}}\n</tool_call>\n<tool_call>\n{\"name\": \"now\", \"arguments\": "
         "{}}\n</tool_call>\n"
         "<tool_call>\n{\"name\": 5}\n</tool_call>",
         "",
         {{"now", "{}"}}},
        {"trinity", "<think>hm</think><tool_call>{\"name\":\"now\",\"arguments\":{}}</tool_call>", "hm", {{"now", "{}"}}},
        {"llama3",
         "<|python_tag|>{\"name\": \"search\", \"parameters\": {\"query\": \"a; b\"}}; {\"name\": \"now\", \"parameters\": {}}",
         "",
         {{"search", "{\"query\": \"a; b\"}"}, {"now", "{}"}}},
        {"llama3", "{\"name\": \"now\", \"parameters\": {}}", "", {{"now", "{}"}}},
        {"llama3", "{\"type\": \"function\", \"name\": \"now\", \"parameters\": {}} bye", "bye", {{"now", "{}"}}},
        {"llama3", "{\"answer\": 42}", "{\"answer\": 42}", {}},
        {"llama3", "{\"name\": \"Ann\", \"age\": 5}", "{\"name\": \"Ann\", \"age\": 5}", {}},
        {"llama3", "Well {\"name\": \"now\"}", "Well {\"name\": \"now\"}", {}},
        {"mistral",
         "Sure [TOOL_CALLS] [{\"name\": \"now\", \"arguments\": {}}, {\"name\": \"search\", \"arguments\": {\"query\": \"]\"}}]",
         "Sure ",
         {{"now", "{}"}, {"search", "{\"query\": \"]\"}"}}},
        {"mistral",
         "[TOOL_CALLS]search[ARGS]{\"query\": \"x\"}[TOOL_CALLS]now[CALL_ID]abc[ARGS]{}",
         "",
         {{"search", "{\"query\": \"x\"}"}, {"now", "{}"}}},
        {"mistral", "[TOOL_CALLS]now{}\n", "", {{"now", "{}"}}},
        {"interns1", "Hi<|action_start|> <|plugin|>\n{\"name\": \"now\", \"parameters\": {}}<|action_end|>\n", "Hi", {{"now", "{}"}}},
        {"gigachat3", "Hm<|message_sep|>function call<|role_sep|>\n{\"name\": \"now\", \"arguments\": {}}", "Hm", {{"now", "{}"}}},
        {"gigachat3", "<|function_call|>{\"name\": \"search\", \"arguments\": {\"query\": 1}}", "", {{"search", "{\"query\": 1}"}}},
        {"json_array",
         "[{\"name\": \"now\", \"parameters\": {}}, {\"name\":\"search\",\"parameters\":{\"query\":\"x\"}}]",
         "",
         {{"now", "{}"}, {"search", "{\"query\": \"x\"}"}}},
        {"json_array", "{\"name\":\"now\",\"parameters\":{}}", "", {{"now", "{}"}}},
        {"json_array", "[1, 2]", "[1, 2]", {}},
        {"deepseekv3",
         "I look.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>search\n```json\n{\"query\": "
         "\"a```b\"}\n```<｜tool▁call▁end｜>\n"
         "<｜tool▁call▁begin｜>function<｜tool▁sep｜>now\n```json\n{}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
         "I look.",
         {{"search", "{\"query\": \"a```b\"}"}, {"now", "{}"}}},
        {"deepseekv31",
         "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>nobody<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁call▁begin｜>search<｜tool▁sep｜>"
         "{\"query\":1}<｜tool▁call▁end｜><｜tool▁calls▁end｜>Bye",
         "Bye",
         {{"search", "{\"query\": 1}"}}},
        {"kimi_k2",
         "Ok<|tool_calls_section_begin|><|tool_call_begin|>functions.search:0<|tool_call_argument_begin|>{\"query\":\"<|tool_call_end|>\"}"
         "<|tool_call_end|><|tool_call_begin|>functions.now:1<|tool_call_argument_begin|>{}<|tool_call_end|><|tool_calls_section_end|>",
         "Ok",
         {{"search", "{\"query\": \"<|tool_call_end|>\"}"}, {"now", "{}"}}},
        {"qwen3_coder",
         "Text\n<tool_call>\n<function=weather>\n<parameter=city>\nNew\n\"York\" </b>\n</parameter>\n<parameter=days>\n3\n</parameter>\n"
         "<parameter=now>True</parameter><parameter=where>{'a': (1, None)}</parameter><parameter=tags>\n[1, \"x\"]\n</parameter>\n"
         "<parameter=maybe>null</parameter></function>\n</tool_call>\n<tool_call><function=now></function></tool_call>",
         "Text\n",
         {{"weather",
           "{\"city\": \"New\\n\\\"York\\\" </b>\", \"days\": 3, \"now\": true, \"where\": {\"a\": [1, null]}, \"tags\": [1, \"x\"], "
           "\"maybe\": null}"},
          {"now", "{}"}}},
        {"step3p5",
         "<tool_call><function=weather><parameter=city>\nA<parameter=days>x</function></tool_call>",
         "",
         {{"weather", "{\"city\": \"A\", \"days\": \"x\"}"}}},
        {"mimo",
         "<tool_call><function=search><parameter=query>a &lt;b&gt; &amp;amp;</parameter></function></tool_call>",
         "",
         {{"search", "{\"query\": \"a <b> &amp;\"}"}}},
        {"glm45",
         "Yes<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>Rome "
         "\n</arg_value>\n<arg_key>days</arg_key>\n<arg_value>2</arg_value>\n"
         "<arg_key>other</arg_key>\n<arg_value>[1]</arg_value>\n</tool_call>\n<tool_call>now\n</tool_call>",
         "Yes",
         {{"weather", "{\"city\": \"Rome \\n\", \"days\": 2, \"other\": [1]}"}, {"now", "{}"}}},
        {"glm47",
         "<tool_call>weather<arg_key>city</arg_key><arg_value>Rome</arg_value></tool_call><tool_call>now</tool_call>",
         "",
         {{"weather", "{\"city\": \"Rome\"}"}, {"now", "{}"}}},
        // 2.0 is an integer, too.
        {"glm47",
         "<tool_call>weather<arg_key>days</arg_key><arg_value>2.0</arg_value></tool_call><tool_call>weather<arg_key>days</arg_key>"
         "<arg_value>2.5</arg_value></tool_call>",
         "",
         {{"weather", "{\"days\": 2.0}"}, {"weather", "{\"days\": \"2.5\"}"}}},
        {"glm", "<tool_call>nobody\n</tool_call>", "<tool_call>nobody\n</tool_call>", {}},
        {"glm", "<tool_call>now</tool_call>", "", {{"now", "{}"}}},
        {"poolside_v1",
         "<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>\nR\n</arg_value>\n</tool_call>",
         "",
         {{"weather", "{\"city\": \"R\"}"}}},
        {"hunyuan",
         "<tool_calls><tool_call>weather<tool_sep><arg_key>days</arg_key><arg_value>5</arg_value></tool_call></tool_calls>",
         "",
         {{"weather", "{\"days\": 5}"}}},
        {"hunyuan", "<tool_calls><tool_call>now</tool_call></tool_calls>", "", {{"now", "{}"}}},
        {"hunyuan:opensource",
         "So<tool_calls:opensource>\n<tool_call:opensource>weather<tool_sep:opensource>\n<arg_key:opensource>city</arg_key:opensource>\n"
         "<arg_value:opensource>a</arg_value> b</arg_value:opensource>\n</tool_call:opensource>\n</tool_calls:opensource>",
         "So",
         {{"weather", "{\"city\": \"a</arg_value> b\"}"}}},
        {"minimax-m2",
         "A<minimax:tool_call>\n<invoke name=\"weather\">\n<parameter name=\"city\">Oslo</parameter>\n<parameter "
         "name=\"ratio\">0.5</parameter>\n"
         "</invoke>\n<invoke name=\"now\">\n</invoke>\n</minimax:tool_call>B",
         "AB",
         {{"weather", "{\"city\": \"Oslo\", \"ratio\": 0.5}"}, {"now", "{}"}}},
        {"step3",
         "<｜tool_calls_begin｜><｜tool_call_begin｜>function<｜tool_sep｜><steptml:invoke name=\"weather\"><steptml:parameter "
         "name=\"city\"> Oslo "
         "</steptml:parameter></steptml:invoke><｜tool_call_end｜><｜tool_calls_end｜>",
         "",
         {{"weather", "{\"city\": \"Oslo\"}"}}},
        {"minicpm5",
         "<function name=\"search\"><param name=\"query\">\n<![CDATA[a </param></function> b ]]> </param><param name=\"n\"><![CDATA[[1]]]>"
         "</param></function>",
         "",
         {{"search", "{\"query\": \"a </param></function> b\", \"n\": [1]}"}}},
        {"minicpm5",
         "<function name=\"weather\"><param name=\"city\"><![CDATA[a\nb]]></param><param name=\"days\">1</param></function>",
         "",
         {{"weather", "{\"city\": \"a\\nb\", \"days\": 1}"}}},
        {"deepseekv32",
         "Hm\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"weather\">\n<｜DSML｜parameter name=\"city\" string=\"true\">3 "
         "\"x\"</｜DSML｜parameter>\n"
         "<｜DSML｜parameter name=\"days\" string=\"false\">{\"k\": [1]}</｜DSML｜parameter>\n</｜DSML｜invoke>\n<｜DSML｜invoke "
         "name=\"search\">\n"
         "{\"query\":\"q\"}\n</｜DSML｜invoke>\n</｜DSML｜function_calls>",
         "Hm\n\n",
         {{"weather", "{\"city\": \"3 \\\"x\\\"\", \"days\": {\"k\": [1]}}"}, {"search", "{\"query\": \"q\"}"}}},
        {"deepseekv4", "<｜DSML｜tool_calls>\n<invoke name=\"now\">\n</invoke>\n</｜DSML｜tool_calls>", "", {{"now", "{}"}}},
        {"pythonic",
         "[weather(city='It\\'s \"A\"', days=-1, where={'k': (1, 2.), \"n\": None}, now=True), now()]",
         "",
         {{"weather", "{\"city\": \"It's \\\"A\\\"\", \"days\": -1, \"where\": {\"k\": [1, 2.0], \"n\": null}, \"now\": true}"},
          {"now", "{}"}}},
        {"pythonic",
         "See [1] and [weather] or [a(b)] <|python_start|>[now()]<|python_end|> and [2]",
         "See [1] and [weather] or [a(b)]  and [2]",
         {{"now", "{}"}}},
        {"lfm2",
         "Ok<|tool_call_start|>[search(query=\"x\"), now()]<|tool_call_end|>Then",
         "OkThen",
         {{"search", "{\"query\": \"x\"}"}, {"now", "{}"}}},
        {"lfm2", "<|tool_call_start|>[{\"name\": \"now\", \"arguments\": {}}]<|tool_call_end|>", "", {{"now", "{}"}}},
        {"gpt-oss",
         "<|channel|>commentary to=functions.search <|constrain|>json<|message|>{\"query\":\"x\"}<|call|><|start|>assistant "
         "to=functions.now"
         "<|channel|>commentary json<|message|>{}",
         "",
         {{"search", "{\"query\": \"x\"}"}, {"now", "{}"}}},
        {"gpt-oss", "<|channel|>final<|message|>Hi", "<|channel|>final<|message|>Hi", {}},
        {"gemma4",
         "So<|tool_call>call:weather{city:<|\"|>a, {b}<|\"|>,days:2,where:{k:[1,<|\"|>x<|\"|>]},now:true}<tool_call|>",
         "So",
         {{"weather", "{\"city\": \"a, {b}\", \"days\": 2, \"where\": {\"k\": [1, \"x\"]}, \"now\": true}"}}},
        {"gemma4", "<|tool_call>call:now{}<tool_call|><|tool_call>call:now<tool_call|>", "", {{"now", "{}"}}},
    };
    for (ToolSample& sample : MatrixSamples()) out.push_back(std::move(sample));
    return out;
  }();
  return samples;
}

}  // namespace sgl::tools
