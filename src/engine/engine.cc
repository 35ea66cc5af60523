// SPDX-License-Identifier: Apache-2.0
#include "engine/engine.h"

#include <fmt/core.h>
#include <pthread.h>
#include <signal.h>

#include <algorithm>

#include "base/check.h"
#include "base/retry.h"
#include "engine/engine_impl.h"
#include "obs/log.h"

namespace sgl {
namespace {

// "<rid>" itself, or a member "<rid>_<index>" of its batch.
bool IsRidOrMember(const std::string& rid, const std::string& asked) {
  if (rid == asked) return true;
  if (rid.size() <= asked.size() + 1 || rid.compare(0, asked.size(), asked) != 0 || rid[asked.size()] != '_') return false;
  return rid.find_first_not_of("0123456789", asked.size() + 1) == std::string::npos;
}

Status CheckLength(int64_t length, int64_t logprob_start_len, const EngineInfo& info) {
  if (length > info.max_req_input_len)
    return InvalidArgument(
        fmt::format("Input length ({} tokens) exceeds the maximum allowed length ({} tokens). Use a shorter input or enable "
                    "--allow-auto-truncate.",
                    length, info.max_req_input_len));
  if (logprob_start_len > length)
    return InvalidArgument(fmt::format("logprob_start_len ({}) is larger than the prompt ({} tokens).", logprob_start_len, length));
  return {};
}

}  // namespace

Result<RequestId> Engine::Impl::Submit(GenerateRequest request, Sink sink) {
  if (draining_.load()) return Error{Code::kUnavailable, "The server is shutting down."};
  if (request.prompt.empty()) return InvalidArgument("The prompt is empty.");
  for (const TokenId id : request.prompt)
    if (id < 0 || id >= loaded_.info.vocab_size)
      return InvalidArgument(fmt::format("input_ids: token id {} is outside the vocabulary [0, {}).", id, loaded_.info.vocab_size));
  const auto length = static_cast<int64_t>(request.prompt.size());
  // A session's context comes in front of it later, and is what logprob_start_len counts from.
  TRY_STATUS(CheckLength(length, request.session ? -1 : request.logprob_start_len, loaded_.info));
  if (request.input_embeds != nullptr && request.input_embeds->size() != request.prompt.size() * static_cast<size_t>(loaded_.info.width))
    return InvalidArgument(fmt::format("input_embeds: expected {} numbers per token.", loaded_.info.width));
  if (request.input_embeds != nullptr && request.session)
    return InvalidArgument("input_embeds: a session's context consists of tokens; send it without session_params.");
  for (const auto& [token, bias] : request.sampling.logit_bias)
    if (token < 0 || token >= loaded_.info.vocab_size)
      return InvalidArgument(fmt::format("logit_bias must has keys in [0, {}], got {}.", loaded_.info.vocab_size - 1, token));
  std::vector<Regex> stop_regex;
  for (const std::string& pattern : request.sampling.stop_regex) {
    auto regex = Regex::Compile(pattern, RegexSyntax::kPython);
    if (!regex.ok()) return std::move(regex).error().In(fmt::format("stop_regex '{}'", pattern));
    stop_regex.push_back(*std::move(regex));
  }
  TRY(std::shared_ptr<PendingGrammar> grammar, StartGrammar(request.sampling));
  const std::string rid = request.rid;
  const RequestId id{next_id_.fetch_add(static_cast<uint64_t>(config_.dp_size))};
  if (!group_->rids.Add(rid)) {
    if (grammar) grammars_->Drop(grammar);
    return InvalidArgument(fmt::format("Duplicate request ID detected: {}", rid));
  }
  load_requests_.fetch_add(1, std::memory_order_relaxed);
  load_tokens_.fetch_add(length, std::memory_order_relaxed);
  bool accepted = false;
  const bool known = grammar && grammar->ready();
  try {
    accepted = inbox_.Push(SubmitMessage{id, rid, length, std::move(request), std::move(sink), std::move(stop_regex), grammar, known});
  } catch (const std::bad_alloc&) {
    LOG_WARNING("Request {} refused: out of memory", rid);
  }
  if (!accepted) {
    if (grammar) grammars_->Drop(grammar);
    Forget(rid, length);
    return Error{Code::kExhausted, "The request queue is full."};
  }
  return id;
}

bool LivingRids::Add(const std::string& rid) {
  MutexLock lock(mutex_);
  return rids_.insert(rid).second;
}

void LivingRids::Remove(const std::string& rid) {
  MutexLock lock(mutex_);
  rids_.erase(rid);
  if (rids_.empty()) none_.notify_all();
}

bool LivingRids::WaitUntilNone(std::chrono::milliseconds timeout) NO_THREAD_SAFETY_ANALYSIS {
  std::unique_lock lock(mutex_);
  return none_.wait_for(lock, timeout, [&]() NO_THREAD_SAFETY_ANALYSIS { return rids_.empty(); });
}

void Engine::Impl::Forget(const std::string& rid, int64_t load_tokens) {
  load_requests_.fetch_sub(1, std::memory_order_relaxed);
  load_tokens_.fetch_sub(load_tokens, std::memory_order_relaxed);
  group_->rids.Remove(rid);
}

bool Engine::Impl::Drain(std::chrono::milliseconds timeout) {
  draining_.store(true);
  return group_->rids.WaitUntilNone(timeout);
}

void Engine::Impl::Handle(SubmitMessage& message) {
  const EngineInfo& info = loaded_.info;
  const TimePoint now = clock_.Now();
  std::shared_ptr<SessionNode> node;
  Status status;
  if (message.request.session) {
    std::vector<RequestId> replaced;
    const int64_t logprob_start_len = message.request.logprob_start_len;
    auto joined = sessions_.Join(message.id, message.request, loaded_.tokenizer->bos, now, replaced,
                                 [&](int64_t length) { return CheckLength(length, logprob_start_len, info); });
    if (joined.ok())
      node = *std::move(joined);
    else
      status = joined.error();
    for (const RequestId id : replaced)
      if (active_.contains(Index(id))) AbortOne(id);
  }

  message.request.original_logprob = config_.return_original_logprob;
  const GenerateRequest& request = message.request;
  const SamplingParams& sampling = request.sampling;
  const auto length = static_cast<int64_t>(request.prompt.size());
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
                         .priority = request.priority,
                         .routing_key = request.routing_key};
  auto active =
      std::make_unique<ActiveRequest>(message.id, std::move(message.request), Sink(), std::move(message.stop_regex), *loaded_.tokenizer,
                                      sampling.ignore_eos ? std::vector<TokenId>{} : std::move(stop_ids), seed, max_new, now);
  active->set_session(std::move(node));
  active->set_load_tokens(message.load_tokens);
  active_.emplace(Index(message.id), std::move(active)).first->second->set_sink(std::move(message.sink));
  message.sink = nullptr;
  if (!status.ok()) {
    if (message.grammar) grammars_->Drop(message.grammar);
    End({{message.id, Finish::Abort(status.error().message, 400, "BadRequestError")}});
    return;
  }
  if (message.grammar) {
    probe_.grammars.Add(1);
    if (message.grammar_known) probe_.grammar_cache_hits.Add(1);
    compiling_.push_back({std::move(scheduled), std::move(message.grammar), message.grammar_known});
    return;
  }
  ActiveRequest& kept = *active_.at(Index(message.id));
  const GenerateRequest& asked = kept.request();
  if ((asked.thinking_budget || !asked.think_excluded.empty()) && !asked.think_end.empty()) kept.Constrain(MakeConstraint(kept, nullptr));
  Schedule(std::move(scheduled));
}

