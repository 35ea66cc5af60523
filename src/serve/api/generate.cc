// POST /generate: the native endpoint.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "serve/api/chat_format.h"
#include "serve/api/handlers.h"
#include "serve/api/prepare.h"
#include "serve/describe.h"
#include "serve/flight.h"
#include "serve/json_reader.h"
#include "serve/logprobs.h"
#include "serve/reply.h"

namespace sgl {
namespace {

struct GenerateBody {
  OneOrMany<std::string> text, rid;
  OneOrMany<std::vector<int64_t>> input_ids, token_ids_logprob;
  OneOrMany<Json> sampling_params;
  OneOrMany<bool> return_logprob;
  OneOrMany<int64_t> logprob_start_len;
  OneOrMany<int> top_logprobs_num;
  OneOrMany<std::vector<std::vector<double>>> input_embeds;
  OneOrMany<bool> return_hidden_states;
  OneOrMany<std::string> custom_logit_processor;
  std::vector<SamplingAsked> sampling;  // from preferred and sampling_params: one, or one per prompt
  Json stream_options;
  bool include_progress = false, require_reasoning = false;
  bool return_text_in_logprobs = false, stream = false, log_metrics = true;
  std::optional<int64_t> priority;
  std::string extra_key, routing_key;
  OneOrMany<SessionParams> session;

