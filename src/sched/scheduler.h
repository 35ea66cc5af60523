// The life of a request: queue, policies, batching, chunked prefill, retraction, abort, deadlines.
// Pure logic: no thread, no clock, no I/O. It works on token ids and pages and knows nothing of text, logits or sinks.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <limits>
#include <map>
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
  int retract_decode_steps = 20;
  int clip_max_new_tokens = 4096;
  double waiting_timeout_s = -1;  // <= 0: off
  double running_timeout_s = -1;
  bool enable_mixed_chunk = false;          // prefill steps take the running requests along
  int prefill_max_requests = 0;             // requests in one prefill step; 0: no limit
  bool enable_priority_scheduling = false;  // the rest of the priority options needs it
  bool disable_priority_preemption = false;
  bool schedule_low_priority_values_first = false;
  bool abort_on_priority_when_disabled = false;
  std::optional<int64_t> default_priority_value;  // nothing: behind everybody
  int64_t priority_scheduling_preemption_threshold = 10;
  uint64_t random_seed = 0;                                        // of schedule_policy random
  int test_retract_interval = 0;                                   // retract one request every so many steps; 0: off (SGLANG_TEST_RETRACT)
  int test_retract_max_running = std::numeric_limits<int>::max();  // with it: no prefill while more than so many are running
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
  std::optional<int64_t> priority;
  std::string routing_key;
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

// How many with one priority value.
struct PriorityLoad {
  int running = 0, waiting = 0;
};

struct SchedStats {
  int running = 0, waiting = 0;
  int retracted = 0;                          // of those that wait: sent back to the queue at least once
  int64_t waiting_tokens = 0;                 // prompts, and outputs so far, of those that wait
  int64_t pending_tokens = 0;                 // waiting_tokens, and what the next steps will compute of a prompt under way
  int64_t used_tokens = 0, total_tokens = 0;  // used = total - free - evictable
  int64_t retractions = 0;                    // for want of memory, by RetractAll and for tests
  int64_t test_retractions = 0;               // of those: only because test_retract_interval asks for it
  int64_t retraction_gain = 0;                // tokens of KV cache that they made available
  int64_t preemptions = 0;                    // for somebody with a higher priority
  double new_token_ratio = 0;
};

// Thread: engine. Lives as long as Engine.
class Scheduler {
 public:
  Scheduler(const SchedConfig& config, KvCache& cache);
  ~Scheduler();

  // Into the waiting queue. Error kExhausted: "The request queue is full."; kUnavailable: a priority where there are none, see
  // abort_on_priority_when_disabled; kInvalidArgument: longer than the pool or the context.
  // With priorities a newcomer takes the place of the least important one in a full queue, which then ends in the next Sweep.
  Status Add(SchedRequest request, TimePoint now);

  // Only marks: the request ends in the next Sweep, or in the next Commit if it is in a plan now. It is not computed again. The first
  // reason counts; unknown ids are ignored. A waiting request gets the message "Abort in waiting queue" in place of the plain
  // Finish::Abort("Aborted"); any other finish is passed on as it is.
  void Abort(RequestId id, Finish finish);

  // Ends what was aborted or ran out of time. Call between Commit and Plan.
  std::vector<Ended> Sweep(TimePoint now);
  // The part of Sweep that knows no time: while the engine is paused.
  std::vector<Ended> SweepAborts();

  // Everybody who is partial or running goes back to the queue without pages, keeping the tokens so far. Between Commit and Plan.
  void RetractAll(TimePoint now);

  // Chooses the next step: a prefill step if anything can be prefilled, else a decode step; empty when there is nothing to do.
  // `ended` gets requests that had to end here (out of memory with nobody left to retract). The plan stays valid until Commit.
  const StepPlan& Plan(TimePoint now, std::vector<Ended>& ended);

  // Takes the step's sampled tokens. Returns the requests that ended, in plan order. Order of the checks: spec "stop conditions":
  // pending abort, length (before eos), token stop, then `hit`.
  std::vector<Ended> Commit(std::span<const Sampled> sampled, TimePoint now);

  // In place of Commit when the step could not be computed: everybody in the plan ends like this, and nothing of the step is kept.
  std::vector<Ended> FailStep(const Finish& finish);

  // At most so many running from now on, at least 1; who is running may stay. The configured value bounds it.
  void LimitRunning(int most);

  // Time that counts for no deadline has passed: the engine was paused.
  void ForgiveTime(Duration pause);
  // After an exception that left the state half done: forgets everything without giving pages back. Only good for being destroyed.
  void Abandon();

  bool idle() const;               // nothing waiting, nothing running
  bool knows(RequestId id) const;  // waiting, partial or running
  bool holds_pages() const;        // somebody is partial or running
  SchedStats stats() const;
  // By priority, where there are priorities: every value that came, or stood in for none, since the start, the first hundred of them.
  const std::map<int64_t, PriorityLoad>& priorities() const;
  // How often it was retracted. Also of those that the last Sweep, Plan or Commit ended; 0 if unknown.
  int retractions_of(RequestId id) const;

  // Every page is free, in the tree, or held by exactly one living request; locks match. Aborts the process if not.
  void CheckInvariants() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The names --schedule-policy accepts, and which of them go with priorities.
bool IsSchedulePolicy(std::string_view name);
bool PolicyKnowsPriority(std::string_view name);

}  // namespace sgl
