// SPDX-License-Identifier: Apache-2.0
#include "text/encoders/deepseek_v32.h"

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>
#include <utility>
#include <vector>

#include "text/jinja/text_util.h"
#include "text/tools/value_relay.h"

namespace sgl {
namespace {

constexpr std::string_view kBos = "<｜begin▁of▁sentence｜>", kEos = "<｜end▁of▁sentence｜>", kUser = "<｜User｜>",
                           kAssistant = "<｜Assistant｜>";
constexpr std::string_view kThink = "<think>", kEndThink = "</think>";

// json.dumps(value, ensure_ascii=False)
void AppendPython(std::string& out, const Json& value) {
  if (value.is_string()) {
    out += '"';
    tools::AppendEscaped(out, value.as_string());
    out += '"';
  } else if (value.is_double()) {
    out += jinja::FloatRepr(value.as_double());
  } else if (value.is_array()) {
    out += '[';
    for (const Json& item : value.as_array()) {
      if (&item != value.as_array().data()) out += ", ";
      AppendPython(out, item);
    }
    out += ']';
  } else if (value.is_object()) {
    out += '{';
    for (const auto& member : value.as_object()) {
      if (&member != value.as_object().data()) out += ", ";
      AppendPython(out, Json(member.first));
      out += ": ";
      AppendPython(out, member.second);
    }
    out += '}';
  } else {
    out += DumpJson(value);
  }
}

std::string Dump(const Json& value) {
  std::string out;
  AppendPython(out, value);
  return out;
}

bool IsOneOf(std::string_view role, std::initializer_list<std::string_view> roles) {
  return std::find(roles.begin(), roles.end(), role) != roles.end();
}

struct Message {
  std::string role = {}, content = {}, reasoning = {};
  const Json* calls = nullptr;            // not null: a list with at least one
  const Json* response_format = nullptr;  // null if none
  size_t place = 0;                       // among the request's messages
};

Error Invalid(size_t index, std::string_view what) { return InvalidArgument(fmt::format("messages[{}]: {}", index, what)); }

class Encoder {
 public:
  explicit Encoder(bool thinking) : thinking_(thinking) {}
  Result<std::string> Encode(const Json& messages, const Json& functions);

 private:
  bool Live(size_t index) const { return thinking_ && static_cast<int64_t>(index) >= last_user_; }
  void About(const Message& message, bool first, std::string& to) const;
  void Ask(std::string_view content, size_t index);
  Status Calls(size_t index);
  Status ToolResult(size_t index);
  Status Assistant(size_t index);
  Status One(size_t index);

