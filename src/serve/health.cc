// SPDX-License-Identifier: Apache-2.0
#include "serve/health.h"

#include <algorithm>
#include <utility>

#include "base/retry.h"
#include "obs/log.h"
#include "serve/reply.h"

namespace sgl {
namespace {

// Between two looks at the engine: a tenth of the time that has passed, so that the answer follows the first sign of life closely, however
// long a step takes.
std::chrono::milliseconds Pause(std::chrono::milliseconds waited) {
  using std::chrono::milliseconds;
  return std::clamp(waited / 10, milliseconds(1), milliseconds(100));
}

}  // namespace

void HealthMonitor::Ask(const Exchange& exchange) {
  waiting_.push_back(exchange);
  if (waiting_.size() > 1) return;
  produced_before_ = Sum(context_.backend.stats()).tokens_produced;
  waited_ = {};
  probed_ = false;
  Poll(round_);
}

void HealthMonitor::Poll(size_t round) {
  if (round != round_) return;
  const EngineStats stats = Sum(context_.backend.stats());
  if (stats.tokens_produced != produced_before_) return Answer(true);
  if (stats.paused) return Answer(true);  // it stands still because it was told to
  if (waited_ >= context_.config.health_timeout) return Answer(false);
  // A busy engine will show life by itself; a probe would only queue up behind the rest.
  if (!probed_ && stats.sched.running == 0 && stats.sched.waiting == 0) SubmitProbe();
  if (round != round_) return;  // refused
  const std::chrono::milliseconds pause = Pause(waited_);
  waited_ += pause;
  // Others wait for this round, too: it must go on.
  Retry([&] { context_.threads.post_http_after(pause, [self = shared_from_this(), round] { self->Poll(round); }); });
}

void HealthMonitor::SubmitProbe() {
  probed_ = true;
  GenerateRequest request;
  request.rid = "HEALTH_CHECK_" + context_.ids.Next();
  request.prompt = {0};
  request.sampling.max_new_tokens = 1;
  request.sampling.temperature = 0.0;
  request.internal = true;
  Result<RequestId> id =
      context_.backend.Submit(std::move(request), [self = shared_from_this(), round = round_, outbox = context_.outbox](TokenDelta delta) {
        outbox->Push(self, round, std::move(delta));
      });
  if (id.ok())
    probe_ = *id;
  else if (id.error().code != Code::kExhausted)  // a full inbox is no sign of death
    OnRefused(round_, std::move(id).error());
}

void HealthMonitor::OnDelta(size_t round, TokenDelta) {
  if (round != round_) return;
  probe_.reset();  // it has one token only
  Answer(true);
}

void HealthMonitor::OnRefused(size_t round, Error error) {
  if (round != round_) return;
  LOG_WARNING("The health check was refused: {}", error.message);
  Answer(false);
}

void HealthMonitor::Answer(bool alive) {
  ++round_;
  if (const std::optional<RequestId> probe = std::exchange(probe_, {})) context_.backend.Abort(*probe);
  if (!alive) LOG_WARNING("Health check failed: the engine has produced nothing for {} ms", waited_.count());
  ServerState expected = alive ? ServerState::kUnhealthy : ServerState::kUp;
  context_.state.compare_exchange_strong(expected, alive ? ServerState::kUp : ServerState::kUnhealthy);
  if (context_.state == ServerState::kStopping) alive = false;
  for (const Exchange& exchange : std::exchange(waiting_, {})) SendEmpty(*exchange, alive ? 200 : 503);
}

}  // namespace sgl