std::unique_ptr<OutputConstraint> Engine::Impl::MakeConstraint(const ActiveRequest& active, std::unique_ptr<Matcher> matcher) const {
  std::vector<TokenId> stop_ids = active.request().sampling.stop_token_ids;
  stop_ids.insert(stop_ids.end(), loaded_.info.eos_ids.begin(), loaded_.info.eos_ids.end());
  return std::make_unique<OutputConstraint>(std::move(matcher), active.request().think_end, active.request().thinking_budget,
                                            active.request().think_excluded, std::move(stop_ids), loaded_.info.vocab_size);
}

// To the scheduler, or to those who are held back.
void Engine::Impl::Schedule(SchedRequest request) {
  const TimePoint now = clock_.Now();
  if (holds_back()) {
    held_.emplace_back(std::move(request), now);
    return;
  }
  const RequestId id = request.id;
  const Status added = scheduler_->Add(std::move(request), now);
  if (added.ok()) return;
  const Error& error = added.error();
  const bool unavailable = error.code == Code::kExhausted || error.code == Code::kUnavailable;
  End({{id, Finish::Abort(error.message, unavailable ? 503 : 400, unavailable ? "ServiceUnavailableError" : "BadRequestError")}});
}

// Requests whose grammar has become ready go to the scheduler, or end with what is wrong with it.
void Engine::Impl::PollGrammars() {
  for (size_t i = 0; i < compiling_.size();) {
    if (!compiling_[i].grammar->ready()) {
      ++i;
      continue;
    }
    Compiling ready = std::move(compiling_[i]);
    compiling_.erase(compiling_.begin() + static_cast<std::ptrdiff_t>(i));
    const RequestId id = ready.request.id;
    const Result<std::shared_ptr<const Grammar>>& result = ready.grammar->result();
    if (!ready.known) probe_.grammar_compile.Observe(ready.grammar->compile_ms() / 1000);
    if (!result.ok()) {
      probe_.grammars_aborted.Add(1);
      const bool ours = result.error().code == Code::kInternal;  // no memory
      End({{id, Finish::Abort(
                    fmt::format("Failed to compile {} grammar: {}", GrammarKindName(ready.grammar->key().kind), result.error().message),
                    ours ? 500 : 400, ours ? "InternalServerError" : "BadRequestError")}});
      continue;
    }
    ActiveRequest& active = *active_.at(Index(id));
    active.Constrain(MakeConstraint(active, (*result)->NewMatcher()));
    Schedule(std::move(ready.request));
  }
  probe_.grammar_queue_reqs.Set(static_cast<double>(compiling_.size()));
}