  bool by_text() const { return text.set; }
  bool by_ids() const { return !by_text() && input_ids.set; }
  bool batch() const { return by_text() ? text.many : by_ids() ? input_ids.many : input_embeds.many; }
  size_t prompts() const { return by_text() ? text.values.size() : by_ids() ? input_ids.values.size() : input_embeds.values.size(); }
};

void ReadGenerateFields(JsonReader& field, GenerateBody& body) {
  field("text", body.text)("input_ids", body.input_ids)("sampling_params", body.sampling_params)("rid", body.rid);
  field("return_logprob", body.return_logprob)("logprob_start_len", body.logprob_start_len);
  field("top_logprobs_num", body.top_logprobs_num)("token_ids_logprob", body.token_ids_logprob);
  field("return_text_in_logprobs", body.return_text_in_logprobs)("stream", body.stream);
  field("priority", body.priority)("extra_key", body.extra_key)("log_metrics", body.log_metrics);
  field("session_params", body.session)("routing_key", body.routing_key);
  field("input_embeds", body.input_embeds)("return_hidden_states", body.return_hidden_states);
  field("custom_logit_processor", body.custom_logit_processor)("require_reasoning", body.require_reasoning);
  field.Object("stream_options", body.stream_options);
  field.Nested("sampling_params", DescribeSamplingFields, true);
  field.Nested("session_params", DescribeSessionParams);
}

Result<GenerateBody> ParseGenerate(const Json& json, const ApiContext& context) {
  GenerateBody body;
  JsonReader field(json);
  ReadGenerateFields(field, body);
  TRY_STATUS(field.status());
  if (!body.stream_options.is_null())
    TRY_STATUS(JsonReader(body.stream_options, "stream_options")("include_progress", body.include_progress).status());
  SamplingAsked preferred;
  if (context.config.preferred_sampling_params.is_object())
    TRY_STATUS(ReadSamplingParams(context.config.preferred_sampling_params, "preferred_sampling_params", preferred));
  preferred.max_new_tokens_given = false;
  body.sampling.assign(std::max<size_t>(body.sampling_params.values.size(), 1), preferred);
  for (size_t i = 0; i < body.sampling_params.values.size(); ++i) {
    const Json& params = body.sampling_params.values[i];
    if (params.is_null()) continue;
    TRY_STATUS(ReadSamplingParams(params, body.sampling_params.many ? fmt::format("sampling_params[{}]", i) : "sampling_params",
                                  body.sampling[i]));
  }
  return body;
}

// Shapes of a batch: which fields must have how many entries.
Status CheckBatch(const GenerateBody& body, const Json& json, const ApiContext& context) {
  TRY_STATUS(RefuseCommonFields(json));
  TRY_STATUS(RefuseFields(json, {"image_data", "video_data", "audio_data", "return_indexer_topk", "return_entropy", "return_bytes"}));
  const int given = int{body.text.set} + int{body.input_ids.set} + int{body.input_embeds.set};
  if (given == 0 || given == 3) return InvalidArgument("Either text, input_ids or input_embeds should be provided.");
  const size_t batch = body.prompts();
  if (batch == 0)
    return InvalidArgument(fmt::format("{} cannot be an empty list.", body.by_text()  ? "text"
                                                                      : body.by_ids() ? "input_ids"
                                                                                      : "input_embeds"));
  if (!body.by_text() && !body.by_ids() && context.backend.info().radix_cache)
    return InvalidArgument("input_embeds: this server was started without --disable-radix-cache.");
  const auto wrong_length = [&](std::string_view name) {
    return InvalidArgument(fmt::format("The length of {} should be equal to the batch size {}.", name, batch));
  };
  if (!body.sampling_params.fits(batch)) return wrong_length("sampling_params");
  if (!body.return_logprob.fits(batch)) return wrong_length("return_logprob");
  if (!body.logprob_start_len.fits(batch)) return wrong_length("logprob_start_len");
  if (!body.top_logprobs_num.fits(batch)) return wrong_length("top_logprobs_num");
  if (!body.token_ids_logprob.fits(batch)) return wrong_length("token_ids_logprob");
  if (!body.rid.fits(batch)) return wrong_length("rid");
  if (!body.session.fits(batch)) return wrong_length("session_params");
  if (!body.return_hidden_states.fits(batch)) return wrong_length("return_hidden_states");
  if (!body.custom_logit_processor.fits(batch)) return wrong_length("custom_logit_processor");
  const int64_t n = body.sampling.front().params.n;
  for (const SamplingAsked& sampling : body.sampling)
    if (sampling.params.n != n) return InvalidArgument("sampling_params: all entries must have the same n.");
  TRY_STATUS(CheckSamples(batch, n));
  const bool per_prompt = body.custom_logit_processor.many || body.return_logprob.many || body.logprob_start_len.many ||
                          body.top_logprobs_num.many || body.token_ids_logprob.many;
  if (n > 1 && per_prompt) return InvalidArgument("Lists of logprob parameters or of custom_logit_processor are not allowed with n > 1.");
  return {};
}

std::vector<std::string> Rids(const GenerateBody& body, size_t prompt, size_t samples, ApiContext& context) {
  if (body.rid.set && body.rid.many) return NumberedRids(body.rid.values[prompt], samples);
  std::vector<std::string> rids;
  if (body.rid.set) {  // one name for all: numbered over the whole batch
    if (!body.batch()) return NumberedRids(body.rid.values[0], samples);
    for (size_t s = 0; s < samples; ++s) rids.push_back(body.rid.values[0] + "_" + std::to_string(prompt * samples + s));
  } else {
    for (size_t s = 0; s < samples; ++s) rids.push_back(context.ids.Next());
  }
  return rids;
}

// Vectors instead of tokens; all ids become 1, as they do for SGLang.
Status SetEmbeds(const std::vector<std::vector<double>>& rows, int64_t width, GenerateRequest& request) {
  if (rows.empty()) return InvalidArgument("input_embeds cannot be empty.");
  auto values = std::make_shared<std::vector<float>>();
  values->reserve(rows.size() * static_cast<size_t>(width));
  for (size_t r = 0; r < rows.size(); ++r) {
    if (static_cast<int64_t>(rows[r].size()) != width)
      return InvalidArgument(fmt::format("input_embeds[{}]: expected {} numbers, got {}.", r, width, rows[r].size()));
    for (const double value : rows[r]) {
      const auto narrow = static_cast<float>(value);
      if (!std::isfinite(narrow)) return InvalidArgument(fmt::format("input_embeds[{}]: {} does not fit into 32 bits.", r, value));
      values->push_back(narrow);
    }
  }
  request.prompt.assign(rows.size(), TokenId{1});
  request.input_embeds = std::move(values);
  return {};
}

// A grammar holds from the first token on unless the client says otherwise; a budget for reasoning says so where the prompt begins it.
bool BeginsAsReasoning(const GenerateBody& body, const GenerateRequest& request, const ApiContext& context) {
  const ReasoningFormat* format = FindReasoningFormat(context.config.reasoning_parser);
  if (format == nullptr) return false;
  return body.require_reasoning || (request.thinking_budget && EndsInReasoning(*format, request.prompt, *context.tokenizer));
}

Result<PromptPlan> PlanPrompt(const GenerateBody& body, size_t i, ApiContext& context) {
  const EngineInfo& info = context.backend.info();
  SamplingAsked asked = body.sampling[body.sampling.size() > 1 ? i : 0];
  PromptPlan plan;
  GenerateRequest& request = plan.request;
  if (body.by_text()) {
    request.prompt = context.EncodePrompt(body.text.values[i], true);
  } else if (body.by_ids()) {
    if (body.input_ids.values[i].empty()) return InvalidArgument("input_ids cannot be empty.");
    TRY(request.prompt, CheckTokenIds(body.input_ids.values[i], info.vocab_size, "input_ids"));
  } else {
    TRY_STATUS(SetEmbeds(body.input_embeds.values[i], info.width, request));
  }
  if (context.config.auto_truncate && request.input_embeds == nullptr) FitLengths(info, request.prompt, asked);
  TRY_STATUS(CheckLengths(static_cast<int64_t>(request.prompt.size()), asked, info.context_length));
  TRY(request.sampling, CheckSamplingParams(asked, info.vocab_size));
  request.return_logprob = body.return_logprob.at(i, false);
  if (request.return_logprob) {
    request.logprob_start_len = body.logprob_start_len.at(i, -1);
    request.top_logprobs_num = body.top_logprobs_num.at(i, 0);
    TRY(request.token_ids_logprob, CheckTokenIds(body.token_ids_logprob.at(i, {}), info.vocab_size, "token_ids_logprob"));
  }
  if (body.session.set) request.session = body.session.at(i, {});
  TRY_STATUS(CheckRequest(request, info));
  if (!request.session && request.logprob_start_len == static_cast<int64_t>(request.prompt.size()))
    request.logprob_start_len = -1;  // nothing of the prompt
  TRY_STATUS(ApplySpecials({body.return_hidden_states.at(i, false), body.custom_logit_processor.at(i, "")}, asked.custom_params, context,
                           request));
  SetThinking(MakeRawFormat(BeginsAsReasoning(body, request, context), context), context, request);
  request.extra_key = body.extra_key;
  request.progress = body.stream && body.include_progress;
  request.priority = body.priority;
  request.routing_key = body.routing_key;
  plan.rids = Rids(body, i, static_cast<size_t>(request.sampling.n), context);
  return plan;
}

Result<std::vector<GenerateRequest>> PlanGenerate(const GenerateBody& body, const Json& json, ApiContext& context,
                                                  const HttpRequest& http) {
  TRY_STATUS(CheckBatch(body, json, context));
  TRY(const std::optional<int> dp_rank, ReadDpRank(json, http, static_cast<int>(context.backend.probes().size())));
  std::vector<PromptPlan> plans;
  for (size_t i = 0; i < body.prompts(); ++i) {
    TRY(PromptPlan plan, PlanPrompt(body, i, context));
    plan.request.dp_rank = dp_rank;
    plans.push_back(std::move(plan));
  }
  return Expand(std::move(plans));
}

class GenerateFlight final : public Flight {
 public:
  GenerateFlight(ApiContext& context, Exchange exchange, FlightOptions options, bool batch, bool texts, bool vertex,
                 const std::vector<GenerateRequest>& requests)
      : Flight(context, std::move(exchange), options),
        batch_(batch),
        texts_(texts),
        vertex_(vertex),
        tokenizer_(context.backend.tokenizer()) {
    for (const GenerateRequest& r : requests)
      samples_.push_back({{},
                          {},
                          {},
                          {},
                          {},
                          r.return_logprob,
                          r.top_logprobs_num > 0,
                          !r.token_ids_logprob.empty(),
                          r.hidden == GenerateRequest::Hidden::kAll});
  }

