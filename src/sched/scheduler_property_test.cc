// Random lives of requests under a scheduler with a fake model. What is checked after every step:
// the plan's tokens and positions are the sequence's; every slot of the page table holds what the sequence needs there (each slot remembers
// the hash of the prefix that was computed into it); tokens are those of the model run alone; each request ends once; pages balance.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <map>
#include <random>
#include <set>
#include <string>

#include "sched/scheduler.h"

namespace sgl {
namespace {

constexpr const char* kOutOfMemory =
    "Out of memory even after retracting all other requests in the decode batch. Aborting the last request.";

uint64_t Mix(uint64_t h, uint64_t v) {
  h = (h ^ v) * 0x9E3779B97F4A7C15u;
  return h ^ (h >> 29);
}

// The fake model: the next token and what the engine finds in the text depend on all tokens before.
TokenId NextToken(uint64_t prefix) { return static_cast<TokenId>(Mix(prefix, 1) % 40); }
bool HitsStopString(uint64_t prefix) { return Mix(prefix, 2) % 50 == 0; }

Finish StopString() {
  Finish f;
  f.matched = std::string("###");
  return f;
}

struct Outcome {
  std::vector<TokenId> output;
  FinishKind kind = FinishKind::kLength;
};

// The request alone with unlimited memory.
Outcome RunAlone(const SchedRequest& r) {
  uint64_t h = Mix(0, std::hash<std::string>()(r.extra_key));
  for (TokenId t : r.prompt) h = Mix(h, static_cast<uint64_t>(t));
  Outcome o;
  while (static_cast<int64_t>(o.output.size()) < r.max_new_tokens) {
    const bool may_stop = static_cast<int64_t>(o.output.size()) >= r.min_new_tokens;
    const TokenId token = NextToken(h);
    h = Mix(h, static_cast<uint64_t>(token));
    o.output.push_back(token);
    if (static_cast<int64_t>(o.output.size()) == r.max_new_tokens) break;
    const bool stops = may_stop && std::find(r.stop_ids.begin(), r.stop_ids.end(), token) != r.stop_ids.end();
    if (stops || HitsStopString(h)) {
      o.kind = FinishKind::kStop;
      break;
    }
  }
  return o;
}

struct Client {
  SchedRequest request;
  Outcome expected;
  std::vector<TokenId> output;
  std::vector<uint64_t> prefix;  // prefix[i]: hash of tokens 0..i
  int64_t importance = 0;
  bool abort_asked = false;
  int first_rows = 0;   // prefill rows with cached tokens
  int retractions = 0;  // as the scheduler counts them

  size_t size() const { return prefix.size(); }
  TokenId token(size_t i) const { return i < request.prompt.size() ? request.prompt[i] : output[i - request.prompt.size()]; }
  void Push(TokenId t) {
    const uint64_t h = prefix.empty() ? Mix(0, std::hash<std::string>()(request.extra_key)) : prefix.back();
    prefix.push_back(Mix(h, static_cast<uint64_t>(t)));
  }
};

class World {
 public:
  explicit World(uint32_t seed)
      : random_(seed),
        page_size_(1 + static_cast<int>(Pick(5))),
        cache_(6 + static_cast<int32_t>(Pick(Pick(2) != 0 ? 20 : 120)), page_size_, Pick(4) != 0),
        sched_(MakeConfig(), cache_),
        slots_(static_cast<size_t>(cache_.total_pages() * page_size_)) {}

  uint32_t Pick(uint32_t n) { return static_cast<uint32_t>(random_() % n); }

  void Operate() {
    switch (Pick(8)) {
      case 0:
      case 1: Add(); break;
      case 2:
        if (Pick(3) == 0) AbortSomebody();
        if (Pick(40) == 0) AbortAll();
        break;
      case 3: now_ += std::chrono::milliseconds(Pick(300)); break;
      case 4:
        if (Pick(12) == 0) Pause();
        if (Pick(12) == 0) sched_.LimitRunning(1 + static_cast<int>(Pick(8)));
        break;
      default: Step(/*abort_in_flight=*/Pick(20) == 0, /*fails=*/Pick(40) == 0); break;
    }
    sched_.CheckInvariants();
  }

