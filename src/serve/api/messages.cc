// POST /v1/messages and /v1/messages/count_tokens: Anthropic's API.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include <utility>

#include "serve/api/chat_flight.h"
#include "serve/api/handlers.h"
#include "serve/json_reader.h"
#include "serve/reply.h"

namespace sgl {
namespace {

struct MessagesBody {
  std::string model;
  Json::Array messages, tools;
  Json system, tool_choice, thinking;
  std::optional<int64_t> max_tokens, top_k;
  std::optional<double> temperature, top_p;
  std::vector<std::string> stop_sequences;
  bool stream = false;
};

void ReadMessagesFields(JsonReader& field, MessagesBody& body) {
  field.Required("model", body.model).Required("messages", body.messages)("max_tokens", body.max_tokens)("system", body.system);
  field("stop_sequences", body.stop_sequences)("temperature", body.temperature)("top_p", body.top_p)("top_k", body.top_k);
  field("tools", body.tools).Object("tool_choice", body.tool_choice).Object("thinking", body.thinking)("stream", body.stream);
}

// A string, or a list of blocks of type text; joined.
Result<std::string> TextOf(const Json& content, const std::string& path) {
  if (content.is_string()) return content.as_string();
  if (!content.is_array())
    return InvalidArgument(fmt::format("{}: expected a string or a list of blocks, got {}", path, content.type_name()));
  std::string out;
  for (size_t i = 0; i < content.as_array().size(); ++i) {
    const Json& block = content.as_array()[i];
    if (block["type"] != Json("text"))
      return InvalidArgument(fmt::format("{}[{}].type: expected text, got {}", path, i, DumpJson(block["type"])));
    std::string text;
    TRY_STATUS(JsonReader(block, fmt::format("{}[{}]", path, i)).Required("text", text).status());
    out += text;
  }
  return out;
}

Json FunctionCall(const std::string& id, const std::string& name, const Json& input) {
  const Json function = Json().Set("name", name).Set("arguments", DumpJson(input));
  return Json().Set("id", id).Set("type", "function").Set("function", function);
}

// One message of blocks becomes the results of tools, each a message of its own, and what is left of it.
struct Blocks {
  Json::Array tool_results, parts, tool_calls;
};

Status ReadBlock(const Json& block, const std::string& path, Blocks& out) {
  std::string type, text, id, name;
  Json input{Json::Object{}};
  TRY_STATUS(JsonReader(block, path).Required("type", type).status());
  if (type == "text") {
    TRY_STATUS(JsonReader(block, path).Required("text", text).status());
    out.parts.push_back(Json().Set("type", "text").Set("text", std::move(text)));
  } else if (type == "tool_use") {
    TRY_STATUS(JsonReader(block, path).Required("id", id).Required("name", name).Object("input", input).status());
    out.tool_calls.push_back(FunctionCall(id, name, input));
  } else if (type == "tool_result") {
    TRY_STATUS(JsonReader(block, path).Required("tool_use_id", id).status());
    if (!block["content"].is_null()) {
      TRY(text, TextOf(block["content"], path + ".content"));
    }
    out.tool_results.push_back(Json().Set("role", "tool").Set("tool_call_id", id).Set("content", std::move(text)));
  } else if (type == "image") {
    out.parts.push_back(Json().Set("type", "image_url").Set("image_url", Json().Set("url", "")));  // refused with the rest of its kind
  } else if (type != "thinking" && type != "redacted_thinking") {
    return InvalidArgument(fmt::format("{}.type: expected text, image, tool_use, tool_result or thinking, got '{}'", path, type));
  }
  return {};
}

Status AppendMessage(const Json& message, const std::string& path, Json::Array& out) {
  std::string role;
  Json content;
  TRY_STATUS(JsonReader(message, path).Required("role", role).Required("content", content).status());
  if (role != "user" && role != "assistant")
    return InvalidArgument(fmt::format("{}.role: expected user or assistant, got '{}'", path, role));
  if (content.is_string()) {
    out.push_back(Json().Set("role", role).Set("content", content));
    return {};
  }
  if (!content.is_array())
    return InvalidArgument(fmt::format("{}.content: expected a string or a list of blocks, got {}", path, content.type_name()));
  Blocks blocks;
  for (size_t i = 0; i < content.as_array().size(); ++i)
    TRY_STATUS(ReadBlock(content.as_array()[i], fmt::format("{}.content[{}]", path, i), blocks));
  for (Json& result : blocks.tool_results) out.push_back(std::move(result));
  if (blocks.parts.empty() && blocks.tool_calls.empty()) return {};
  Json rest = Json().Set("role", role).Set("content", blocks.parts.empty() ? Json("") : Json(std::move(blocks.parts)));
  if (!blocks.tool_calls.empty()) rest.Set("tool_calls", Json(std::move(blocks.tool_calls)));
  out.push_back(std::move(rest));
  return {};
}

Result<Json> ToolChoice(const Json& choice) {
  std::string type, name;
  TRY_STATUS(JsonReader(choice, "tool_choice").Required("type", type)("name", name).status());
  if (type == "auto" || type == "none") return Json(type);
  if (type == "any") return Json("required");
  if (type == "tool" && !name.empty()) return Json().Set("type", "function").Set("function", Json().Set("name", name));
  return InvalidArgument(type == "tool" ? "tool_choice.name: field required"
                                        : "tool_choice.type: expected auto, any, tool or none, got '" + type + "'");
}

Status AppendTools(const MessagesBody& body, Json& chat) {
  Json::Array tools;
  for (size_t i = 0; i < body.tools.size(); ++i) {
    std::string name, description;
    Json schema;
    TRY_STATUS(JsonReader(body.tools[i], fmt::format("tools[{}]", i))
                   .Required("name", name)("description", description)
                   .Object("input_schema", schema)
                   .status());
    if (schema.is_null()) return InvalidArgument(fmt::format("tools[{}].input_schema: field required", i));
    Json function = Json().Set("name", name);
    if (!description.empty()) function.Set("description", description);
    tools.push_back(Json().Set("type", "function").Set("function", function.Set("parameters", std::move(schema))));
  }
  chat.Set("tools", Json(std::move(tools)));
  if (body.tool_choice.is_null()) return {};
  TRY(Json choice, ToolChoice(body.tool_choice));
  chat.Set("tool_choice", std::move(choice));
  if (body.tool_choice.get_bool("disable_parallel_tool_use", false)) chat.Set("parallel_tool_calls", false);
  return {};
}

// The body of the chat request that asks for the same.
Result<Json> ChatBody(const MessagesBody& body) {
  if (body.messages.empty()) return InvalidArgument("messages: at least one message is required");
  Json::Array messages;
  if (!body.system.is_null()) {
    TRY(std::string system, TextOf(body.system, "system"));
    messages.push_back(Json().Set("role", "system").Set("content", std::move(system)));
  }
  for (size_t i = 0; i < body.messages.size(); ++i) TRY_STATUS(AppendMessage(body.messages[i], fmt::format("messages[{}]", i), messages));
  Json chat;
  // A last turn of the assistant is the beginning of its answer.
  if (!messages.empty() && messages.back()["role"] == Json("assistant") && messages.back()["tool_calls"].is_null())
    chat.Set("continue_final_message", true);
  chat.Set("model", body.model).Set("messages", Json(std::move(messages))).Set("stream", body.stream);
  if (body.max_tokens) chat.Set("max_completion_tokens", *body.max_tokens);
  if (body.temperature) chat.Set("temperature", *body.temperature);
  if (body.top_p) chat.Set("top_p", *body.top_p);
  if (body.top_k) chat.Set("top_k", *body.top_k);
  if (!body.stop_sequences.empty()) chat.Set("stop", Json(Json::Array(body.stop_sequences.begin(), body.stop_sequences.end())));
  if (!body.thinking.is_null())
    chat.Set("chat_template_kwargs", Json().Set("enable_thinking", body.thinking.get_string("type", "") == "enabled"));
  if (!body.tools.empty()) TRY_STATUS(AppendTools(body, chat));
  return chat;
}

class MessagesFlight final : public ChatApiFlight {
 public:
  MessagesFlight(ApiContext& context, Exchange exchange, FlightOptions options, const ChatPlan& plan)
      : ChatApiFlight(context, std::move(exchange), std::move(options), plan) {}