// The key of the grammar that a request asks for, as SGLang orders them.
Result<std::shared_ptr<PendingGrammar>> Engine::Impl::StartGrammar(const SamplingParams& sampling) {
  const std::pair<GrammarKind, const std::optional<std::string>*> asked[] = {{GrammarKind::kJsonSchema, &sampling.json_schema},
                                                                             {GrammarKind::kRegex, &sampling.regex},
                                                                             {GrammarKind::kEbnf, &sampling.ebnf},
                                                                             {GrammarKind::kStructuralTag, &sampling.structural_tag}};
  for (const auto& [kind, text] : asked) {
    if (!*text) continue;
    if (!grammars_)
      return InvalidArgument(
          "Grammar-based generation (json_schema, regex, ebnf, structural_tag) is not supported when the server is launched with grammar "
          "backend none");
    return grammars_->Get({kind, **text}, [this] { Post(WakeMessage{}); });
  }
  return std::shared_ptr<PendingGrammar>();
}

// The scheduler only marks it; one that it does not know yet ends at once.
void Engine::Impl::AbortOne(RequestId id) {
  const auto at = std::find_if(compiling_.begin(), compiling_.end(), [&](const Compiling& c) { return c.request.id == id; });
  if (at != compiling_.end()) {
    grammars_->Drop(at->grammar);
    probe_.grammars_aborted.Add(1);
    compiling_.erase(at);
    End({{id, Finish::Abort("Aborted by AbortReq.")}});
    return;
  }
  const auto held = std::find_if(held_.begin(), held_.end(), [&](const auto& entry) { return entry.first.id == id; });
  if (held == held_.end()) return scheduler_->Abort(id, Finish::Abort("Aborted"));
  held_.erase(held);
  End({{id, Finish::Abort("Abort in waiting queue")}});
}

void Engine::Impl::Handle(const AbortMessage& message) {
  std::vector<RequestId> ids;  // first: AbortOne may take an entry out of active_
  if (message.what == AbortMessage::What::kId)
    ids.push_back(message.id);
  else
    for (const auto& [id, active] : active_)
      if (message.what == AbortMessage::What::kAll || IsRidOrMember(active->request().rid, message.rid)) ids.push_back(active->id());
  for (const RequestId id : ids) AbortOne(id);
}

