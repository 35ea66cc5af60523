// The choice of a step: who is admitted, how much of a prompt is computed now, who has to give way.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <numeric>
#include <utility>

#include "base/check.h"
#include "sched/life.h"

namespace sgl {
namespace {

Finish OutOfMemory() {
  return Finish::Abort("Out of memory even after retracting all other requests in the decode batch. Aborting the last request.", 500);
}

// A number that depends on its arguments only; steps of splitmix64.
uint64_t RandomAt(uint64_t seed, uint64_t step, uint64_t arrival) {
  uint64_t x = seed;
  for (uint64_t part : {step, arrival}) {
    x += part + 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    x ^= x >> 31;
  }
  return x;
}

}  // namespace

// What a prefill step may still use, in tokens. Source of the rules: SGLang's prefill adder.
struct Scheduler::Impl::Budget {
  int64_t input;         // max_prefill_tokens
  int64_t chunk;         // chunked_prefill_size; a huge number without chunking
  int64_t promised = 0;  // tokens that running and just admitted requests are assumed to need later
};

// How many more tokens it may produce; long outputs count as clip_max_new_tokens, few reach their limit.
int64_t Scheduler::Impl::FutureTokens(const LiveRequest& r) const {
  return std::min<int64_t>(r.max_new - r.output(), config.clip_max_new_tokens);
}

// Adds the next `count` tokens of r to the plan. Its pages are already there.
void Scheduler::Impl::AddRow(LiveRequest& r, size_t count, bool prefill, int64_t cached, TimePoint now) {
  const size_t end = r.computed + count;
  CHECK(count > 0 && end <= r.tokens.size() && static_cast<int64_t>(r.pages.size()) >= PagesFor(static_cast<int64_t>(end)));
  PlanRow row;
  row.id = r.id;
  row.tokens = std::span<const TokenId>(r.tokens).subspan(r.computed, count);
  row.first_pos = static_cast<int32_t>(r.computed);
  row.pages = r.pages.data();
  row.sample = end == r.tokens.size();
  row.prefill = prefill;
  row.cached_tokens = static_cast<int32_t>(cached);
  plan.rows.push_back(row);
  plan.tokens += static_cast<int64_t>(count);
  plan_requests.push_back(&r);
  r.planned_in = steps + 1;
  if (!r.first_forward) r.first_forward = now;
  if (!prefill) return;
  ++prefill_rows;
  if (partial == &r) partial = nullptr;
  if (r.stage == Stage::kWaiting) CountWaiting(r, -1);
  if (row.sample) {
    r.stage = Stage::kRunning;
    running.push_back(&r);
  } else {
    CHECK(partial == nullptr && "two partially prefilled requests");
    r.stage = Stage::kPartial;
    partial = &r;
  }
}

// The next chunk of the partial request. There is room for it: without mixing nobody else is admitted and nobody decodes as long as there
// is a partial request, so what admission saw is still there; with mixing it got all its pages at once.
void Scheduler::Impl::ContinuePartial(Budget& budget, TimePoint now) {
  LiveRequest& r = *partial;
  if (r.pending || budget.chunk <= 0) return;  // pending: ends in the next Sweep
  const auto missing = static_cast<int64_t>(r.tokens.size() - r.computed);
  const int64_t take = std::min(missing, budget.chunk);
  const int64_t pages = PagesFor(static_cast<int64_t>(r.computed) + take) - static_cast<int64_t>(r.pages.size());
  CHECK(cache.Reserve(static_cast<int32_t>(std::max<int64_t>(pages, 0)), r.pages));
  AddRow(r, static_cast<size_t>(take), /*prefill=*/true, /*cached=*/0, now);
  budget.chunk -= take;
  budget.input -= PagesFor(take) * page_size();
  if (take == missing) budget.promised += FutureTokens(r) + page_size();
}

// r has taken what the cache has of it. Are the rest of its prompt and its output likely to fit beside everybody else's?
bool Scheduler::Impl::Fits(const LiveRequest& r, const Budget& budget) const {
  const auto extend = static_cast<int64_t>(r.tokens.size() - r.computed);
  return extend + FutureTokens(r) + page_size() < room_pages() * page_size() - budget.promised;
}

// Somebody in this step's plan computes a longer prefix of r than the cache has: one step later r finds it there. So a burst of requests
// with a common prefix computes it once. r has taken its match.
bool Scheduler::Impl::IsBeingComputed(const LiveRequest& r) const {
  constexpr int64_t kWorthAStep = 32;  // tokens; SGLang's lpm policy draws its line there, too
  if (!cache.uses_tree()) return false;
  const auto limit = static_cast<size_t>(r.match_limit());
  for (size_t i = 0; i < plan.rows.size(); ++i) {
    const LiveRequest& other = *plan_requests[i];
    if (!plan.rows[i].prefill || other.extra_key != r.extra_key) continue;
    const auto length = static_cast<ptrdiff_t>(std::min(limit, other.tokens.size()));
    const auto end = std::mismatch(r.tokens.begin(), r.tokens.begin() + length, other.tokens.begin()).first;
    const int64_t common = (end - r.tokens.begin()) / page_size() * page_size();
    if (common - static_cast<int64_t>(r.computed) >= kWorthAStep) return true;
  }
  return false;
}

// Is anybody running who may have to make way for r? Those of this plan may not: their rows are there.
bool Scheduler::Impl::MayPreempt(const LiveRequest& r) const {
  if (!config.enable_priority_scheduling || config.disable_priority_preemption) return false;
  return std::any_of(running.begin(), running.end(), [&](const LiveRequest* v) {
    return !v->pending && v->planned_in != steps + 1 && r.importance - v->importance > config.priority_scheduling_preemption_threshold;
  });
}

// Sends the least important running requests, of equals the youngest, back to the queue until r fits; all that it takes or none. r has
// taken its match.
bool Scheduler::Impl::Preempt(const LiveRequest& r, Budget& budget, TimePoint now) {
  victims.clear();
  for (LiveRequest* v : running) {
    if (!v->pending && v->planned_in != steps + 1 && r.importance - v->importance > config.priority_scheduling_preemption_threshold)
      victims.push_back(v);
  }
  std::sort(victims.begin(), victims.end(), [](const LiveRequest* a, const LiveRequest* b) { return GoesFirst(b, a); });
  const auto promise = [&](const LiveRequest& v) { return static_cast<int64_t>(static_cast<double>(FutureTokens(v)) * ratio); };
  const auto extend = static_cast<int64_t>(r.tokens.size() - r.computed);
  int64_t missing = extend + FutureTokens(r) + page_size() - (room_pages() * page_size() - budget.promised) + 1;
  size_t count = running_count() >= max_running ? static_cast<size_t>(running_count() - max_running) + 1 : 0;
  if (count > victims.size()) return false;
  const auto gain = [&](const LiveRequest& v) {
    return (static_cast<int64_t>(v.pages.size()) - v.shared + cache.PagesFreedByUnlock(v.node)) * page_size() + promise(v);
  };
  for (size_t i = 0; i < count; ++i) missing -= gain(*victims[i]);
  while (missing > 0 && count < victims.size()) missing -= gain(*victims[count++]);
  if (missing > 0) return false;
  for (size_t i = 0; i < count; ++i) {
    budget.promised -= promise(*victims[i]);
    Retract(*victims[i], now);
    ++preemptions;
  }
  return Fits(r, budget);
}

// Admits r if it fits. The whole prompt and the output must fit, even if only a first chunk is computed now.
Scheduler::Impl::Admission Scheduler::Impl::TryAdmit(LiveRequest& r, Budget& budget, TimePoint now, std::vector<Ended>& ended) {
  if (r.pending) return Admission::kSkipped;  // ends in the next Sweep
  const auto length = static_cast<int64_t>(r.tokens.size());
  Take(r, cache.Match(r.tokens, r.extra_key, r.match_limit()));
  if (IsBeingComputed(r)) {
    Release(r, /*insert=*/false);
    return Admission::kSkipped;
  }
  const int64_t cached = static_cast<int64_t>(r.computed), extend = length - cached;
  const bool first = prefill_rows == 0, alone = plan.rows.empty() && running.empty() && partial == nullptr;

  int64_t take = extend;
  if (take > budget.chunk) {
    take = budget.chunk / page_size() * page_size();
    if (take == 0 && first) take = budget.chunk;  // chunks smaller than a page
  }
  const bool in_budget = take > 0 && (first || PagesFor(take) * page_size() < budget.input);
  // With nobody else to wait for, the estimate of the output must not keep it out for ever; only its own tokens count.
  bool fits = alone ? PagesFor(extend) <= room_pages() : Fits(r, budget) && running_count() < max_running;
  if (!fits && in_budget && MayPreempt(r)) fits = Preempt(r, budget, now);
  if (!fits || !in_budget) {
    Release(r, /*insert=*/false);
    if (!alone) {
      batch_full = batch_full || !fits;
      return Admission::kStop;
    }
    End(r, OutOfMemory(), ended);
    return Admission::kSkipped;
  }

  // Room for a while of decoding, so that it does not allocate.
  constexpr int64_t kOutputAhead = 512;
  const int64_t expected = length + std::min(r.max_new - r.output(), kOutputAhead);
  r.tokens.reserve(static_cast<size_t>(expected));
  r.pages.reserve(static_cast<size_t>(PagesFor(expected)));

  // With mixing others decode between its chunks: then it gets the pages of the whole prompt now.
  const int64_t covered = config.enable_mixed_chunk ? length : cached + take;
  CHECK(cache.Reserve(static_cast<int32_t>(PagesFor(covered)) - r.shared, r.pages));
  const bool first_admission = !r.first_forward.has_value();
  AddRow(r, static_cast<size_t>(take), /*prefill=*/true, first_admission ? cached : 0, now);
  budget.input -= PagesFor(take) * page_size();
  budget.chunk -= take;
  budget.promised += page_size() + (take == extend ? FutureTokens(r) : 0);
  return Admission::kAdmitted;
}

// Fills candidates: who waits, in the policy's order.
void Scheduler::Impl::OrderWaiting() {
  candidates = waiting;
  const bool too_long = policy->longest_queue > 0 && waiting.size() > policy->longest_queue;
  if (policy->order == nullptr || too_long || (policy->needs_tree && !cache.uses_tree())) return;
  const auto runs_alike = [&](const LiveRequest& r) -> int64_t {
    if (r.routing_key.empty()) return 0;
    return std::count_if(running.begin(), running.end(), [&](const LiveRequest* other) { return other->routing_key == r.routing_key; });
  };
  policy_queue.clear();
  for (const LiveRequest* r : waiting) {
    policy_queue.push_back({.tokens = r->tokens,
                            .extra_key = r->extra_key,
                            .match_limit = r->match_limit(),
                            .max_new_tokens = r->max_new,
                            .importance = r->importance,
                            .running_alike = runs_alike(*r),
                            .routing_key = r->routing_key,
                            .random = RandomAt(config.random_seed, steps, r->arrival)});
  }
  policy_order.resize(waiting.size());
  std::iota(policy_order.begin(), policy_order.end(), 0);
  policy->order(policy_queue, cache, policy_order);
  for (size_t i = 0; i < candidates.size(); ++i) candidates[i] = waiting[static_cast<size_t>(policy_order[i])];
}

void Scheduler::Impl::AdmitWaiting(Budget& budget, TimePoint now, std::vector<Ended>& ended) {
  OrderWaiting();
  for (LiveRequest* r : candidates) {
    const bool enough = config.prefill_max_requests > 0 && prefill_rows >= config.prefill_max_requests;
    if (enough || partial != nullptr || budget.input <= 0 || budget.chunk <= 0) break;
    if (running_count() >= max_running) batch_full = true;
    if (batch_full && !MayPreempt(*r)) break;
    if (TryAdmit(*r, budget, now, ended) == Admission::kStop) break;
  }
  std::erase_if(waiting, [](const LiveRequest* r) { return r->stage == Stage::kRunning || r->stage == Stage::kPartial; });
  ForgetEnded();
}

bool Scheduler::Impl::MayAdmit() const {
  if (waiting.empty()) return false;
  if (config.test_retract_interval > 0 && static_cast<int>(running.size()) > config.test_retract_max_running) return false;
  return !batch_full || MayPreempt(*waiting.front());
}

void Scheduler::Impl::PlanPrefill(TimePoint now, std::vector<Ended>& ended) {
  const bool may_admit = MayAdmit();
  if (partial == nullptr && !may_admit) return;
  const auto decoding = static_cast<int64_t>(plan.rows.size());  // with mixing
  Budget budget{.input = config.max_prefill_tokens - decoding,
                .chunk = config.chunked_prefill_size == -1 ? INT64_MAX : config.chunked_prefill_size - decoding,
                .promised = decoding};
  double promised = 0;
  for (const LiveRequest* r : running) promised += static_cast<double>(FutureTokens(*r)) * ratio;
  budget.promised += static_cast<int64_t>(promised);
  if (partial != nullptr) ContinuePartial(budget, now);
  if (may_admit && partial == nullptr) AdmitWaiting(budget, now, ended);
}

// Sees to it that every running request has a page for its next token, if need be by sending some back to the queue.
// False: nobody is left to decode.
bool Scheduler::Impl::MakeRoomForDecode(TimePoint now, std::vector<Ended>& ended) {
  const auto needs_page = [&](const LiveRequest* r) {
    return PagesFor(static_cast<int64_t>(r->tokens.size())) > static_cast<int64_t>(r->pages.size());
  };
  // The least important goes first, of equals the one with the least output, of those the one with the longest prompt, then the youngest.
  const auto goes_before = [](const LiveRequest* a, const LiveRequest* b) {
    if (a->importance != b->importance) return a->importance < b->importance;
    if (a->output() != b->output()) return a->output() < b->output();
    if (a->prompt_size != b->prompt_size) return a->prompt_size > b->prompt_size;
    return a->arrival > b->arrival;
  };
  const auto interval = static_cast<uint64_t>(std::max(config.test_retract_interval, 0));
  bool forced = interval > 0 && steps % interval == 0 && running.size() > 1;
  bool retracted = false;
  for (;;) {
    const bool out_of_memory = std::count_if(running.begin(), running.end(), needs_page) > room_pages();
    if (!forced && !out_of_memory) break;
    if (running.size() > 1 || partial != nullptr) {
      LiveRequest* victim = *std::min_element(running.begin(), running.end(), goes_before);
      // Without mixing a partial request is here only if it was aborted since the last Sweep: it will not miss its pages.
      if (partial != nullptr && (partial->pending || goes_before(partial, victim))) victim = partial;
      RetractForMemory(*victim, now);
      test_retractions += forced && !out_of_memory;
      retracted = true;
      forced = false;
      continue;
    }
    End(*running.front(), OutOfMemory(), ended);
    ForgetEnded();
    return false;
  }
  if (retracted) {
    int64_t output = 0, max_new = 0;
    for (const LiveRequest* r : running) {
      output += r->output();
      max_new += r->max_new;
    }
    const int64_t steps_ahead = config.retract_decode_steps;  // expect to go on for that many without another retraction
    const int64_t wanted = output + steps_ahead * static_cast<int64_t>(running.size());
    ratio = std::min(1.0, static_cast<double>(wanted) / static_cast<double>(max_new + 1));
  } else {
    ratio = std::max(min_ratio, ratio - (max_ratio - min_ratio) / std::max(config.new_token_ratio_decay_steps, 1));
  }
  return true;
}

void Scheduler::Impl::PlanDecode(TimePoint now, std::vector<Ended>& ended) {
  if (running.empty() || !MakeRoomForDecode(now, ended)) return;
  for (LiveRequest* r : running) {
    if (r->pending) continue;  // ends in the next Sweep
    const int64_t missing = PagesFor(static_cast<int64_t>(r->tokens.size())) - static_cast<int64_t>(r->pages.size());
    if (missing > 0) CHECK(cache.Reserve(static_cast<int32_t>(missing), r->pages));
    AddRow(*r, r->tokens.size() - r->computed, /*prefill=*/false, /*cached=*/0, now);
  }
}

const StepPlan& Scheduler::Plan(TimePoint now, std::vector<Ended>& ended) {
  Impl& m = *impl_;
  CHECK(!m.in_flight && "Plan twice without Commit");
  m.last_ended.clear();
  while (m.plan.rows.empty()) {
    const size_t ended_before = ended.size();
    // Mixing plans the running requests first, and those in the plan cannot be preempted.
    const bool mixes = m.config.enable_mixed_chunk && !m.running.empty() && (m.waiting.empty() || !m.MayPreempt(*m.waiting.front()));
    if (mixes) m.PlanDecode(now, ended);
    m.PlanPrefill(now, ended);
    if (m.plan.rows.empty()) m.PlanDecode(now, ended);
    if (ended.size() == ended_before) break;  // whenever somebody had to end, those who are left get another chance
  }
  m.in_flight = !m.plan.rows.empty();
  if (m.in_flight) ++m.steps;
  if (m.requests.empty()) m.ratio = m.max_ratio;
  return m.plan;
}

}  // namespace sgl
