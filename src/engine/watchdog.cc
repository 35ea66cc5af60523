// SPDX-License-Identifier: Apache-2.0
#include "engine/watchdog.h"

#include <pthread.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <utility>

#include "obs/log.h"

namespace sgl {

void ReportHang(const Hang& hang) {
  const EngineStats stats = hang.engine->stats();
  const EngineBeat beat = hang.engine->beat();
  LOG_ERROR(
      "Watchdog: engine {} has been in the same step for {:.1f} s. #step: {}, #running-req: {}, #queue-req: {}, #token: {}, "
      "#pending-token: {}, output tokens so far: {}{}",
      hang.rank, hang.seconds, beat.steps_begun, stats.sched.running, stats.sched.waiting, stats.sched.used_tokens,
      stats.sched.pending_tokens, stats.tokens_produced, hang.hard ? ". The process ends now" : "");
  if (!hang.hard) return;
  hang.engine->Crash();
  std::this_thread::sleep_for(std::chrono::seconds(5));  // the report is written on the engine's thread
  std::abort();
}

Watchdog::Watchdog(std::vector<Engine*> engines, WatchdogConfig config, std::function<void(const Hang&)> on_hang)
    : config_(config), on_hang_(std::move(on_hang)) {
  double least = std::numeric_limits<double>::infinity();
  for (const double timeout : {config.timeout_s, config.soft_timeout_s})
    if (timeout > 0) least = std::min(least, timeout);
  if (least == std::numeric_limits<double>::infinity()) return;
  for (Engine* engine : engines) watched_.push_back({.engine = engine, .rounds = engine->beat().rounds});
  thread_ = std::thread([this, period = std::clamp(least / 8, 0.01, 1.0)] { Watch(std::chrono::duration<double>(period)); });
}

Watchdog::~Watchdog() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  stopped_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Watchdog::Watch(std::chrono::duration<double> period) {
  pthread_setname_np(pthread_self(), "watchdog");
  auto before = std::chrono::steady_clock::now();
  std::unique_lock lock(mutex_);
  while (!stopped_.wait_for(lock, period, [&] { return stop_; })) {
    const auto now = std::chrono::steady_clock::now();
    const double seconds = std::min(std::chrono::duration<double>(now - before), 2 * period).count();
    before = now;
    lock.unlock();
    for (size_t i = 0; i < watched_.size(); ++i) Look(watched_[i], static_cast<int>(i), seconds);
    lock.lock();
  }
}

void Watchdog::Look(Watched& watched, int rank, double seconds) {
  const EngineBeat beat = watched.engine->beat();
  if (!beat.busy || beat.rounds != watched.rounds) {
    if (watched.warned) LOG_INFO("Watchdog: engine {} moves again", rank);
    watched = {.engine = watched.engine, .rounds = beat.rounds};
    return;
  }
  watched.stalled_s += seconds;
  const Hang hang{.engine = watched.engine, .rank = rank, .seconds = watched.stalled_s};
  const auto past = [&](double timeout) { return timeout > 0 && watched.stalled_s >= timeout; };
  if (past(config_.soft_timeout_s) && !std::exchange(watched.warned, true)) on_hang_(hang);
  if (!past(config_.timeout_s) || std::exchange(watched.reported, true)) return;
  Hang hard = hang;
  hard.hard = true;
  on_hang_(hard);
}

}  // namespace sgl