 private:
  enum class Block { kNone, kThinking, kText, kTool };

  bool emits_early() const override { return true; }

  void Emit(size_t) override {
    if (!std::exchange(begun_, true)) {
      Json start = Frame(Json(Json::Array{}), Json(), Json());
      Send("message_start", Json().Set("message", start.Set("usage", UsageJson(0))));
    }
    for (const ChatEvent& event : output().TakeEvents()) {
      switch (event.kind) {
        case ChatEvent::Kind::kReasoning:
          if (block_ != Block::kThinking) Begin(Block::kThinking, Json().Set("type", "thinking").Set("thinking", "").Set("signature", ""));
          Delta(Json().Set("type", "thinking_delta").Set("thinking", event.text));
          break;
        case ChatEvent::Kind::kContent:
          if (block_ != Block::kText) Begin(Block::kText, Json().Set("type", "text").Set("text", ""));
          Delta(Json().Set("type", "text_delta").Set("text", event.text));
          break;
        case ChatEvent::Kind::kToolCall:
          Begin(Block::kTool,
                Json().Set("type", "tool_use").Set("id", event.id).Set("name", event.text).Set("input", Json(Json::Object{})));
          break;
        case ChatEvent::Kind::kToolArguments: Delta(Json().Set("type", "input_json_delta").Set("partial_json", event.text)); break;
      }
    }
  }

