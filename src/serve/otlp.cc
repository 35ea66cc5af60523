// SPDX-License-Identifier: Apache-2.0
#include "serve/otlp.h"

#include <fmt/core.h>

#include <random>
#include <utility>

#include "obs/log.h"
#include "serve/http_client.h"

namespace sgl {
namespace {

constexpr size_t kMaxWaiting = 65536;  // spans that wait for a collector
constexpr std::chrono::milliseconds kPatience{5000};

Result<HttpUrl> EndpointUrl(const std::string& endpoint) {
  const bool is_url = endpoint.find("://") != std::string::npos;
  Result<HttpUrl> url = ParseHttpUrl(is_url ? endpoint : "http://" + endpoint);
  if (url.ok() && url->target == "/") url->target = "/v1/traces";
  return url;
}

bool IsHex(std::string_view text) { return text.find_first_not_of("0123456789abcdef") == std::string_view::npos; }
bool IsZero(std::string_view text) { return text.find_first_not_of('0') == std::string_view::npos; }

std::string Nanoseconds(double unix_seconds) { return fmt::format("{}", static_cast<int64_t>(unix_seconds * 1e9)); }

Json Attribute(const std::string& key, const Json& value) {
  Json typed;
  if (value.is_bool())
    typed.Set("boolValue", value);
  else if (value.is_int())
    typed.Set("intValue", std::to_string(value.as_int()));  // 64 bits are text in JSON
  else if (value.is_double())
    typed.Set("doubleValue", value);
  else
    typed.Set("stringValue", value.is_string() ? value : Json(DumpJson(value)));
  return Json().Set("key", key).Set("value", std::move(typed));
}

Json SpanJson(const Span& span) {
  Json::Array attributes;
  if (span.attributes.is_object())
    for (const auto& [key, value] : span.attributes.as_object()) attributes.push_back(Attribute(key, value));
  Json out = Json().Set("traceId", span.trace_id).Set("spanId", span.span_id);
  if (!span.parent_id.empty()) out.Set("parentSpanId", span.parent_id);
  out.Set("name", span.name).Set("kind", span.parent_id.empty() ? 2 : 1);  // a server's, or inside it
  out.Set("startTimeUnixNano", Nanoseconds(span.begin_unix)).Set("endTimeUnixNano", Nanoseconds(span.end_unix));
  return out.Set("attributes", Json(std::move(attributes))).Set("status", Json().Set("code", span.failed ? 2 : 0));
}

}  // namespace

TraceParent ParseTraceParent(std::string_view header) {
  if (header.size() < 55 || header[2] != '-' || header[35] != '-' || header[52] != '-') return {};
  const std::string_view version = header.substr(0, 2), trace = header.substr(3, 32), span = header.substr(36, 16);
  if (!IsHex(version) || version == "ff" || !IsHex(trace) || IsZero(trace) || !IsHex(span) || IsZero(span)) return {};
  if (version == "00" && header.size() != 55) return {};
  return {std::string(trace), std::string(span)};
}

std::string OtlpJson(const std::deque<Span>& spans) {
  Json::Array list;
  for (const Span& span : spans) list.push_back(SpanJson(span));
  const Json scope = Json().Set("scope", Json().Set("name", "sglang server")).Set("spans", Json(std::move(list)));
  const Json resource = Json().Set("attributes", Json::Array{Attribute("service.name", Json("sglang"))});
  const Json group = Json().Set("resource", resource).Set("scopeSpans", Json::Array{scope});
  return DumpJson(Json().Set("resourceSpans", Json::Array{group}));
}

Status SpanExporter::CheckEndpoint(const std::string& endpoint) {
  Result<HttpUrl> url = EndpointUrl(endpoint);
  return url.ok() ? Status() : std::move(url).error();
}

SpanExporter::SpanExporter(TraceConfig config)
    : config_(std::move(config)), level_(config_.level), ids_(uint64_t{std::random_device{}()} << 32 | std::random_device{}()) {
  if (config_.enabled) thread_ = std::thread([this] { Work(); });
}

SpanExporter::~SpanExporter() {
  if (!thread_.joinable()) return;
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

std::string SpanExporter::NewId(int hex_digits) { return ids_.Next().substr(0, static_cast<size_t>(hex_digits)); }

void SpanExporter::Add(Span span) {
  std::lock_guard lock(mutex_);
  if (stopping_ || !config_.enabled) return;
  if (spans_.size() >= kMaxWaiting) spans_.pop_front();
  spans_.push_back(std::move(span));
  if (spans_.size() >= static_cast<size_t>(config_.max_batch)) changed_.notify_all();
}

void SpanExporter::Work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait_for(lock, std::chrono::milliseconds(config_.schedule_delay_ms),
                      [&] { return stopping_ || spans_.size() >= static_cast<size_t>(config_.max_batch); });
    while (!spans_.empty()) {
      std::deque<Span> batch;
      while (!spans_.empty() && batch.size() < static_cast<size_t>(config_.max_batch)) {
        batch.push_back(std::move(spans_.front()));
        spans_.pop_front();
      }
      lock.unlock();
      Send(batch);
      lock.lock();
      if (stopping_ && failing_) return;  // nobody there: do not keep the process from ending
    }
    if (stopping_) return;
  }
}

void SpanExporter::Send(const std::deque<Span>& spans) {
  const Result<HttpUrl> url = EndpointUrl(config_.endpoint);
  if (!url.ok()) return;
  HttpClient client(url->host, url->port, {.connect_timeout = kPatience, .io_timeout = kPatience});
  const Result<HttpReplyData> reply = client.Request("POST", url->target, {{"content-type", "application/json"}}, OtlpJson(spans));
  const bool ok = reply.ok() && reply->status >= 200 && reply->status < 300;
  if (!ok && !failing_)
    LOG_WARNING("{}: traces cannot be delivered: {}", config_.endpoint,
                reply.ok() ? fmt::format("HTTP {}", reply->status) : reply.error().message);
  failing_ = !ok;
}

}  // namespace sgl