// It could not be taken; the client is told all the same.
void Engine::Impl::Refuse(SubmitMessage& message, const std::exception& error) {
  active_.erase(Index(message.id));
  if (message.grammar) grammars_->Drop(message.grammar);
  Retry([&] {
    TokenDelta delta;
    delta.id = message.id;
    delta.finish = Finish::Abort(fmt::format("The request could not be taken: {}", error.what()), 500, "InternalServerError");
    delta.e2e_latency_s = 1e-9;
    message.sink(std::move(delta));
  });
  message.sink = nullptr;
  Forget(message.rid, message.load_tokens);
}

void Engine::Impl::Handle(Message& message) {
  if (auto* submit = std::get_if<SubmitMessage>(&message)) {
    try {
      Handle(*submit);
    } catch (const std::exception& e) {
      if (submit->sink == nullptr) throw;  // it came as far as active_
      Refuse(*submit, e);
    }
  }
  if (const auto* abort = std::get_if<AbortMessage>(&message)) Handle(*abort);
  if (auto* flush = std::get_if<FlushMessage>(&message)) flushes_.push_back(std::move(*flush));
  if (auto* control = std::get_if<ControlMessage>(&message)) {
    Answer answer = Internal("out of memory");
    try {
      answer = std::visit([&](auto& request) REQUIRES(engine_thread) { return Do(request, control->done); }, control->request);
    } catch (const std::exception& e) {
      LOG_ERROR("A control request failed: {}", e.what());
    }
    if (answer && control->done) control->done(*std::move(answer));
  }
}

void Engine::Impl::HandleInbox() {
  inbox_.Drain(messages_);
  std::exception_ptr failed;
  for (Message& message : messages_) {
    try {
      Handle(message);
    } catch (...) {  // the others must not be lost
      failed = std::current_exception();
    }
  }
  messages_.clear();
  if (failed != nullptr) std::rethrow_exception(failed);
}

void Engine::Impl::Deliver(ActiveRequest& active, std::optional<Finish> finish) {
  const int64_t before = active.output_tokens();
  active.Deliver(std::move(finish), scheduler_->retractions_of(active.id()), clock_.Now());
  load_tokens_.fetch_add(active.output_tokens() - before, std::memory_order_relaxed);
}

void Engine::Impl::End(const std::vector<Ended>& ended) {
  for (const Ended& e : ended) {
    const auto found = active_.find(Index(e.id));
    CHECK(found != active_.end());  // one Finish per accepted request
    Deliver(*found->second, e.finish);
    const std::unique_ptr<ActiveRequest> gone = std::move(found->second);
    active_.erase(found);
    Forget(gone->request().rid, gone->load_tokens());
  }
}

