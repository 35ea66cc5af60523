// /v1/responses: OpenAI's newer API. A conversation can go on from a stored answer; an answer can be made in the background.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "serve/api/chat_flight.h"
#include "serve/api/handlers.h"
#include "serve/json_reader.h"
#include "serve/reply.h"
#include "serve/response_store.h"
#include "serve/routes.h"

namespace sgl {
namespace {

constexpr double kTemperature = 0.7;  // when neither the request nor the model's generation_config.json has one
constexpr int64_t kReservedTokens = 2;
constexpr std::string_view kPath = "/v1/responses/";

struct ResponsesBody {
  std::string model = "default", instructions, previous_response_id, request_id;
  Json input, tool_choice, text, reasoning, metadata;
  Json::Array tools;
  std::optional<int64_t> max_output_tokens, seed;
  std::optional<double> temperature, top_p;
  bool stream = false, background = false, store = true, parallel_tool_calls = true;
};

void ReadResponsesFields(JsonReader& field, ResponsesBody& body) {
  field.Required("input", body.input)("model", body.model)("instructions", body.instructions)("max_output_tokens", body.max_output_tokens);
  field("temperature", body.temperature)("top_p", body.top_p)("stream", body.stream)("background", body.background)("store", body.store);
  field("previous_response_id", body.previous_response_id)("request_id", body.request_id)("tools", body.tools)("tool_choice",
                                                                                                               body.tool_choice);
  field("parallel_tool_calls", body.parallel_tool_calls).Object("text", body.text).Object("reasoning", body.reasoning);
  field.Object("metadata", body.metadata)("seed", body.seed);
}

// ---- from items to messages ----

Result<Json> PartsOf(const Json& content, const std::string& path) {
  if (content.is_string()) return content;
  if (!content.is_array())
    return InvalidArgument(fmt::format("{}: expected a string or a list of parts, got {}", path, content.type_name()));
  Json::Array parts;
  for (size_t i = 0; i < content.as_array().size(); ++i) {
    const std::string part_path = fmt::format("{}[{}]", path, i);
    std::string type, text;
    TRY_STATUS(JsonReader(content.as_array()[i], part_path).Required("type", type)("text", text).status());
    if (type != "input_text" && type != "output_text" && type != "text")
      return InvalidArgument(fmt::format("{}.type: expected input_text or output_text, got '{}'", part_path, type));
    parts.push_back(Json().Set("type", "text").Set("text", std::move(text)));
  }
  return Json(std::move(parts));
}

Json ToolCall(const std::string& id, const std::string& name, const std::string& arguments) {
  return Json().Set("id", id).Set("type", "function").Set("function", Json().Set("name", name).Set("arguments", arguments));
}

Status AppendItem(const Json& item, const std::string& path, Json::Array& messages) {
  std::string type = "message", role, call_id, name, arguments;
  Json content;
  TRY_STATUS(JsonReader(item, path)("type", type).status());
  if (type == "message") {
    TRY_STATUS(JsonReader(item, path).Required("role", role).Required("content", content).status());
    TRY(Json parts, PartsOf(content, path + ".content"));
    messages.push_back(Json().Set("role", role).Set("content", std::move(parts)));
  } else if (type == "function_call") {
    TRY_STATUS(JsonReader(item, path).Required("call_id", call_id).Required("name", name).Required("arguments", arguments).status());
    const Json call = ToolCall(call_id, name, arguments);
    if (!messages.empty() && messages.back()["role"] == Json("assistant") && messages.back()["tool_calls"].is_array()) {
      Json calls = messages.back()["tool_calls"];
      calls.Push(call);
      messages.back().Set("tool_calls", std::move(calls));
    } else {
      messages.push_back(Json().Set("role", "assistant").Set("content", "").Set("tool_calls", Json::Array{call}));
    }
  } else if (type == "function_call_output") {
    TRY_STATUS(JsonReader(item, path).Required("call_id", call_id).Required("output", content).status());
    TRY(Json parts, PartsOf(content, path + ".output"));
    messages.push_back(Json().Set("role", "tool").Set("tool_call_id", call_id).Set("content", std::move(parts)));
  } else if (type != "reasoning") {  // what a model thought is not told to it again
    return InvalidArgument(
        fmt::format("{}.type: expected message, function_call, function_call_output or reasoning, got '{}'", path, type));
  }
  return {};
}

Status AppendInput(const Json& input, Json::Array& messages) {
  if (input.is_string()) {
    messages.push_back(Json().Set("role", "user").Set("content", input));
    return {};
  }
  if (!input.is_array()) return InvalidArgument(fmt::format("input: expected a string or a list of items, got {}", input.type_name()));
  for (size_t i = 0; i < input.as_array().size(); ++i) TRY_STATUS(AppendItem(input.as_array()[i], fmt::format("input[{}]", i), messages));
  return {};
}

Status SetTools(const ResponsesBody& body, Json& chat) {
  if (body.tools.empty()) return {};
  Json::Array tools;
  for (size_t i = 0; i < body.tools.size(); ++i) {
    const std::string path = fmt::format("tools[{}]", i);
    std::string type, name;
    TRY_STATUS(JsonReader(body.tools[i], path).Required("type", type)("name", name).status());
    if (type != "function")
      return InvalidArgument(fmt::format("{}.type: this server calls no tools itself; expected function, got '{}'", path, type));
    if (name.empty()) return InvalidArgument(path + ".name: field required");
    Json function{Json::Object{}};
    for (const char* key : {"name", "description", "parameters", "strict"})
      if (!body.tools[i][key].is_null()) function.Set(key, body.tools[i][key]);
    tools.push_back(Json().Set("type", "function").Set("function", std::move(function)));
  }
  chat.Set("tools", Json(std::move(tools))).Set("parallel_tool_calls", body.parallel_tool_calls);
  if (body.tool_choice.is_object())
    chat.Set("tool_choice", Json().Set("type", "function").Set("function", Json().Set("name", body.tool_choice["name"])));
  else if (!body.tool_choice.is_null())
    chat.Set("tool_choice", body.tool_choice);
  return {};
}

// text.format is chat's response_format with the schema's members one level up.
Status SetFormat(const ResponsesBody& body, Json& chat) {
  const Json& format = body.text["format"];
  if (format.is_null()) return {};
  std::string type;
  TRY_STATUS(JsonReader(format, "text.format").Required("type", type).status());
  if (type != "json_schema") {
    chat.Set("response_format", Json().Set("type", type));
    return {};
  }
  Json schema{Json::Object{}};
  for (const char* key : {"name", "schema", "strict"})
    if (!format[key].is_null()) schema.Set(key, format[key]);
  chat.Set("response_format", Json().Set("type", type).Set("json_schema", std::move(schema)));
  return {};
}

Result<Json> ChatBody(const ResponsesBody& body, const Json::Array& conversation, const ApiContext& context, const std::string& id) {
  Json::Array messages;
  if (!body.instructions.empty()) messages.push_back(Json().Set("role", "system").Set("content", body.instructions));
  messages.insert(messages.end(), conversation.begin(), conversation.end());
  Json chat;
  chat.Set("model", body.model).Set("messages", Json(std::move(messages))).Set("stream", body.stream).Set("rid", id);
  if (body.temperature)
    chat.Set("temperature", *body.temperature);
  else if (context.config.sampling_defaults != "model" || context.backend.info().generation_config["temperature"].is_null())
    chat.Set("temperature", kTemperature);
  if (body.top_p) chat.Set("top_p", *body.top_p);
  if (body.seed) chat.Set("seed", *body.seed);
  if (!body.reasoning["effort"].is_null()) chat.Set("reasoning_effort", body.reasoning["effort"]);
  TRY_STATUS(SetTools(body, chat));
  TRY_STATUS(SetFormat(body, chat));
  return chat;
}

// ---- the answer ----

// An exchange nobody listens to: for answers in the background.
class Nobody final : public HttpExchange {
 public:
  explicit Nobody(HttpRequest request) : request_(std::move(request)) {}
  const HttpRequest& request() const override { return request_; }
  void Send(int, std::string_view, std::string, HttpHeaders) override {}
  void StartStream(std::string_view, HttpHeaders) override {}
  void Write(std::string) override {}
  void EndStream() override {}
  void OnClose(std::function<void()>) override {}
  bool closed() const override { return false; }

