// Spans of requests for OpenTelemetry: OTLP over HTTP in its JSON form.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "base/json.h"
#include "base/result.h"
#include "serve/id_source.h"

namespace sgl {

struct TraceConfig {
  bool enabled = false;                     // --enable-trace
  std::string endpoint = "localhost:4318";  // host:port, or a URL; without a path: /v1/traces
  int level = 3;                            // 0: nothing; spans above it are left out; SGLANG_TRACE_LEVEL
  int schedule_delay_ms = 500;              // SGLANG_OTLP_EXPORTER_SCHEDULE_DELAY_MILLIS
  int max_batch = 64;                       // SGLANG_OTLP_EXPORTER_MAX_EXPORT_BATCH_SIZE
};

struct Span {
  std::string trace_id, span_id, parent_id;  // hex, 32, 16 and 16 digits; parent "": a root
  std::string name;
  double begin_unix = 0, end_unix = 0;
  Json attributes;  // an object of strings, numbers and booleans
  bool failed = false;
};

// Where a request comes from: the header "traceparent" (https://www.w3.org/TR/trace-context). Nothing in it that is not so counts.
struct TraceParent {
  std::string trace_id, span_id;  // "" if there is none
};
TraceParent ParseTraceParent(std::string_view header);

// The body of an export.
std::string OtlpJson(const std::deque<Span>& spans);

// Sends spans from a thread of its own. A collector that is away or slow costs spans, never time; the first loss is logged.
class SpanExporter {
 public:
  // Errors: the endpoint cannot be one.
  static Status CheckEndpoint(const std::string& endpoint);
  explicit SpanExporter(TraceConfig config);
  ~SpanExporter();  // sends what is left
  SpanExporter(const SpanExporter&) = delete;
  SpanExporter& operator=(const SpanExporter&) = delete;

  bool active() const { return config_.enabled && level_.load(std::memory_order_relaxed) > 0; }
  int level() const { return level_.load(std::memory_order_relaxed); }
  void SetLevel(int level) { level_.store(level); }
  // Thread: any.
  void Add(Span span);
  std::string NewId(int hex_digits);

 private:
  void Work();
  void Send(const std::deque<Span>& spans);

  const TraceConfig config_;
  std::atomic<int> level_;
  IdSource ids_;
  std::mutex mutex_;  // a queue from any thread to one that may block
  std::condition_variable changed_;
  std::deque<Span> spans_;
  bool stopping_ = false, failing_ = false;
  std::thread thread_;
};

}  // namespace sgl
