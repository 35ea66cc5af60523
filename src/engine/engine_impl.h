// The engine's inside: its messages, its state, its thread. Only engine.cc and engine_control.cc include it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/inbox.h"
#include "base/thread_role.h"
#include "engine/active_request.h"
#include "engine/constraint.h"
#include "engine/engine.h"
#include "engine/load.h"
#include "engine/sessions.h"
#include "engine/step_log.h"
#include "engine/weights_update.h"
#include "grammar/grammar_cache.h"

namespace sgl {

struct SubmitMessage {
  RequestId id;
  std::string rid;
  int64_t load_tokens;  // counted in load_tokens_
  GenerateRequest request;
  Sink sink;
  std::vector<Regex> stop_regex;
  std::shared_ptr<PendingGrammar> grammar;  // null: none asked for
  bool grammar_known = false;               // it had been compiled before
};
// A request whose grammar is being compiled: known to the client, not yet to the scheduler.
struct Compiling {
  SchedRequest request;
  std::shared_ptr<PendingGrammar> grammar;
  bool known = false;
};
struct AbortMessage {
  enum class What { kId, kRid, kAll } what = What::kAll;
  RequestId id{};
  std::string rid;
};
struct FlushMessage {
  TimePoint deadline;
  std::function<void(bool)> done;
};
struct ControlMessage {
  ControlRequest request;
  ControlDone done;
};
struct WakeMessage {};
// This replica's part in an update of the weights.
struct PendingUpdate {
  UpdateWeights asked;
  ControlDone done;
  uint64_t abort_before = 0;  // with asked.abort_all_requests: requests with smaller ids
  bool voted = false;
};
constexpr int kCompileThreads = 1;
using Message = std::variant<WakeMessage, SubmitMessage, AbortMessage, FlushMessage, ControlMessage>;

// The rids of all living requests, of all replicas. Thread: any.
class LivingRids {
 public:
  bool Add(const std::string& rid);  // false: one such is alive
  void Remove(const std::string& rid);
  bool WaitUntilNone(std::chrono::milliseconds timeout);

 private:
  Mutex mutex_;  // not a message: Submit must refuse a duplicate before it returns
  std::unordered_set<std::string> rids_ GUARDED_BY(mutex_);
  std::condition_variable_any none_;
};

// What replicas share besides their weights.
struct ReplicaGroup {
  LivingRids rids;
  Profiler profiler;
};

struct Engine::Impl {
  Impl(const EngineConfig& config, LoadedModel loaded, int rank, std::shared_ptr<ReplicaGroup> group)
      : config_(config),
        rank_(rank),
        group_(std::move(group)),
        loaded_(std::move(loaded)),
        inbox_(static_cast<size_t>(config.max_queued_inbox)),
        scheduler_(std::make_unique<Scheduler>(loaded_.sched, *loaded_.cache)),
        step_log_(config.decode_log_interval, config.log_forward_iters) {
    info_.store(&infos_.emplace_back(loaded_.info));
    next_id_.store(1 + static_cast<uint64_t>(rank));
    name_ = config.dp_size > 1 ? fmt::format(" DP{}", rank) : "";
    std::random_device entropy;
    seed_base_ = config.random_seed ? static_cast<uint64_t>(*config.random_seed) : (uint64_t{entropy()} << 32 | entropy());
    const EngineInfo& info = loaded_.info;
    probe_.max_total_tokens.Set(static_cast<double>(info.max_total_tokens));
    probe_.max_running_reqs.Set(info.max_running_requests);
    probe_.page_size.Set(info.page_size);
    probe_.pages.Set(static_cast<double>(info.max_total_tokens / info.page_size));
    probe_.context_length.Set(static_cast<double>(info.context_length));
    probe_.load_weights_seconds.Set(info.load_weights_s);
    probe_.startup_seconds.Set(info.startup_s);
    if (config.grammar_backend != "none") MakeGrammars();
    thread_ = std::thread([this] { Main(); });
  }

  ~Impl() {
    draining_.store(true);
    stop_.store(true);
    (void)inbox_.Push(WakeMessage{}, true);
    thread_.join();
  }

  void MakeGrammars() {
    vocabulary_ = std::make_shared<const Vocabulary>(*loaded_.tokenizer, loaded_.info.vocab_size, loaded_.info.eos_ids);
    GrammarOptions options;
    options.disable_any_whitespace = config_.constrained_json_disable_any_whitespace;
    if (!options.disable_any_whitespace && !config_.constrained_json_whitespace_pattern.empty())
      options.whitespace_pattern = config_.constrained_json_whitespace_pattern;
    grammars_ = std::make_unique<GrammarCache>(
        [options, vocabulary = vocabulary_](const GrammarKey& key, const std::atomic<bool>* stop) {
          return Grammar::Compile(key, options, vocabulary, stop);
        },
        kCompileThreads);
  }

  // ---- any thread ----
  Result<RequestId> Submit(GenerateRequest request, Sink sink);
  void Post(Message message) { (void)inbox_.Push(std::move(message), true); }
  bool Drain(std::chrono::milliseconds timeout);
  Result<std::shared_ptr<PendingGrammar>> StartGrammar(const SamplingParams& sampling);
  void Forget(const std::string& rid, int64_t load_tokens);  // it has ended