// Something outside the model threw, memory most likely: what the scheduler believes may be half done. Everybody ends with an error, and
// the bookkeeping starts anew with an empty cache; the server lives on.
void Engine::Impl::StartOver(const char* what) {
  LOG_ERROR("Scheduler hit an exception: {}. All requests end with an error.", what);
  scheduler_->Abandon();
  loaded_.cache = std::make_unique<KvCache>(loaded_.cache->total_pages(), loaded_.cache->page_size(), loaded_.cache->uses_tree());
  scheduler_ = std::make_unique<Scheduler>(loaded_.sched, *loaded_.cache);
  held_.clear();
  for (const Compiling& c : compiling_) grammars_->Drop(c.grammar);
  compiling_.clear();
  const Finish finish = Finish::Abort(fmt::format("The scheduler had to start over: {}", what), 500, "InternalServerError");
  while (!active_.empty()) {
    const auto found = active_.begin();
    Deliver(*found->second, finish);
    const std::unique_ptr<ActiveRequest> gone = std::move(found->second);
    active_.erase(found);
    Forget(gone->request().rid, gone->load_tokens());
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
      if (profiler_.active()) profiler_.Overlapping("waiting " + active.request().rid, "queue", now - *waited, now);
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
    std::vector<std::pair<size_t, size_t>>& runs = runs_;
    runs.clear();
    const auto count = static_cast<size_t>(logits.rows);
    for (size_t i = 0; i < count; ++i) {
      if (i == 0 || wanted_[first + i].row != wanted_[first + i - 1].row) runs.emplace_back(i, i);
      runs.back().second = i + 1;
    }
    const auto sample = [&](size_t task) {
      for (size_t i = runs[task].first; i < runs[task].second; ++i) {
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
    };
    task_errors_.assign(runs.size(), nullptr);  // an exception may not leave a compute thread
    loaded_.pool->Run(static_cast<int>(runs.size()), [&](int task, int) {
      try {
        sample(static_cast<size_t>(task));
      } catch (...) {
        task_errors_[static_cast<size_t>(task)] = std::current_exception();
      }
    });
    for (const std::exception_ptr& error : task_errors_)
      if (error != nullptr) std::rethrow_exception(error);
  });
  sampled_.clear();
  sampled_.reserve(sampling_rows);
  for (const PlanRow& row : plan.rows)
    if (row.sample) sampled_.push_back(active_.at(Index(row.id))->Decide());
}

