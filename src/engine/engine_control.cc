// Operations on the running engine, see control.h. Thread: engine.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include <utility>

#include "engine/engine_impl.h"
#include "obs/log.h"

namespace sgl {

Engine::Impl::Answer Engine::Impl::Do(OpenSession& open, ControlDone&) { return sessions_.Open(open, clock_.Now()); }

Engine::Impl::Answer Engine::Impl::Do(CloseSession& close, ControlDone&) {
  sessions_.Close(close.session_id);
  return std::string();
}

Engine::Impl::Answer Engine::Impl::Do(PauseGeneration& pause, ControlDone&) {
  if (pause.mode == PauseMode::kAbort) {
    Handle(AbortMessage{.what = AbortMessage::What::kAll, .id = {}, .rid = {}});
    End(scheduler_->SweepAborts());
  }
  if (pause.mode == PauseMode::kRetract) scheduler_->RetractAll(clock_.Now());
  if (!paused_) paused_since_ = clock_.Now();
  paused_ = true;
  was_idle_ = false;
  WhenIdle();  // who asks after the answer sees the state after it
  return std::string();
}

Engine::Impl::Answer Engine::Impl::Do(ContinueGeneration&, ControlDone&) {
  Continue();
  WhenIdle();  // as after a pause
  return std::string();
}

void Engine::Impl::Continue() {
  if (!std::exchange(paused_, false)) return;
  scheduler_->ForgiveTime(clock_.Now() - paused_since_);
  was_idle_ = false;
  ReleaseHeld();
}

void Engine::Impl::ReleaseHeld() {
  if (holds_back()) return;
  for (auto& [request, since] : std::exchange(held_, {})) {
    const RequestId id = request.id;
    if (const Status added = scheduler_->Add(std::move(request), clock_.Now()); !added.ok())
      End({{id, Finish::Abort(added.error().message, 503, "ServiceUnavailableError")}});
  }
}

Engine::Impl::Answer Engine::Impl::Do(UpdateWeights& update, ControlDone& done) {
  if (update.shared == nullptr) update.shared = std::make_shared<WeightsUpdate>(1);
  if (update_) {
    const Error busy{Code::kUnavailable, "Another weight update is under way."};
    update.shared->Vote(busy);
    return busy;
  }
  if (rank_ == 0) LOG_INFO("Loading new weights from {}", update.model_path);
  const int threads = loaded_.info.threads;
  const size_t scratch = Runner::ScratchBytes(*loaded_.model, threads);
  update_ = PendingUpdate{.asked = update, .done = std::move(done), .abort_before = next_id_.load()};
  UpdateWeights asked = update;
  asked.shared = nullptr;  // it will own the thread that keeps this
  update.shared->Join(
      rank_,
      [asked, config = config_, shape = loaded_.model->shape(), scratch, threads] {
        return LoadNewWeights(asked, config, shape, scratch, threads);
      },
      [this] {
        weights_ready_.store(true);
        Post(WakeMessage{});
      });
  return {};
}

// The new weights are there, or the verdict on them. Waits until nobody depends on the old ones: newcomers are held back while those who
// run finish, here and in the other replicas.
void Engine::Impl::ExchangeWeights() {
  WeightsUpdate& shared = *update_->asked.shared;
  weights_ready_.store(false);
  const WeightsUpdate::Loaded* loaded = shared.loaded();
  if (loaded == nullptr) return;  // another replica cannot take part; that is said when the loading has ended
  weights_ready_.store(true);
  if (loaded->ok() && !paused_) {
    if (update_->asked.abort_all_requests) {
      for (const auto& [id, active] : active_)
        if (id < update_->abort_before) scheduler_->Abort(active->id(), Finish::Abort("Aborted"));
      End(scheduler_->SweepAborts());
    }
    if (!scheduler_->idle() && (!shared.verdict() || shared.verdict()->ok())) return;
  }
  if (!std::exchange(update_->voted, true)) shared.Vote(MayExchangeWeights());
  const std::optional<Status> verdict = shared.verdict();
  if (!verdict) return;
  if (verdict->ok() && update_->asked.flush_cache && scheduler_->holds_pages()) return;  // only since it voted: they will go
  const PendingUpdate ended = *std::exchange(update_, {});
  shared.Leave(rank_, Internal("left"));
  weights_ready_.store(false);
  if (verdict->ok())
    TakeWeights(**loaded, ended.asked);
  else
    LOG_ERROR("The weights stay as they are: {}", verdict->error().message);
  ended.done(verdict->ok() ? Result<std::string>("Succeeded to update model weights.") : Result<std::string>(verdict->error()));
  ReleaseHeld();
}

Status Engine::Impl::MayExchangeWeights() {
  const WeightsUpdate::Loaded& loaded = *update_->asked.shared->loaded();
  if (!loaded.ok()) return loaded.error();
  if (update_->asked.flush_cache && scheduler_->holds_pages())
    return InvalidArgument(
        "flush_cache: requests that are paused in place hold KV cache of the old weights. Pause with mode \"retract\" or \"abort\", or "
        "send flush_cache: false.");
  return {};
}

void Engine::Impl::TakeWeights(const std::shared_ptr<const Model>& model, const UpdateWeights& asked) {
  loaded_.runner->Use(*model);
  loaded_.model = model;
  if (asked.flush_cache) loaded_.cache->Flush();
  EngineInfo info = *info_.load();
  if (!asked.zero) info.model_path = info.served_model_name = asked.model_path;
  info.weights_are_zero = asked.zero;
  ++info.weight_updates;
  if (asked.weight_version) info.weight_version = *asked.weight_version;
  info.weight_bytes = loaded_.model->weight_bytes();
  ChangeInfo(std::move(info));
  asked.zero ? LOG_INFO("The weights are zeros now") : LOG_INFO("New weights from {}", asked.model_path);
}

Engine::Impl::Answer Engine::Impl::Do(SetWeightVersion& set, ControlDone&) {
  if (set.abort_all_requests) Handle(AbortMessage{.what = AbortMessage::What::kAll, .id = {}, .rid = {}});
  EngineInfo info = *info_.load();
  info.weight_version = set.version;
  ++info.weight_updates;
  ChangeInfo(std::move(info));
  return std::string();
}

Engine::Impl::Answer Engine::Impl::Do(LimitRunningRequests& limit, ControlDone&) {
  if (limit.most < 1 || limit.most > loaded_.info.max_running_requests)
    return InvalidArgument(fmt::format("must be in [1, {}], got {}", loaded_.info.max_running_requests, limit.most));
  scheduler_->LimitRunning(limit.most);
  return std::string();
}

Engine::Impl::Answer Engine::Impl::Do(SlowDown& slow, ControlDone&) {
  sleep_per_step_s_ = slow.seconds;
  return std::string();
}

Engine::Impl::Answer Engine::Impl::Do(AbortByPrefix& abort, ControlDone&) {
  std::vector<RequestId> ids;
  for (const auto& [id, active] : active_)
    if (!abort.prefix.empty() && active->request().rid.compare(0, abort.prefix.size(), abort.prefix) == 0) ids.push_back(active->id());
  for (const RequestId id : ids) AbortOne(id);
  return std::string();
}

}  // namespace sgl