 private:
  const HttpRequest request_;
};

// What a "response" object says besides its answer.
struct ResponseFrame {
  ResponsesBody body;
  std::string id;
  int64_t created = 0;
  double temperature = 0, top_p = 1;
  Json::Array conversation;

  Json Object(const char* status, Json output, Json usage) const {
    Json out;
    out.Set("id", id).Set("object", "response").Set("created_at", created).Set("status", status).Set("background", body.background);
    out.Set("error", Json()).Set("incomplete_details", Json());
    out.Set("instructions", body.instructions.empty() ? Json() : Json(body.instructions));
    out.Set("max_output_tokens", body.max_output_tokens ? Json(*body.max_output_tokens) : Json()).Set("model", body.model);
    out.Set("output", std::move(output)).Set("parallel_tool_calls", body.parallel_tool_calls);
    out.Set("previous_response_id", body.previous_response_id.empty() ? Json() : Json(body.previous_response_id));
    out.Set("reasoning", Json().Set("effort", body.reasoning["effort"]).Set("summary", Json())).Set("store", body.store);
    out.Set("temperature", temperature).Set("text", body.text.is_null() ? *ParseJson(R"({"format":{"type":"text"}})") : body.text);
    out.Set("tool_choice", body.tool_choice.is_null() ? Json("auto") : body.tool_choice).Set("tools", Json(body.tools));
    out.Set("top_p", top_p).Set("truncation", "disabled").Set("usage", std::move(usage));
    return out.Set("metadata", body.metadata.is_null() ? Json(Json::Object{}) : body.metadata);
  }
};

class ResponsesFlight final : public ChatApiFlight {
 public:
  ResponsesFlight(ApiContext& context, Exchange exchange, FlightOptions options, const ChatPlan& plan, ResponseFrame frame)
      : ChatApiFlight(context, std::move(exchange), std::move(options), plan), frame_(std::move(frame)) {}

