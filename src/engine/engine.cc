// SPDX-License-Identifier: Apache-2.0
#include "engine/engine.h"

#include <fmt/core.h>
#include <pthread.h>

#include <algorithm>
#include <condition_variable>
#include <random>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <variant>

#include "base/check.h"
#include "base/clock.h"
#include "base/inbox.h"
#include "base/thread_role.h"
#include "engine/active_request.h"
#include "engine/load.h"
#include "engine/step_log.h"
#include "obs/log.h"

namespace sgl {
namespace {

struct SubmitMessage {
  RequestId id;
  GenerateRequest request;
  Sink sink;
  std::vector<Regex> stop_regex;
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
struct WakeMessage {};
using Message = std::variant<WakeMessage, SubmitMessage, AbortMessage, FlushMessage>;

// "<rid>" itself, or a member "<rid>_<index>" of its batch.
bool IsRidOrMember(const std::string& rid, const std::string& asked) {
  if (rid == asked) return true;
  if (rid.size() <= asked.size() + 1 || rid.compare(0, asked.size(), asked) != 0 || rid[asked.size()] != '_') return false;
  return rid.find_first_not_of("0123456789", asked.size() + 1) == std::string::npos;
}

}  // namespace

struct Engine::Impl {
  explicit Impl(const EngineConfig& config, LoadedModel loaded)
      : config_(config),
        loaded_(std::move(loaded)),
        inbox_(static_cast<size_t>(config.max_queued_inbox)),
        scheduler_(loaded_.sched, *loaded_.cache),
        step_log_(config.decode_log_interval) {
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
    thread_ = std::thread([this] { Main(); });
  }

  ~Impl() {
    draining_.store(true);
    stop_.store(true);
    (void)inbox_.Push(WakeMessage{}, true);
    thread_.join();
  }

  // ---- any thread ----
  Result<RequestId> Submit(GenerateRequest request, Sink sink);
  void Post(Message message) { (void)inbox_.Push(std::move(message), true); }
  bool Drain(std::chrono::milliseconds timeout);
  void ForgetRid(const std::string& rid);

  // ---- engine thread ----
  void Main();
  void HandleInbox() REQUIRES(engine_thread);
  void Handle(SubmitMessage message) REQUIRES(engine_thread);
  void Handle(const AbortMessage& message) REQUIRES(engine_thread);
  bool Step() REQUIRES(engine_thread);  // false: nothing to do
  void RunModel(const StepPlan& plan) REQUIRES(engine_thread);
  void AddWanted(int32_t r, const PlanRow& row, const ActiveRequest& active) REQUIRES(engine_thread);
  void NoteProgress(const StepPlan& plan) REQUIRES(engine_thread);
  void End(const std::vector<Ended>& ended) REQUIRES(engine_thread);
  void WhenIdle() REQUIRES(engine_thread);
  void PublishStats() REQUIRES(engine_thread);

  const EngineConfig config_;
  LoadedModel loaded_;
  SteadyClock clock_;
  Inbox<Message> inbox_;
  uint64_t seed_base_ = 0;

  std::atomic<bool> stop_{false}, draining_{false};
  std::atomic<uint64_t> next_id_{1};
  Mutex rids_mutex_;  // not a message: Submit must refuse a duplicate before it returns
  std::unordered_set<std::string> rids_ GUARDED_BY(rids_mutex_);
  std::condition_variable_any all_ended_;
  mutable Mutex stats_mutex_;  // a snapshot for other threads; copied in and out once a step
  EngineStats stats_ GUARDED_BY(stats_mutex_);

