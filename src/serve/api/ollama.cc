// /api/chat, /api/generate, /api/tags, /api/show, /api/ps, /api/version: Ollama's API.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <utility>

#include "serve/api/chat_flight.h"
#include "serve/api/handlers.h"
#include "serve/json_reader.h"
#include "serve/reply.h"

namespace sgl {
namespace {

constexpr int64_t kNumPredict = 2048;  // when options.num_predict is not given

struct OllamaBody {
  std::string model = "default", prompt, system;
  Json::Array messages, tools;
  Json options, format, think;
  bool stream = true, raw = false;
};

void ReadCommon(JsonReader& field, OllamaBody& body) {
  field("model", body.model).Object("options", body.options)("format", body.format)("think", body.think)("stream", body.stream);
}
void ReadChatFields(JsonReader& field, OllamaBody& body) {
  ReadCommon(field, body);
  field.Required("messages", body.messages)("tools", body.tools);
}
void ReadGenerateFields(JsonReader& field, OllamaBody& body) {
  ReadCommon(field, body);
  field("prompt", body.prompt)("system", body.system)("raw", body.raw);
}

// "2026-01-31T12:00:00.123456Z"
std::string CreatedAt(double unix_seconds) {
  const auto seconds = static_cast<std::time_t>(unix_seconds);
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  char text[40];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
  return fmt::format("{}.{:06d}Z", text, static_cast<int>((unix_seconds - std::floor(unix_seconds)) * 1e6));
}

Status ApplyOptions(const Json& options, Json& chat) {
  std::optional<double> temperature, top_p, min_p, presence, frequency, repeat;
  std::optional<int64_t> top_k, seed;
  if (!options.is_null()) {
    JsonReader field(options, "options");
    field("temperature", temperature)("top_p", top_p)("min_p", min_p)("top_k", top_k)("presence_penalty", presence);
    field("frequency_penalty", frequency)("repeat_penalty", repeat)("seed", seed);
    TRY_STATUS(field.status());
  }
  const auto set = [&chat](const char* name, const auto& value) {
    if (value) chat.Set(name, *value);
  };
  set("temperature", temperature);
  set("top_p", top_p);
  set("min_p", min_p);
  set("presence_penalty", presence);
  set("frequency_penalty", frequency);
  set("repetition_penalty", repeat);
  set("seed", seed);
  if (top_k) chat.Set("top_k", *top_k > 0 ? *top_k : int64_t{-1});  // 0: all
  if (!options["stop"].is_null()) chat.Set("stop", options["stop"]);
  return {};
}

// Ollama's messages are OpenAI's, but for images and for arguments, which are objects.
Result<Json> ChatMessages(const Json::Array& messages) {
  Json::Array out;
  for (size_t i = 0; i < messages.size(); ++i) {
    const std::string path = fmt::format("messages[{}]", i);
    if (!messages[i].is_object()) return InvalidArgument(fmt::format("{}: expected an object, got {}", path, messages[i].type_name()));
    Json message = messages[i];
    if (!IsInert(message["images"])) return InvalidArgument(path + ".images: this server reads text only");
    if (message["content"].is_null()) message.Set("content", "");
    Json calls = message["tool_calls"];
    if (calls.is_array()) {
      for (size_t c = 0; c < calls.as_array().size(); ++c) {
        Json& call = calls.as_array()[c];
        Json function = call["function"];
        if (!function["arguments"].is_string()) function.Set("arguments", DumpJson(function["arguments"]));
        call = Json().Set("id", fmt::format("call_{}", c)).Set("type", "function").Set("function", std::move(function));
      }
      message.Set("tool_calls", std::move(calls));
    }
    out.push_back(std::move(message));
  }
  return Json(std::move(out));
}

Result<Json> ChatBody(const OllamaBody& body) {
  Json chat;
  chat.Set("model", body.model).Set("stream", body.stream);
  TRY(Json messages, ChatMessages(body.messages));
  chat.Set("messages", std::move(messages));
  if (!body.tools.empty()) chat.Set("tools", Json(body.tools));
  if (body.format == Json("json")) {
    chat.Set("response_format", Json().Set("type", "json_object"));
  } else if (body.format.is_object()) {
    Json schema = Json().Set("name", "format").Set("schema", body.format);
    chat.Set("response_format", Json().Set("type", "json_schema").Set("json_schema", std::move(schema)));
  } else if (!IsInert(body.format)) {
    return InvalidArgument("format: expected \"json\" or a JSON schema, got " + std::string(body.format.type_name()));
  }
  if (body.think.is_bool())
    chat.Set("chat_template_kwargs", Json().Set("enable_thinking", body.think));
  else if (body.think.is_string())
    chat.Set("reasoning_effort", body.think);
  TRY_STATUS(ApplyOptions(body.options, chat));
  return chat;
}

class OllamaFlight final : public ChatApiFlight {
 public:
  OllamaFlight(ApiContext& context, Exchange exchange, FlightOptions options, const ChatPlan& plan, bool chat)
      : ChatApiFlight(context, std::move(exchange), std::move(options), plan), chat_(chat) {}

