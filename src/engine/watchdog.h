// Notices an engine that hangs: one that is at work and does not come round its loop for long. An idle or paused one is not.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/engine.h"

namespace sgl {

struct WatchdogConfig {
  double timeout_s = 300;     // then the process ends; 0: never
  double soft_timeout_s = 0;  // then a warning is logged, once until it moves again; 0: never
};

struct Hang {
  Engine* engine = nullptr;
  int rank = 0;
  double seconds = 0;  // without a sign of life
  bool hard = false;   // timeout_s has passed, not only soft_timeout_s
};

// Logs what the engine was at. hard: ends the process by SIGABRT, through the crash report if that is installed, with the engine thread's
// stack. Does not return then.
void ReportHang(const Hang& hang);

// Thread: its own; on_hang is called there. Time during which the whole process was stopped does not count.
class Watchdog {
 public:
  // The engines outlive it.
  Watchdog(std::vector<Engine*> engines, WatchdogConfig config, std::function<void(const Hang&)> on_hang = ReportHang);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

 private:
  struct Watched {
    Engine* engine = nullptr;
    uint64_t rounds = 0;
    double stalled_s = 0;
    bool warned = false, reported = false;
  };
  void Watch(std::chrono::duration<double> period);
  void Look(Watched& watched, int rank, double seconds);

  const WatchdogConfig config_;
  const std::function<void(const Hang&)> on_hang_;
  std::vector<Watched> watched_;
  std::mutex mutex_;
  std::condition_variable stopped_;
  bool stop_ = false;  // guarded by mutex_
  std::thread thread_;
};

}  // namespace sgl
