// One set of calls and texts, written in every tool-call format: what holds of all of them, for tests and fuzzers.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace sgl::tools {

// An argument in the ways formats write it: its text if it is a string, and as JSON and as Python.
struct WrittenValue {
  std::string name, text, json, python;
  bool is_text = false;
};
struct WrittenCall {
  std::string name;
  std::vector<WrittenValue> values;
};

struct WrittenFormat {
  const char* format;
  std::string begin, separator, end;  // around calls
  std::function<std::string(const WrittenCall&, int number)> call;
  bool texts_may_have_tags = true;  // values may have what ends a value, or a call
};

inline std::string JsonOf(const WrittenCall& call) {
  std::string out;
  for (const WrittenValue& value : call.values) out += (out.empty() ? "\"" : ", \"") + value.name + "\": " + value.json;
  return "{" + out + "}";
}

// {"name": .., key: {..}} between two texts.
inline std::function<std::string(const WrittenCall&, int)> AsObject(std::string begin, std::string key, std::string end) {
  return [=](const WrittenCall& call, int) {
    return begin + "{\"name\": \"" + call.name + "\", \"" + key + "\": " + JsonOf(call) + "}" + end;
  };
}
// The name between two texts, and the arguments as JSON.
inline std::function<std::string(const WrittenCall&, int)> AsNamed(std::string begin, std::string after, std::string end) {
  return [=](const WrittenCall& call, int) { return begin + call.name + after + JsonOf(call) + end; };
}
// Every value between tags of its own.
struct TagTexts {
  std::string begin, name_end, param, key_end, json_key_end, value_end, end;
};
inline std::function<std::string(const WrittenCall&, int)> AsTags(TagTexts t) {
  return [t = std::move(t)](const WrittenCall& call, int) {
    std::string out = t.begin + call.name + t.name_end;
    for (const WrittenValue& value : call.values)
      out += t.param + value.name + (value.is_text || t.json_key_end.empty() ? t.key_end : t.json_key_end) +
             (value.is_text ? value.text : value.json) + t.value_end;
    return out + t.end;
  };
}
inline std::string AsPython(const WrittenCall& call, int) {
  std::string out;
  for (const WrittenValue& value : call.values) out += (out.empty() ? "" : ", ") + value.name + "=" + value.python;
  return call.name + "(" + out + ")";
}
inline std::string AsKimi(const WrittenCall& call, int number) {
  return "<|tool_call_begin|>functions." + call.name + ":" + std::to_string(number) + "<|tool_call_argument_begin|>" + JsonOf(call) +
         "<|tool_call_end|>";
}
inline std::string AsGemma(const WrittenCall& call, int) {
  std::string out;
  for (const WrittenValue& value : call.values) {
    std::string json = value.json;  // the matrix has keys and texts without quotes of their own
    if (value.is_text) {
      json = "<|\"|>" + value.text + "<|\"|>";
    } else {
      for (size_t at = 0; (at = json.find('"', at)) != std::string::npos; at += 5) json.replace(at, 1, "<|\"|>");
    }
    out += (out.empty() ? "" : ",") + value.name + ":" + json;
  }
  return "<|tool_call>call:" + call.name + "{" + out + "}<tool_call|>";
}

