// One sub-request seen by operators: its times, its metrics, its lines in the journal. Replies are none of its business.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "obs/crash_report.h"
#include "serve/context.h"

namespace sgl {

// One sub-request's progress: totals of its latest delta.
struct Progress {
  std::string rid;
  bool started = false;  // a delta has come
  std::optional<Finish> finish;
  int64_t prompt_tokens = 0, completion_tokens = 0, cached_tokens = 0, num_retractions = 0;
  int64_t reasoning_tokens = 0;  // with FlightOptions::count_reasoning
  double e2e_latency_s = 0, queue_time_s = 0;
  std::optional<int> dp_rank;  // nothing: one replica
  int64_t emitted_tokens = 0;  // completion_tokens when its last event went out
  bool emitted = false;
};

// Unix times are received_unix plus the difference of steady times: a clock that is set does not bend latencies.
struct RequestTimes {
  using Time = std::chrono::steady_clock::time_point;
  Time received, dispatched, first_token, last_token, finished;
  double received_unix = 0;
  bool has_token = false;
  double Unix(Time time) const { return received_unix + std::chrono::duration<double>(time - received).count(); }
};

struct WatchOptions {
  bool stream = false, log_metrics = true;
  std::string openai_body;  // as received, for the request log; "": a native request
  Json labels;              // RequestLabels
};

// Thread: http after construction. `context` outlives it.
class RequestWatch {
 public:
  RequestWatch(ApiContext& context, const HttpRequest& http, const GenerateRequest& request, const WatchOptions& options);

  void OnTokens(const TokenDelta& delta);
  void OnFinish(const Progress& progress);
  const RequestTimes& times() const { return times_; }

 private:
  void Count(const Progress& progress);
  void Trace(const Progress& progress);
  ApiContext& context_;
  RequestMetrics* metrics_ = nullptr;  // null: log_metrics is false
  RequestTimes times_;
  bool structured_ = false;
  TraceParent parent_;
  SamplingParams sampling_;  // what spans say of it
  CrashNote note_;
  std::unique_ptr<JournalEntry> entry_;  // null: nobody wants it
  std::string text_;
  Json::Array ids_;
};

// meta_info as POST /generate gives it. `logprobs`: members to insert, each with a comma in front.
void AppendMetaInfo(std::string& out, const ApiContext& context, const Progress& progress, const RequestTimes& times,
                    std::string_view logprobs);

// Custom metric labels that a request asks for: from the body of native requests, else from the header. null: none.
Json RequestLabels(const ApiContext& context, const HttpRequest& http, const Json& body);

}  // namespace sgl
