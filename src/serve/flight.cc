// SPDX-License-Identifier: Apache-2.0
#include "serve/flight.h"

#include <fmt/core.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "base/retry.h"
#include "serve/reply.h"

namespace sgl {

namespace {

// Clients whose library knows no stream_options.include_progress can ask with a header.
FlightOptions WithHeader(FlightOptions options, const HttpRequest& http) {
  const std::string_view asked = FindHeader(http, "x-include-progress");
  options.include_progress = options.include_progress || asked == "1" || asked == "true";
  return options;
}

}  // namespace

Flight::Flight(ApiContext& context, Exchange exchange, FlightOptions options)
    : context_(context), exchange_(std::move(exchange)), options_(WithHeader(options, exchange_->request())) {}

void Flight::Launch(std::vector<GenerateRequest> requests) {
  progress_.resize(requests.size());
  ids_.reserve(requests.size());  // nothing may fail once the stream has begun
  open_ = requests.size();
  WatchOptions watch{.stream = options_.stream, .log_metrics = options_.log_metrics, .openai_body = {}, .labels = options_.labels};
  if (options_.style != ErrorStyle::kNative && context_.journal.active()) watch.openai_body = exchange_->request().body;
  if (watch.labels.is_null()) watch.labels = RequestLabels(context_, exchange_->request(), Json());
  watches_.reserve(requests.size());
  const ReasoningFormat* thinks = options_.count_reasoning ? FindReasoningFormat(context_.config.reasoning_parser) : nullptr;
  if (thinks != nullptr)
    for (const GenerateRequest& request : requests)
      reasoning_.emplace_back(*thinks, !request.think_end.empty() || EndsInReasoning(*thinks, request.prompt, *context_.tokenizer),
                              *context_.tokenizer);
  for (size_t i = 0; i < requests.size(); ++i) {
    progress_[i].rid = requests[i].rid;
    requests[i].progress = requests[i].progress || (options_.stream && options_.include_progress);
    watches_.emplace_back(context_, exchange_->request(), requests[i], watch);
    watch.openai_body.clear();  // once
  }
  // The exchange holds the callback, so the callback must not hold the exchange.
  exchange_->OnClose([weak = weak_from_this()] {
    if (const auto flight = weak.lock()) {
      flight->done_ = true;
      flight->AbortRest();
    }
  });
  if (options_.early_header) {
    Start();
  }
  const auto self = shared_from_this();
  for (size_t i = 0; i < requests.size() && !aborted(); ++i) {
    Result<RequestId> id = Internal("out of memory");
    try {
      id = context_.backend.Submit(std::move(requests[i]),
                                   [self, i, outbox = context_.outbox](TokenDelta delta) { outbox->Push(self, i, std::move(delta)); });
    } catch (const std::exception&) {  // those before it are under way, so the reply is theirs, too
    }
    if (!id.ok()) {
      Retry([&] { context_.outbox->PushRefusal(self, i, id.error()); });
      return;
    }
    {
      std::lock_guard lock(mutex_);
      ids_.push_back(*id);
    }
    if (aborted()) context_.backend.Abort(*id);  // it came in too late for AbortRest
  }
}

bool Flight::aborted() {
  std::lock_guard lock(mutex_);
  return aborted_;
}

// Comments are what every client of server-sent events leaves out.
void Flight::OnProgress(size_t index, int64_t computed_prompt_tokens) {
  if (done_ || !options_.stream) return;
  const bool comments = options_.include_progress && options_.framing != Framing::kLines;
  if (!emits_early() && !comments) return;
  if (!streaming_) Start();
  if (emits_early()) Emit(index);
  if (comments)
    exchange_->Write(fmt::format(": progress {{\"index\":{},\"computed_tokens\":{},\"prompt_tokens\":{}}}\n\n", index,
                                 computed_prompt_tokens, progress_[index].prompt_tokens));
}

void Flight::OnDelta(size_t index, TokenDelta delta) {
  Progress& p = progress_[index];
  if (delta.computed_prompt_tokens) {
    p.prompt_tokens = delta.prompt_tokens;
    return OnProgress(index, *delta.computed_prompt_tokens);
  }
  p.started = true;
  p.prompt_tokens = delta.prompt_tokens;
  p.completion_tokens = delta.completion_tokens;
  p.cached_tokens = delta.cached_tokens;
  p.num_retractions = delta.num_retractions;
  p.e2e_latency_s = delta.e2e_latency_s;
  p.queue_time_s = delta.queue_time_s;
  p.dp_rank = context_.backend.RankOf(delta.id);
  if (!reasoning_.empty()) {
    reasoning_[index].Push(delta.tokens);
    p.reasoning_tokens = reasoning_[index].tokens();
  }
  watches_[index].OnTokens(delta);
  if (delta.finish) {
    p.finish = std::move(delta.finish);
    watches_[index].OnFinish(p);
  }
  if (done_) return;
  Take(index, delta);
  if (p.finish) {
    --open_;
    const bool reported_as_event = options_.stream && options_.style == ErrorStyle::kNative;
    if (std::optional<ErrorReply> failed = FromFinish(*p.finish, options_.style); failed && !reported_as_event) {
      Fail(*std::move(failed), StreamError(*p.finish, options_.style));
      return;
    }
  }
  if (options_.stream) Emission(index);
  if (open_ == 0) Finished();
}

// One event per stream_interval tokens; the first token always goes out alone, the last event always goes out.
void Flight::Emission(size_t index) {
  Progress& p = progress_[index];
  const int64_t k = options_.stream_interval;
  const bool due = p.completion_tokens > 0 && (p.completion_tokens - 1) / k > (p.emitted_tokens - 1) / k;
  if (p.emitted && !p.finish && k > 1 && !due) return;
  if (!streaming_) Start();
  Emit(index);
  p.emitted = true;
  p.emitted_tokens = p.completion_tokens;
}

void Flight::Finished() {
  if (options_.stream) {
    EmitTail();
    End();
  } else {
    SendJson(*exchange_, 200, Body());
  }
  done_ = true;  // last: who fails before gets to say so
}

void Flight::Start() {
  streaming_ = true;
  if (options_.framing == Framing::kLines)
    exchange_->StartStream("application/x-ndjson");
  else
    StartSse(*exchange_);
}

void Flight::End() {
  if (options_.framing == Framing::kSse)
    EndSse(*exchange_);
  else
    exchange_->EndStream();
}

void Flight::OnRefused(size_t, Error error) {
  if (done_) return;
  Fail(FromError(error, options_.style), StreamError(error, options_.style));
}

void Flight::Fail(ErrorReply reply, const std::string& event) {
  Failed(reply);
  if (streaming_) {
    WriteEvent(ErrorEvent(event), "error");
    End();
  } else {
    SendError(*exchange_, std::move(reply));
  }
  done_ = true;
  AbortRest();
}

void Flight::AbortRest() {
  std::vector<RequestId> ids;
  {
    std::lock_guard lock(mutex_);
    aborted_ = true;
    ids = ids_;
  }
  for (const RequestId id : ids) context_.backend.Abort(id);
}

void Flight::WriteEvent(std::string_view json, std::string_view type) {
  switch (options_.framing) {
    case Framing::kSse: return WriteSse(*exchange_, json);
    case Framing::kNamedEvents: return exchange_->Write(fmt::format("event: {}\ndata: {}\n\n", type, json));
    case Framing::kLines: return exchange_->Write(std::string(json) + "\n");
  }
}

Usage Flight::usage() const {
  Usage usage;
  for (size_t i = 0; i < progress_.size(); ++i) {
    if (i % options_.samples == 0) usage.prompt_tokens += progress_[i].prompt_tokens;
    if (i % options_.samples == 0) usage.cached_tokens += progress_[i].cached_tokens;
    usage.completion_tokens += progress_[i].completion_tokens;
  }
  return usage;
}

}  // namespace sgl
