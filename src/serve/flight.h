// One HTTP request while the engine works on it: its sub-requests (prompts times samples), and how their tokens become a reply.
// The kinds of reply (native, completions, chat) derive from it and only write JSON.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "serve/context.h"
#include "serve/error.h"
#include "serve/reasoning_counter.h"
#include "serve/request_watch.h"

namespace sgl {

// Tokens of a whole request, as OpenAI counts them: a prompt once, however many samples it has.
struct Usage {
  int64_t prompt_tokens = 0, completion_tokens = 0, cached_tokens = 0;
};

// How a stream's events look: "data: <json>" and [DONE] at the end; "event: <type>" and "data: <json>"; one JSON a line.
enum class Framing { kSse, kNamedEvents, kLines };

struct FlightOptions {
  Framing framing = Framing::kSse;
  bool stream = false;
  bool early_header = false;  // the 200 goes out before the first token, as /generate does
  ErrorStyle style = ErrorStyle::kNative;
  int stream_interval = 1;
  bool include_progress = false;  // comments in the stream say how far a long prompt has come; the X-Include-Progress header sets it, too
  size_t samples = 1;             // per prompt; sub-request i belongs to prompt i / samples
  bool count_reasoning = false;   // in Progress; a request with think_end begins as reasoning
  bool log_metrics = true;
  Json labels;  // custom metric labels, see RequestLabels; null: those of the header
};

// Thread: http, except Launch. Lives until its last sub-request has ended, held by the sinks.
class Flight : public DeltaTaker, public std::enable_shared_from_this<Flight> {
 public:
  Flight(ApiContext& context, Exchange exchange, FlightOptions options);

  // Hands the requests to the engine; from then on the reply happens by itself. One that the engine refuses ends the whole flight, and
  // so does a client that goes away: what was accepted is aborted. Thread: any, once.
  void Launch(std::vector<GenerateRequest> requests);

  void OnDelta(size_t index, TokenDelta delta) final;
  void OnRefused(size_t index, Error error) final;

 protected:
  // Keep what of a delta is needed later; totals are in progress(index) already.
  virtual void Take(size_t index, TokenDelta& delta) = 0;
  // Stream: write the events for what was taken since the last Emit of this sub-request.
  virtual void Emit(size_t index) = 0;
  // Stream: whether Emit has something to say as soon as the request runs, before its first token.
  virtual bool emits_early() const { return false; }
  // Stream: what follows after every sub-request has ended, before [DONE].
  virtual void EmitTail() {}
  // Stream: the event that ends it in error; `event` is what the style says.
  virtual std::string ErrorEvent(std::string event) { return event; }
  // The flight ends in error; the reply is about to go out.
  virtual void Failed(const ErrorReply&) {}
  // No stream: the body, once all have ended.
  virtual std::string Body() = 0;

  void WriteEvent(std::string_view json, std::string_view type = "");  // type: for kNamedEvents
  const Progress& progress(size_t index) const { return progress_[index]; }
  const RequestTimes& times(size_t index) const { return watches_[index].times(); }
  size_t size() const { return progress_.size(); }
  const FlightOptions& options() const { return options_; }
  Usage usage() const;
  ApiContext& context() const { return context_; }

 private:
  void Emission(size_t index);
  void OnProgress(size_t index, int64_t computed_prompt_tokens);
  void Fail(ErrorReply reply, const std::string& event);
  void Finished();
  void Start();
  void End();
  void AbortRest();
  bool aborted();

  ApiContext& context_;
  const Exchange exchange_;
  const FlightOptions options_;
  std::vector<Progress> progress_;
  std::vector<RequestWatch> watches_;
  std::vector<ReasoningCounter> reasoning_;  // empty: not counted
  size_t open_ = 0;                          // sub-requests without a finish
  bool streaming_ = false;                   // the 200 went out
  bool done_ = false;                        // the reply is complete, or will not be: later deltas are dropped

  std::mutex mutex_;            // Launch (text thread) meets a disconnect (http thread)
  std::vector<RequestId> ids_;  // guarded by mutex_
  bool aborted_ = false;        // guarded by mutex_
};

}  // namespace sgl
