// SPDX-License-Identifier: Apache-2.0
#include "serve/replicas.h"

#include <fmt/core.h>

#include <algorithm>
#include <random>
#include <tuple>
#include <utility>

#include "base/check.h"
#include "engine/weights_update.h"

namespace sgl {
namespace {

// Calls done with the answer for all once every one of `count` has answered: the first error, else the first answer.
ControlDone Gather(size_t count, ControlDone done) {
  struct State {
    std::mutex mutex;
    size_t missing;
    std::optional<Result<std::string>> answer;
    ControlDone done;
  };
  const auto state = std::make_shared<State>();
  state->missing = count;
  state->done = std::move(done);
  return [state](Result<std::string> answer) {
    {
      std::lock_guard lock(state->mutex);
      if (!state->answer || (state->answer->ok() && !answer.ok())) state->answer = std::move(answer);
      if (--state->missing > 0) return;
    }
    if (state->done) state->done(*std::move(state->answer));
  };
}

// As Sessions makes them up; here, because the id says where the session lives.
std::string MakeUpSessionId() {
  std::random_device entropy;
  return fmt::format("{:08x}{:08x}{:08x}{:08x}", entropy(), entropy(), entropy(), entropy());
}

}  // namespace

EngineStats Sum(const std::vector<EngineStats>& stats) {
  EngineStats sum = stats.front();
  for (auto it = stats.begin() + 1; it != stats.end(); ++it) {
    sum.sched.running += it->sched.running;
    sum.sched.waiting += it->sched.waiting;
    sum.sched.waiting_tokens += it->sched.waiting_tokens;
    sum.sched.pending_tokens += it->sched.pending_tokens;
    sum.sched.retracted += it->sched.retracted;
    sum.sched.used_tokens += it->sched.used_tokens;
    sum.sched.total_tokens += it->sched.total_tokens;
    sum.sched.retractions += it->sched.retractions;
    sum.sched.test_retractions += it->sched.test_retractions;
    sum.sched.retraction_gain += it->sched.retraction_gain;
    sum.sched.preemptions += it->sched.preemptions;
    sum.last_gen_throughput += it->last_gen_throughput;
    sum.tokens_produced += it->tokens_produced;
    sum.steps += it->steps;
    sum.prefilling.insert(sum.prefilling.end(), it->prefilling.begin(), it->prefilling.end());
    sum.paused = sum.paused && it->paused;
    sum.held += it->held;
    sum.compiling += it->compiling;
  }
  return sum;
}

Result<LoadBalance> ParseLoadBalance(std::string_view name) {
  if (name == "auto" || name == "round_robin") return LoadBalance::kRoundRobin;
  if (name == "total_requests" || name == "shortest_queue") return LoadBalance::kTotalRequests;
  if (name == "total_tokens") return LoadBalance::kTotalTokens;
  return InvalidArgument(fmt::format("expected auto, round_robin, total_requests, shortest_queue or total_tokens, got '{}'", name));
}

size_t ChooseReplica(LoadBalance method, std::span<const EngineLoad> loads, size_t turn) {
  if (method == LoadBalance::kRoundRobin) return turn % loads.size();
  const auto lighter = [method](const EngineLoad& a, const EngineLoad& b) {
    return method == LoadBalance::kTotalTokens ? std::tie(a.tokens, a.requests) < std::tie(b.tokens, b.requests) : a.requests < b.requests;
  };
  return static_cast<size_t>(std::min_element(loads.begin(), loads.end(), lighter) - loads.begin());
}

Replicas::Replicas(std::vector<std::unique_ptr<Engine>> engines, LoadBalance method) : engines_(std::move(engines)), method_(method) {
  CHECK(!engines_.empty());
}

size_t Replicas::HomeOf(const std::string& session_id) const { return std::hash<std::string>()(session_id) % engines_.size(); }

Result<size_t> Replicas::Choose(const GenerateRequest& request) {
  if (request.dp_rank && (*request.dp_rank < 0 || *request.dp_rank >= size()))
    return InvalidArgument(fmt::format("routed_dp_rank must be in [0, {}], got {}.", size() - 1, *request.dp_rank));
  if (request.session) {
    const size_t home = HomeOf(request.session->id);
    if (request.dp_rank && static_cast<size_t>(*request.dp_rank) != home)
      return InvalidArgument(fmt::format("routed_dp_rank: session {} lives on rank {}.", request.session->id, home));
    return home;
  }
  if (request.dp_rank) return static_cast<size_t>(*request.dp_rank);
  if (engines_.size() == 1) return size_t{0};
  std::vector<EngineLoad> loads;
  for (const auto& engine : engines_) loads.push_back(engine->load());
  return ChooseReplica(method_, loads, turn_.fetch_add(1, std::memory_order_relaxed));
}

Result<RequestId> Replicas::Submit(GenerateRequest request, Sink sink) {
  TRY(const size_t rank, Choose(request));
  return engines_[rank]->Submit(std::move(request), std::move(sink));
}

void Replicas::Abort(RequestId id) { engine(Engine::RankOf(id, size())).Abort(id); }

void Replicas::AbortRid(const std::string& rid) {
  for (const auto& engine : engines_) engine->AbortRid(rid);
}

void Replicas::AbortAll() {
  for (const auto& engine : engines_) engine->AbortAll();
}

void Replicas::FlushCache(std::chrono::milliseconds timeout, std::function<void(bool)> done) {
  const ControlDone one = Gather(engines_.size(), [done = std::move(done)](const Result<std::string>& all) { done(all.ok()); });
  for (const auto& engine : engines_)
    engine->FlushCache(timeout, [one](bool flushed) { one(flushed ? Result<std::string>("") : Result<std::string>(Internal("busy"))); });
}

void Replicas::Control(ControlRequest request, ControlDone done) {
  std::lock_guard lock(order_mutex_);
  if (auto* open = std::get_if<OpenSession>(&request)) {
    if (open->session_id.empty() && engines_.size() > 1) open->session_id = MakeUpSessionId();
    const size_t home = HomeOf(open->session_id);
    return engines_[home]->Control(std::move(request), std::move(done));
  }
  if (const auto* close = std::get_if<CloseSession>(&request)) {
    const size_t home = HomeOf(close->session_id);
    return engines_[home]->Control(std::move(request), std::move(done));
  }
  if (auto* update = std::get_if<UpdateWeights>(&request)) update->shared = std::make_shared<WeightsUpdate>(size());
  const ControlDone one = Gather(engines_.size(), std::move(done));
  for (const auto& engine : engines_) engine->Control(request, one);
}

// All refuse newcomers before any is waited for; the living requests are counted together.
bool Replicas::Drain(std::chrono::milliseconds timeout) {
  for (const auto& engine : engines_) (void)engine->Drain(std::chrono::milliseconds(0));
  return engines_.front()->Drain(timeout);
}

std::vector<EngineStats> Replicas::stats() const {
  std::vector<EngineStats> out;
  for (const auto& engine : engines_) out.push_back(engine->stats());
  return out;
}

std::vector<const EngineProbe*> Replicas::probes() const {
  std::vector<const EngineProbe*> out;
  for (const auto& engine : engines_) out.push_back(&engine->probe());
  return out;
}

}  // namespace sgl