  void DrainAndCheck() {
    for (int i = 0; !sched_.idle(); ++i) {
      ASSERT_LT(i, 20'000) << "does not come to rest";
      Step(false, false);
      sched_.CheckInvariants();
      if (testing::Test::HasFailure()) return;
    }
    EXPECT_TRUE(clients_.empty());
    EXPECT_EQ(cache_.held_pages(), 0);
    EXPECT_EQ(cache_.protected_pages(), 0);
    EXPECT_EQ(cache_.locks(), 0);
    EXPECT_EQ(cache_.free_pages() + cache_.evictable_pages(), cache_.total_pages());
    EXPECT_EQ(sched_.stats().used_tokens, 0);
  }

  std::map<std::string, int> finishes;  // by kind or message
  int64_t retractions() const { return sched_.stats().retractions; }
  int64_t preemptions() const { return sched_.stats().preemptions; }
  int64_t mixed_steps = 0;
  int64_t cached_tokens = 0;

 private:
  SchedConfig MakeConfig() {
    SchedConfig c;
    c.max_running_requests = 1 + static_cast<int>(Pick(8));
    c.max_queued_requests = static_cast<int>(Pick(2) * (1 + Pick(8)));
    c.chunked_prefill_size = Pick(3) == 0 ? -1 : 1 + static_cast<int>(Pick(20));
    c.max_prefill_tokens = 8 + static_cast<int>(Pick(60));
    constexpr const char* kNames[] = {"fcfs", "lof", "lpm", "dfs-weight", "random", "routing-key"};
    c.enable_priority_scheduling = Pick(3) == 0;
    c.schedule_policy = kNames[Pick(c.enable_priority_scheduling ? 2 : 6)];
    c.disable_priority_preemption = Pick(4) == 0;
    c.schedule_low_priority_values_first = Pick(2) == 0;
    c.priority_scheduling_preemption_threshold = Pick(3);
    if (Pick(2) == 0) c.default_priority_value = Pick(5);
    c.enable_mixed_chunk = Pick(3) == 0;
    c.prefill_max_requests = Pick(4) == 0 ? 1 + static_cast<int>(Pick(3)) : 0;
    c.random_seed = Pick(1000);
    c.test_retract_max_running = Pick(4) == 0 ? static_cast<int>(Pick(4)) : std::numeric_limits<int>::max();
    longest_ = Pick(4) == 0 ? 80 : 30;  // long prompts with much in common
    c.schedule_conservativeness = Pick(2) == 0 ? 1.0 : 0.1;
    c.new_token_ratio_decay_steps = 20;
    c.context_length = 4096;
    c.clip_max_new_tokens = Pick(2) == 0 ? 4096 : 2;  // the second makes memory run out often
    c.waiting_timeout_s = Pick(3) == 0 ? 4.0 : -1;
    c.running_timeout_s = Pick(3) == 0 ? 1.5 : -1;
    c.test_retract_interval = Pick(3) == 0 ? 1 + static_cast<int>(Pick(4)) : 0;
    config_ = c;
    return c;
  }

  void Add() {
    SchedRequest r;
    r.id = RequestId{++last_id_};
    const uint32_t family = Pick(3);  // requests of one family share a long prefix
    const uint32_t length = 1 + Pick(longest_), common = Pick(length + 1);
    for (uint32_t i = 0; i < length; ++i) r.prompt.push_back(static_cast<TokenId>(i < common ? 100 * (family + 1) + i : 1000 + Pick(3)));
    const int64_t room = int64_t{cache_.total_pages()} * page_size_ - static_cast<int64_t>(length);
    r.max_new_tokens = Pick(10) == 0 ? 0 : 1 + Pick(25);
    if (Pick(5) != 0) r.max_new_tokens = std::clamp<int64_t>(r.max_new_tokens, 0, std::max<int64_t>(room - page_size_ - 1, 0));
    if (Pick(2) == 0) r.stop_ids = {3, 7};
    r.min_new_tokens = Pick(3) == 0 ? Pick(static_cast<uint32_t>(r.max_new_tokens) + 1) : 0;
    r.logprob_start_len = Pick(5) == 0 ? Pick(length) : -1;
    if (Pick(6) == 0) r.extra_key = "other";
    if (Pick(2) == 0) r.routing_key = std::string(1, static_cast<char>('a' + Pick(3)));
    if (Pick(3) != 0) r.priority = static_cast<int64_t>(Pick(6)) - 1;
    Client c;
    if (config_.enable_priority_scheduling) {
      const auto asked = r.priority ? r.priority : config_.default_priority_value;
      const int64_t sign = config_.schedule_low_priority_values_first ? -1 : 1;
      c.importance = asked ? sign * *asked : -1000;
    }
    most_important_ = std::max(most_important_, c.importance);
    c.request = r;
    for (TokenId t : r.prompt) c.Push(t);
    const SchedStats before = sched_.stats();
    const Status status = sched_.Add(r, now_);
    if (!status.ok()) {
      if (status.error().code == Code::kExhausted) {
        EXPECT_EQ(status.error().message, "The request queue is full.");
        EXPECT_GE(before.waiting, config_.max_queued_requests);
        EXPECT_GT(config_.max_queued_requests, 0);
        ++finishes["queue full"];
      } else {
        EXPECT_LT(room, 0);
      }
      return;
    }
    c.expected = RunAlone(r);
    clients_.emplace(r.id, std::move(c));
  }

  void AbortSomebody() {
    if (clients_.empty()) return;
    auto it = std::next(clients_.begin(), static_cast<ptrdiff_t>(Pick(static_cast<uint32_t>(clients_.size()))));
    it->second.abort_asked = true;
    sched_.Abort(it->first, Finish::Abort("Aborted"));
    sched_.Abort(RequestId{last_id_ + 1000}, Finish::Abort("nobody"));
  }

  void AbortAll() {
    for (auto& [id, c] : clients_) {
      c.abort_asked = true;
      sched_.Abort(id, Finish::Abort("Aborted"));
    }
  }

  // What the engine does while it is paused, and when it goes on.
  void Pause() {
    if (Pick(2) == 0) {
      sched_.RetractAll(now_);
      EXPECT_FALSE(sched_.holds_pages());
      EXPECT_EQ(cache_.locks(), 0);
      if (Pick(2) == 0) cache_.Flush();
    }
    if (Pick(2) == 0) AbortSomebody();
    CheckEnded(sched_.SweepAborts());
    const auto pause = std::chrono::seconds(Pick(30));
    now_ += pause;
    sched_.ForgiveTime(pause);
    for (auto& [id, c] : clients_) c.retractions = sched_.retractions_of(id);
  }

  void Step(bool abort_in_flight, bool fails) {
    CheckEnded(sched_.Sweep(now_));
    for (const auto& [id, c] : clients_) EXPECT_FALSE(c.abort_asked) << "an aborted request outlived Sweep";
    std::vector<Ended> ended;
    const SchedStats before = sched_.stats();
    const StepPlan& plan = sched_.Plan(now_, ended);
    for (const Ended& e : ended) EXPECT_EQ(e.finish.message, kOutOfMemory);
    CheckEnded(ended);
    if (plan.empty()) {
      EXPECT_TRUE(sched_.idle()) << "nothing planned, but not idle";
      return;
    }
    CheckPlan(plan);
    CheckWhoGaveWay(plan, before);
    Compute(plan);
    if (abort_in_flight) AbortSomebody();
    if (fails) {
      // What the step has written is worth nothing: if anybody ever reads it, Compute says so.
      for (const PlanRow& row : plan.rows)
        for (size_t i = 0; i < row.tokens.size(); ++i) Slot(row, static_cast<size_t>(row.first_pos) + i) = 1;
      const size_t rows = plan.rows.size();
      const std::vector<Ended> failed = sched_.FailStep(Finish::Abort("the step failed", 500));
      EXPECT_EQ(failed.size(), rows);
      CheckEnded(failed);
      return;
    }
    std::vector<Sampled> sampled;
    for (const PlanRow& row : plan.rows) {
      if (row.sample) sampled.push_back(Sample(clients_.at(row.id)));
    }
    CheckEnded(sched_.Commit(sampled, now_));
  }

  void CheckPlan(const StepPlan& plan) {
    int64_t tokens = 0, prefill_tokens = 0;
    int partial = 0;
    std::set<RequestId> ids;
    for (const PlanRow& row : plan.rows) {
      ASSERT_TRUE(clients_.count(row.id)) << "a row of a request that is gone";
      EXPECT_TRUE(ids.insert(row.id).second) << "two rows of one request";
      Client& c = clients_.at(row.id);
      const size_t first = static_cast<size_t>(row.first_pos), end = first + row.tokens.size();
      ASSERT_LE(end, c.size());
      ASSERT_FALSE(row.tokens.empty());
      for (size_t i = first; i < end; ++i) ASSERT_EQ(row.tokens[i - first], c.token(i));
      EXPECT_EQ(row.sample, end == c.size());
      if (row.prefill != plan.rows.front().prefill) {
        EXPECT_TRUE(config_.enable_mixed_chunk) << "prefill and decode in one step";
        EXPECT_TRUE(row.prefill) << "decode rows come first";
        if (&row == &plan.rows.back()) ++mixed_steps;
      }
      CheckComputesNothingTwice(plan, row);
      if (!row.prefill) {
        EXPECT_EQ(row.tokens.size(), 1u);
      }
      if (row.cached_tokens > 0) {
        EXPECT_EQ(++c.first_rows, 1);
        EXPECT_EQ(row.cached_tokens, row.first_pos);
        cached_tokens += row.cached_tokens;
        if (c.request.logprob_start_len >= 0) {
          EXPECT_LE(row.cached_tokens, c.request.logprob_start_len);
        }
      }
      tokens += static_cast<int64_t>(row.tokens.size());
      if (row.prefill) prefill_tokens += static_cast<int64_t>(row.tokens.size());
      if (row.prefill && !row.sample) ++partial;
    }
    EXPECT_EQ(tokens, plan.tokens);
    EXPECT_LE(partial, 1);
    if (config_.chunked_prefill_size > 0) {
      EXPECT_LE(prefill_tokens, config_.chunked_prefill_size);
    }
    EXPECT_LE(sched_.stats().running, config_.max_running_requests);
  }

  // An earlier prefill row of the step that computes much of this row's prefix would have been worth waiting for.
  void CheckComputesNothingTwice(const StepPlan& plan, const PlanRow& row) {
    if (!row.prefill || !cache_.uses_tree()) return;
    const Client& c = clients_.at(row.id);
    for (const PlanRow* other = plan.rows.data(); other != &row; ++other) {
      const Client& o = clients_.at(other->id);
      if (!other->prefill || o.request.extra_key != c.request.extra_key) continue;
      size_t limit = c.size() - 1;
      if (c.request.logprob_start_len >= 0) limit = std::min(limit, static_cast<size_t>(c.request.logprob_start_len));
      size_t common = 0;
      while (common < std::min(limit, o.size()) && c.token(common) == o.token(common)) ++common;
      EXPECT_LT(static_cast<int64_t>(common) / page_size_ * page_size_ - row.first_pos, 32) << "a prefix computed twice";
    }
  }

  // Who was running and is back in the queue must have made way for somebody with a sufficiently better priority, unless memory ran out.
  void CheckWhoGaveWay(const StepPlan& plan, const SchedStats& before) {
    const SchedStats after = sched_.stats();
    int64_t gave_way = 0, best = -1'000'000;
    for (const PlanRow& row : plan.rows)
      if (row.prefill) best = std::max(best, clients_.at(row.id).importance);
    for (auto& [id, c] : clients_) {
      const int retractions = sched_.retractions_of(id);
      if (retractions == c.retractions) continue;
      EXPECT_EQ(retractions, c.retractions + 1);
      c.retractions = retractions;
      ++gave_way;
      if (after.retractions == before.retractions) {
        EXPECT_TRUE(config_.enable_priority_scheduling && !config_.disable_priority_preemption);
        EXPECT_GT(best - c.importance, config_.priority_scheduling_preemption_threshold) << "preempted for nobody";
      }
    }
    EXPECT_EQ(gave_way, after.retractions - before.retractions + after.preemptions - before.preemptions);
  }

  uint64_t& Slot(const PlanRow& row, size_t pos) {
    const auto page = static_cast<size_t>(Index(row.pages[pos / static_cast<size_t>(page_size_)]));
    return slots_.at(page * static_cast<size_t>(page_size_) + pos % static_cast<size_t>(page_size_));
  }

  // Writes what each row computes, then reads everything that each row attends to.
  void Compute(const StepPlan& plan) {
    for (const PlanRow& row : plan.rows) {
      const Client& c = clients_.at(row.id);
      for (size_t i = 0; i < row.tokens.size(); ++i)
        Slot(row, static_cast<size_t>(row.first_pos) + i) = c.prefix[static_cast<size_t>(row.first_pos) + i];
    }
    for (const PlanRow& row : plan.rows) {
      const Client& c = clients_.at(row.id);
      for (size_t i = 0; i < static_cast<size_t>(row.first_pos) + row.tokens.size(); ++i) {
        ASSERT_EQ(Slot(row, i), c.prefix[i]) << "wrong content at position " << i << " of request " << Index(row.id);
      }
    }
  }

  Sampled Sample(Client& c) {
    Sampled s;
    s.token = NextToken(c.prefix.back());
    if (c.request.max_new_tokens == 0) return s;  // does not count as output
    c.output.push_back(s.token);
    c.Push(s.token);
    if (HitsStopString(c.prefix.back())) s.hit = StopString();
    return s;
  }

  void CheckEnded(const std::vector<Ended>& ended) {
    for (const Ended& e : ended) {
      const auto it = clients_.find(e.id);
      ASSERT_NE(it, clients_.end()) << "ended twice, or never added";
      const Client& c = it->second;
      const auto& want = c.expected.output;
      ASSERT_LE(c.output.size(), want.size()) << "went on after its end";
      EXPECT_TRUE(std::equal(c.output.begin(), c.output.end(), want.begin())) << "tokens differ from the run alone";
      if (e.finish.kind == FinishKind::kAbort) {
        const std::string& m = e.finish.message;
        if (m == "Aborted" || m == "Abort in waiting queue") {
          EXPECT_TRUE(c.abort_asked);
          EXPECT_EQ(e.finish.status_code, 0);
        } else if (m == kOutOfMemory) {
          EXPECT_EQ(e.finish.status_code, 500);
          EXPECT_GT(static_cast<int64_t>(c.size()), int64_t{cache_.total_pages()} * page_size_) << "it would have fit alone";
        } else if (m == "the step failed") {
          EXPECT_EQ(e.finish.status_code, 500);
        } else if (m == "The request is aborted by a higher priority request.") {
          EXPECT_EQ(e.finish.status_code, 503);
          EXPECT_TRUE(c.output.empty() && c.retractions == 0) << "a request that had begun was thrown out of the queue";
          EXPECT_LT(c.importance, most_important_);
        } else {
          EXPECT_TRUE(m == "Request waiting timeout reached." || m == "Request running timeout reached.") << m;
          EXPECT_EQ(e.finish.status_code, 503);
        }
        ++finishes[m];
      } else {
        EXPECT_EQ(c.output.size(), want.size()) << "ended early";
        EXPECT_EQ(e.finish.kind, c.expected.kind);
        if (e.finish.kind == FinishKind::kLength) {
          EXPECT_EQ(e.finish.length, c.request.max_new_tokens);
        }
        ++finishes[e.finish.kind == FinishKind::kLength ? "length" : e.finish.matched.index() == 1 ? "stop token" : "stop string"];
      }
      clients_.erase(it);
    }
  }

  std::mt19937 random_;
  SchedConfig config_;
  TimePoint now_{};
  int page_size_;
  KvCache cache_;
  Scheduler sched_;
  std::vector<uint64_t> slots_;  // by page * page_size + offset: hash of the prefix computed there
  std::map<RequestId, Client> clients_;
  uint64_t last_id_ = 0;
  uint32_t longest_ = 30;  // prompts are at most that long
  int64_t most_important_ = -1'000'000;
};

TEST(SchedulerProperty, ServesEverybodyOnceWithTheRightTokens) {
  constexpr uint32_t kOperations = 500;
  const char* more = std::getenv("SGLANG_TEST_WORLDS");                                    // ./test --full asks for more
  const uint32_t worlds = more != nullptr ? static_cast<uint32_t>(std::atoi(more)) : 800;  // 4 * 10^5 operations
  std::map<std::string, int> finishes;
  int64_t retractions = 0, preemptions = 0, mixed_steps = 0, cached_tokens = 0;
  for (uint32_t seed = 1; seed <= worlds; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::printf("seed %u\n", seed);  // a failed CHECK ends the process before gtest says where it was
    std::fflush(stdout);
    World world(seed);
    for (uint32_t i = 0; i < kOperations && !HasFailure(); ++i) world.Operate();
    if (HasFailure()) return;
    world.DrainAndCheck();
    if (HasFailure()) return;
    for (const auto& [name, count] : world.finishes) finishes[name] += count;
    retractions += world.retractions();
    preemptions += world.preemptions();
    mixed_steps += world.mixed_steps;
    cached_tokens += world.cached_tokens;
  }
  // The test is worth something only if it went everywhere.
  for (const char* name : {"length", "stop token", "stop string", "Aborted", "Abort in waiting queue", "queue full", kOutOfMemory,
                           "Request waiting timeout reached.", "Request running timeout reached.", "the step failed",
                           "The request is aborted by a higher priority request."}) {
    EXPECT_GT(finishes[name], 20) << name;
  }
  EXPECT_GT(retractions, 500);
  EXPECT_GT(preemptions, 200);
  EXPECT_GT(mixed_steps, 500);
  EXPECT_GT(cached_tokens, 10'000);
}

}  // namespace
}  // namespace sgl