 private:
  enum class Item { kNone, kReasoning, kMessage, kCall };

  bool emits_early() const override { return true; }

  void Emit(size_t) override {
    Begin();
    for (const ChatEvent& event : output().TakeEvents()) {
      switch (event.kind) {
        case ChatEvent::Kind::kReasoning:
          if (item_ != Item::kReasoning) Open(Item::kReasoning, "");
          text_ += event.text;
          Send("response.reasoning_text.delta", Place().Set("content_index", 0).Set("delta", event.text));
          break;
        case ChatEvent::Kind::kContent:
          if (item_ != Item::kMessage) Open(Item::kMessage, "");
          text_ += event.text;
          Send("response.output_text.delta", Place().Set("content_index", 0).Set("delta", event.text).Set("logprobs", Json(Json::Array{})));
          break;
        case ChatEvent::Kind::kToolCall:
          call_id_ = event.id;
          Open(Item::kCall, event.text);
          break;
        case ChatEvent::Kind::kToolArguments:
          text_ += event.text;
          Send("response.function_call_arguments.delta", Place().Set("delta", event.text));
          break;
      }
    }
  }

  void EmitTail() override {
    Begin();
    CloseItem();
    const Json response = Finished();
    const std::string type = "response." + response.get_string("status", "");
    Send(type == "response.cancelled" ? "response.failed" : type, Json().Set("response", response));
  }

  std::string Body() override { return DumpJson(Finished()); }

  // An event like the others, which has the error both as this API and as OpenAI's clients look for it.
  std::string ErrorEvent(std::string event) override {
    const Result<Json> parsed = ParseJson(event);
    const Json error = parsed.ok() ? (*parsed)["error"] : Json();
    Json out = Json().Set("type", "error").Set("sequence_number", sequence_++).Set("code", error["type"]).Set("message", error["message"]);
    return DumpJson(out.Set("param", Json()).Set("error", error));
  }

