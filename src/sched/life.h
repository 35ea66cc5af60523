// Inside of Scheduler: a request's state and the functions that change it. Nothing outside this room includes it.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "sched/policies.h"
#include "sched/scheduler.h"

namespace sgl {

enum class Stage {
  kWaiting,  // in the queue, owns no page and no lock
  kPartial,  // some chunks of its prefill are computed; at most one request
  kRunning,  // decoding
  kEnded,    // reported; about to be forgotten
};

struct LiveRequest {
  RequestId id{};
  Stage stage = Stage::kWaiting;
  std::vector<TokenId> tokens;  // prompt, then output
  size_t prompt_size = 0;
  int64_t max_new = 0, min_new = 0, logprob_start = -1;
  std::vector<TokenId> stop_ids;
  std::string extra_key;

  std::string routing_key;
  int64_t importance = 0;                  // by priority; larger goes first
  PriorityLoad* load = nullptr;            // where it is counted; null: nowhere
  uint64_t arrival = 0;                    // its place in the queue among equals, for life
  TimePoint queued_at{};                   // last entry into the queue
  std::optional<TimePoint> first_forward;  // first time in a plan
  std::optional<Finish> pending;           // aborted, not yet reported
  int retractions = 0;

  uint64_t planned_in = 0;  // the last step it was in

  // What it holds of the cache while partial or running, see Take and Release.
  bool holding = false;
  std::vector<PageId> pages;  // covers positions [0, computed) at least
  int32_t shared = 0;         // the first that many pages are the tree's
  RadixNode* node = nullptr;  // locked
  size_t computed = 0;        // tokens whose K and V are in the pages

  int64_t output() const { return static_cast<int64_t>(tokens.size() - prompt_size); }
  // The last token is always computed, and so is what prompt log-probabilities are wanted for.
  int64_t match_limit() const {
    const int64_t all_but_last = static_cast<int64_t>(tokens.size()) - 1;
    return logprob_start >= 0 && logprob_start < all_but_last ? logprob_start : all_but_last;
  }
};

struct Scheduler::Impl {
  Impl(const SchedConfig& c, KvCache& k);

  const SchedConfig config;
  KvCache& cache;
  const Policy* const policy;
  const double max_ratio, min_ratio;

  std::unordered_map<RequestId, std::unique_ptr<LiveRequest>> requests;
  std::vector<LiveRequest*> waiting;  // see GoesFirst
  std::vector<LiveRequest*> running;  // in the order they began to decode
  LiveRequest* partial = nullptr;
  int64_t waiting_tokens = 0;  // of those in kWaiting
  int waiting_retracted = 0;   // likewise
  std::map<int64_t, PriorityLoad> by_priority;
  int pending_aborts = 0;
  TimePoint oldest_queued = TimePoint::max();  // nobody has waited longer (a bound, refreshed by scans)
  uint64_t arrivals = 0;
  int64_t retractions = 0, test_retractions = 0, retraction_gain = 0, preemptions = 0;
  int max_running;
  double ratio;             // share of the remaining max_new_tokens that running requests are assumed to need
  bool batch_full = false;  // the last attempt to admit hit a limit, and nobody has left since
  bool somebody_ended = false;
  std::vector<std::pair<RequestId, int>> last_ended;  // retractions of those that the last Sweep, Plan or Commit ended

  StepPlan plan;
  std::vector<LiveRequest*> plan_requests;  // of plan.rows
  bool in_flight = false;                   // planned, not committed
  int prefill_rows = 0;                     // of plan
  uint64_t steps = 0;
  // Scratch.
  std::vector<Waiting> policy_queue;
  std::vector<int32_t> policy_order;
  std::vector<LiveRequest*> candidates, victims;

  // scheduler.cc: the life of a request.
  int64_t Importance(std::optional<int64_t> priority) const;
  PriorityLoad* LoadOf(std::optional<int64_t> priority);
  bool MakeRoomInQueue(int64_t importance);
  void Enqueue(LiveRequest& r, TimePoint now);
  void CountWaiting(const LiveRequest& r, int by);
  void Take(LiveRequest& r, PrefixMatch match);
  void Release(LiveRequest& r, bool insert);
  void Share(LiveRequest& r);
  void Retract(LiveRequest& r, TimePoint now);
  void RetractForMemory(LiveRequest& r, TimePoint now);
  void CloseStep();
  void End(LiveRequest& r, Finish finish, std::vector<Ended>& ended, bool insert = true);
  void ForgetEnded();
  void SweepAborts(std::vector<Ended>& ended);
  void SweepTimeouts(TimePoint now, std::vector<Ended>& ended);
  std::optional<Finish> CommitRow(LiveRequest& r, const PlanRow& row, const Sampled* sampled);

  // batching.cc: the choice of a step. These fill plan.
  struct Budget;
  enum class Admission { kAdmitted, kSkipped, kStop };
  void PlanPrefill(TimePoint now, std::vector<Ended>& ended);
  void ContinuePartial(Budget& budget, TimePoint now);
  void AdmitWaiting(Budget& budget, TimePoint now, std::vector<Ended>& ended);
  Admission TryAdmit(LiveRequest& r, Budget& budget, TimePoint now, std::vector<Ended>& ended);
  void PlanDecode(TimePoint now, std::vector<Ended>& ended);
  bool MakeRoomForDecode(TimePoint now, std::vector<Ended>& ended);
  bool MayAdmit() const;
  bool Fits(const LiveRequest& r, const Budget& budget) const;
  bool IsBeingComputed(const LiveRequest& r) const;
  bool MayPreempt(const LiveRequest& r) const;
  bool Preempt(const LiveRequest& r, Budget& budget, TimePoint now);
  void OrderWaiting();
  void AddRow(LiveRequest& r, size_t count, bool prefill, int64_t cached, TimePoint now);

  static bool GoesFirst(const LiveRequest* a, const LiveRequest* b) {
    return a->importance != b->importance ? a->importance > b->importance : a->arrival < b->arrival;
  }
  int64_t page_size() const { return cache.page_size(); }
  int64_t room_pages() const { return int64_t{cache.free_pages()} + cache.evictable_pages(); }
  int64_t PagesFor(int64_t tokens) const { return (tokens + page_size() - 1) / page_size(); }
  int64_t FutureTokens(const LiveRequest& r) const;
  int running_count() const { return static_cast<int>(running.size()) + (partial != nullptr ? 1 : 0); }
};

}  // namespace sgl
