// SPDX-License-Identifier: Apache-2.0
#include "serve/api/chat_prompt.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "serve/json_reader.h"
#include "serve/params.h"
#include "text/tools/value_relay.h"

namespace sgl {
namespace {

constexpr std::string_view kRoles[] = {"system", "assistant", "tool", "function", "developer", "latest_reminder"};
constexpr std::string_view kEfforts[] = {"none", "low", "medium", "high", "max"};

std::string Lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
  return text;
}

// "user" only as it is, the others in any case. Gives the role in lower case, "" if there is no such role.
std::string RoleOf(const std::string& role) {
  if (role == "user") return role;
  std::string lower = Lower(role);
  for (std::string_view known : kRoles)
    if (lower == known) return lower;
  return "";
}

Status ReadMessage(const Json& message, const std::string& path) {
  std::string role, name, tool_call_id, reasoning;
  Json content;
  std::vector<Json> tool_calls;
  TRY_STATUS(JsonReader(message, path)
                 .Required("role", role)("content", content)("name", name)("tool_call_id", tool_call_id)("reasoning_content", reasoning)(
                     "tool_calls", tool_calls)
                 .status());
  if (RoleOf(role).empty())
    return InvalidArgument(path + ".role: expected one of user, system, assistant, tool, function, developer, latest_reminder, got '" +
                           role + "'");
  if (!content.is_null() && !content.is_string() && !content.is_array())
    return InvalidArgument(path + ".content: expected a string or a list of parts, got " + content.type_name());
  if (content.is_array())
    for (size_t i = 0; i < content.as_array().size(); ++i) {
      const Json& part = content.as_array()[i];
      if (part.is_string()) continue;
      std::string type, text;
      TRY_STATUS(JsonReader(part, fmt::format("{}.content[{}]", path, i)).Required("type", type)("text", text).status());
    }
  for (size_t i = 0; i < tool_calls.size(); ++i) {
    Json function;
    const std::string call_path = fmt::format("{}.tool_calls[{}]", path, i);
    TRY_STATUS(JsonReader(tool_calls[i], call_path).Object("function", function).status());
    if (function.is_null()) return InvalidArgument(call_path + ".function: field required");
  }
  return {};
}

Status ReadTool(const Json& tool, const std::string& path) {
  Json function, parameters;
  std::string name, description;
  bool strict = false;
  TRY_STATUS(JsonReader(tool, path).Object("function", function).status());
  if (function.is_null()) return InvalidArgument(path + ".function: field required");
  return JsonReader(function, path + ".function")
      .Required("name", name)("description", description)("strict", strict)
      .Object("parameters", parameters)
      .status();
}

Status ReadToolChoice(const Json& choice) {
  if (choice.is_null()) return {};
  if (choice.is_string()) {
    const std::string& name = choice.as_string();
    if (name == "none" || name == "auto" || name == "required") return {};
    return InvalidArgument("tool_choice: expected none, auto, required or a function, got '" + name + "'");
  }
  Json function;
  std::string name;
  TRY_STATUS(JsonReader(choice, "tool_choice").Object("function", function).status());
  return JsonReader(function, "tool_choice.function").Required("name", name).status();
}

Status ReadEffort(const Json& body, ChatPrompt& prompt) {
  Json reasoning;
  std::optional<bool> enabled;
  TRY_STATUS(JsonReader(body).Object("reasoning", reasoning)("reasoning_effort", prompt.reasoning_effort).status());
  if (!reasoning.is_null()) {
    std::string effort;
    TRY_STATUS(JsonReader(reasoning, "reasoning")("effort", effort)("enabled", enabled).status());
    if (prompt.reasoning_effort.empty()) prompt.reasoning_effort = effort;
  }
  if (prompt.reasoning_effort == "none") enabled = false;
  if (enabled)
    for (const char* key : {"enable_thinking", "thinking"})
      if (prompt.template_kwargs[key].is_null()) prompt.template_kwargs.Set(key, *enabled);
  const auto* known = std::find(std::begin(kEfforts), std::end(kEfforts), prompt.reasoning_effort);
  if (prompt.reasoning_effort.empty() || known != std::end(kEfforts)) return {};
  return InvalidArgument("reasoning_effort: expected none, low, medium, high or max, got '" + prompt.reasoning_effort + "'");
}

// A list of parts as its texts with `separator` in between. Not text-only: `all_text` becomes false.
std::string JoinTexts(const Json::Array& parts, std::string_view separator, bool& all_text) {
  std::string out;
  bool first = true;
  all_text = true;
  for (const Json& part : parts) {
    if (!part.is_string() && part["type"] != Json("text")) {
      all_text = false;
      continue;
    }
    if (!first) out += separator;
    first = false;
    out += part.is_string() ? part.as_string() : part.get_string("text", "");
  }
  return out;
}

Status CheckParts(const Json& content, const std::string& path) {
  for (size_t i = 0; i < content.as_array().size(); ++i) {
    const Json& part = content.as_array()[i];
    const std::string type = part.is_string() ? "text" : part.get_string("type", "");
    if (type == "text" || type == "tool_reference") continue;
    return InvalidArgument(fmt::format("'{}[{}]' of type '{}' is not supported by this server.", path, i, type));
  }
  return {};
}

Result<Json> TemplateToolCalls(const Json& calls, const std::string& path) {
  Json out{Json::Array{}};
  for (size_t i = 0; i < calls.as_array().size(); ++i) {
    Json call;
    for (const auto& [key, value] : calls.as_array()[i].as_object())
      if (!value.is_null()) call.Set(key, value);
    Json function = call["function"];
    const Json& arguments = function["arguments"];
    if (arguments.is_string()) {
      const bool blank = arguments.as_string().find_first_not_of(" \t\r\n") == std::string::npos;
      Result<Json> parsed = blank ? Result<Json>(Json(Json::Object{})) : ParseJson(arguments.as_string());
      if (!parsed.ok())
        return InvalidArgument(fmt::format("{}.tool_calls[{}].function.arguments is not valid JSON: {}", path, i, parsed.error().message));
      function.Set("arguments", *std::move(parsed));
    }
    call.Set("function", std::move(function));
    out.Push(std::move(call));
  }
  return out;
}

Result<Json> TemplateContent(const Json& content, const std::string& role, bool wants_parts, const std::string& path) {
  if (content.is_null()) return Json("");
  if (!content.is_array()) return content;
  TRY_STATUS(CheckParts(content, path));
  bool all_text = false;
  std::string joined = JoinTexts(content.as_array(), " ", all_text);
  if (role == "tool" && all_text) return Json(std::move(joined));
  if (!wants_parts) return Json(std::move(joined));
  return content;
}

// The special tokens under the names that transformers gives them.
void SetSpecialTokens(const Tokenizer& tokenizer, Json& variables) {
  const std::pair<const char*, const std::string*> names[] = {{"bos_token", &tokenizer.bos_text},
                                                              {"eos_token", &tokenizer.eos_text},
                                                              {"unk_token", &tokenizer.unk_text},
                                                              {"pad_token", &tokenizer.pad_text}};
  for (const auto& [name, text] : names)
    if (!text->empty()) variables.Set(name, *text);
}

Json BareFunctions(const Json& tools) {
  Json out{Json::Array{}};
  for (const Json& tool : tools.as_array()) out.Push(tool["function"]);
  return out;
}

// Messages with the arguments of tool calls as text. False: there are none.
bool ArgumentsAsText(Json& messages) {
  bool any = false;
  for (Json& message : messages.as_array()) {
    if (!message["tool_calls"].is_array()) continue;
    Json calls = message["tool_calls"];
    for (Json& call : calls.as_array()) {
      Json function = call["function"];
      std::string text;
      if (!tools::RelayAll(tools::ValueRelay::Dialect::kJson, DumpJson(function["arguments"]), text)) continue;
      any = true;
      function.Set("arguments", std::move(text));
      call.Set("function", std::move(function));
    }
    message.Set("tool_calls", std::move(calls));
  }
  return any;
}

// Templates differ in what they take: some (Mistral's) want the functions themselves as tools, some (DeepSeek's) want arguments as text.
// The error is the one of the forms that SGLang tries.
Result<std::string> RenderSomehow(const ChatTemplate& chat_template, const ChatPrompt& prompt, Json variables) {
  Result<std::string> text = chat_template.Render(variables);
  if (text.ok()) return text;
  Json messages = variables["messages"];
  const bool as_text = ArgumentsAsText(messages);
  const auto with_text = [&] { return chat_template.Render(Json(variables).Set("messages", messages)); };
  if (as_text) {
    if (Result<std::string> other = with_text(); other.ok()) return other;
  }
  if (!prompt.uses_tools()) return text;
  variables.Set("tools", BareFunctions(prompt.tools));
  text = chat_template.Render(variables);
  if (text.ok() || !as_text) return text;
  Result<std::string> other = with_text();
  return other.ok() ? std::move(other) : std::move(text);
}

}  // namespace

