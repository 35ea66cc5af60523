// SPDX-License-Identifier: Apache-2.0
#include "serve/api/chat_format.h"

#include <utility>

#include "serve/api/tool_constraint.h"
#include "text/tools/input.h"

namespace sgl {
namespace {

bool IsFlag(const Json& kwargs, std::string_view name, bool value) { return kwargs[name] == Json(value); }

bool EndsWith(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

// Whether answers start as reasoning: what the request says, unless the prompt itself ends with an open or closed tag.
bool StartsInside(const ReasoningFormat& format, const ChatPrompt& prompt, const RenderedChat& rendered, bool only_prompt) {
  const size_t open = rendered.prefix.rfind(format.start), closed = rendered.prefix.rfind(format.end);
  if (closed != std::string::npos && (open == std::string::npos || open < closed)) return false;
  if (open != std::string::npos) return true;
  const std::string_view end = tools::Trim(rendered.text_end);
  if (EndsWith(end, format.start)) return true;
  if (EndsWith(end, format.end)) return false;
  if (only_prompt) return false;
  const Json& kwargs = prompt.template_kwargs;
  switch (format.starts) {
    case ReasoningStart::kAlways: return true;
    case ReasoningStart::kUnlessEnableThinkingFalse: return !IsFlag(kwargs, "enable_thinking", false);
    case ReasoningStart::kUnlessThinkingFalse: return !IsFlag(kwargs, "thinking", false);
    case ReasoningStart::kIfEnableThinking: return IsFlag(kwargs, "enable_thinking", true);
    case ReasoningStart::kIfThinking: return IsFlag(kwargs, "thinking", true);
    case ReasoningStart::kIfEffort: return !prompt.reasoning_effort.empty() && prompt.reasoning_effort != "none";
    case ReasoningStart::kNever: break;
  }
  return false;
}

int64_t CountCalls(const Json& messages) {
  int64_t count = 0;
  for (const Json& message : messages.as_array())
    if (message["tool_calls"].is_array()) count += static_cast<int64_t>(message["tool_calls"].as_array().size());
  return count;
}

// Python's names of types, which some clients send.
void NormaliseTypes(Json& schema) {
  constexpr std::pair<std::string_view, std::string_view> kNames[] = {{"dict", "object"},  {"str", "string"}, {"int", "integer"},
                                                                      {"float", "number"}, {"list", "array"}, {"tuple", "array"},
                                                                      {"bool", "boolean"}};
  if (schema.is_array())
    for (Json& item : schema.as_array()) NormaliseTypes(item);
  if (!schema.is_object()) return;
  for (auto& [key, value] : schema.as_object()) {
    if (key == "enum" || key == "const" || key == "default" || key == "examples") continue;
    if (key == "type" && value.is_string()) {
      for (const auto& [python, json] : kNames)
        if (value.as_string() == python) value = Json(json);
    } else {
      NormaliseTypes(value);
    }
  }
}

std::string List(auto formats) {
  std::string names = "auto, none";
  for (const auto& format : formats) names += ", " + std::string(format.name);
  return names;
}

// The tokens after which a grammar holds when the answer starts as reasoning.
std::vector<TokenId> ThinkEnd(const ChatFormat& format, const Tokenizer& tokenizer) {
  if (format.reasoning == nullptr || format.grammar_reads_reasoning) return {};
  if (format.reasoning->harmony) return tokenizer.Encode("<|channel|>final<|message|>", false);
  return format.reasoning_inside ? tokenizer.Encode(format.reasoning->end, false) : std::vector<TokenId>();
}

// --enable-strict-thinking: the tokens that reasoning may not have. The engine adds those that end a turn.
std::vector<TokenId> ThinkExcluded(const ChatFormat& format, const ApiContext& context) {
  std::vector<std::string> tags = {std::string(format.reasoning->start), std::string(format.reasoning->tool)};
  if (const ToolFormat* tools = FindToolFormat(context.config.tool_call_parser); tools != nullptr) {
    const std::vector<std::string> more = SpecialTokensOf(*tools, SpecialsOf(context.tokenizer));
    tags.insert(tags.end(), more.begin(), more.end());
  }
  std::vector<TokenId> ids;
  for (const std::string& tag : tags)
    if (const auto id = context.tokenizer->TokenToId(tag)) ids.push_back(*id);
  for (const TokenId id : context.backend.info().eos_ids) ids.push_back(id);
  return ids;
}

}  // namespace

std::function<bool(std::string_view)> SpecialsOf(std::shared_ptr<const Tokenizer> tokenizer) {
  return [tokenizer](std::string_view text) {
    const auto id = tokenizer->TokenToId(text);
    return id && tokenizer->IsSpecial(*id);
  };
}

ChatFormat MakeRawFormat(bool begins_as_reasoning, const ApiContext& context) {
  ChatFormat format;
  format.reasoning_inside = begins_as_reasoning;
  if (begins_as_reasoning) format.reasoning = FindReasoningFormat(context.config.reasoning_parser);
  return format;
}

void SetThinking(const ChatFormat& format, const ApiContext& context, GenerateRequest& request) {
  if (!request.thinking_budget && context.config.max_think_tokens >= 0) request.thinking_budget = context.config.max_think_tokens;
  request.think_end = ThinkEnd(format, *context.tokenizer);
  if (context.config.strict_thinking && !request.think_end.empty()) request.think_excluded = ThinkExcluded(format, context);
}

Result<std::string> ResolveToolFormat(const std::string& name, std::string_view chat_template) {
  if (name.empty() || name == "none") return std::string();
  if (name == "auto") return std::string(DetectToolFormat(chat_template));
  if (FindToolFormat(name) != nullptr) return name;
  return InvalidArgument("tool_call_parser: expected one of " + List(ToolFormats()) + ", got '" + name + "'");
}

Result<std::string> ResolveReasoningFormat(const std::string& name, std::string_view chat_template) {
  if (name.empty() || name == "none") return std::string();
  if (name == "auto") return std::string(DetectReasoningFormat(chat_template));
  if (FindReasoningFormat(name) != nullptr) return name;
  return InvalidArgument("reasoning_parser: expected one of " + List(ReasoningFormats()) + ", got '" + name + "'");
}

std::string SpellingOf(std::string format, const Tokenizer& tokenizer) {
  if (format == "hunyuan" && tokenizer.TokenToId("<tool_calls:opensource>")) format += ":opensource";
  return format;
}

std::shared_ptr<const ToolSet> FunctionsOf(const Json& tools, bool forward_unknown) {
  auto set = std::make_shared<ToolSet>();
  set->forward_unknown = forward_unknown;
  if (!tools.is_array()) return set;
  for (const Json& tool : tools.as_array()) {
    ToolFunction function;
    function.name = tool["function"].get_string("name", "");
    function.parameters = tool["function"]["parameters"];
    function.strict = tool["function"].get_bool("strict", false);
    NormaliseTypes(function.parameters);
    set->functions.push_back(std::move(function));
  }
  return set;
}

bool WritesSpecialTokens(const ReasoningFormat& format, const Tokenizer& tokenizer) {
  for (const std::string_view tag : {format.start, format.end, format.harmony ? std::string_view("<|channel|>") : format.end})
    if (const auto id = tokenizer.TokenToId(tag); id && tokenizer.IsSpecial(*id)) return true;
  return false;
}

ChatFormat MakeChatFormat(const ChatPrompt& prompt, const RenderedChat& rendered, ApiContext& context) {
  ChatFormat format;
  format.ids = &context.ids;
  format.separate_reasoning = prompt.separate_reasoning;
  format.stream_reasoning = prompt.stream_reasoning;
  if ((format.reasoning = FindReasoningFormat(context.config.reasoning_parser)) != nullptr) {
    format.reasoning_inside = StartsInside(*format.reasoning, prompt, rendered, context.config.reasoning_by_prompt);
    format.think_end = context.backend.tokenizer()->TokenToId(format.reasoning->end);
    format.content_never_empty = IsFlag(prompt.template_kwargs, "force_nonempty_content", true);
  }
  if (prompt.uses_tools()) {
    format.tools = FindToolFormat(context.config.tool_call_parser);
    format.functions = FunctionsOf(prompt.tools, context.config.forward_unknown_tools);
    format.kimi_ids = context.config.tool_call_parser == "kimi_k2";
    if (format.kimi_ids) format.earlier_calls = CountCalls(prompt.messages);
  }
  return format;
}

}  // namespace sgl