  void Failed(const ErrorReply& reply) override {
    if (!frame_.body.background) return;
    const Result<Json> parsed = ParseJson(reply.body);
    const Json error = parsed.ok() ? (*parsed)["error"] : Json();
    Json response = frame_.Object("failed", Json(Json::Array{}), Json());
    response.Set("error", Json().Set("code", "server_error").Set("message", error["message"]));
    context().responses.Put(frame_.id, {std::move(response), Json(frame_.conversation), true, false, 0});
  }

  void Begin() {
    if (std::exchange(begun_, true)) return;
    const Json response = frame_.Object("in_progress", Json(Json::Array{}), Json());
    Send("response.created", Json().Set("response", response));
    Send("response.in_progress", Json().Set("response", response));
  }

  std::string ItemId(size_t index, const char* prefix) const { return fmt::format("{}_{}_{}", prefix, frame_.id, index); }
  static Json TextPart(const std::string& text) {
    return Json().Set("type", "output_text").Set("text", text).Set("annotations", Json(Json::Array{})).Set("logprobs", Json(Json::Array{}));
  }
  Json MessageItem(size_t index, const char* status, Json content) const {
    Json out = Json().Set("id", ItemId(index, "msg")).Set("type", "message").Set("status", status).Set("role", "assistant");
    return out.Set("content", std::move(content));
  }
  Json ReasoningItem(size_t index, const char* status, Json content) const {
    Json out = Json().Set("id", ItemId(index, "rs")).Set("type", "reasoning").Set("summary", Json(Json::Array{}));
    return out.Set("content", std::move(content)).Set("status", status);
  }
  Json CallItem(size_t index, const char* status, const ChatToolCall& call) const {
    Json out = Json().Set("id", ItemId(index, "fc")).Set("type", "function_call").Set("call_id", call.id).Set("name", call.name);
    return out.Set("arguments", call.arguments).Set("status", status);
  }
  static Json ReasoningPart(const std::string& text) { return Json().Set("type", "reasoning_text").Set("text", text); }

  Json OpenItem(const char* status, bool with_text) const {
    const Json nothing{Json::Array{}};
    switch (item_) {
      case Item::kReasoning: return ReasoningItem(index_, status, with_text ? Json(Json::Array{ReasoningPart(text_)}) : nothing);
      case Item::kMessage: return MessageItem(index_, status, with_text ? Json(Json::Array{TextPart(text_)}) : nothing);
      default: return CallItem(index_, status, {call_id_, name_, text_});
    }
  }
  Json Place() const {
    const char* prefix = item_ == Item::kReasoning ? "rs" : item_ == Item::kMessage ? "msg" : "fc";
    return Json().Set("item_id", ItemId(index_, prefix)).Set("output_index", static_cast<int64_t>(index_));
  }
  void Open(Item item, const std::string& name) {
    CloseItem();
    item_ = item;
    name_ = name;
    text_.clear();
    Send("response.output_item.added",
         Json().Set("output_index", static_cast<int64_t>(index_)).Set("item", OpenItem("in_progress", false)));
    if (item == Item::kMessage) Send("response.content_part.added", Place().Set("content_index", 0).Set("part", TextPart("")));
    if (item == Item::kReasoning) Send("response.content_part.added", Place().Set("content_index", 0).Set("part", ReasoningPart("")));
  }
  void CloseItem() {
    if (item_ == Item::kNone) return;
    if (item_ == Item::kMessage) {
      Send("response.output_text.done", Place().Set("content_index", 0).Set("text", text_).Set("logprobs", Json(Json::Array{})));
      Send("response.content_part.done", Place().Set("content_index", 0).Set("part", TextPart(text_)));
    } else if (item_ == Item::kReasoning) {
      Send("response.reasoning_text.done", Place().Set("content_index", 0).Set("text", text_));
      Send("response.content_part.done", Place().Set("content_index", 0).Set("part", ReasoningPart(text_)));
    } else {
      Send("response.function_call_arguments.done", Place().Set("name", name_).Set("arguments", text_));
    }
    Send("response.output_item.done", Json().Set("output_index", static_cast<int64_t>(index_)).Set("item", OpenItem("completed", true)));
    item_ = Item::kNone;
    ++index_;
  }
  void Send(const std::string& type, const Json& members) {
    Json event = Json().Set("type", type).Set("sequence_number", sequence_++);
    for (const auto& [name, value] : members.as_object()) event.Set(name, value);
    WriteEvent(DumpJson(event), type);
  }

