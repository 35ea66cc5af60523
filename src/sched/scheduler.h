// The life of a request: queue, policies, batching, chunked prefill, retraction, abort, deadlines.
// Pure logic: no thread, no clock, no I/O. It works on token ids and pages and knows nothing of text, logits or sinks.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "base/result.h"
#include "kv/kv_cache.h"
#include "sched/request.h"

namespace sgl {

struct SchedConfig {
  int max_running_requests = 64;
  int max_queued_requests = 0;      // 0: unlimited
  int chunked_prefill_size = 2048;  // prompt tokens per step over all requests; -1: whole prompts
  int max_prefill_tokens = 16384;
  std::string schedule_policy = "fcfs";  // see policies.cc
  double schedule_conservativeness = 1.0;
  int context_length = 2048;
  double init_new_token_ratio = 0.7;
  double min_new_token_ratio_factor = 0.14;
  int new_token_ratio_decay_steps = 600;
  int clip_max_new_tokens = 4096;
  double waiting_timeout_s = -1;  // <= 0: off
  double running_timeout_s = -1;
  int test_retract_interval = 0;  // retract one request every so many steps; 0: off (SGLANG_TEST_RETRACT)
};

// What the scheduler has to know of a request.
struct SchedRequest {
  RequestId id{};
  std::vector<TokenId> prompt;
  int64_t max_new_tokens = 0;      // already clipped to the context and the pool by the engine
  std::vector<TokenId> stop_ids;   // eos ids and stop_token_ids; empty with ignore_eos
  int64_t min_new_tokens = 0;      // token stops before it do not count
  int64_t logprob_start_len = -1;  // >= 0: at most that many tokens may come from the cache
  std::string extra_key;
  int64_t priority = 0;
};

// One sequence's share of a step. Spans and pointers stay valid until Commit.
struct PlanRow {
  RequestId id{};
  std::span<const TokenId> tokens;  // to compute now: prompt tokens (prefill, re-prefill) or the last sampled one (decode)
  int32_t first_pos = 0;            // position of tokens[0]
  const PageId* pages = nullptr;    // page table covering positions [0, first_pos + tokens.size())
  bool sample = false;              // false: a prefill chunk with more to come
  bool prefill = false;
  int32_t cached_tokens = 0;  // on the first chunk of the request's first admission: tokens that came from the cache; 0 on every other row
};

struct StepPlan {
  std::vector<PlanRow> rows;
  int64_t tokens = 0;  // sum over rows
  bool empty() const { return rows.empty(); }
};

// One sampled token, in the order of the plan's rows with sample == true. hit: what the engine found beyond token ids:
// a stop string, a stop regex, NaN logits.
struct Sampled {
  TokenId token = 0;
  std::optional<Finish> hit;
};

struct Ended {
  RequestId id{};
  Finish finish;
};

struct SchedStats {
  int running = 0, waiting = 0;
  int64_t used_tokens = 0, total_tokens = 0;  // used = total - free - evictable
  int64_t retractions = 0;
  double new_token_ratio = 0;
};

// Thread: engine. Lives as long as Engine.
class Scheduler {
 public:
  Scheduler(const SchedConfig& config, KvCache& cache);
  ~Scheduler();

  // Into the waiting queue. Error kExhausted: "The request queue is full."; kInvalidArgument: longer than the pool or the context.
  Status Add(SchedRequest request, TimePoint now);

  // Only marks: the request ends in the next Sweep, or in the next Commit if it is in a plan now. It is not computed again. The first
  // reason counts; unknown ids are ignored. A waiting request gets the message "Abort in waiting queue" in place of the plain
  // Finish::Abort("Aborted"); any other finish is passed on as it is.
  void Abort(RequestId id, Finish finish);

  // Ends what was aborted or ran out of time. Call between Commit and Plan.
  std::vector<Ended> Sweep(TimePoint now);

  // Chooses the next step: a prefill step if anything can be prefilled, else a decode step; empty when there is nothing to do.
  // `ended` gets requests that had to end here (out of memory with nobody left to retract). The plan stays valid until Commit.
  const StepPlan& Plan(TimePoint now, std::vector<Ended>& ended);

  // Takes the step's sampled tokens. Returns the requests that ended, in plan order. Order of the checks: spec "stop conditions":
  // pending abort, length (before eos), token stop, then `hit`.
  std::vector<Ended> Commit(std::span<const Sampled> sampled, TimePoint now);

  bool idle() const;  // nothing waiting, nothing running
  SchedStats stats() const;
  int retractions_of(RequestId id) const;  // how often it was retracted; 0 if unknown

  // Every page is free, in the tree, or held by exactly one living request; locks match. Aborts the process if not.
  void CheckInvariants() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The names --schedule-policy accepts.
bool IsSchedulePolicy(std::string_view name);

}  // namespace sgl