  Scheduler scheduler_;
  std::unordered_map<uint64_t, std::unique_ptr<ActiveRequest>> active_;
  std::vector<FlushMessage> flushes_;
  std::vector<Message> messages_;
  std::vector<LogitsRow> wanted_;
  std::vector<Mat<const float>> embeds_;
  std::vector<std::pair<RequestId, int64_t>> progressed_;  // this step's prompts that are not complete: computed tokens
  std::vector<PrefillProgress> prefilling_;
  std::vector<Sampled> sampled_;
  std::vector<Ended> ended_;
  StepLog step_log_;
  EngineProbe probe_;
  bool was_idle_ = false;
  std::thread thread_;  // last: starts when everything else is there
};

Result<RequestId> Engine::Impl::Submit(GenerateRequest request, Sink sink) {
  if (draining_.load()) return Error{Code::kUnavailable, "The server is shutting down."};
  if (request.prompt.empty()) return InvalidArgument("The prompt is empty.");
  for (const TokenId id : request.prompt)
    if (id < 0 || id >= loaded_.info.vocab_size)
      return InvalidArgument(fmt::format("input_ids: token id {} is outside the vocabulary [0, {}).", id, loaded_.info.vocab_size));
  const auto length = static_cast<int64_t>(request.prompt.size());
  if (length > loaded_.info.max_req_input_len)
    return InvalidArgument(
        fmt::format("Input length ({} tokens) exceeds the maximum allowed length ({} tokens). Use a shorter input or enable "
                    "--allow-auto-truncate.",
                    length, loaded_.info.max_req_input_len));
  if (request.logprob_start_len > length)
    return InvalidArgument(fmt::format("logprob_start_len ({}) is larger than the prompt ({} tokens).", request.logprob_start_len, length));
  if (request.input_embeds != nullptr && request.input_embeds->size() != request.prompt.size() * static_cast<size_t>(loaded_.info.width))
    return InvalidArgument(fmt::format("input_embeds: expected {} numbers per token.", loaded_.info.width));
  for (const auto& [token, bias] : request.sampling.logit_bias)
    if (token < 0 || token >= loaded_.info.vocab_size)
      return InvalidArgument(fmt::format("logit_bias must has keys in [0, {}], got {}.", loaded_.info.vocab_size - 1, token));
  std::vector<Regex> stop_regex;
  for (const std::string& pattern : request.sampling.stop_regex) {
    auto regex = Regex::Compile(pattern, RegexSyntax::kPython);
    if (!regex.ok()) return std::move(regex).error().In(fmt::format("stop_regex '{}'", pattern));
    stop_regex.push_back(*std::move(regex));
  }
  const std::string rid = request.rid;
  const RequestId id{next_id_.fetch_add(1)};
  {
    MutexLock lock(rids_mutex_);
    if (!rids_.insert(rid).second) return InvalidArgument(fmt::format("Duplicate request ID detected: {}", rid));
  }
  if (!inbox_.Push(SubmitMessage{id, std::move(request), std::move(sink), std::move(stop_regex)})) {
    ForgetRid(rid);
    return Error{Code::kExhausted, "The request queue is full."};
  }
  return id;
}

void Engine::Impl::ForgetRid(const std::string& rid) {
  MutexLock lock(rids_mutex_);
  rids_.erase(rid);
  if (rids_.empty()) all_ended_.notify_all();
}

bool Engine::Impl::Drain(std::chrono::milliseconds timeout) NO_THREAD_SAFETY_ANALYSIS {
  draining_.store(true);
  std::unique_lock lock(rids_mutex_);
  return all_ended_.wait_for(lock, timeout, [&]() NO_THREAD_SAFETY_ANALYSIS { return rids_.empty(); });
}

void Engine::Impl::Handle(SubmitMessage message) {
  const GenerateRequest& request = message.request;
  const SamplingParams& sampling = request.sampling;
  const auto length = static_cast<int64_t>(request.prompt.size());
  const EngineInfo& info = loaded_.info;

  std::vector<TokenId> stop_ids = sampling.stop_token_ids;
  stop_ids.insert(stop_ids.end(), info.eos_ids.begin(), info.eos_ids.end());
  const int64_t pages = (length + info.page_size - 1) / info.page_size * info.page_size;
  const int64_t room = std::min(info.context_length - length - 1, info.max_total_tokens - pages - info.page_size - 1);
  const int64_t max_new = std::clamp<int64_t>(sampling.max_new_tokens.value_or(int64_t{1} << 30), 0, std::max<int64_t>(room, 0));
  const uint64_t seed =
      sampling.sampling_seed ? static_cast<uint64_t>(*sampling.sampling_seed) : seed_base_ + 0x9E3779B97F4A7C15u * Index(message.id);

  SchedRequest scheduled{.id = message.id,
                         .prompt = request.prompt,
                         .max_new_tokens = max_new,
                         .stop_ids = sampling.ignore_eos ? std::vector<TokenId>{} : stop_ids,
                         .min_new_tokens = sampling.min_new_tokens,
                         .logprob_start_len = request.hidden == GenerateRequest::Hidden::kAll ? 0
                                              : request.return_logprob                        ? request.logprob_start_len
                                                                                              : -1,
                         .extra_key = request.extra_key,
                         .priority = request.priority};
  const TimePoint now = clock_.Now();
  auto active = std::make_unique<ActiveRequest>(message.id, std::move(message.request), std::move(message.sink),
                                                std::move(message.stop_regex), *loaded_.tokenizer,
                                                sampling.ignore_eos ? std::vector<TokenId>{} : std::move(stop_ids), seed, max_new, now);
  active_.emplace(Index(message.id), std::move(active));
  const Status added = scheduler_.Add(std::move(scheduled), now);
  if (added.ok()) return;
  const Error& error = added.error();
  const bool full = error.code == Code::kExhausted;
  End({{message.id, Finish::Abort(error.message, full ? 503 : 400, full ? "ServiceUnavailableError" : "BadRequestError")}});
}

void Engine::Impl::Handle(const AbortMessage& message) {
  if (message.what == AbortMessage::What::kId) {
    scheduler_.Abort(message.id, Finish::Abort("Aborted"));
    return;
  }
  for (const auto& [id, active] : active_)
    if (message.what == AbortMessage::What::kAll || IsRidOrMember(active->request().rid, message.rid))
      scheduler_.Abort(active->id(), Finish::Abort("Aborted"));
}

void Engine::Impl::HandleInbox() {
  inbox_.Drain(messages_);
  for (Message& message : messages_) {
    if (auto* submit = std::get_if<SubmitMessage>(&message)) Handle(std::move(*submit));
    if (auto* abort = std::get_if<AbortMessage>(&message)) Handle(*abort);
    if (auto* flush = std::get_if<FlushMessage>(&message)) flushes_.push_back(std::move(*flush));
  }
  messages_.clear();
}

void Engine::Impl::End(const std::vector<Ended>& ended) {
  for (const Ended& e : ended) {
    const auto found = active_.find(Index(e.id));
    CHECK(found != active_.end());  // one Finish per accepted request
    found->second->Deliver(e.finish, scheduler_.retractions_of(e.id), clock_.Now());
    const std::string rid = found->second->request().rid;
    active_.erase(found);
    ForgetRid(rid);
  }
}

// The rows of this sequence whose logits or hidden states somebody waits for.
void Engine::Impl::AddWanted(int32_t r, const PlanRow& row, const ActiveRequest& active) {
  const ActiveRequest::Range prompt = active.PromptLogitsWanted(row), hidden = active.HiddenWanted(row);
  const int64_t last = row.first_pos + static_cast<int64_t>(row.tokens.size()) - 1;
  const bool sampled = row.sample && active.request().hidden != GenerateRequest::Hidden::kLast;
  const auto in = [](const ActiveRequest::Range& range, int64_t p) { return p >= range.first && p < range.last; };
  int64_t first = last;
  if (prompt.first < prompt.last) first = std::min(first, prompt.first);
  if (hidden.first < hidden.last) first = std::min(first, hidden.first);
  for (int64_t p = first; p <= last; ++p) {
    const bool logits = in(prompt, p) || (sampled && p == last);
    if (logits || in(hidden, p) || (row.sample && p == last)) wanted_.push_back({r, static_cast<int32_t>(p - row.first_pos), logits});
  }
}

void Engine::Impl::RunModel(const StepPlan& plan) {
  wanted_.clear();
  embeds_.clear();
  bool any_embeds = false;
  const TimePoint now = clock_.Now();
  size_t sampling_rows = 0;
  for (size_t r = 0; r < plan.rows.size(); ++r) {
    const PlanRow& row = plan.rows[r];
    ActiveRequest& active = *active_.at(Index(row.id));
    if (const std::optional<Duration> waited = active.OnScheduled(row, now)) {
      probe_.queue_time.Observe(Seconds(*waited));
      if (active.request().progress) active.DeliverProgress(row.first_pos);
    }
    AddWanted(static_cast<int32_t>(r), row, active);
    sampling_rows += row.sample;
    embeds_.push_back(active.embeds(loaded_.info.width));
    any_embeds |= embeds_.back().rows > 0;
  }
  if (!any_embeds) embeds_.clear();
  loaded_.runner->Run(plan, wanted_, embeds_, [&](size_t first, Mat<const float> hidden, Mat<float> logits) {
    const auto vocab = static_cast<size_t>(logits.cols);
    // Prompt log-probabilities of one request come in order, so a request's rows stay on one task.
    std::vector<std::pair<size_t, size_t>> runs;
    const auto count = static_cast<size_t>(logits.rows);
    for (size_t i = 0; i < count; ++i) {
      if (i == 0 || wanted_[first + i].row != wanted_[first + i - 1].row) runs.emplace_back(i, i);
      runs.back().second = i + 1;
    }
    loaded_.pool->Run(static_cast<int>(runs.size()), [&](int task, int) {
      for (size_t i = runs[static_cast<size_t>(task)].first; i < runs[static_cast<size_t>(task)].second; ++i) {
        const LogitsRow at = wanted_[first + i];
        const PlanRow& row = plan.rows[static_cast<size_t>(at.row)];
        ActiveRequest& active = *active_.find(Index(row.id))->second;
        const std::span<float> values(logits.row(static_cast<int64_t>(i)), vocab);
        const bool is_last = at.offset + 1 == static_cast<int32_t>(row.tokens.size());
        const int64_t position = row.first_pos + at.offset;
        if (const ActiveRequest::Range range = active.HiddenWanted(row); position >= range.first && position < range.last)
          active.TakeHidden(position, {hidden.row(static_cast<int64_t>(i)), static_cast<size_t>(hidden.cols)});
        if (row.sample && is_last)
          at.logits ? active.Sample(values) : active.SkipSampling();
        else if (at.logits)
          active.TakePromptLogits(position, values);
      }
    });
  });
  sampled_.clear();
  sampled_.reserve(sampling_rows);
  for (const PlanRow& row : plan.rows)
    if (row.sample) sampled_.push_back(active_.at(Index(row.id))->Decide());
}

bool Engine::Impl::Step() {
  HandleInbox();
  End(scheduler_.Sweep(clock_.Now()));
  ended_.clear();
  const SchedStats before = scheduler_.stats();
  const StepPlan& plan = scheduler_.Plan(clock_.Now(), ended_);
  if (const SchedStats after = scheduler_.stats(); after.retractions > before.retractions)
    LOG_INFO("KV cache pool is full. Retract requests. #retracted_reqs: {}, #new_token_ratio: {:.4f} -> {:.4f}",
             after.retractions - before.retractions, before.new_token_ratio, after.new_token_ratio);
  End(ended_);
  if (plan.empty()) return false;

  const TimePoint begin = clock_.Now();
  RunModel(plan);
  std::vector<RequestId> stepped;
  stepped.reserve(sampled_.size());
  for (const PlanRow& row : plan.rows)
    if (row.sample) stepped.push_back(row.id);
  const TimePoint end = clock_.Now();
  step_log_.Record(plan, scheduler_.stats(), begin, end);
  CountStep(probe_, plan, begin, end);
  NoteProgress(plan);
  const std::vector<Ended> ended = scheduler_.Commit(sampled_, clock_.Now());
  PublishStats();  // before anybody is told: who sees its reply also sees a server without it

  std::unordered_set<uint64_t> finished;
  for (const Ended& e : ended) finished.insert(Index(e.id));
  for (const RequestId id : stepped)
    if (!finished.contains(Index(id))) active_.at(Index(id))->Deliver(std::nullopt, scheduler_.retractions_of(id), clock_.Now());
  for (const auto& [id, computed] : progressed_)
    if (!finished.contains(Index(id)) && active_.at(Index(id))->request().progress) active_.at(Index(id))->DeliverProgress(computed);
  End(ended);
#ifndef NDEBUG
  scheduler_.CheckInvariants();
#endif
  return true;
}

// A step without prompts changes nothing about those that are under way.
void Engine::Impl::NoteProgress(const StepPlan& plan) {
  progressed_.clear();
  if (std::none_of(plan.rows.begin(), plan.rows.end(), [](const PlanRow& row) { return row.prefill; })) return;
  prefilling_.clear();
  for (const PlanRow& row : plan.rows) {
    if (row.sample) continue;
    const GenerateRequest& request = active_.at(Index(row.id))->request();
    const int64_t computed = row.first_pos + static_cast<int64_t>(row.tokens.size());
    progressed_.emplace_back(row.id, computed);
    prefilling_.push_back({request.rid, computed, static_cast<int64_t>(request.prompt.size())});
  }
}

void Engine::Impl::PublishStats() {
  GaugeState(probe_, scheduler_.stats(), *loaded_.cache, step_log_.throughput());
  MutexLock lock(stats_mutex_);
  stats_.sched = scheduler_.stats();
  stats_.last_gen_throughput = step_log_.throughput();
  stats_.tokens_produced += static_cast<int64_t>(sampled_.size());
  sampled_.clear();
  ++stats_.steps;
  stats_.prefilling = prefilling_;
}

void Engine::Impl::WhenIdle() {
  const TimePoint now = clock_.Now();
  const bool idle = scheduler_.idle();
  if (idle && !was_idle_) {
    if (config_.check_when_idle) {
      scheduler_.CheckInvariants();
      loaded_.cache->CheckInvariants();
    }
    CHECK(active_.empty());
    GaugeState(probe_, scheduler_.stats(), *loaded_.cache, 0);
    prefilling_.clear();
    MutexLock lock(stats_mutex_);
    stats_.sched = scheduler_.stats();
    stats_.prefilling.clear();
  }
  was_idle_ = idle;
  for (size_t i = 0; i < flushes_.size();) {
    if (!idle && now < flushes_[i].deadline) {
      ++i;
      continue;
    }
    if (idle) loaded_.cache->Flush();
    flushes_[i].done(idle);
    flushes_.erase(flushes_.begin() + static_cast<std::ptrdiff_t>(i));
  }
}

void Engine::Impl::Main() {
  AssertRole(engine_thread);
  pthread_setname_np(pthread_self(), "engine");
  loaded_.pool->BindCaller();
  while (!stop_.load()) {
    const bool worked = Step();
    if (!worked || !flushes_.empty()) WhenIdle();
    if (!worked && !stop_.load()) {
      // Waiting requests may have deadlines; nothing else changes without a message.
      inbox_.Wait(scheduler_.idle() ? std::chrono::milliseconds(500) : std::chrono::milliseconds(2));
    } else {
      was_idle_ = false;
    }
  }
  HandleInbox();
  for (const auto& [id, active] : active_)
    scheduler_.Abort(active->id(), Finish::Abort("The server is shutting down.", 503, "ServiceUnavailableError"));
  End(scheduler_.Sweep(clock_.Now()));
  CHECK(active_.empty());
  for (FlushMessage& flush : flushes_) flush.done(false);
}

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::~Engine() = default;

Result<std::unique_ptr<Engine>> Engine::Create(EngineConfig config) {
  const TimePoint begin = SteadyClock().Now();
  TRY(LoadedModel loaded, LoadEngineModel(config));
  loaded.info.startup_s = Seconds(SteadyClock().Now() - begin);
  return std::unique_ptr<Engine>(new Engine(std::make_unique<Impl>(config, std::move(loaded))));
}

Result<RequestId> Engine::Submit(GenerateRequest request, Sink sink) { return impl_->Submit(std::move(request), std::move(sink)); }
void Engine::Abort(RequestId id) { impl_->Post(AbortMessage{.what = AbortMessage::What::kId, .id = id, .rid = {}}); }
void Engine::AbortRid(const std::string& rid) { impl_->Post(AbortMessage{.what = AbortMessage::What::kRid, .id = {}, .rid = rid}); }
void Engine::AbortAll() { impl_->Post(AbortMessage{.what = AbortMessage::What::kAll, .id = {}, .rid = {}}); }
void Engine::FlushCache(std::chrono::milliseconds timeout, std::function<void(bool)> done) {
  impl_->Post(FlushMessage{impl_->clock_.Now() + timeout, std::move(done)});
}
bool Engine::Drain(std::chrono::milliseconds timeout) { return impl_->Drain(timeout); }
const EngineInfo& Engine::info() const { return impl_->loaded_.info; }
EngineStats Engine::stats() const {
  MutexLock lock(impl_->stats_mutex_);
  return impl_->stats_;
}
const EngineProbe& Engine::probe() const { return impl_->probe_; }
std::shared_ptr<const Tokenizer> Engine::tokenizer() const { return impl_->loaded_.tokenizer; }
const std::string& Engine::chat_template() const { return impl_->loaded_.chat_template; }

}  // namespace sgl