bool ChatPrompt::uses_tools() const { return tools.is_array() && !tools.as_array().empty() && tool_choice != Json("none"); }

Status ReadTools(const std::vector<Json>& tools) {
  for (size_t i = 0; i < tools.size(); ++i) TRY_STATUS(ReadTool(tools[i], fmt::format("tools[{}]", i)));
  return {};
}

void ReadChatPromptFields(JsonReader& field, ChatPrompt& prompt, std::vector<Json>& messages, std::vector<Json>& tools) {
  field.Required("messages", messages)("tools", tools)("tool_choice", prompt.tool_choice);
  field("separate_reasoning", prompt.separate_reasoning)("stream_reasoning", prompt.stream_reasoning);
  field("parallel_tool_calls", prompt.parallel_tool_calls);
  field("continue_final_message", prompt.continue_final_message).Object("chat_template_kwargs", prompt.template_kwargs);
}

Status ReadChatPrompt(const Json& body, ChatPrompt& prompt) {
  std::vector<Json> messages, tools;
  JsonReader field(body);
  ReadChatPromptFields(field, prompt, messages, tools);
  TRY_STATUS(field.status());
  for (size_t i = 0; i < messages.size(); ++i) TRY_STATUS(ReadMessage(messages[i], fmt::format("messages[{}]", i)));
  TRY_STATUS(ReadTools(tools));
  TRY_STATUS(ReadToolChoice(prompt.tool_choice));
  for (const char* ours : {"messages", "tools", "add_generation_prompt"})
    if (prompt.template_kwargs.find(ours) != nullptr)
      return InvalidArgument(fmt::format("chat_template_kwargs.{}: the server sets this variable itself", ours));
  prompt.messages = Json(std::move(messages));
  prompt.tools = Json(std::move(tools));
  return ReadEffort(body, prompt);
}

