// SPDX-License-Identifier: Apache-2.0
#include "serve/request_watch.h"

#include <algorithm>
#include <utility>

#include "obs/log.h"
#include "serve/describe.h"
#include "serve/reply.h"

namespace sgl {
namespace {

double Since(RequestTimes::Time from, RequestTimes::Time to) { return std::chrono::duration<double>(to - from).count(); }

Json LoggedHeaders(const Journal& journal, const HttpRequest& http) {
  Json out;
  for (const std::string& name : journal.log_headers())
    if (const std::string_view value = FindHeader(http, name); !value.empty()) out.Set(name, value);
  return out;
}

}  // namespace

RequestWatch::RequestWatch(ApiContext& context, const HttpRequest& http, const GenerateRequest& request, const WatchOptions& options)
    : context_(context) {
  const auto now = context.steady_now();
  times_.received = http.received;
  times_.received_unix = context.unix_now() - Since(http.received, now);
  times_.dispatched = times_.first_token = times_.last_token = times_.finished = now;
  const SamplingParams& p = request.sampling;
  structured_ = p.json_schema || p.regex || p.ebnf || p.structural_tag;
  if (context.spans.active()) {
    parent_ = ParseTraceParent(FindHeader(http, "traceparent"));
    sampling_ = request.sampling;
  }
  note_ = NoteRequest(request.rid, static_cast<int64_t>(times_.received_unix * 1000), static_cast<int64_t>(request.prompt.size()));
  if (!options.log_metrics) return;
  metrics_ = &context.probe->requests(context.probe->CustomLabels(options.labels, request.priority));
  if (!context.journal.active()) return;
  entry_ = std::make_unique<JournalEntry>();
  entry_->rid = request.rid;
  entry_->request = DescribeRequest(request, options.stream, *context.backend.tokenizer());
  entry_->headers = LoggedHeaders(context.journal, http);
  entry_->created_unix = times_.received_unix;
  context.journal.Received(*entry_, options.openai_body);
}

void RequestWatch::OnTokens(const TokenDelta& delta) {
  if (entry_ != nullptr) {
    text_ += delta.text;
    for (const TokenId id : delta.tokens) ids_.emplace_back(int64_t{id});
  }
  if (delta.tokens.empty()) return;
  const auto now = context_.steady_now();
  const auto count = static_cast<int64_t>(delta.tokens.size());
  if (!std::exchange(times_.has_token, true)) {
    times_.first_token = now;
    if (metrics_ != nullptr) metrics_->time_to_first_token.Observe(Since(times_.received, now));
  } else if (metrics_ != nullptr) {
    metrics_->inter_token_latency.Observe(Since(times_.last_token, now) / static_cast<double>(count), count);
  }
  times_.last_token = now;
}

void RequestWatch::Count(const Progress& p) {
  RequestMetrics& m = *metrics_;
  m.requests.Add();
  if (structured_) m.structured_requests.Add();
  m.prompt_tokens.Add(static_cast<double>(p.prompt_tokens));
  m.generation_tokens.Add(static_cast<double>(p.completion_tokens));
  m.cached_tokens.Add(static_cast<double>(p.cached_tokens));
  m.e2e_latency.Observe(Since(times_.received, times_.finished));
  m.prompt_length.Observe(static_cast<double>(p.prompt_tokens));
  m.uncached_prompt_length.Observe(static_cast<double>(p.prompt_tokens - p.cached_tokens));
  m.generation_length.Observe(static_cast<double>(p.completion_tokens));
}

// A root and the stages below it: SGLang's names and levels.
void RequestWatch::Trace(const Progress& p) {
  SpanExporter& spans = context_.spans;
  const RequestTimes& t = times_;
  Span root;
  root.trace_id = parent_.trace_id.empty() ? spans.NewId(32) : parent_.trace_id;
  root.span_id = spans.NewId(16);
  root.parent_id = parent_.span_id;
  root.name = "Req " + p.rid.substr(0, 8);
  root.begin_unix = t.received_unix;
  root.end_unix = t.Unix(t.finished);
  root.failed = p.finish->kind == FinishKind::kAbort;
  Json& a = root.attributes;
  a.Set("rid", p.rid).Set("module", "sglang::request").Set("gen_ai.request.id", p.rid);
  a.Set("gen_ai.usage.prompt_tokens", p.prompt_tokens).Set("gen_ai.usage.completion_tokens", p.completion_tokens);
  a.Set("gen_ai.usage.cached_tokens", p.cached_tokens).Set("gen_ai.response.model", context_.backend.info().served_model_name);
  if (sampling_.max_new_tokens) a.Set("gen_ai.request.max_tokens", *sampling_.max_new_tokens);
  a.Set("gen_ai.request.temperature", sampling_.temperature).Set("gen_ai.request.top_p", sampling_.top_p);
  a.Set("gen_ai.latency.e2e", Since(t.received, t.finished));
  if (t.has_token) a.Set("gen_ai.latency.time_to_first_token", Since(t.received, t.first_token));
  std::string reason;
  AppendFinishReason(reason, p.finish);
  a.Set("gen_ai.response.finish_reasons", reason);
  const double dispatched = t.Unix(t.dispatched), scheduled = std::min(dispatched + p.queue_time_s, root.end_unix);
  const double first = std::max(scheduled, t.Unix(t.has_token ? t.first_token : t.finished));
  const auto stage = [&](const char* name, double begin, double end) {
    spans.Add({root.trace_id, spans.NewId(16), root.span_id, name, begin, end, Json(), false});
  };
  stage("tokenize", t.received_unix, dispatched);
  stage("prefill_waiting", dispatched, scheduled);
  if (t.has_token) {
    stage("prefill_forward", scheduled, first);
    stage("decode_forward", first, std::max(first, root.end_unix));
  }
  spans.Add(std::move(root));
}

void RequestWatch::OnFinish(const Progress& p) {
  times_.finished = context_.steady_now();
  if (metrics_ != nullptr) Count(p);
  if (context_.spans.active()) Trace(p);
  NoteEnd(note_, p.completion_tokens,
          p.finish->kind == FinishKind::kStop     ? "stop"
          : p.finish->kind == FinishKind::kLength ? "length"
                                                  : "abort");
  if (context_.config.log_time_stats)
    LOG_INFO(
        "ReqTimeStats(rid={}, input_len={}, cached_input_len={}, output_len={}, type=unified): queue_duration={:.2f}ms, "
        "forward_duration={:.2f}ms, entry_time={:.3f}",
        p.rid, p.prompt_tokens, p.cached_tokens, p.completion_tokens, p.queue_time_s * 1000, (p.e2e_latency_s - p.queue_time_s) * 1000,
        times_.received_unix);
  if (entry_ == nullptr) return;
  std::string meta;
  AppendMetaInfo(meta, context_, p, times_, "");
  Json out;
  out.Set("text", std::move(text_)).Set("output_ids", Json(std::move(ids_)));
  if (Result<Json> parsed = ParseJson(meta); parsed.ok()) out.Set("meta_info", *std::move(parsed));
  context_.journal.Finished(*entry_, out, times_.Unix(times_.finished));
  entry_.reset();
}

void AppendMetaInfo(std::string& out, const ApiContext& context, const Progress& p, const RequestTimes& times, std::string_view logprobs) {
  out += R"({"id":)";
  AppendJsonString(out, p.rid);
  out += R"(,"finish_reason":)";
  AppendFinishReason(out, p.finish);
  const auto integer = [&](std::string_view key, int64_t value) {
    out += key;
    AppendJsonNumber(out, value);
  };
  const auto number = [&](std::string_view key, double value) {
    out += key;
    AppendJsonNumber(out, value);
  };
  integer(R"(,"prompt_tokens":)", p.prompt_tokens);
  out += R"(,"weight_version":)";
  AppendJsonString(out, context.backend.info().weight_version);
  integer(R"(,"num_retractions":)", p.num_retractions);
  integer(R"(,"reasoning_tokens":)", p.reasoning_tokens);
  integer(R"(,"completion_tokens":)", p.completion_tokens);
  integer(R"(,"cached_tokens":)", p.cached_tokens);
  out += R"(,"cached_tokens_details":null,"dp_rank":)";
  if (p.dp_rank)
    AppendJsonNumber(out, int64_t{*p.dp_rank});
  else
    out += "null";
  out += logprobs;
  if (p.finish) {
    number(R"(,"e2e_latency":)", p.e2e_latency_s);
    number(R"(,"queue_time":)", p.queue_time_s);
  }
  if (p.finish || !p.emitted) number(R"(,"response_sent_to_client_ts":)", context.unix_now());
  if (p.finish && context.config.enable_metrics) {
    const double decode_s = Since(times.first_token, times.last_token);
    number(R"(,"request_received_ts":)", times.received_unix);
    number(R"(,"api_server_dispatch_finish_ts":)", times.Unix(times.dispatched));
    number(R"(,"forward_entry_time":)", times.Unix(times.dispatched) + p.queue_time_s);
    if (times.has_token) number(R"(,"prefill_finished_time":)", times.Unix(times.first_token));
    number(R"(,"request_finished_ts":)", times.Unix(context.steady_now()));
    if (p.completion_tokens > 1 && decode_s > 0)
      number(R"(,"decode_throughput":)", static_cast<double>(p.completion_tokens - 1) / decode_s);
  }
  out += '}';
}

Json RequestLabels(const ApiContext& context, const HttpRequest& http, const Json& body) {
  const MetricsConfig& config = context.probe->config();
  if (config.allowed_custom_labels.empty()) return {};
  if (body["custom_labels"].is_object()) return body["custom_labels"];
  const Result<Json> header = ParseJson(FindHeader(http, config.custom_labels_header));
  return header.ok() ? *header : Json();
}

}  // namespace sgl
