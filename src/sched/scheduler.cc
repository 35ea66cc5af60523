// SPDX-License-Identifier: Apache-2.0
#include "sched/scheduler.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "sched/life.h"

namespace sgl {
namespace {

// What Engine::Abort passes when the client gives no reason of its own. In the queue it gets the message SGLang uses there.
bool IsPlainAbort(const Finish& finish) {
  return finish.kind == FinishKind::kAbort && finish.message == "Aborted" && finish.status_code == 0 && finish.err_type.empty();
}

// NaN logits, found by the engine. Their K and V must not serve anybody else.
bool IsNan(const Sampled* sampled) {
  if (sampled == nullptr || !sampled->hit) return false;
  const auto* matched = std::get_if<std::string>(&sampled->hit->matched);
  return matched != nullptr && *matched == "NaN happened";
}

Finish Stop(TokenId token) {
  Finish finish;
  finish.matched = token;
  return finish;
}

Finish Length(int64_t length) {
  Finish finish;
  finish.kind = FinishKind::kLength;
  finish.length = length;
  return finish;
}

}  // namespace

Scheduler::Impl::Impl(const SchedConfig& c, KvCache& k)
    : config(c),
      cache(k),
      policy(FindPolicy(c.schedule_policy)),
      max_ratio(std::min(c.init_new_token_ratio * c.schedule_conservativeness, 1.0)),
      min_ratio(max_ratio * c.min_new_token_ratio_factor),
      max_running(c.max_running_requests),
      ratio(max_ratio) {
  CHECK(policy != nullptr && (policy->knows_priority || !config.enable_priority_scheduling) && "schedule_policy was not validated");
  CHECK(config.max_running_requests > 0 && config.max_prefill_tokens > 0 &&
        (config.chunked_prefill_size == -1 || config.chunked_prefill_size > 0));
}

// A priority as a number of which the larger goes first; no difference of two overflows.
int64_t Scheduler::Impl::Importance(std::optional<int64_t> priority) const {
  constexpr int64_t kMost = int64_t{1} << 61;
  if (!config.enable_priority_scheduling) return 0;
  if (!priority) priority = config.default_priority_value;
  if (!priority) return -kMost;
  const int64_t value = std::clamp(*priority, -kMost, kMost);
  return config.schedule_low_priority_values_first ? -value : value;
}

// The count for one priority; null: it has none, or there are too many.
PriorityLoad* Scheduler::Impl::LoadOf(std::optional<int64_t> priority) {
  constexpr size_t kMost = 100;  // clients choose the values
  if (!priority) priority = config.default_priority_value;
  if (!config.enable_priority_scheduling || !priority) return nullptr;
  const auto found = by_priority.find(*priority);
  if (found != by_priority.end()) return &found->second;
  return by_priority.size() < kMost ? &by_priority[*priority] : nullptr;
}

// False: the queue is full, and nobody in it has to make way for a newcomer of this importance. Retracted requests never have to.
bool Scheduler::Impl::MakeRoomInQueue(int64_t importance) {
  if (config.max_queued_requests <= 0 || waiting.size() < static_cast<size_t>(config.max_queued_requests)) return true;
  const auto leaving = std::count_if(waiting.begin(), waiting.end(), [](const LiveRequest* r) { return r->pending.has_value(); });
  if (waiting.size() - static_cast<size_t>(leaving) < static_cast<size_t>(config.max_queued_requests)) return true;
  const auto may_leave = [&](const LiveRequest* r) { return !r->pending && r->retractions == 0 && r->importance < importance; };
  const auto worst = std::find_if(waiting.rbegin(), waiting.rend(), may_leave);
  if (worst == waiting.rend()) return false;
  (*worst)->pending = Finish::Abort("The request is aborted by a higher priority request.", 503);
  ++pending_aborts;
  return true;
}

// Into the queue, at its place: a retracted request goes in front of those that came after it.
void Scheduler::Impl::Enqueue(LiveRequest& r, TimePoint now) {
  r.stage = Stage::kWaiting;
  CountWaiting(r, 1);
  r.queued_at = now;
  oldest_queued = std::min(oldest_queued, now);
  waiting.insert(std::upper_bound(waiting.begin(), waiting.end(), &r, GoesFirst), &r);
}

// It enters (1) or leaves (-1) Stage::kWaiting.
void Scheduler::Impl::CountWaiting(const LiveRequest& r, int by) {
  waiting_tokens += by * static_cast<int64_t>(r.tokens.size());
  if (r.retractions > 0) waiting_retracted += by;
  if (r.load == nullptr) return;
  r.load->waiting += by;
  r.load->running -= by;  // counted as running while it is outside of the queue
}

// Makes a match the request's own, so that its pages stay.
void Scheduler::Impl::Take(LiveRequest& r, PrefixMatch match) {
  CHECK(!r.holding);
  r.holding = true;
  cache.Lock(match.node);
  r.node = match.node;
  r.shared = static_cast<int32_t>(match.pages.size());
  r.computed = static_cast<size_t>(match.tokens);
  r.pages = std::move(match.pages);
}

// Gives back everything that the request holds of the cache: the only way pages leave it. insert: what is computed goes into the tree.
void Scheduler::Impl::Release(LiveRequest& r, bool insert) {
  CHECK(r.holding && "pages released twice");
  r.holding = false;
  if (insert && cache.uses_tree()) {
    cache.Insert(std::span<const TokenId>(r.tokens).first(r.computed), r.extra_key, r.pages, r.shared);
    r.shared = static_cast<int32_t>(static_cast<int64_t>(r.computed) / page_size());
  }
  cache.Return(std::span<const PageId>(r.pages).subspan(static_cast<size_t>(r.shared)));
  cache.Unlock(r.node);
  r.pages.clear();
  r.node = nullptr;
  r.shared = 0;
  r.computed = 0;
}

// Lets others use what is computed so far; the request keeps it locked.
void Scheduler::Impl::Share(LiveRequest& r) {
  if (!cache.uses_tree()) return;
  RadixNode* node = cache.Insert(std::span<const TokenId>(r.tokens).first(r.computed), r.extra_key, r.pages, r.shared);
  r.shared = static_cast<int32_t>(static_cast<int64_t>(r.computed) / page_size());
  cache.Lock(node);
  cache.Unlock(r.node);
  r.node = node;
}

// Back to the queue without its pages; the tokens stay. Removes it from partial or running.
void Scheduler::Impl::Retract(LiveRequest& r, TimePoint now) {
  Release(r, /*insert=*/false);
  ++r.retractions;
  if (partial == &r) {
    partial = nullptr;
  } else {
    CHECK(std::erase(running, &r) == 1);
  }
  batch_full = false;
  Enqueue(r, now);
}

// The same for the sake of its pages, which is counted.
void Scheduler::Impl::RetractForMemory(LiveRequest& r, TimePoint now) {
  const int64_t before = room_pages();
  Retract(r, now);
  ++retractions;
  retraction_gain += (room_pages() - before) * page_size();
}

// The one end of every request. It stays in the lists, marked, until ForgetEnded. insert: what is computed may serve others.
void Scheduler::Impl::End(LiveRequest& r, Finish finish, std::vector<Ended>& ended, bool insert) {
  CHECK(r.stage != Stage::kEnded && "ended twice");
  if (r.holding) Release(r, insert);
  if (r.pending) --pending_aborts;
  if (r.stage == Stage::kWaiting) CountWaiting(r, -1);
  if (r.load != nullptr) --r.load->running;
  r.stage = Stage::kEnded;
  somebody_ended = true;
  last_ended.emplace_back(r.id, r.retractions);
  batch_full = false;
  ended.push_back({r.id, std::move(finish)});
}

void Scheduler::Impl::ForgetEnded() {
  if (!std::exchange(somebody_ended, false)) return;
  const auto is_ended = [](const LiveRequest* r) { return r->stage == Stage::kEnded; };
  std::erase_if(waiting, is_ended);
  std::erase_if(running, is_ended);
  if (partial != nullptr && is_ended(partial)) partial = nullptr;
  std::erase_if(requests, [&](const auto& entry) { return is_ended(entry.second.get()); });
}

Scheduler::Scheduler(const SchedConfig& config, KvCache& cache) : impl_(std::make_unique<Impl>(config, cache)) {}

// What is still alive gives its pages back: the cache outlives the scheduler.
Scheduler::~Scheduler() {
  for (auto& [id, r] : impl_->requests) {
    if (r->holding) impl_->Release(*r, /*insert=*/false);
  }
}

Status Scheduler::Add(SchedRequest request, TimePoint now) {
  Impl& m = *impl_;
  CHECK(request.max_new_tokens >= 0);
  if (request.prompt.empty()) return InvalidArgument("The prompt is empty.");
  const auto length = static_cast<int64_t>(request.prompt.size());
  if (length > m.config.context_length) return InvalidArgument("The prompt is longer than the context.");
  if (m.PagesFor(length) > m.cache.total_pages()) return InvalidArgument("The prompt is longer than the KV cache pool.");
  if (request.priority && !m.config.enable_priority_scheduling && m.config.abort_on_priority_when_disabled)
    return Error{Code::kUnavailable, "Using priority is disabled for this server. Please send a new request without a priority."};
  const int64_t importance = m.Importance(request.priority);
  if (!m.MakeRoomInQueue(importance)) return Error{Code::kExhausted, "The request queue is full."};
  auto [it, is_new] = m.requests.try_emplace(request.id, std::make_unique<LiveRequest>());
  CHECK(is_new && "request id used twice");
  LiveRequest& r = *it->second;
  r.id = request.id;
  r.tokens = std::move(request.prompt);
  r.prompt_size = r.tokens.size();
  r.max_new = request.max_new_tokens;
  r.min_new = request.min_new_tokens;
  r.logprob_start = request.logprob_start_len;
  r.stop_ids = std::move(request.stop_ids);
  r.extra_key = std::move(request.extra_key);
  r.routing_key = std::move(request.routing_key);
  r.importance = importance;
  r.load = m.LoadOf(request.priority);
  if (r.load != nullptr) ++r.load->running;  // until it is in the queue
  r.arrival = ++m.arrivals;
  m.Enqueue(r, now);
  return {};
}

void Scheduler::Abort(RequestId id, Finish finish) {
  const auto it = impl_->requests.find(id);
  if (it == impl_->requests.end() || it->second->pending) return;
  it->second->pending = std::move(finish);
  ++impl_->pending_aborts;
}

void Scheduler::Impl::SweepAborts(std::vector<Ended>& ended) {
  if (pending_aborts == 0) return;
  const auto end = [&](LiveRequest* r) {
    if (r == nullptr || !r->pending) return;
    Finish finish = *r->pending;
    if (r->stage == Stage::kWaiting && IsPlainAbort(finish)) finish.message = "Abort in waiting queue";
    End(*r, std::move(finish), ended);
  };
  std::for_each(running.begin(), running.end(), end);
  end(partial);
  std::for_each(waiting.begin(), waiting.end(), end);
  CHECK(pending_aborts == 0);
}

void Scheduler::Impl::SweepTimeouts(TimePoint now, std::vector<Ended>& ended) {
  if (config.running_timeout_s > 0) {
    for (LiveRequest* r : running) {
      if (r->stage != Stage::kEnded && Seconds(now - *r->first_forward) > config.running_timeout_s) {
        End(*r, Finish::Abort("Request running timeout reached.", 503), ended);
      }
    }
  }
  if (config.waiting_timeout_s <= 0 || waiting.empty() || Seconds(now - oldest_queued) <= config.waiting_timeout_s) return;
  oldest_queued = TimePoint::max();
  for (LiveRequest* r : waiting) {
    if (r->stage == Stage::kEnded) continue;
    if (Seconds(now - r->queued_at) > config.waiting_timeout_s) {
      End(*r, Finish::Abort("Request waiting timeout reached.", 503), ended);
    } else {
      oldest_queued = std::min(oldest_queued, r->queued_at);
    }
  }
}

std::vector<Ended> Scheduler::Sweep(TimePoint now) {
  CHECK(!impl_->in_flight && "Sweep between Plan and Commit");
  std::vector<Ended> ended;
  impl_->last_ended.clear();
  impl_->SweepAborts(ended);
  impl_->SweepTimeouts(now, ended);
  impl_->ForgetEnded();
  return ended;
}

std::vector<Ended> Scheduler::SweepAborts() {
  CHECK(!impl_->in_flight && "SweepAborts between Plan and Commit");
  std::vector<Ended> ended;
  impl_->last_ended.clear();
  impl_->SweepAborts(ended);
  impl_->ForgetEnded();
  return ended;
}

void Scheduler::RetractAll(TimePoint now) {
  Impl& m = *impl_;
  CHECK(!m.in_flight && "RetractAll between Plan and Commit");
  if (m.partial != nullptr) m.RetractForMemory(*m.partial, now);
  while (!m.running.empty()) m.RetractForMemory(*m.running.back(), now);
}

// Takes one computed row; sampled is nullptr for a chunk with more to come. The finish, if the request ends here.
std::optional<Finish> Scheduler::Impl::CommitRow(LiveRequest& r, const PlanRow& row, const Sampled* sampled) {
  r.computed = static_cast<size_t>(row.first_pos) + row.tokens.size();
  if (sampled != nullptr && r.max_new > 0) r.tokens.push_back(sampled->token);
  if (r.pending) return *r.pending;
  if (sampled == nullptr) return std::nullopt;
  if (r.output() >= r.max_new) return Length(r.max_new);
  // After NaN the token is a stand-in, often a stop id. The sampler masks stop ids while fewer than min_new tokens exist, so the first that
  // may stop is number min_new + 1.
  const bool may_stop = r.output() > r.min_new;
  if (!IsNan(sampled) && may_stop && std::find(r.stop_ids.begin(), r.stop_ids.end(), sampled->token) != r.stop_ids.end())
    return Stop(sampled->token);
  return sampled->hit;
}

std::vector<Ended> Scheduler::Commit(std::span<const Sampled> sampled, TimePoint) {
  Impl& m = *impl_;
  std::vector<Ended> ended;
  m.last_ended.clear();
  size_t next = 0;
  for (size_t i = 0; i < m.plan.rows.size(); ++i) {
    const PlanRow& row = m.plan.rows[i];
    LiveRequest& r = *m.plan_requests[i];
    const Sampled* s = nullptr;
    if (row.sample) {
      CHECK(next < sampled.size() && "a sampled token per row with sample");
      s = &sampled[next++];
    }
    std::optional<Finish> finish = m.CommitRow(r, row, s);
    if (finish) {
      m.End(r, *std::move(finish), ended, /*insert=*/!IsNan(s));
    } else if (row.prefill) {
      m.Share(r);
    }
  }
  CHECK(next == sampled.size() && "a sampled token per row with sample");
  m.CloseStep();
  return ended;
}

void Scheduler::Impl::CloseStep() {
  plan.rows.clear();
  plan.tokens = 0;
  plan_requests.clear();
  prefill_rows = 0;
  in_flight = false;
  ForgetEnded();
}

std::vector<Ended> Scheduler::FailStep(const Finish& finish) {
  Impl& m = *impl_;
  CHECK(m.in_flight && "FailStep without Plan");
  std::vector<Ended> ended;
  m.last_ended.clear();
  for (LiveRequest* r : m.plan_requests) m.End(*r, r->pending ? *r->pending : finish, ended, /*insert=*/false);
  m.CloseStep();
  return ended;
}

void Scheduler::LimitRunning(int most) {
  CHECK(most > 0);
  impl_->max_running = std::min(most, impl_->config.max_running_requests);
  impl_->batch_full = false;
}

void Scheduler::ForgiveTime(Duration pause) {
  for (auto& [id, r] : impl_->requests) {
    r->queued_at += pause;
    if (r->first_forward) *r->first_forward += pause;
  }
}

void Scheduler::Abandon() { impl_->requests.clear(); }

bool Scheduler::knows(RequestId id) const { return impl_->requests.contains(id); }
bool Scheduler::idle() const { return impl_->requests.empty(); }
bool Scheduler::holds_pages() const { return impl_->running_count() > 0; }

SchedStats Scheduler::stats() const {
  const Impl& m = *impl_;
  SchedStats s;
  s.running = m.running_count();
  s.waiting = static_cast<int>(m.waiting.size());
  s.retracted = m.waiting_retracted;
  s.waiting_tokens = s.pending_tokens = m.waiting_tokens;
  if (m.partial != nullptr) {
    s.pending_tokens += static_cast<int64_t>(m.partial->tokens.size() - m.partial->computed);
    for (size_t i = 0; i < m.plan.rows.size(); ++i)
      if (m.plan_requests[i] == m.partial) s.pending_tokens -= static_cast<int64_t>(m.plan.rows[i].tokens.size());
  }
  s.total_tokens = int64_t{m.cache.total_pages()} * m.page_size();
  s.used_tokens = s.total_tokens - m.room_pages() * m.page_size();
  s.retractions = m.retractions;
  s.test_retractions = m.test_retractions;
  s.retraction_gain = m.retraction_gain;
  s.preemptions = m.preemptions;
  s.new_token_ratio = m.ratio;
  return s;
}

const std::map<int64_t, PriorityLoad>& Scheduler::priorities() const { return impl_->by_priority; }

int Scheduler::retractions_of(RequestId id) const {
  const auto it = impl_->requests.find(id);
  if (it != impl_->requests.end()) return it->second->retractions;
  for (const auto& [ended, count] : impl_->last_ended) {
    if (ended == id) return count;
  }
  return 0;
}

void Scheduler::CheckInvariants() const {
  const Impl& m = *impl_;
  m.cache.CheckInvariants();
  int64_t held = 0, locks = 0;
  size_t partials = 0, pending = 0;
  int64_t waiting_tokens = 0;
  int retracted = 0;
  const size_t in_lists = m.running.size() + m.waiting.size() + (m.partial != nullptr ? 1 : 0);
  std::vector<bool> seen(static_cast<size_t>(m.cache.total_pages()));
  for (const auto& [id, r] : m.requests) {
    CHECK(r->id == id && r->stage != Stage::kEnded);
    CHECK(r->holding == (r->stage != Stage::kWaiting) && "a queued request with pages, or a running one without");
    partials += r->stage == Stage::kPartial ? 1 : 0;
    pending += r->pending ? 1 : 0;
    if (!r->holding) {
      waiting_tokens += static_cast<int64_t>(r->tokens.size());
      retracted += r->retractions > 0;
      CHECK(r->pages.empty() && r->node == nullptr && r->shared == 0 && r->computed == 0);
      continue;
    }
    ++locks;
    const int64_t shared_tokens = r->shared * m.page_size();
    CHECK(static_cast<size_t>(r->shared) <= r->pages.size() && "more shared pages than pages");
    CHECK(m.cache.MatchedTokens(r->tokens, r->extra_key, shared_tokens) == shared_tokens && "a shared page left the tree");
    for (PageId page : std::span<const PageId>(r->pages).subspan(static_cast<size_t>(r->shared))) {
      CHECK(m.cache.is_held(page) && !seen[static_cast<size_t>(Index(page))] && "a page with two owners");
      seen[static_cast<size_t>(Index(page))] = true;
      ++held;
    }
  }
  CHECK(held == m.cache.held_pages() && "a held page without an owner");
  CHECK(locks == m.cache.locks() && "locks of the tree");
  CHECK(in_lists == m.requests.size() && "a request in no list or in two");
  CHECK(partials <= 1 && static_cast<int>(pending) == m.pending_aborts);
  for (const auto& [priority, load] : m.by_priority) {
    PriorityLoad counted;
    for (const auto& [id, r] : m.requests)
      if (r->load == &load) ++(r->holding ? counted.running : counted.waiting);
    CHECK(counted.running == load.running && counted.waiting == load.waiting && "counts by priority");
  }
  CHECK(waiting_tokens == m.waiting_tokens && retracted == m.waiting_retracted && "the queue is not what it is said to be");
  CHECK(std::is_sorted(m.waiting.begin(), m.waiting.end(), Impl::GoesFirst));
}

}  // namespace sgl