Status CheckChatPrompt(const ChatPrompt& prompt) {
  if (prompt.messages.as_array().empty()) return InvalidArgument("Messages cannot be empty.");
  const Json& choice = prompt.tool_choice;
  if (choice.is_null() || choice == Json("none") || choice == Json("auto")) return {};
  if (choice.is_string()) {
    if (prompt.tools.as_array().empty()) return InvalidArgument("Tools cannot be empty if tool choice is set to required.");
    return {};
  }
  const std::string name = choice["function"].get_string("name", "");
  for (const Json& tool : prompt.tools.as_array())
    if (tool["function"].get_string("name", "") == name) return {};
  return InvalidArgument("Tool '" + name + "' not found in tools list.");
}

Result<Json> TemplateMessages(const Json& messages, bool wants_parts) {
  Json out{Json::Array{}};
  for (size_t i = 0; i < messages.as_array().size(); ++i) {
    const Json& message = messages.as_array()[i];
    const std::string path = fmt::format("messages[{}]", i);
    Json kept;
    kept.Set("role", RoleOf(message.get_string("role", "")));
    TRY(Json content, TemplateContent(message["content"], kept["role"].as_string(), wants_parts, path + ".content"));
    kept.Set("content", std::move(content));
    for (const char* key : {"tool_call_id", "name", "reasoning_content"})
      if (!message[key].is_null()) kept.Set(key, message[key]);
    if (!IsInert(message["tool_calls"])) {
      TRY(Json calls, TemplateToolCalls(message["tool_calls"], path));
      kept.Set("tool_calls", std::move(calls));
    }
    out.Push(std::move(kept));
  }
  return out;
}

Result<RenderedChat> RenderChat(const ChatPrompt& prompt, const ApiContext& context) {
  if (context.chat_template == nullptr) return InvalidArgument("This model has no chat template; start the server with --chat-template.");
  TRY(Json messages, TemplateMessages(prompt.messages, context.chat_template->wants_content_parts()));
  // An assistant's last word is either continued, token by token, or answered like a user's.
  RenderedChat rendered;
  std::string& prefix = rendered.prefix;
  if (Json& last = messages.as_array().back(); last["role"] == Json("assistant")) {
    bool all_text = false;
    std::string text = last["content"].is_string() ? last["content"].as_string() : JoinTexts(last["content"].as_array(), " ", all_text);
    if (prompt.continue_final_message) {
      prefix = std::move(text);
      messages.as_array().pop_back();
    } else {
      last = Json().Set("role", "user").Set("content", std::move(text));
    }
  }
  const std::shared_ptr<const Tokenizer> tokenizer = context.backend.tokenizer();
  Json variables;
  variables.Set("messages", std::move(messages)).Set("tools", prompt.uses_tools() ? prompt.tools : Json()).Set("documents", Json());
  variables.Set("add_generation_prompt", true);
  SetSpecialTokens(*tokenizer, variables);
  if (!prompt.reasoning_effort.empty()) variables.Set("reasoning_effort", prompt.reasoning_effort);
  if (prompt.template_kwargs.is_object())
    for (const auto& [key, value] : prompt.template_kwargs.as_object()) variables.Set(key, value);
  TRY(const std::string text, RenderSomehow(*context.chat_template, prompt, std::move(variables)));
  constexpr size_t kEnd = 256;
  rendered.text_end = text.substr(text.size() - std::min(text.size(), kEnd));
  std::vector<TokenId>& tokens = rendered.tokens;
  tokens = context.EncodePrompt(text, false);
  std::vector<TokenId> more = prefix.empty() ? std::vector<TokenId>() : tokenizer->Encode(prefix, false);
  const bool starts_over = !more.empty() && tokenizer->bos && more.front() == *tokenizer->bos;
  tokens.insert(tokens.end(), more.begin() + (starts_over ? 1 : 0), more.end());
  return rendered;
}

}  // namespace sgl