 private:
  void Emit(size_t) override {
    for (const ChatEvent& event : output().TakeEvents()) {
      if (event.kind == ChatEvent::Kind::kContent) WriteEvent(DumpJson(Line(event.text, "", Json(), false)));
      if (event.kind == ChatEvent::Kind::kReasoning) WriteEvent(DumpJson(Line("", event.text, Json(), false)));
    }
  }
  void EmitTail() override {
    if (!message().tool_calls.empty()) WriteEvent(DumpJson(Line("", "", Calls(), false)));  // calls come whole
    WriteEvent(DumpJson(Line("", "", Json(), true)));
  }
  std::string Body() override { return DumpJson(Line(message().content, message().reasoning, Calls(), true)); }

  Json Calls() const {
    Json::Array calls;
    for (const ChatToolCall& call : message().tool_calls)
      calls.push_back(Json().Set("function", Json().Set("name", call.name).Set("arguments", CallArguments(call.arguments))));
    return calls.empty() ? Json() : Json(std::move(calls));
  }

  Json Line(const std::string& content, const std::string& thinking, Json calls, bool done) const {
    Json out = Json().Set("model", model()).Set("created_at", CreatedAt(context().unix_now()));
    if (chat_) {
      Json message = Json().Set("role", "assistant").Set("content", content);
      if (!thinking.empty()) message.Set("thinking", thinking);
      if (!calls.is_null()) message.Set("tool_calls", std::move(calls));
      out.Set("message", std::move(message));
    } else {
      out.Set("response", content);
      if (!thinking.empty()) out.Set("thinking", thinking);
    }
    out.Set("done", done);
    if (!done) return out;
    const auto nanoseconds = [](std::chrono::steady_clock::duration d) {
      return std::chrono::duration_cast<std::chrono::nanoseconds>(d).count();
    };
    const RequestTimes& t = times(0);
    out.Set("done_reason", sample().finish->kind == FinishKind::kStop     ? "stop"
                           : sample().finish->kind == FinishKind::kLength ? "length"
                                                                          : "abort");
    out.Set("total_duration", static_cast<int64_t>(sample().e2e_latency_s * 1e9)).Set("load_duration", 0);
    out.Set("prompt_eval_count", sample().prompt_tokens).Set("prompt_eval_duration", int64_t{nanoseconds(t.first_token - t.dispatched)});
    return out.Set("eval_count", sample().completion_tokens).Set("eval_duration", int64_t{nanoseconds(t.last_token - t.first_token)});
  }