  Json UsageJson() const {
    const Progress& p = sample();
    Json out = Json().Set("input_tokens", p.prompt_tokens).Set("input_tokens_details", Json().Set("cached_tokens", p.cached_tokens));
    out.Set("output_tokens", p.completion_tokens).Set("output_tokens_details", Json().Set("reasoning_tokens", reasoning_tokens()));
    return out.Set("total_tokens", p.prompt_tokens + p.completion_tokens);
  }

  // The complete object; stored if that was asked for.
  Json Finished() {
    const Finish& finish = *sample().finish;
    const char* status = finish.kind == FinishKind::kStop ? "completed" : finish.kind == FinishKind::kLength ? "incomplete" : "cancelled";
    const char* item_status = finish.kind == FinishKind::kStop ? "completed" : "incomplete";
    const ChatMessage& m = message();
    Json::Array items, calls;
    if (!m.reasoning.empty()) items.push_back(ReasoningItem(items.size(), item_status, Json(Json::Array{ReasoningPart(m.reasoning)})));
    if (!m.content.empty() || m.tool_calls.empty())
      items.push_back(MessageItem(items.size(), item_status, Json(Json::Array{TextPart(m.content)})));
    for (const ChatToolCall& call : m.tool_calls) {
      items.push_back(CallItem(items.size(), item_status, call));
      calls.push_back(ToolCall(call.id, call.name, call.arguments));
    }
    Json response = frame_.Object(status, Json(std::move(items)), UsageJson());
    if (finish.kind == FinishKind::kLength) response.Set("incomplete_details", Json().Set("reason", "max_output_tokens"));
    if (!frame_.body.store) return response;
    Json::Array conversation = frame_.conversation;
    Json answer = Json().Set("role", "assistant").Set("content", m.content);
    if (!calls.empty()) answer.Set("tool_calls", Json(std::move(calls)));
    conversation.push_back(std::move(answer));
    context().responses.Put(frame_.id, {response, Json(std::move(conversation)), frame_.body.background, false, 0});
    return response;
  }