  // ---- engine thread ----
  void Main();
  void HandleInbox() REQUIRES(engine_thread);
  void Handle(Message& message) REQUIRES(engine_thread);
  void Handle(SubmitMessage& message) REQUIRES(engine_thread);
  void Refuse(SubmitMessage& message, const std::exception& error) REQUIRES(engine_thread);
  void Handle(const AbortMessage& message) REQUIRES(engine_thread);
  void Schedule(SchedRequest request) REQUIRES(engine_thread);
  void PollGrammars() REQUIRES(engine_thread);
  std::unique_ptr<OutputConstraint> MakeConstraint(const ActiveRequest& active, std::unique_ptr<Matcher> matcher) const;
  void AbortOne(RequestId id) REQUIRES(engine_thread);
  bool Step() REQUIRES(engine_thread);  // false: nothing to do
  void RunModel(const StepPlan& plan) REQUIRES(engine_thread);
  void AddWanted(int32_t r, const PlanRow& row, const ActiveRequest& active) REQUIRES(engine_thread);
  void NoteProgress(const StepPlan& plan) REQUIRES(engine_thread);
  void Deliver(ActiveRequest& active, std::optional<Finish> finish) REQUIRES(engine_thread);
  void End(const std::vector<Ended>& ended) REQUIRES(engine_thread);
  void StartOver(const char* what) REQUIRES(engine_thread);
  void RecoverFrom(const std::exception& error) REQUIRES(engine_thread);

  // One per ControlRequest; nothing: `done` was kept and is answered later.
  using Answer = std::optional<Result<std::string>>;
  Answer Do(OpenSession& open, ControlDone& done) REQUIRES(engine_thread);
  Answer Do(CloseSession& close, ControlDone& done) REQUIRES(engine_thread);
  Answer Do(PauseGeneration& pause, ControlDone& done) REQUIRES(engine_thread);
  Answer Do(ContinueGeneration& go_on, ControlDone& done) REQUIRES(engine_thread);
  Answer Do(UpdateWeights& update, ControlDone& done) REQUIRES(engine_thread);
  Answer Do(SetWeightVersion& set, ControlDone& done) REQUIRES(engine_thread);
  Answer Do(LimitRunningRequests& limit, ControlDone& done) REQUIRES(engine_thread);
  Answer Do(SlowDown& slow, ControlDone& done) REQUIRES(engine_thread);
  Answer Do(AbortByPrefix& abort, ControlDone& done) REQUIRES(engine_thread);
  void Continue() REQUIRES(engine_thread);
  bool holds_back() const { return paused_ || weights_ready_.load(); }  // newcomers are kept out of the scheduler
  void ReleaseHeld() REQUIRES(engine_thread);
  void ExchangeWeights() REQUIRES(engine_thread);
  Status MayExchangeWeights() REQUIRES(engine_thread);
  void TakeWeights(const std::shared_ptr<const Model>& model, const UpdateWeights& asked) REQUIRES(engine_thread);
  void ChangeInfo(EngineInfo info) REQUIRES(engine_thread) { info_.store(&infos_.emplace_back(std::move(info))); }
  void WhenIdle() REQUIRES(engine_thread);
  void ReapSessions() REQUIRES(engine_thread);
  void CopyState(EngineStats& stats) REQUIRES(engine_thread);
  void PublishStats() REQUIRES(engine_thread);

  const EngineConfig config_;
  const int rank_;
  std::string name_;  // " DP1" in logs and traces; "" if there is one replica
  const std::shared_ptr<ReplicaGroup> group_;
  LoadedModel loaded_;
  SteadyClock clock_;
  Inbox<Message> inbox_;
  uint64_t seed_base_ = 0;

  std::atomic<bool> stop_{false}, draining_{false};
  std::atomic<uint64_t> next_id_{1};
  std::atomic<int64_t> load_requests_{0}, load_tokens_{0};
  mutable Mutex stats_mutex_;  // a snapshot for other threads; copied in and out once a step
  EngineStats stats_ GUARDED_BY(stats_mutex_);

  std::deque<EngineInfo> infos_;  // every version stays: readers keep references, and there are few
  std::atomic<const EngineInfo*> info_{nullptr};
  std::atomic<uint64_t> rounds_{0}, steps_begun_{0};
  std::atomic<bool> busy_{false};

  std::shared_ptr<const Vocabulary> vocabulary_;  // null: --grammar-backend none
  std::unique_ptr<GrammarCache> grammars_;
  std::vector<Compiling> compiling_;
  std::unique_ptr<Scheduler> scheduler_;
  std::unordered_map<uint64_t, std::unique_ptr<ActiveRequest>> active_;
  Sessions sessions_;
  TimePoint last_reap_{};
  bool paused_ = false;
  TimePoint paused_since_{};
  std::vector<std::pair<SchedRequest, TimePoint>> held_;  // accepted, but kept out of the scheduler
  double sleep_per_step_s_ = 0;
  std::optional<PendingUpdate> update_;
  std::atomic<bool> weights_ready_{false};  // the update has weights or an error, or a verdict
  std::vector<FlushMessage> flushes_;
  std::vector<Message> messages_;
  std::vector<LogitsRow> wanted_;
  std::vector<Mat<const float>> embeds_;
  std::vector<std::pair<RequestId, int64_t>> progressed_;  // this step's prompts that are not complete: computed tokens
  std::vector<PrefillProgress> prefilling_;
  std::vector<Sampled> sampled_;
  std::vector<Ended> ended_;
  std::vector<RequestId> stepped_;
  std::vector<std::pair<size_t, size_t>> runs_;  // of wanted rows of one request, within one group of logits
  std::vector<std::exception_ptr> task_errors_;
  StepLog step_log_;
  EngineProbe probe_;
  PriorityGauges priority_gauges_;
  Profiler& profiler_ = group_->profiler;
  bool was_idle_ = false;
  std::thread thread_;  // last: starts when everything else is there
};

}  // namespace sgl