  const bool chat_;
};

void Refuse(HttpExchange& exchange, const Error& error) { SendError(exchange, FromError(error, ErrorStyle::kOllama)); }

void Fly(ApiContext& context, const Exchange& exchange, ChatPlan plan, bool chat) {
  FlightOptions options = OpenAiOptions(plan.request, context, 1);
  options.style = ErrorStyle::kOllama;
  options.framing = Framing::kLines;
  const auto flight = std::make_shared<OllamaFlight>(context, exchange, options, plan, chat);
  flight->Launch(std::move(plan.samples));
}

Result<OllamaBody> ReadBody(const HttpRequest& http, void (*fields)(JsonReader&, OllamaBody&)) {
  Result<Json> json = ParseJson(http.body);
  if (!json.ok()) return InvalidArgument("Invalid JSON: " + json.error().message);
  OllamaBody body;
  JsonReader field(*json);
  fields(field, body);
  TRY_STATUS(field.status());
  return body;
}

// Tokens to generate at most: what was asked for, or what there is room for.
Status Limit(const Json& options, int64_t context_length, GenerateRequest& request) {
  int64_t num_predict = kNumPredict;
  if (!options.is_null()) TRY_STATUS(JsonReader(options, "options")("num_predict", num_predict).status());
  if (num_predict < -2 || num_predict == 0)
    return InvalidArgument(fmt::format("options.num_predict must be at least 1, or -1 (no limit), got {}.", num_predict));
  const int64_t room = context_length - static_cast<int64_t>(request.prompt.size());
  if (num_predict > 0) request.sampling.max_new_tokens = std::max<int64_t>(1, std::min(num_predict, room));
  return {};
}

Result<ChatPlan> PlanChat(const OllamaBody& body, ApiContext& context, const HttpRequest& http) {
  TRY(const Json chat, ChatBody(body));
  ChatFault fault{};
  TRY(ChatPlan plan, PrepareChat(chat, context, http, fault));
  TRY_STATUS(Limit(body.options, context.backend.info().context_length, plan.samples.front()));
  return plan;
}

// raw: the prompt as it is, without a template.
Result<ChatPlan> PlanRaw(OllamaBody body, ApiContext& context, const HttpRequest& http) {
  std::vector<TokenId> prompt = context.EncodePrompt(body.system.empty() ? body.prompt : body.system + "\n\n" + body.prompt, true);
  body.messages = {Json().Set("role", "user").Set("content", ".")};
  TRY(ChatPlan plan, PlanChat(body, context, http));
  GenerateRequest& request = plan.samples.front();
  if (context.config.auto_truncate) FitLengths(context.backend.info(), prompt, plan.request.sampling);
  TRY_STATUS(CheckLengths(static_cast<int64_t>(prompt.size()), plan.request.sampling, context.backend.info().context_length));
  request.prompt = std::move(prompt);
  TRY_STATUS(CheckRequest(request, context.backend.info()));
  TRY_STATUS(Limit(body.options, context.backend.info().context_length, request));
  return plan;
}

Json Details(const EngineInfo& info) {
  Json out = Json().Set("parent_model", "").Set("format", "gguf").Set("family", info.model_type);
  return out.Set("families", Json::Array{Json(info.model_type)}).Set("parameter_size", "").Set("quantization_level", "");
}

Json Model(const ApiContext& context) {
  const EngineInfo& info = context.backend.info();
  Json out = Json().Set("name", info.served_model_name).Set("model", info.served_model_name);
  out.Set("modified_at", CreatedAt(context.unix_now())).Set("size", info.weight_bytes).Set("digest", "");
  return out.Set("details", Details(info));
}

}  // namespace

void DescribeOllamaChat(JsonReader& field) {
  OllamaBody body;
  ReadChatFields(field, body);
}

void DescribeOllamaGenerate(JsonReader& field) {
  OllamaBody body;
  ReadGenerateFields(field, body);
}

void HandleOllamaChat(ApiContext& context, const Exchange& exchange) {
  const Result<OllamaBody> body = ReadBody(exchange->request(), ReadChatFields);
  if (!body.ok()) return Refuse(*exchange, body.error());
  Result<ChatPlan> plan = PlanChat(*body, context, exchange->request());
  if (!plan.ok()) return Refuse(*exchange, plan.error());
  Fly(context, exchange, *std::move(plan), true);
}

void HandleOllamaGenerate(ApiContext& context, const Exchange& exchange) {
  Result<OllamaBody> body = ReadBody(exchange->request(), ReadGenerateFields);
  if (!body.ok()) return Refuse(*exchange, body.error());
  if (body->prompt.empty()) {  // how clients ask to load a model
    Json done = Json().Set("model", body->model).Set("created_at", CreatedAt(context.unix_now())).Set("response", "");
    std::string line = DumpJson(done.Set("done", true).Set("done_reason", "load"));
    return exchange->Send(200, body->stream ? "application/x-ndjson" : "application/json", body->stream ? line + "\n" : line);
  }
  if (!body->raw) {
    if (!body->system.empty()) body->messages.push_back(Json().Set("role", "system").Set("content", body->system));
    body->messages.push_back(Json().Set("role", "user").Set("content", body->prompt));
  }
  Result<ChatPlan> plan = body->raw ? PlanRaw(*body, context, exchange->request()) : PlanChat(*body, context, exchange->request());
  if (!plan.ok()) return Refuse(*exchange, plan.error());
  Fly(context, exchange, *std::move(plan), false);
}

void HandleOllamaTags(ApiContext& context, const Exchange& exchange) {
  SendJson(*exchange, 200, DumpJson(Json().Set("models", Json::Array{Model(context)})));
}

void HandleOllamaPs(ApiContext& context, const Exchange& exchange) {
  Json model = Model(context);
  model.Set("expires_at", "9999-12-31T23:59:59Z").Set("size_vram", 0).Set("context_length", context.backend.info().context_length);
  SendJson(*exchange, 200, DumpJson(Json().Set("models", Json::Array{std::move(model)})));
}

void HandleOllamaShow(ApiContext& context, const Exchange& exchange) {
  const Result<Json> json = ParseJson(exchange->request().body);
  if (!json.ok()) return Refuse(*exchange, InvalidArgument("Invalid JSON: " + json.error().message));
  std::string model, name;
  if (const Status status = JsonReader(*json)("model", model)("name", name).status(); !status.ok())
    return Refuse(*exchange, status.error());
  const EngineInfo& info = context.backend.info();
  const std::string architecture = info.architectures.empty() ? info.model_type : info.architectures.front();
  Json details;
  details.Set("general.architecture", info.model_type).Set(info.model_type + ".context_length", info.context_length);
  details.Set(info.model_type + ".vocab_size", info.vocab_size).Set("general.name", architecture);
  Json out = Json().Set("modelfile", "FROM " + info.model_path + "\n").Set("parameters", "").Set("template", "");
  out.Set("details", Details(info)).Set("model_info", std::move(details)).Set("capabilities", Json::Array{Json("completion")});
  SendJson(*exchange, 200, DumpJson(out.Set("modified_at", CreatedAt(context.unix_now()))));
}

void HandleOllamaVersion(ApiContext& context, const Exchange& exchange) {
  SendJson(*exchange, 200, DumpJson(Json().Set("version", context.config.version)));
}

}  // namespace sgl