 private:
  struct Sample {  // everything as JSON already: an event of a cumulative stream is then a copy, not a rewrite
    std::string text, ids;
    NativeLogprobs input, output;
    std::string hidden;  // the prompt's matrix, then a vector per token
    bool logprob, top, token_ids, with_hidden;
  };

  void Take(size_t index, TokenDelta& delta) override {
    Sample& s = samples_[index];
    std::string quoted;
    AppendJsonString(quoted, delta.text);
    s.text.append(quoted, 1, quoted.size() - 2);
    for (const TokenId id : delta.tokens) {
      if (!s.ids.empty()) s.ids += ',';
      AppendJsonNumber(s.ids, int64_t{id});
    }
    AppendHiddenStates(s.hidden, delta.hidden_states);
    if (!s.logprob) return;
    s.input.Append(delta.input_logprobs, *tokenizer_, texts_);
    s.output.Append(delta.output_logprobs, *tokenizer_, texts_);
  }

  void Emit(size_t index) override {
    WriteEvent(Object(index));
    if (!context().config.incremental_streaming_output) return;
    Sample& s = samples_[index];
    s.text.clear();
    s.ids.clear();
    const int64_t count = s.output.count;
    s.output.Clear();
    s.output.count = count;
  }

  std::string Body() override {
    if (!batch_) return Object(0);
    std::string out = vertex_ ? R"({"predictions":[)" : "[";
    for (size_t i = 0; i < size(); ++i) {
      if (i != 0) out += ',';
      out += Object(i);
    }
    return out += vertex_ ? "]}" : "]";
  }

  std::string Object(size_t index) {
    const Sample& s = samples_[index];
    std::string out;
    out.reserve(s.text.size() + s.ids.size() + s.input.tokens.size() + s.output.tokens.size() + 512);
    out += R"({"text":")";
    out += s.text;
    out += R"(","output_ids":[)";
    out += s.ids;
    out += R"(],"meta_info":)";
    AppendMeta(out, index);
    if (batch_ && options().stream) {
      out += R"(,"index":)";
      AppendJsonNumber(out, static_cast<int64_t>(index));
    }
    return out += '}';
  }

