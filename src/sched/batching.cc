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
  if (!r.first_forward) r.first_forward = now;
  if (!prefill) return;
  if (partial == &r) partial = nullptr;
  if (row.sample) {
    r.stage = Stage::kRunning;
    running.push_back(&r);
  } else {
    CHECK(partial == nullptr && "two partially prefilled requests");
    r.stage = Stage::kPartial;
    partial = &r;
  }
}

// The pending chunk is never skipped: it takes what the chunk size and the memory beyond the running requests' share allow.
void Scheduler::Impl::ContinuePartial(Budget& budget, TimePoint now, std::vector<Ended>& ended) {
  LiveRequest& r = *partial;
  if (r.pending) return;  // ends in the next Sweep
  const auto missing = static_cast<int64_t>(r.tokens.size() - r.computed);
  const int64_t slack = static_cast<int64_t>(r.pages.size()) * page_size() - static_cast<int64_t>(r.computed);
  const int64_t unpromised = std::max<int64_t>(room_pages() - PagesFor(budget.promised), 0);
  const int64_t take = std::min({missing, budget.chunk, slack + unpromised * page_size()});
  if (take <= 0) {
    if (!running.empty()) return;  // decoding goes on and makes room
    End(r, OutOfMemory(), ended);
    return;
  }
  const int64_t pages = PagesFor(static_cast<int64_t>(r.computed) + take) - static_cast<int64_t>(r.pages.size());
  CHECK(cache.Reserve(static_cast<int32_t>(std::max<int64_t>(pages, 0)), r.pages));
  AddRow(r, static_cast<size_t>(take), /*prefill=*/true, /*cached=*/0, now);
  budget.chunk -= take;
  budget.input -= PagesFor(take) * page_size();
  if (take == missing) budget.promised += FutureTokens(r) + page_size();
}

// Admits r if it fits. The whole prompt and the output must fit, even if only a first chunk is computed now.
Scheduler::Impl::Admission Scheduler::Impl::TryAdmit(LiveRequest& r, Budget& budget, TimePoint now, std::vector<Ended>& ended) {
  if (r.pending) return Admission::kSkipped;  // ends in the next Sweep
  const auto length = static_cast<int64_t>(r.tokens.size());
  Take(r, cache.Match(r.tokens, r.extra_key, r.match_limit()));
  const int64_t cached = static_cast<int64_t>(r.computed), extend = length - cached;
  const int64_t padded = PagesFor(extend) * page_size();
  const bool first = plan.rows.empty(), alone = first && running.empty() && partial == nullptr;

  // With nobody else to wait for, the estimate of the output must not keep it out for ever; only its own tokens count.
  const bool fits =
      alone ? PagesFor(extend) <= room_pages() : extend + FutureTokens(r) + page_size() < room_pages() * page_size() - budget.promised;
  int64_t take = extend;
  if (take > budget.chunk) {
    take = budget.chunk / page_size() * page_size();
    if (take == 0 && first) take = budget.chunk;  // chunks smaller than a page
  }
  if (!fits || take == 0 || (!first && padded >= budget.input)) {
    Release(r, /*insert=*/false);
    if (!alone) {
      batch_full = batch_full || !fits;
      return Admission::kStop;
    }
    End(r, OutOfMemory(), ended);
    return Admission::kSkipped;
  }

  CHECK(cache.Reserve(static_cast<int32_t>(PagesFor(cached + take)) - r.shared, r.pages));
  const bool first_admission = !r.first_forward.has_value();
  AddRow(r, static_cast<size_t>(take), /*prefill=*/true, first_admission ? cached : 0, now);
  budget.input -= PagesFor(take) * page_size();
  budget.chunk -= take;
  budget.promised += page_size() + (take == extend ? FutureTokens(r) : 0);
  return Admission::kAdmitted;
}

// Fills policy_order with indices into waiting.
void Scheduler::Impl::OrderWaiting() {
  policy_order.resize(waiting.size());
  std::iota(policy_order.begin(), policy_order.end(), 0);
  const bool too_long = policy->longest_queue > 0 && waiting.size() > policy->longest_queue;
  if (policy->order == nullptr || too_long || (policy->needs_tree && !cache.uses_tree())) return;
  policy_queue.clear();
  for (const LiveRequest* r : waiting) policy_queue.push_back({r->tokens, r->extra_key, r->match_limit(), r->max_new});
  policy->order(policy_queue, cache, policy_order);
}

void Scheduler::Impl::AdmitWaiting(Budget& budget, TimePoint now, std::vector<Ended>& ended) {
  OrderWaiting();
  for (int32_t index : policy_order) {
    if (running_count() >= config.max_running_requests) batch_full = true;
    if (batch_full || partial != nullptr || budget.input <= 0 || budget.chunk <= 0) break;
    if (TryAdmit(*waiting[static_cast<size_t>(index)], budget, now, ended) == Admission::kStop) break;
  }
  std::erase_if(waiting, [](const LiveRequest* r) { return r->stage == Stage::kRunning || r->stage == Stage::kPartial; });
  ForgetEnded();
}

void Scheduler::Impl::PlanPrefill(TimePoint now, std::vector<Ended>& ended) {
  const bool can_admit = !waiting.empty() && !batch_full;
  if (partial == nullptr && !can_admit) return;
  Budget budget{.input = config.max_prefill_tokens, .chunk = config.chunked_prefill_size == -1 ? INT64_MAX : config.chunked_prefill_size};
  double promised = 0;
  for (const LiveRequest* r : running) promised += static_cast<double>(FutureTokens(*r)) * ratio;
  budget.promised = static_cast<int64_t>(promised);
  if (partial != nullptr) ContinuePartial(budget, now, ended);
  ForgetEnded();
  if (can_admit && partial == nullptr) AdmitWaiting(budget, now, ended);
}

// Sees to it that every running request has a page for its next token, if need be by sending some back to the queue.
// False: nobody is left to decode.
bool Scheduler::Impl::MakeRoomForDecode(TimePoint now, std::vector<Ended>& ended) {
  const auto needs_page = [&](const LiveRequest* r) {
    return PagesFor(static_cast<int64_t>(r->tokens.size())) > static_cast<int64_t>(r->pages.size());
  };
  // The one with the least output goes first, of those the one with the longest prompt, of those the youngest.
  const auto goes_before = [](const LiveRequest* a, const LiveRequest* b) {
    if (a->output() != b->output()) return a->output() < b->output();
    if (a->prompt_size != b->prompt_size) return a->prompt_size > b->prompt_size;
    return a->arrival > b->arrival;
  };
  bool forced = config.test_retract_interval > 0 && steps % config.test_retract_interval == 0 && running.size() > 1;
  bool retracted = false;
  while (forced || std::count_if(running.begin(), running.end(), needs_page) > room_pages()) {
    if (running.size() > 1 || partial != nullptr) {
      // A half-computed prompt only waits here for memory: it has the least to lose.
      Retract(partial != nullptr && !forced ? *partial : **std::min_element(running.begin(), running.end(), goes_before), now);
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
    constexpr int64_t kStepsAhead = 20;  // as SGLang: expect to go on for that many steps without another retraction
    const int64_t wanted = output + kStepsAhead * static_cast<int64_t>(running.size());
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
  while (m.plan.rows.empty()) {
    const size_t ended_before = ended.size();
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