  const ResponseFrame frame_;
  bool begun_ = false;
  Item item_ = Item::kNone;
  size_t index_ = 0;
  int64_t sequence_ = 0;
  std::string text_, name_, call_id_;  // of the open item
};

void Refuse(HttpExchange& exchange, const Error& error) { SendError(exchange, FromError(error, ErrorStyle::kResponses)); }

Error NoResponse(const std::string& id) { return NotFound("Response with id '" + id + "' not found."); }

struct ResponsesPlan {
  ResponseFrame frame;
  ChatPlan chat;
};

Result<ResponsesPlan> PlanResponses(ApiContext& context, const HttpRequest& http) {
  Result<Json> json = ParseJson(http.body);
  if (!json.ok()) return InvalidArgument("Invalid JSON: " + json.error().message);
  ResponsesPlan plan;
  ResponseFrame& frame = plan.frame;
  ResponsesBody& body = frame.body;
  JsonReader field(*json);
  ReadResponsesFields(field, body);
  TRY_STATUS(field.status());
  if (body.max_output_tokens && *body.max_output_tokens < 1)
    return InvalidArgument(fmt::format("max_output_tokens must be at least 1, got {}.", *body.max_output_tokens));
  if (body.background && body.stream)
    return InvalidArgument("background: an answer in the background cannot be streamed; leave out stream.");
  if (body.background && !body.store) return InvalidArgument("background: an answer in the background must be stored; leave out store.");
  if (!body.previous_response_id.empty()) {
    const std::optional<StoredResponse> before = context.responses.Get(body.previous_response_id);
    if (!before) return NoResponse(body.previous_response_id);
    if (before->running) return InvalidArgument("previous_response_id: that response is not complete yet.");
    frame.conversation = before->messages.as_array();
  }
  TRY_STATUS(AppendInput(body.input, frame.conversation));
  frame.id = body.request_id.empty() ? "resp_" + context.ids.Next() : body.request_id;
  frame.created = static_cast<int64_t>(context.unix_now());
  TRY(const Json chat, ChatBody(body, frame.conversation, context, frame.id));
  ChatFault fault{};
  TRY(plan.chat, PrepareChat(chat, context, http, fault));
  GenerateRequest& request = plan.chat.samples.front();
  const int64_t room = context.backend.info().context_length - static_cast<int64_t>(request.prompt.size()) - kReservedTokens;
  if (body.max_output_tokens) request.sampling.max_new_tokens = std::max<int64_t>(1, std::min(*body.max_output_tokens, room));
  frame.temperature = request.sampling.temperature;
  frame.top_p = request.sampling.top_p;
  return plan;
}

}  // namespace

void DescribeResponses(JsonReader& field) {
  ResponsesBody body;
  ReadResponsesFields(field, body);
}

void HandleResponses(ApiContext& context, const Exchange& exchange) {
  Result<ResponsesPlan> plan = PlanResponses(context, exchange->request());
  if (!plan.ok()) return Refuse(*exchange, plan.error());
  FlightOptions options = OpenAiOptions(plan->chat.request, context, 1);
  options.style = ErrorStyle::kResponses;
  options.framing = Framing::kNamedEvents;
  Exchange listener = exchange;
  if (plan->frame.body.background) {
    const Json queued = plan->frame.Object("in_progress", Json(Json::Array{}), Json());
    context.responses.Put(plan->frame.id, {queued, Json(plan->frame.conversation), true, true, 0});
    SendJson(*exchange, 200, DumpJson(queued));
    listener = std::make_shared<Nobody>(exchange->request());
  }
  const auto flight = std::make_shared<ResponsesFlight>(context, std::move(listener), options, plan->chat, std::move(plan->frame));
  flight->Launch(std::move(plan->chat.samples));
}

// GET and DELETE /v1/responses/{id}, POST /v1/responses/{id}/cancel.
void HandleResponse(ApiContext& context, const Exchange& exchange) {
  constexpr std::string_view kCancel = "/cancel";
  const HttpRequest& http = exchange->request();
  std::string id = PercentDecode(LocalPath(context.config, http.path).substr(kPath.size()), false);
  const bool cancel = id.size() > kCancel.size() && id.compare(id.size() - kCancel.size(), kCancel.size(), kCancel) == 0;
  if (cancel) id.resize(id.size() - kCancel.size());
  if (cancel != (http.method == "POST")) return Refuse(*exchange, NotFound("Not Found"));
  const std::optional<StoredResponse> stored = context.responses.Get(id);
  if (!stored) return Refuse(*exchange, NoResponse(id));
  if (http.method == "DELETE") {
    context.responses.Erase(id);
    return SendJson(*exchange, 200, DumpJson(Json().Set("id", id).Set("object", "response").Set("deleted", true)));
  }
  if (!cancel) return SendJson(*exchange, 200, DumpJson(stored->response));
  if (!stored->background) return Refuse(*exchange, InvalidArgument("Only a response made in the background can be cancelled."));
  StoredResponse changed = *stored;
  if (stored->running) {
    context.backend.AbortRid(id);
    changed.response.Set("status", "cancelled");
    context.responses.Put(id, changed);
  }
  SendJson(*exchange, 200, DumpJson(changed.response));
}

}  // namespace sgl
