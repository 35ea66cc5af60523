// Every tool-call format, one line each, and how a chat template tells which it is.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "text/tools/gemma.h"
#include "text/tools/harmony.h"
#include "text/tools/json_calls.h"
#include "text/tools/named_json.h"
#include "text/tools/pythonic.h"
#include "text/tools/tagged_params.h"
#include "text/tools/tool_parser.h"

namespace sgl {
namespace tools {
namespace {

using Strip = TaggedParamsStyle::Strip;

const JsonCallsStyle kHermes{.begins = {"<tool_call>"}, .end = "</tool_call>"};
const JsonCallsStyle kTrinity{.begins = {"<tool_call>"}, .end = "</tool_call>", .drop = {"<think>", "</think>"}};
const JsonCallsStyle kLlama3{.begins = {"<|python_tag|>"}, .bare_object = true, .separator = ';'};
const JsonCallsStyle kMistral{.begins = {"[TOOL_CALLS]"}, .arguments_begin = "[ARGS]", .id_begin = "[CALL_ID]"};
const JsonCallsStyle kInternS1{.begins = {"<|action_start|> <|plugin|>", "<|action_start|><|plugin|>"}, .end = "<|action_end|>"};
const JsonCallsStyle kGigaChat3{.begins = {"<|message_sep|>\n\nfunction call<|role_sep|>\n", "<|message_sep|>function call<|role_sep|>\n",
                                           "function call<|role_sep|>\n", "<|function_call|>"},
                                .drop = {"<|message_sep|>"}};
const JsonCallsStyle kJsonArray{.bare_object = true, .bare_list = true};

const NamedJsonStyle kDeepSeekV3{.section_begin = "<｜tool▁calls▁begin｜>",
                                 .section_end = "<｜tool▁calls▁end｜>",
                                 .call_begin = "<｜tool▁call▁begin｜>",
                                 .call_end = "<｜tool▁call▁end｜>",
                                 .kind_end = "<｜tool▁sep｜>",
                                 .name_end = {"\n", "```json"},
                                 .fence_begin = "```json",
                                 .fence_end = "```"};
const NamedJsonStyle kDeepSeekV31{.section_begin = "<｜tool▁calls▁begin｜>",
                                  .section_end = "<｜tool▁calls▁end｜>",
                                  .call_begin = "<｜tool▁call▁begin｜>",
                                  .call_end = "<｜tool▁call▁end｜>",
                                  .name_end = {"<｜tool▁sep｜>", ""}};
const NamedJsonStyle kKimiK2{.section_begin = "<|tool_calls_section_begin|>",
                             .section_end = "<|tool_calls_section_end|>",
                             .call_begin = "<|tool_call_begin|>",
                             .call_end = "<|tool_call_end|>",
                             .name_end = {"<|tool_call_argument_begin|>", ""},
                             .numbered = true};

const TaggedParamsStyle kQwen3Coder{.section_begin = {"<tool_call>"},
                                    .section_end = {"</tool_call>"},
                                    .call_begin = {"<function="},
                                    .call_end = {"</function>"},
                                    .name_end = {">"},
                                    .param_begin = {"<parameter="},
                                    .key_end = {{">"}},
                                    .value_end = {"</parameter>"},
                                    .value_ends_itself = true,
                                    .strip = Strip::kNewline};
const TaggedParamsStyle kMimo{.section_begin = {"<tool_call>"},
                              .section_end = {"</tool_call>"},
                              .call_begin = {"<function="},
                              .call_end = {"</function>"},
                              .name_end = {">"},
                              .param_begin = {"<parameter="},
                              .key_end = {{">"}},
                              .value_end = {"</parameter>"},
                              .unescape = true};
TaggedParamsStyle ArgKeyStyle(Strip strip) {
  return {.call_begin = {"<tool_call>"},
          .call_end = {"</tool_call>"},
          .name_end = {"\n"},
          .name_ends_itself = true,
          .param_begin = {"<arg_key>"},
          .key_end = {{"</arg_key>"}},
          .value_begin = "<arg_value>",
          .value_end = {"</arg_value>"},
          .strip = strip,
          .guess = true};
}
const TaggedParamsStyle kGlm = ArgKeyStyle(Strip::kNothing), kPoolside = ArgKeyStyle(Strip::kNewline);
// The tags of the published models have a suffix.
#define HUNYUAN_STYLE(suffix)                                                                                                         \
  {                                                                                                                                   \
    .section_begin = {"<tool_calls" suffix ">"}, .section_end = {"</tool_calls" suffix ">"}, .call_begin = {"<tool_call" suffix ">"}, \
    .call_end = {"</tool_call" suffix ">"}, .name_end = {"<tool_sep" suffix ">"}, .name_ends_itself = true,                           \
    .param_begin = {"<arg_key" suffix ">"}, .key_end = {{"</arg_key" suffix ">"}}, .value_begin = "<arg_value" suffix ">",            \
    .value_end = {"</arg_value" suffix ">"}, .guess = true,                                                                           \
  }
const TaggedParamsStyle kHunyuan = HUNYUAN_STYLE(""), kHunyuanOpen = HUNYUAN_STYLE(":opensource");
#undef HUNYUAN_STYLE
const TaggedParamsStyle kMinimaxM2{.section_begin = {"<minimax:tool_call>"},
                                   .section_end = {"</minimax:tool_call>"},
                                   .call_begin = {"<invoke name=\""},
                                   .call_end = {"</invoke>"},
                                   .name_end = {"\">"},
                                   .param_begin = {"<parameter name=\""},
                                   .key_end = {{"\">"}},
                                   .value_end = {"</parameter>"},
                                   .strip = Strip::kNewline};
const TaggedParamsStyle kStep3{
    .section_begin = {"<｜tool_calls_begin｜>"},
    .section_end = {"<｜tool_calls_end｜>"},
    .call_begin = {"<steptml:invoke name=\""},
    .call_end = {"</steptml:invoke>"},
    .noise = {"<｜tool_call_begin｜>function<｜tool_sep｜>", "<｜tool_call_begin｜>", "<｜tool_sep｜>", "<｜tool_call_end｜>"},
    .name_end = {"\">"},
    .param_begin = {"<steptml:parameter name=\""},
    .key_end = {{"\">"}},
    .value_end = {"</steptml:parameter>"},
    .strip = Strip::kSpace};
const TaggedParamsStyle kMiniCpm5{.call_begin = {"<function name=\""},
                                  .call_end = {"</function>"},
                                  .name_end = {"\">"},
                                  .param_begin = {"<param name=\""},
                                  .key_end = {{"\">"}},
                                  .value_end = {"</param>"},
                                  .strip = Strip::kSpace,
                                  .guess = true,
                                  .cdata_begin = "<![CDATA[",
                                  .cdata_end = "]]>"};
// DeepSeek's markup, of which models sometimes leave the ｜DSML｜ out.
TaggedParamsStyle DsmlStyle(std::vector<std::string_view> begin, std::vector<std::string_view> end) {
  return {.section_begin = std::move(begin),
          .section_end = std::move(end),
          .call_begin = {"<｜DSML｜invoke name=\"", "<invoke name=\""},
          .call_end = {"</｜DSML｜invoke>", "</invoke>"},
          .name_end = {"\">"},
          .param_begin = {"<｜DSML｜parameter name=\"", "<parameter name=\""},
          .key_end = {{"\" string=\"true\">", KeySays::kString}, {"\" string=\"false\">", KeySays::kJson}},
          .value_end = {"</｜DSML｜parameter>", "</parameter>"},
          .json_body = true};
}
const TaggedParamsStyle kDeepSeekV32 =
    DsmlStyle({"<｜DSML｜function_calls>", "<function_calls>"}, {"</｜DSML｜function_calls>", "</function_calls>"});
const TaggedParamsStyle kDeepSeekV4 = DsmlStyle({"<｜DSML｜tool_calls>", "<tool_calls>"}, {"</｜DSML｜tool_calls>", "</tool_calls>"});

const PythonicStyle kPythonic{.drop = {"<|python_start|>", "<|python_end|>"}};
const PythonicStyle kLfm2{.begin = "<|tool_call_start|>", .end = "<|tool_call_end|>"};

using Parser = std::unique_ptr<ToolParser>;
using Tools = std::shared_ptr<const ToolSet>;

template <class P, const auto& style>
Parser Make(Tools tools, ToolMode mode) {
  return std::make_unique<P>(style, std::move(tools), mode);
}
template <class P>
Parser MakePlain(Tools tools, ToolMode mode) {
  return std::make_unique<P>(std::move(tools), mode);
}

using Special = std::function<bool(std::string_view)>;
using Form = ToolTag::Form;

ToolTag HermesTag(const std::string& name, const Special&) {
  return {.begin = "<tool_call>\n{\"name\": \"" + name + "\", \"arguments\": ",
          .end = "}\n</tool_call>",
          .separator = "\n",
          .trigger = "<tool_call>"};
}
ToolTag Llama3Tag(const std::string& name, const Special&) {
  return {.begin = "{\"name\": \"" + name + "\", \"parameters\": ", .end = "}", .separator = "; "};
}
// Newer models have a token between name and arguments.
ToolTag MistralTag(const std::string& name, const Special& special) {
  if (special("[ARGS]")) return {.begin = "[TOOL_CALLS]" + name + "[ARGS]", .end = "", .trigger = "[TOOL_CALLS]"};
  return {.begin = "{\"name\": \"" + name + "\", \"arguments\": ",
          .end = "}",
          .separator = ", ",
          .trigger = "[TOOL_CALLS]",
          .section_begin = "[TOOL_CALLS] [",
          .section_end = "]"};
}
ToolTag InternS1Tag(const std::string& name, const Special&) {
  return {.begin = "<|action_start|> <|plugin|>\n{\"name\": \"" + name + "\", \"parameters\": ",
          .end = "}<|action_end|>\n",
          .trigger = "<|action_start|>"};
}
ToolTag DeepSeekTag(std::string begin, std::string end, std::string separator) {
  return {.begin = "<｜tool▁call▁begin｜>" + begin,
          .end = end + "<｜tool▁call▁end｜>",
          .separator = std::move(separator),
          .trigger = "<｜tool▁calls▁begin｜>",
          .section_begin = "<｜tool▁calls▁begin｜>",
          .section_end = "<｜tool▁calls▁end｜>"};
}
ToolTag DeepSeekV3Tag(const std::string& name, const Special&) {
  return DeepSeekTag("function<｜tool▁sep｜>" + name + "\n```json\n", "\n```", "\n");
}
ToolTag DeepSeekV31Tag(const std::string& name, const Special&) { return DeepSeekTag(name + "<｜tool▁sep｜>", "", ""); }
ToolTag KimiK2Tag(const std::string& name, const Special&) {
  return {.begin = "<|tool_call_begin|>functions." + name + ":",
          .end = "<|tool_call_end|>",
          .trigger = "<|tool_calls_section_begin|>",
          .section_begin = "<|tool_calls_section_begin|>",
          .section_end = "<|tool_calls_section_end|>",
          .after_number = "<|tool_call_argument_begin|>"};
}
ToolTag DsmlTag(const std::string& name, const std::string& section) {
  return {.form = Form::kTagged,
          .begin = "<｜DSML｜invoke name=\"" + name + "\">\n",
          .end = "</｜DSML｜invoke>\n",
          .trigger = "<｜DSML｜" + section + ">",
          .section_begin = "<｜DSML｜" + section + ">\n",
          .section_end = "</｜DSML｜" + section + ">",
          .param_begin = "<｜DSML｜parameter name=\"",
          .key_end = "\" string=\"true\">",
          .value_end = "</｜DSML｜parameter>\n",
          .json_key_end = "\" string=\"false\">"};
}
ToolTag DeepSeekV32Tag(const std::string& name, const Special&) { return DsmlTag(name, "function_calls"); }
ToolTag DeepSeekV4Tag(const std::string& name, const Special&) { return DsmlTag(name, "tool_calls"); }
ToolTag Qwen3CoderTag(const std::string& name, const Special&) {
  return {.form = Form::kTagged,
          .begin = "<tool_call>\n<function=" + name + ">\n",
          .end = "</function>\n</tool_call>",
          .separator = "\n",
          .trigger = "<tool_call>",
          .param_begin = "<parameter=",
          .key_end = ">\n",
          .value_end = "</parameter>\n",
          .value_tail = "\n",
          .ends_value = {"<parameter=", "</function>"}};
}
ToolTag Glm45Tag(const std::string& name, const Special&) {
  return {.form = Form::kTagged,
          .begin = "<tool_call>" + name + "\n",
          .end = "</tool_call>",
          .separator = "\n",
          .trigger = "<tool_call>",
          .param_begin = "<arg_key>",
          .key_end = "</arg_key>\n<arg_value>",
          .value_end = "</arg_value>\n"};
}
ToolTag Glm47Tag(const std::string& name, const Special&) {
  return {.form = Form::kTagged,
          .begin = "<tool_call>" + name,
          .end = "</tool_call>",
          .trigger = "<tool_call>",
          .param_begin = "<arg_key>",
          .key_end = "</arg_key><arg_value>",
          .value_end = "</arg_value>"};
}
ToolTag HunyuanTagWith(const std::string& name, const std::string& suffix) {
  const std::string end = suffix + ">";
  return {.form = Form::kTagged,
          .begin = "<tool_call" + end + name + "<tool_sep" + end + "\n",
          .end = "</tool_call" + end,
          .separator = "\n",
          .trigger = "<tool_calls" + end,
          .section_begin = "<tool_calls" + end + "\n",
          .section_end = "\n</tool_calls" + end,
          .param_begin = "<arg_key" + end,
          .key_end = "</arg_key" + end + "\n<arg_value" + end,
          .value_end = "</arg_value" + end + "\n"};
}
ToolTag HunyuanTag(const std::string& name, const Special&) { return HunyuanTagWith(name, ""); }
ToolTag HunyuanOpenTag(const std::string& name, const Special&) { return HunyuanTagWith(name, ":opensource"); }
ToolTag MinimaxM2Tag(const std::string& name, const Special&) {
  return {.form = Form::kTagged,
          .begin = "<invoke name=\"" + name + "\">\n",
          .end = "</invoke>\n",
          .trigger = "<minimax:tool_call>",
          .section_begin = "<minimax:tool_call>\n",
          .section_end = "</minimax:tool_call>",
          .param_begin = "<parameter name=\"",
          .key_end = "\">",
          .value_end = "</parameter>\n"};
}
ToolTag MimoTag(const std::string& name, const Special&) {
  return {.form = Form::kTagged,
          .begin = "<tool_call>\n<function=" + name + ">\n",
          .end = "</function>\n</tool_call>",
          .separator = "\n",
          .trigger = "<tool_call>",
          .param_begin = "<parameter=",
          .key_end = ">",
          .value_end = "</parameter>\n"};
}
ToolTag MiniCpm5Tag(const std::string& name, const Special&) {
  return {.form = Form::kTagged,
          .begin = "<function name=\"" + name + "\">",
          .end = "</function>",
          .separator = "\n",
          .trigger = "<function name=\"",
          .param_begin = "<param name=\"",
          .key_end = "\">",
          .value_end = "</param>",
          .raw_begin = "<![CDATA[",
          .raw_end = "]]>"};
}
ToolTag Step3Tag(const std::string& name, const Special&) {
  return {.form = Form::kTagged,
          .begin = "<｜tool_call_begin｜>function<｜tool_sep｜><steptml:invoke name=\"" + name + "\">\n",
          .end = "</steptml:invoke><｜tool_call_end｜>\n",
          .trigger = "<｜tool_calls_begin｜>",
          .section_begin = "<｜tool_calls_begin｜>\n",
          .section_end = "<｜tool_calls_end｜>",
          .param_begin = "<steptml:parameter name=\"",
          .key_end = "\">",
          .value_end = "</steptml:parameter>\n"};
}
// Brackets are common in text, so they trigger nothing.
ToolTag PythonicTag(const std::string& name, const Special&) {
  return {.form = Form::kPython,
          .begin = name + "(",
          .end = ")",
          .separator = ", ",
          .section_begin = "[",
          .section_end = "]",
          .key_end = "=",
          .param_separator = ", "};
}
ToolTag Lfm2Tag(const std::string& name, const Special& special) {
  ToolTag tag = PythonicTag(name, special);
  tag.trigger = "<|tool_call_start|>";
  tag.section_begin = "<|tool_call_start|>[";
  tag.section_end = "]<|tool_call_end|>";
  return tag;
}
ToolTag Gemma4Tag(const std::string& name, const Special&) {
  return {.form = Form::kQuoted,
          .begin = "<|tool_call>call:" + name + "{",
          .end = "}<tool_call|>",
          .trigger = "<|tool_call>",
          .key_end = ":",
          .param_separator = ",",
          .text_quote = "<|\"|>"};
}
// Version 3.1 has a token for it. Before that a call was a message of its own; a separator in front would end the answer.
ToolTag GigaChat3Tag(const std::string& name, const Special& special) {
  const std::string trigger = special("<|function_call|>") ? "<|function_call|>" : "function call<|role_sep|>\n";
  return {.begin = trigger + "{\"name\": \"" + name + "\", \"arguments\": ", .end = "}", .trigger = trigger, .one_call = true};
}
// <|call|> ends the answer: it is a stop token.
ToolTag GptOssTag(const std::string& name, const Special&) {
  const std::string message = "<|message|>";
  return {.begin = "<|channel|>commentary to=functions." + name + " <|constrain|>json" + message,
          .end = "",
          .trigger = "<|channel|>commentary to=functions.",
          .one_call = true,
          .thought_begin = "<|channel|>analysis" + message,
          .remark_begin = "<|channel|>commentary" + message,
          .answer_begin = "<|channel|>final" + message,
          .message_end = "<|end|><|start|>assistant"};
}

constexpr ToolFormat kFormats[] = {
    {"deepseekv3", Make<NamedJson, kDeepSeekV3>, DeepSeekV3Tag},
    {"deepseekv31", Make<NamedJson, kDeepSeekV31>, DeepSeekV31Tag},
    {"deepseekv32", Make<TaggedParams, kDeepSeekV32>, DeepSeekV32Tag},
    {"deepseekv4", Make<TaggedParams, kDeepSeekV4>, DeepSeekV4Tag},
    {"gemma4", MakePlain<Gemma>, Gemma4Tag},
    {"gigachat3", Make<JsonCalls, kGigaChat3>, GigaChat3Tag},
    {"glm", Make<TaggedParams, kGlm>, Glm45Tag},
    {"glm45", Make<TaggedParams, kGlm>, Glm45Tag},
    {"glm47", Make<TaggedParams, kGlm>, Glm47Tag},
    {"gpt-oss", MakePlain<Harmony>, GptOssTag},
    {"hermes", Make<JsonCalls, kHermes>, HermesTag},
    {"hunyuan", Make<TaggedParams, kHunyuan>, HunyuanTag},
    {"interns1", Make<JsonCalls, kInternS1>, InternS1Tag},
    {"kimi_k2", Make<NamedJson, kKimiK2>, KimiK2Tag},
    {"lfm2", Make<Pythonic, kLfm2>, Lfm2Tag},
    {"llama3", Make<JsonCalls, kLlama3>, Llama3Tag},
    {"mimo", Make<TaggedParams, kMimo>, MimoTag},
    {"minicpm5", Make<TaggedParams, kMiniCpm5>, MiniCpm5Tag},
    {"minimax-m2", Make<TaggedParams, kMinimaxM2>, MinimaxM2Tag},
    {"mistral", Make<JsonCalls, kMistral>, MistralTag},
    {"poolside_v1", Make<TaggedParams, kPoolside>, Glm45Tag},
    {"pythonic", Make<Pythonic, kPythonic>, PythonicTag},
    {"qwen", Make<JsonCalls, kHermes>, HermesTag},
    {"qwen25", Make<JsonCalls, kHermes>, HermesTag},
    {"qwen3_coder", Make<TaggedParams, kQwen3Coder>, Qwen3CoderTag},
    {"step3", Make<TaggedParams, kStep3>, Step3Tag},
    {"step3p5", Make<TaggedParams, kQwen3Coder>, Qwen3CoderTag},
    {"trinity", Make<JsonCalls, kTrinity>, HermesTag},
};
// Not to be asked for by name.
constexpr ToolFormat kUnlisted[] = {
    {"json_array", Make<JsonCalls, kJsonArray>, nullptr},
    {"hunyuan:opensource", Make<TaggedParams, kHunyuanOpen>, HunyuanOpenTag},
};

// The first line whose every word stands in the template decides; no format: one that we do not have.
struct Sign {
  std::string_view format, word, and_word;
};
constexpr Sign kSigns[] = {
    {"", "<seed:tool_call>", ""},
    {"", "]<]minimax[>[", ""},
    {"", "<tool_calls>[", ""},
    {"", "<function=", "<|python_tag|>"},
    {"gpt-oss", "<|channel|>analysis<|message|>", "functions."},
    {"kimi_k2", "<|tool_call_argument_begin|>", ""},
    {"step3", "steptml:invoke", ""},
    {"deepseekv32", "｜DSML｜", "function_calls>"},
    {"deepseekv4", "｜DSML｜", "tool_calls>"},
    {"deepseekv3", "<｜tool▁calls▁begin｜>", "```json"},
    {"deepseekv31", "<｜tool▁calls▁begin｜>", ""},
    {"minimax-m2", "<minimax:tool_call>", ""},
    {"minimax-m2", "minimax:tool_call", ""},
    {"gemma4", "<|tool_call>", ""},
    {"gigachat3", "<|function_call|>", ""},
    {"gigachat3", "function call<|role_sep|>", ""},
    {"lfm2", "<|tool_call_start|>", ""},
    {"lfm2", "<|tool_list_start|>", ""},
    {"interns1", "<|action_start|>", "<|plugin|>"},
    {"mistral", "[TOOL_CALLS]", ""},
    {"hunyuan", "<tool_calls>", "<tool_sep>"},
    {"hunyuan", "<tool_calls{}>", "<tool_sep{}>"},
    {"glm45", "<arg_key>", "<tool_call>"},
    {"qwen3_coder", "<function=", "<parameter="},
    {"minicpm5", "<function name=", "<param name="},
    {"hermes", "<tool_call>", ""},
    {"pythonic", "<|python_start|>", ""},
    {"pythonic", "func_name1(params_name1=params_value1", ""},
    {"llama3", "<|python_tag|>", ""},
    {"llama3", "<|start_header_id|>", "\"parameters\""},
};

}  // namespace
}  // namespace tools

std::span<const ToolFormat> ToolFormats() { return tools::kFormats; }

const ToolFormat* FindToolFormat(std::string_view name) {
  for (const ToolFormat& format : tools::kFormats)
    if (format.name == name) return &format;
  for (const ToolFormat& format : tools::kUnlisted)
    if (format.name == name) return &format;
  return nullptr;
}

std::string_view DetectToolFormat(std::string_view chat_template) {
  for (const tools::Sign& sign : tools::kSigns)
    if (chat_template.find(sign.word) != chat_template.npos && chat_template.find(sign.and_word) != chat_template.npos) return sign.format;
  return "";
}

int ToolSet::Find(std::string_view name) const {
  const auto found = std::find_if(functions.begin(), functions.end(), [&](const ToolFunction& f) { return f.name == name; });
  return found == functions.end() ? -1 : static_cast<int>(found - functions.begin());
}

ParsedText ParseToolCalls(const ToolFormat& format, std::shared_ptr<const ToolSet> tools, std::string_view text) {
  const std::unique_ptr<ToolParser> parser = format.make(std::move(tools), ToolMode::kWhole);
  std::vector<ToolEvent> events;
  parser->Push(text, events);
  parser->Finish(events);
  ParsedText out;
  for (const ToolEvent& event : events) {
    if (event.kind == ToolEvent::Kind::kText)
      out.text += event.text;
    else if (event.kind == ToolEvent::Kind::kCall)
      out.calls.push_back({event.text, ""});
    else
      out.calls.back().arguments += event.text;
  }
  return out;
}

}  // namespace sgl