bool Engine::Impl::Step() {
  const TimePoint step_begin = clock_.Now();
  PollGrammars();
  if (paused_) {
    End(scheduler_->SweepAborts());
    return false;
  }
  End(scheduler_->Sweep(clock_.Now()));
  ended_.clear();
  const SchedStats before = scheduler_->stats();
  const StepPlan& plan = scheduler_->Plan(clock_.Now(), ended_);
  const SchedStats after = scheduler_->stats();
  LogRetractions(before, after);
  if (after.preemptions > before.preemptions)
    LOG_INFO("{} running request(s) gave way to a higher priority", after.preemptions - before.preemptions);
  End(ended_);
  if (plan.empty()) return false;

  steps_begun_.fetch_add(1, std::memory_order_relaxed);
  if (sleep_per_step_s_ > 0) std::this_thread::sleep_for(std::chrono::duration<double>(sleep_per_step_s_));
  const bool profiled = profiler_.active();
  const bool prefills = std::any_of(plan.rows.begin(), plan.rows.end(), [](const PlanRow& row) { return row.prefill; });
  const char* what = prefills ? "prefill" : "decode";
  const Json about = profiled ? Json().Set("sequences", static_cast<int64_t>(plan.rows.size())).Set("tokens", plan.tokens) : Json();
  const TimePoint begin = clock_.Now();
  try {
    RunModel(plan);
  } catch (const std::exception& e) {
    LOG_ERROR("A step with {} request(s) failed: {}", plan.rows.size(), e.what());
    for (const PlanRow& row : plan.rows) active_.at(Index(row.id))->DropChoice();
    sampled_.clear();
    End(scheduler_->FailStep(
        Finish::Abort(fmt::format("The step that computed this request failed: {}", e.what()), 500, "InternalServerError")));
    return true;
  }
  stepped_.clear();
  for (const PlanRow& row : plan.rows)
    if (row.sample) stepped_.push_back(row.id);
  const TimePoint end = clock_.Now();
  step_log_.Record(plan, scheduler_->stats(), begin, end);
  CountStep(probe_, plan, begin, end);
  NoteProgress(plan);
  const std::vector<Ended> ended = scheduler_->Commit(sampled_, clock_.Now());
  PublishStats();  // before anybody is told: who sees its reply also sees a server without it

  for (const RequestId id : stepped_)
    if (scheduler_->knows(id)) Deliver(*active_.at(Index(id)), std::nullopt);
  for (const auto& [id, computed] : progressed_)
    if (scheduler_->knows(id) && active_.at(Index(id))->request().progress) active_.at(Index(id))->DeliverProgress(computed);
  End(ended);
  if (profiled) {
    const std::string track = "engine" + name_;
    profiler_.Event(what, track, step_begin, clock_.Now(), about);
    profiler_.Event("plan", track, step_begin, begin);
    profiler_.Event("run", track, begin, end);
    profiler_.Event("commit and deliver", track, end, clock_.Now());
  }
  profiler_.StepDone();
  if (config_.check_when_busy) scheduler_->CheckInvariants();
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

void Engine::Impl::CopyState(EngineStats& stats) {
  stats.sched = scheduler_->stats();
  stats.sched.waiting += static_cast<int>(held_.size());
  for (const auto& [request, since] : held_) {
    stats.sched.waiting_tokens += static_cast<int64_t>(request.prompt.size());
    stats.sched.pending_tokens += static_cast<int64_t>(request.prompt.size());
  }
  stats.held = static_cast<int64_t>(held_.size());
  probe_.paused_reqs.Set(static_cast<double>(held_.size()));
  stats.compiling = static_cast<int64_t>(compiling_.size());
  stats.paused = paused_;
  stats.prefilling = prefilling_;
}

void Engine::Impl::PublishStats() {
  GaugeState(probe_, scheduler_->stats(), *loaded_.cache, step_log_.throughput());
  priority_gauges_.Set(probe_, *scheduler_);
  MutexLock lock(stats_mutex_);
  CopyState(stats_);
  stats_.last_gen_throughput = step_log_.throughput();
  stats_.tokens_produced += static_cast<int64_t>(sampled_.size());
  sampled_.clear();
  ++stats_.steps;
}

void Engine::Impl::WhenIdle() {
  const TimePoint now = clock_.Now();
  const bool idle = scheduler_->idle() && held_.empty() && compiling_.empty();
  if (idle && !was_idle_) {
    if (config_.check_when_idle) {
      scheduler_->CheckInvariants();
      loaded_.cache->CheckInvariants();
    }
    CHECK(active_.empty());
    GaugeState(probe_, scheduler_->stats(), *loaded_.cache, 0);
    priority_gauges_.Set(probe_, *scheduler_);
    prefilling_.clear();
  }
  if (!was_idle_ || paused_) {
    MutexLock lock(stats_mutex_);
    CopyState(stats_);
  }
  was_idle_ = idle;
  const bool flushable = idle || (paused_ && !scheduler_->holds_pages());
  for (size_t i = 0; i < flushes_.size();) {
    if (!flushable && now < flushes_[i].deadline) {
      ++i;
      continue;
    }
    if (flushable) loaded_.cache->Flush();
    if (flushable && grammars_) grammars_->Flush();
    flushes_[i].done(flushable);
    flushes_.erase(flushes_.begin() + static_cast<std::ptrdiff_t>(i));
  }
}

// Now and then, however busy the engine is: contexts of sessions that are closed take memory.
void Engine::Impl::ReapSessions() {
  const TimePoint now = clock_.Now();
  if (now - last_reap_ <= std::chrono::seconds(1)) return;
  last_reap_ = now;
  sessions_.Reap(now);
}

void Engine::Impl::RecoverFrom(const std::exception& error) {
  Retry([&]() REQUIRES(engine_thread) { StartOver(error.what()); });
}

void Engine::Impl::Main() {
  AssertRole(engine_thread);
  pthread_setname_np(pthread_self(), "engine");
  SetLogPrefix(name_);
  loaded_.pool->BindCaller();
  while (!stop_.load()) {
    bool worked = false;
    rounds_.fetch_add(1, std::memory_order_relaxed);
    busy_.store(true, std::memory_order_relaxed);
    try {
      HandleInbox();
      if (paused_ && draining_.load()) Continue();  // a shutdown must not wait for somebody to call /continue_generation
      if (weights_ready_.load()) ExchangeWeights();
      ReapSessions();
      worked = Step();
      if (!worked || !flushes_.empty()) WhenIdle();
    } catch (const std::exception& e) {
      RecoverFrom(e);
    }
    busy_.store(false, std::memory_order_relaxed);
    if (!worked && !stop_.load()) {
      // Waiting requests may have deadlines; nothing else changes without a message.
      inbox_.Wait(scheduler_->idle() || paused_ ? std::chrono::milliseconds(500) : std::chrono::milliseconds(2));
    } else {
      was_idle_ = false;
    }
  }
  try {
    HandleInbox();
  } catch (const std::exception& e) {
    RecoverFrom(e);
  }
  const Finish bye = Finish::Abort("The server is shutting down.", 503, "ServiceUnavailableError");
  for (const Compiling& c : std::exchange(compiling_, {})) {
    grammars_->Drop(c.grammar);
    End({{c.request.id, bye}});
  }
  for (const auto& [request, since] : std::exchange(held_, {})) End({{request.id, bye}});
  for (const auto& [id, active] : active_) scheduler_->Abort(active->id(), bye);
  End(scheduler_->SweepAborts());
  CHECK(active_.empty());
  for (FlushMessage& flush : flushes_) flush.done(false);
  if (const std::optional<PendingUpdate> update = std::exchange(update_, {})) {
    const Error stopping{Code::kUnavailable, "The server is shutting down."};
    update->asked.shared->Leave(rank_, stopping);
    update->done(stopping);
  }
}

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::~Engine() = default;

Result<std::unique_ptr<Engine>> Engine::Create(EngineConfig config) {
  config.dp_size = 1;
  TRY(std::vector<std::unique_ptr<Engine>> engines, CreateReplicas(std::move(config)));
  return std::move(engines.front());
}

Result<std::vector<std::unique_ptr<Engine>>> Engine::CreateReplicas(EngineConfig config) {
  CHECK(config.dp_size >= 1);
  const TimePoint begin = SteadyClock().Now();
  TRY(std::vector<LoadedModel> replicas, LoadReplicas(config));
  const auto group = std::make_shared<ReplicaGroup>();
  std::vector<std::unique_ptr<Engine>> engines;
  for (int rank = 0; rank < config.dp_size; ++rank) {
    LoadedModel& loaded = replicas[static_cast<size_t>(rank)];
    loaded.info.startup_s = Seconds(SteadyClock().Now() - begin);
    engines.emplace_back(new Engine(std::make_unique<Impl>(config, std::move(loaded), rank, group)));
  }
  return engines;
}

Result<RequestId> Engine::Submit(GenerateRequest request, Sink sink) { return impl_->Submit(std::move(request), std::move(sink)); }
void Engine::Abort(RequestId id) { impl_->Post(AbortMessage{.what = AbortMessage::What::kId, .id = id, .rid = {}}); }
void Engine::AbortRid(const std::string& rid) { impl_->Post(AbortMessage{.what = AbortMessage::What::kRid, .id = {}, .rid = rid}); }
void Engine::AbortAll() { impl_->Post(AbortMessage{.what = AbortMessage::What::kAll, .id = {}, .rid = {}}); }
void Engine::FlushCache(std::chrono::milliseconds timeout, std::function<void(bool)> done) {
  impl_->Post(FlushMessage{impl_->clock_.Now() + timeout, std::move(done)});
}
bool Engine::Drain(std::chrono::milliseconds timeout) { return impl_->Drain(timeout); }
void Engine::Control(ControlRequest request, ControlDone done) { impl_->Post(ControlMessage{std::move(request), std::move(done)}); }
const EngineInfo& Engine::info() const { return *impl_->info_.load(); }
EngineBeat Engine::beat() const {
  return {impl_->rounds_.load(std::memory_order_relaxed), impl_->steps_begun_.load(std::memory_order_relaxed),
          impl_->busy_.load(std::memory_order_relaxed)};
}
EngineLoad Engine::load() const {
  return {impl_->load_requests_.load(std::memory_order_relaxed), impl_->load_tokens_.load(std::memory_order_relaxed)};
}
void Engine::Crash() { pthread_kill(impl_->thread_.native_handle(), SIGABRT); }
EngineStats Engine::stats() const {
  MutexLock lock(impl_->stats_mutex_);
  return impl_->stats_;
}
const EngineProbe& Engine::probe() const { return impl_->probe_; }
Profiler& Engine::profiler() { return impl_->profiler_; }
std::shared_ptr<const Tokenizer> Engine::tokenizer() const { return impl_->loaded_.tokenizer; }
const std::string& Engine::chat_template() const { return impl_->loaded_.chat_template; }

}  // namespace sgl