  void AppendMeta(std::string& out, size_t index) {
    std::string logprobs;
    if (samples_[index].logprob) AppendLogprobs(logprobs, samples_[index]);
    if (samples_[index].with_hidden) logprobs += R"(,"hidden_states":[)" + samples_[index].hidden + ']';
    AppendMetaInfo(out, context(), progress(index), times(index), logprobs);
  }

  static void AppendLogprobs(std::string& out, const Sample& s) {
    const auto list = [&](std::string_view key, const std::string& items) {
      out += key;
      out += items;
      out += ']';
    };
    list(R"(,"input_token_logprobs":[)", s.input.tokens);
    list(R"(,"output_token_logprobs":[)", s.output.tokens);
    out += R"(,"output_token_logprobs_length":)";
    AppendJsonNumber(out, s.output.count);
    if (s.top) {
      list(R"(,"input_top_logprobs":[)", s.input.top);
      list(R"(,"output_top_logprobs":[)", s.output.top);
    }
    if (s.token_ids) {
      list(R"(,"input_token_ids_logprobs":[)", s.input.token_ids);
      list(R"(,"output_token_ids_logprobs":[)", s.output.token_ids);
    }
  }

  const bool batch_, texts_, vertex_;
  const std::shared_ptr<const Tokenizer> tokenizer_;
  std::vector<Sample> samples_;
};

// /generate opens its stream before it looks at values: a bad one is then an event.
void SendGenerateError(HttpExchange& exchange, const Error& error, bool stream) {
  if (!stream) {
    SendError(exchange, FromError(error, ErrorStyle::kNative));
    return;
  }
  StartSse(exchange);
  WriteSse(exchange, StreamError(error, ErrorStyle::kNative));
  EndSse(exchange);
}

// vertex: a list of replies stands in an object.
void Generate(ApiContext& context, const Exchange& exchange, const Json& json, bool vertex) {
  Result<GenerateBody> body = ParseGenerate(json, context);
  if (!body.ok()) return SendError(*exchange, SchemaErrorReply(body.error().message));
  body->routing_key = RoutingKey(json, exchange->request());
  Result<std::vector<GenerateRequest>> requests = PlanGenerate(*body, json, context, exchange->request());
  if (!requests.ok()) return SendGenerateError(*exchange, requests.error(), body->stream);
  const SamplingParams& first = requests->front().sampling;
  FlightOptions options;
  options.stream = body->stream;
  options.early_header = body->stream;
  options.stream_interval = first.stream_interval.value_or(std::max(context.config.stream_interval, 1));
  options.samples = static_cast<size_t>(first.n);
  options.log_metrics = body->log_metrics;
  options.count_reasoning = true;
  options.include_progress = body->include_progress;
  options.labels = RequestLabels(context, exchange->request(), json);
  const bool batch = body->batch() || first.n > 1;
  const auto flight = std::make_shared<GenerateFlight>(context, exchange, options, batch, body->return_text_in_logprobs, vertex, *requests);
  flight->Launch(*std::move(requests));
}

}  // namespace

void DescribeGenerate(JsonReader& field) {
  GenerateBody body;
  ReadGenerateFields(field, body);
}

void DescribeVertex(JsonReader& field) {
  std::vector<Json> instances;
  field.Required("instances", instances).Nested("parameters", DescribeGenerate);
}

void HandleGenerate(ApiContext& context, const Exchange& exchange) {
  Result<Json> json = ParseJson(exchange->request().body);
  if (!json.ok()) return SendError(*exchange, SchemaErrorReply("Invalid JSON: " + json.error().message));
  Generate(context, exchange, *json, false);
}

void HandleVertexGenerate(ApiContext& context, const Exchange& exchange) {
  Result<Json> json = ParseJson(exchange->request().body);
  if (!json.ok()) return SendError(*exchange, SchemaErrorReply("Invalid JSON: " + json.error().message));
  std::vector<Json> instances;
  Json parameters;
  JsonReader field(*json);
  field.Required("instances", instances).Object("parameters", parameters);
  if (!field.status().ok()) return SendError(*exchange, SchemaErrorReply(field.status().error().message));
  if (instances.empty()) return SendJson(*exchange, 200, "[]");
  Json body = parameters.is_null() ? Json(Json::Object{}) : std::move(parameters);
  for (const char* name : {"text", "input_ids", "input_embeds", "image_data"}) {  // a list of what the instances have under it
    if (instances.front()[name].is_null()) continue;
    if (name != std::string_view("image_data") && (!body["text"].is_null() || !body["input_ids"].is_null())) continue;
    Json::Array values;
    for (const Json& instance : instances) values.push_back(instance[name]);
    body.Set(name, Json(std::move(values)));
  }
  Generate(context, exchange, body, true);
}

}  // namespace sgl