  const bool thinking_;
  std::vector<Message> messages_;
  int64_t last_user_ = -1;
  std::string functions_, out_;
};

std::string Text(const Json& content) {
  if (content.is_string()) return content.as_string();
  std::string out;
  bool first = true;
  if (content.is_array())
    for (const Json& part : content.as_array()) {
      if (!part.is_string() && part["type"] != Json("text")) continue;
      if (!std::exchange(first, false)) out += ' ';
      out += part.is_string() ? part.as_string() : part.get_string("text", "");
    }
  return out;
}

Result<std::string> Encoder::Encode(const Json& messages, const Json& functions) {
  for (const Json& message : messages.as_array()) {
    Message m;
    m.role = message.get_string("role", "");
    m.content = Text(message["content"]);
    m.reasoning = message.get_string("reasoning_content", "");
    const Json& calls = message["tool_calls"];
    if (calls.is_array() && !calls.as_array().empty()) m.calls = &calls;
    if (const Json& form = message["response_format"]; !form.is_null() && form != Json(Json::Object{})) m.response_format = &form;
    m.place = messages_.size();
    messages_.push_back(std::move(m));
  }
  if (messages_.empty() || messages_.front().role != "system") messages_.insert(messages_.begin(), Message{.role = "system"});
  const auto find_last_user = [&] {
    last_user_ = -1;
    for (size_t i = 0; i < messages_.size(); ++i)
      if (IsOneOf(messages_[i].role, {"user", "developer"})) last_user_ = static_cast<int64_t>(i);
  };
  find_last_user();
  if (thinking_) {  // what was thought before the last question is forgotten, and so is what other roles said
    std::vector<Message> kept;
    for (size_t i = 0; i < messages_.size(); ++i) {
      const bool old = static_cast<int64_t>(i) < last_user_;
      if (old && !IsOneOf(messages_[i].role, {"user", "system", "tool", "assistant"})) continue;
      if (old) messages_[i].reasoning.clear();
      kept.push_back(std::move(messages_[i]));
    }
    messages_ = std::move(kept);
    find_last_user();
  }
  if (functions.is_array())
    for (const Json& tool : functions.as_array()) {
      if (!functions_.empty()) functions_ += '\n';
      functions_ += Dump(tool["function"].is_object() ? tool["function"] : tool);
    }
  out_ = kBos;
  for (size_t i = 0; i < messages_.size(); ++i) TRY_STATUS(One(i));
  return std::move(out_);
}

// Tools (which go with the first message) and the form that the answer must have.
void Encoder::About(const Message& message, bool first, std::string& to) const {
  if (first && !functions_.empty()) to += "\n\n" + DeepSeekV32Tools(functions_);
  if (message.response_format != nullptr)
    to += "\n\n## Response Format:\n\nYou MUST strictly adhere to the following schema to reply:\n" + Dump(*message.response_format);
}

void Encoder::Ask(std::string_view content, size_t index) {
  out_ += kUser;
  out_ += content;
  out_ += kAssistant;
  out_ += thinking_ && static_cast<int64_t>(index) == last_user_ ? kThink : kEndThink;
}

Status Encoder::One(size_t index) {
  const Message& m = messages_[index];
  if (m.role == "system") {
    out_ += m.content;
    About(m, index == 0, out_);
  } else if (m.role == "user") {
    Ask(m.content, index);
  } else if (m.role == "developer") {
    if (m.content.empty()) return Invalid(messages_[index].place, "a developer's message needs content");
    std::string content;
    About(m, index == 0, content);
    Ask(content + "\n\n# The user's message is: " + m.content, index);
  } else if (m.role == "tool") {
    return ToolResult(index);
  } else if (m.role == "assistant") {
    return Assistant(index);
  } else {
    return Invalid(messages_[index].place, "unknown role '" + m.role + "'");
  }
  return {};
}

Status Encoder::ToolResult(size_t index) {
  size_t order = 1;
  while (order <= index && messages_[index - order].role == "tool") ++order;
  const Message* assistant = order <= index ? &messages_[index - order] : nullptr;
  if (assistant == nullptr || assistant->role != "assistant" || assistant->calls == nullptr || assistant->calls->as_array().size() < order)
    return Invalid(messages_[index].place, "a tool's result must follow an assistant's message with as many tool_calls");
  if (order == 1) out_ += "\n\n<function_results>";
  out_ += "\n<result>" + messages_[index].content + "</result>";
  if (order < assistant->calls->as_array().size()) return {};
  out_ += "\n</function_results>\n\n";
  out_ += Live(index) ? kThink : kEndThink;
  return {};
}

Status Encoder::Calls(size_t index) {
  out_ += "\n\n<｜DSML｜function_calls>\n";
  for (const Json& call : messages_[index].calls->as_array()) {
    const Json& function = call["function"];
    Json arguments = function["arguments"];
    if (arguments.is_string()) {
      TRY(arguments, ParseJson(arguments.as_string()));
    }
    if (!arguments.is_object()) return Invalid(messages_[index].place, "the arguments of a tool call must be a JSON object");
    out_ += "<｜DSML｜invoke name=\"" + function.get_string("name", "") + "\">\n";
    for (const auto& member : arguments.as_object()) {
      if (&member != arguments.as_object().data()) out_ += '\n';
      const bool text = member.second.is_string();
      out_ += "<｜DSML｜parameter name=\"" + member.first + "\" string=\"" + (text ? "true" : "false") + "\">";
      out_ += text ? member.second.as_string() : Dump(member.second);
      out_ += "</｜DSML｜parameter>";
    }
    out_ += "\n</｜DSML｜invoke>\n";
  }
  out_ += "</｜DSML｜function_calls>";
  return {};
}

Status Encoder::Assistant(size_t index) {
  const Message& m = messages_[index];
  if (thinking_ && static_cast<int64_t>(index) > last_user_) {
    if (m.reasoning.empty() && m.calls == nullptr)
      return Invalid(messages_[index].place,
                     "with thinking, an assistant's message after the last question needs reasoning_content or tool_calls");
    out_ += m.reasoning;
    out_ += kEndThink;
  }
  out_ += m.content;
  if (m.calls != nullptr) TRY_STATUS(Calls(index));
  out_ += kEos;
  return {};
}

class DeepSeekV32 final : public ChatTemplate {
 public:
  explicit DeepSeekV32(bool default_thinking) : default_thinking_(default_thinking) {}
  Result<std::string> Render(const Json& variables) const override {
    if (!variables["messages"].is_array()) return InvalidArgument("messages: expected a list");
    return Encoder(variables.get_bool("thinking", default_thinking_)).Encode(variables["messages"], variables["tools"]);
  }
  Result<std::string> RenderAt(const Json& variables, int64_t) const override { return Render(variables); }
  bool wants_content_parts() const override { return false; }

 private:
  const bool default_thinking_;
};

}  // namespace

std::string DeepSeekV32Tools(std::string_view functions) {
  return fmt::format(
      R"(## Tools
You have access to a set of tools you can use to answer the user's question.
You can invoke functions by writing a "<{0}function_calls>" block like the following as part of your reply to the user:
<{0}function_calls>
<{0}invoke name="$FUNCTION_NAME">
<{0}parameter name="$PARAMETER_NAME" string="true|false">$PARAMETER_VALUE</{0}parameter>
...
</{0}invoke>
<{0}invoke name="$FUNCTION_NAME2">
...
</{0}invoke>
</{0}function_calls>
String and scalar parameters should be specified as is without any escaping or quotes, )"
      R"(while lists and objects should use JSON format. The "string" attribute should be set to "true" for string type parameters and )"
      R"("false" for other types (numbers, booleans, arrays, objects).
If the thinking_mode is enabled, then after function results you should strongly consider outputting a thinking block. Here is an example:
<{0}function_calls>
...
</{0}function_calls>
<function_results>
...
</function_results>
{1}...thinking about results{2}
Here are the functions available in JSONSchema format:
<functions>
{3}
</functions>
)",
      "｜DSML｜", kThink, kEndThink, functions);
}

std::unique_ptr<ChatTemplate> MakeDeepSeekV32(bool default_thinking) { return std::make_unique<DeepSeekV32>(default_thinking); }

}  // namespace sgl
