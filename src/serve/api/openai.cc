// SPDX-License-Identifier: Apache-2.0
#include "serve/api/openai.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "serve/describe.h"
#include "serve/json_reader.h"
#include "serve/reply.h"

namespace sgl {

namespace {

// response_format: what the answer has to be.
struct ResponseFormat {
  SamplingParams& params;
};

bool ReadJson(const Json& value, ResponseFormat& to, std::string& why) {
  if (!value.is_object()) return WrongType(value, "an object", why);
  const Json& type = value["type"];
  if (!type.is_string()) {
    why = ".type: expected a string, got " + std::string(type.type_name());
    return false;
  }
  const std::string& name = type.as_string();
  if (name == "text") return true;
  if (name == "json_object") {
    to.params.json_schema = R"({"type":"object"})";
    return true;
  }
  if (name == "structural_tag") {
    to.params.structural_tag = DumpJson(value);
    return true;
  }
  if (name != "json_schema") {
    why = ".type: expected text, json_object, json_schema or structural_tag, got " + DumpJson(type);
    return false;
  }
  // Either {"json_schema": {"name", "schema"}} or the schema beside the type.
  const Json& wrapped = value["json_schema"];
  const Json* schema = wrapped.is_object() ? wrapped.find("schema") : value.find("schema");
  if (schema == nullptr || schema->is_null()) {
    why = ".json_schema.schema: required";
    return false;
  }
  if (!schema->is_object() && !schema->is_bool()) {
    why = ".json_schema.schema: expected an object, got " + std::string(schema->type_name());
    return false;
  }
  to.params.json_schema = DumpJson(*schema);
  return true;
}

void ReadStreamOptions(JsonReader& field, OpenAiBody& body) {
  field("include_usage", body.include_usage)("continuous_usage_stats", body.continuous_usage)("include_progress", body.include_progress);
}

}  // namespace

void ReadOpenAiFields(JsonReader& field, OpenAiBody& body, Json& stream_options) {
  SamplingParams& p = body.sampling.params;
  StopStrings stop{p.stop}, stop_regex{p.stop_regex};
  StopTokenIds stop_token_ids{p.stop_token_ids};
  field("model", body.model)("rid", body.rid)("extra_key", body.extra_key)("cache_salt", body.cache_salt)("stream", body.stream);
  field("priority", body.priority)("temperature", p.temperature)("top_p", p.top_p)("top_k", p.top_k)("min_p", p.min_p);
  field("frequency_penalty", p.frequency_penalty)("presence_penalty", p.presence_penalty)("repetition_penalty", p.repetition_penalty);
  field("min_tokens", p.min_new_tokens)("stop", stop)("stop_token_ids", stop_token_ids)("stop_regex", stop_regex)("n", p.n);
  field("no_stop_trim", p.no_stop_trim)("ignore_eos", p.ignore_eos)("skip_special_tokens", p.skip_special_tokens);
  GrammarText regex{p.regex}, ebnf{p.ebnf}, json_schema{p.json_schema, true}, structural_tag{p.structural_tag, true};
  ResponseFormat format{p};
  field("regex", regex)("ebnf", ebnf)("json_schema", json_schema)("structural_tag", structural_tag)("response_format", format);
  field("seed", p.sampling_seed).Object("logit_bias", body.sampling.logit_bias).Object("stream_options", stream_options);
  field("return_hidden_states", body.specials.return_hidden_states)("custom_logit_processor", body.specials.logit_processor);
  field.Object("custom_params", body.sampling.custom_params);
  field.Nested("stream_options", [&](JsonReader& inside) { ReadStreamOptions(inside, body); });
}

Status ReadOpenAi(const Json& json, const ApiContext& context, OpenAiBody& body) {
  if (context.config.preferred_sampling_params.is_object()) {
    TRY_STATUS(ReadSamplingParams(context.config.preferred_sampling_params, "preferred_sampling_params", body.sampling));
    body.sampling.max_new_tokens_given = false;
  }
  body.include_usage = context.config.stream_includes_usage;
  Json stream_options;
  JsonReader field(json);
  ReadOpenAiFields(field, body, stream_options);
  TRY_STATUS(field.status());
  if (stream_options.is_null()) return {};
  JsonReader inside(stream_options, "stream_options");
  ReadStreamOptions(inside, body);
  return inside.status();
}

Status CheckOpenAi(const Json& json, OpenAiBody& body, const ApiContext& context, const HttpRequest& http) {
  TRY_STATUS(RefuseCommonFields(json));
  TRY_STATUS(RefuseFields(json, {"session_params", "return_cached_tokens_details"}));
  if (body.model.find(':') != std::string::npos && body.model != context.backend.info().served_model_name)
    return InvalidArgument(fmt::format("'model' '{}' names a LoRA adapter, which is not supported by this server.", body.model));
  TRY(body.dp_rank, ReadDpRank(json, http, static_cast<int>(context.backend.probes().size())));
  return {};
}

Result<PromptPlan> PlanOpenAi(const OpenAiBody& body, std::vector<TokenId> prompt, const ApiContext& context) {
  const EngineInfo& info = context.backend.info();
  PromptPlan plan;
  plan.request.prompt = std::move(prompt);
  SamplingAsked sampling = body.sampling;
  if (context.config.auto_truncate) FitLengths(info, plan.request.prompt, sampling);
  TRY_STATUS(CheckLengths(static_cast<int64_t>(plan.request.prompt.size()), sampling, info.context_length));
  TRY(plan.request.sampling, CheckSamplingParams(std::move(sampling), info.vocab_size));
  plan.request.extra_key = body.cache_salt + body.extra_key;
  plan.request.priority = body.priority;
  plan.request.routing_key = body.routing_key;
  plan.request.progress = body.stream;
  plan.request.dp_rank = body.dp_rank;
  TRY_STATUS(ApplySpecials(body.specials, body.sampling.custom_params, context, plan.request));
  return plan;
}

FlightOptions OpenAiOptions(const OpenAiBody& body, const ApiContext& context, size_t samples) {
  FlightOptions options;
  options.stream = body.stream;
  options.style = ErrorStyle::kOpenAi;
  options.stream_interval = std::max(context.config.stream_interval, 1);
  options.samples = samples;
  options.include_progress = body.include_progress;
  return options;
}

OpenAiFlight::OpenAiFlight(ApiContext& context, Exchange exchange, FlightOptions options, const OpenAiBody& body, std::string_view object,
                           std::string_view chunk_object, std::string id)
    : Flight(context, std::move(exchange), options),
      include_usage_(body.include_usage),
      continuous_usage_(body.continuous_usage),
      with_hidden_(body.specials.return_hidden_states),
      tokenizer_(context.backend.tokenizer()) {
  prefix_ = R"({"id":)";
  AppendJsonString(prefix_, id);
  prefix_ += R"(,"object":)";
  AppendJsonString(prefix_, options.stream ? chunk_object : object);
  prefix_ += R"(,"created":)";
  AppendJsonNumber(prefix_, static_cast<int64_t>(context.unix_now()));
  prefix_ += R"(,"model":)";
  AppendJsonString(prefix_, body.model);
  prefix_ += R"(,"choices":[)";
}

void OpenAiFlight::TakeHiddenStates(size_t index, TokenDelta& delta) {
  if (!with_hidden_ || delta.hidden_states.empty()) return;
  hidden_.resize(size());
  hidden_[index] = std::move(delta.hidden_states.back());
}

void OpenAiFlight::AppendFinish(std::string& out, size_t index, bool tool_calls) const {
  const std::optional<Finish>& finish = progress(index).finish;
  out += R"("finish_reason":)";
  if (!finish) {
    out += R"(null,"matched_stop":null)";
    return;
  }
  const bool calls = tool_calls && finish->kind == FinishKind::kStop;
  out += calls                                 ? R"("tool_calls")"
         : finish->kind == FinishKind::kStop   ? R"("stop")"
         : finish->kind == FinishKind::kLength ? R"("length")"
                                               : R"("abort")";
  out += R"(,"matched_stop":)";
  if (calls)
    out += "null";
  else if (const auto* id = std::get_if<TokenId>(&finish->matched))
    AppendJsonNumber(out, int64_t{*id});
  else if (const auto* text = std::get_if<std::string>(&finish->matched))
    AppendJsonString(out, *text);
  else
    out += "null";
  if (!with_hidden_) return;
  out += R"(,"hidden_states":)";
  AppendVector(out, index < hidden_.size() ? hidden_[index] : std::vector<float>());
}

// Cached tokens only with --enable-cache-report; `nulls`: the key stays, as null, where there is nothing to say.
std::string OpenAiFlight::UsageJson(const Usage& usage, int64_t reasoning_tokens, bool nulls) const {
  const bool details = context().config.enable_cache_report && usage.cached_tokens > 0;
  std::string cached;
  if (details)
    cached = fmt::format(R"("prompt_tokens_details":{{"cached_tokens":{}}},)", usage.cached_tokens);
  else if (nulls)
    cached = R"("prompt_tokens_details":null,)";
  return fmt::format(R"({{"prompt_tokens":{},"total_tokens":{},"completion_tokens":{},{}"reasoning_tokens":{}}})", usage.prompt_tokens,
                     usage.prompt_tokens + usage.completion_tokens, usage.completion_tokens, cached, reasoning_tokens);
}

int64_t OpenAiFlight::AllReasoningTokens() const {
  int64_t sum = 0;
  for (size_t i = 0; i < size(); ++i) sum += ReasoningTokens(i);
  return sum;
}

std::string OpenAiFlight::ContinuousUsage(size_t index) const {
  if (!continuous_usage_) return {};
  const Progress& p = progress(index);
  return UsageJson({p.prompt_tokens, p.completion_tokens, p.cached_tokens}, ReasoningTokens(index), false);
}

std::string OpenAiFlight::Suffix() const {
  std::string out = R"(],"usage":)" + UsageJson(usage(), AllReasoningTokens(), true) + R"(,"metadata":{"weight_version":)";
  AppendJsonString(out, context().backend.info().weight_version);
  return out += "}}";
}

void OpenAiFlight::EmitUsage() {
  if (include_usage_) WriteEvent(prefix_ + R"(],"usage":)" + UsageJson(usage(), AllReasoningTokens(), false) + "}");
}

void SendOpenAiError(HttpExchange& exchange, const Error& error, std::string_view type) {
  SendError(exchange, FromError(error, ErrorStyle::kOpenAi, type));
}

std::optional<Json> OpenAiJson(const Exchange& exchange) {
  std::string media_type(FindHeader(exchange->request(), "content-type"));
  media_type.resize(std::min(media_type.find(';'), media_type.size()));
  while (!media_type.empty() && (media_type.back() == ' ' || media_type.back() == '\t')) media_type.pop_back();
  std::transform(media_type.begin(), media_type.end(), media_type.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
  if (media_type != "application/json") {
    SendError(*exchange, SchemaErrorReply("Unsupported Media Type: Only 'application/json' is allowed"));
    return {};
  }
  Result<Json> json = ParseJson(exchange->request().body);
  if (json.ok()) return *std::move(json);
  SendError(*exchange, SchemaErrorReply("Invalid JSON: " + json.error().message));
  return {};
}

}  // namespace sgl