inline std::vector<WrittenFormat> WrittenFormats() {
  const TagTexts qwen3 = {"<tool_call>\n<function=", ">\n", "<parameter=", ">\n", "", "\n</parameter>\n", "</function>\n</tool_call>"};
  const TagTexts mimo = {"<tool_call>\n<function=", ">\n", "<parameter=", ">", "", "</parameter>\n", "</function>\n</tool_call>"};
  const TagTexts glm45 = {"<tool_call>", "\n", "<arg_key>", "</arg_key>\n<arg_value>", "", "</arg_value>\n", "</tool_call>"};
  const TagTexts glm47 = {"<tool_call>", "", "<arg_key>", "</arg_key><arg_value>", "", "</arg_value>", "</tool_call>"};
  const TagTexts hunyuan = {"<tool_call>", "<tool_sep>\n", "<arg_key>", "</arg_key>\n<arg_value>", "", "</arg_value>\n", "</tool_call>"};
  const TagTexts minimax = {"<invoke name=\"", "\">\n", "<parameter name=\"", "\">", "", "</parameter>\n", "</invoke>\n"};
  const TagTexts minicpm = {"<function name=\"", "\">", "<param name=\"", "\">", "", "</param>", "</function>"};
  const TagTexts step3 = {"<｜tool_call_begin｜>function<｜tool_sep｜><steptml:invoke name=\"",
                          "\">\n",
                          "<steptml:parameter name=\"",
                          "\">",
                          "",
                          "</steptml:parameter>\n",
                          "</steptml:invoke><｜tool_call_end｜>\n"};
  const TagTexts dsml = {"<｜DSML｜invoke name=\"",    "\">\n",
                         "<｜DSML｜parameter name=\"", "\" string=\"true\">",
                         "\" string=\"false\">",       "</｜DSML｜parameter>\n",
                         "</｜DSML｜invoke>\n"};
  const auto hermes = AsObject("<tool_call>\n", "arguments", "\n</tool_call>");
  const auto harmony = AsNamed("<|start|>assistant<|channel|>commentary to=functions.", " <|constrain|>json<|message|>", "<|call|>");
  return {
      {"hermes", "", "\n", "", hermes},
      {"qwen", "", "\n", "", hermes},
      {"qwen25", "", "\n", "", hermes},
      {"trinity", "", "\n", "", hermes},
      {"llama3", "<|python_tag|>", "; ", "", AsObject("", "parameters", "")},
      {"mistral", "[TOOL_CALLS] [", ", ", "]", AsObject("", "arguments", "")},
      {"mistral", "", "", "", AsNamed("[TOOL_CALLS]", "[ARGS]", "")},
      {"interns1", "", "", "", AsObject("<|action_start|> <|plugin|>\n", "parameters", "<|action_end|>\n")},
      {"gigachat3", "", "", "", AsObject("<|function_call|>", "arguments", "")},
      {"deepseekv3", "<｜tool▁calls▁begin｜>", "\n", "<｜tool▁calls▁end｜>",
       AsNamed("<｜tool▁call▁begin｜>function<｜tool▁sep｜>", "\n```json\n", "\n```<｜tool▁call▁end｜>")},
      {"deepseekv31", "<｜tool▁calls▁begin｜>", "", "<｜tool▁calls▁end｜>",
       AsNamed("<｜tool▁call▁begin｜>", "<｜tool▁sep｜>", "<｜tool▁call▁end｜>")},
      {"kimi_k2", "<|tool_calls_section_begin|>", "", "<|tool_calls_section_end|>", AsKimi},
      {"gpt-oss", "", "", "", harmony},
      {"gemma4", "", "", "", AsGemma},
      {"lfm2", "<|tool_call_start|>[", ", ", "]<|tool_call_end|>", AsPython},
      {"pythonic", "[", ", ", "]", AsPython},
      {"qwen3_coder", "", "\n", "", AsTags(qwen3), false},
      {"step3p5", "", "\n", "", AsTags(qwen3), false},
      {"mimo", "", "\n", "", AsTags(mimo), false},
      {"glm", "", "\n", "", AsTags(glm45), false},
      {"glm45", "", "\n", "", AsTags(glm45), false},
      {"glm47", "", "", "", AsTags(glm47), false},
      {"poolside_v1", "", "\n", "", AsTags(glm45), false},
      {"hunyuan", "<tool_calls>\n", "\n", "\n</tool_calls>", AsTags(hunyuan), false},
      {"minimax-m2", "<minimax:tool_call>\n", "", "</minimax:tool_call>", AsTags(minimax), false},
      {"minicpm5", "", "\n", "", AsTags(minicpm), false},
      {"step3", "<｜tool_calls_begin｜>\n", "", "<｜tool_calls_end｜>", AsTags(step3), false},
      {"deepseekv32", "<｜DSML｜function_calls>\n", "", "</｜DSML｜function_calls>", AsTags(dsml), false},
      {"deepseekv4", "<｜DSML｜tool_calls>\n", "", "</｜DSML｜tool_calls>", AsTags(dsml), false},
  };
}

}  // namespace sgl::tools