  void EmitTail() override {
    EndBlock();
    Json delta = Json().Set("stop_reason", StopReason()).Set("stop_sequence", StopSequence());
    Send("message_delta", Json().Set("delta", std::move(delta)).Set("usage", UsageJson(sample().completion_tokens)));
    Send("message_stop", Json(Json::Object{}));
  }

  std::string Body() override {
    Json::Array content;
    const ChatMessage& m = message();
    if (!m.reasoning.empty()) content.push_back(Json().Set("type", "thinking").Set("thinking", m.reasoning).Set("signature", ""));
    if (!m.content.empty()) content.push_back(Json().Set("type", "text").Set("text", m.content));
    for (const ChatToolCall& call : m.tool_calls)
      content.push_back(
          Json().Set("type", "tool_use").Set("id", call.id).Set("name", call.name).Set("input", CallArguments(call.arguments)));
    Json out = Frame(Json(std::move(content)), StopReason(), StopSequence());
    return DumpJson(out.Set("usage", UsageJson(sample().completion_tokens)));
  }

  Json Frame(Json content, Json stop_reason, Json stop_sequence) const {
    Json out;
    out.Set("id", "msg_" + id()).Set("type", "message").Set("role", "assistant").Set("content", std::move(content)).Set("model", model());
    return out.Set("stop_reason", std::move(stop_reason)).Set("stop_sequence", std::move(stop_sequence));
  }
  Json UsageJson(int64_t output_tokens) const {
    return Json().Set("input_tokens", sample().prompt_tokens).Set("output_tokens", output_tokens);
  }
  Json StopSequence() const {
    const auto* text = std::get_if<std::string>(&sample().finish->matched);
    return text != nullptr ? Json(*text) : Json();
  }
  Json StopReason() const {
    if (!message().tool_calls.empty()) return Json("tool_use");
    if (sample().finish->kind == FinishKind::kLength) return Json("max_tokens");
    return Json(StopSequence().is_null() ? "end_turn" : "stop_sequence");
  }

  void Begin(Block block, Json content) {
    EndBlock();
    block_ = block;
    Send("content_block_start", Json().Set("index", index_).Set("content_block", std::move(content)));
  }
  void Delta(Json delta) { Send("content_block_delta", Json().Set("index", index_).Set("delta", std::move(delta))); }
  void EndBlock() {
    if (std::exchange(block_, Block::kNone) != Block::kNone) Send("content_block_stop", Json().Set("index", index_++));
  }
  void Send(const char* type, const Json& members) {
    Json event = Json().Set("type", type);
    for (const auto& [name, value] : members.as_object()) event.Set(name, value);
    WriteEvent(DumpJson(event), type);
  }

  bool begun_ = false;
  Block block_ = Block::kNone;
  int64_t index_ = 0;
};

void Refuse(HttpExchange& exchange, const Error& error) { SendError(exchange, FromError(error, ErrorStyle::kAnthropic)); }

Result<ChatPlan> PlanMessages(ApiContext& context, const Exchange& exchange, bool needs_max_tokens) {
  const HttpRequest& http = exchange->request();
  Result<Json> json = ParseJson(http.body);
  if (!json.ok()) return InvalidArgument("Invalid JSON: " + json.error().message);
  MessagesBody body;
  JsonReader field(*json);
  ReadMessagesFields(field, body);
  TRY_STATUS(field.status());
  if (needs_max_tokens && !body.max_tokens) return InvalidArgument("max_tokens: field required");
  if (body.max_tokens && *body.max_tokens < 1)
    return InvalidArgument(fmt::format("max_tokens must be at least 1, got {}.", *body.max_tokens));
  TRY(const Json chat, ChatBody(body));
  ChatFault fault{};
  return PrepareChat(chat, context, http, fault);
}

}  // namespace

void DescribeMessages(JsonReader& field) {
  MessagesBody body;
  ReadMessagesFields(field, body);
}

void HandleMessages(ApiContext& context, const Exchange& exchange) {
  Result<ChatPlan> plan = PlanMessages(context, exchange, true);
  if (!plan.ok()) return Refuse(*exchange, plan.error());
  FlightOptions options = OpenAiOptions(plan->request, context, 1);
  options.style = ErrorStyle::kAnthropic;
  options.framing = Framing::kNamedEvents;
  const auto flight = std::make_shared<MessagesFlight>(context, exchange, options, *plan);
  flight->Launch(std::move(plan->samples));
}

void HandleCountTokens(ApiContext& context, const Exchange& exchange) {
  const Result<ChatPlan> plan = PlanMessages(context, exchange, false);
  if (!plan.ok()) return Refuse(*exchange, plan.error());
  SendJson(*exchange, 200, DumpJson(Json().Set("input_tokens", static_cast<int64_t>(plan->samples.front().prompt.size()))));
}

}  // namespace sgl
