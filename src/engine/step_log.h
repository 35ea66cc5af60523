// The batch lines of the log: one per prefill step, one per `interval` decode steps. Field names: SGLang's.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "base/clock.h"
#include "sched/scheduler.h"

namespace sgl {

// Thread: engine.
class StepLog {
 public:
  StepLog(int interval, bool numbered) : interval_(interval), numbered_(numbered) {}
  void Record(const StepPlan& plan, const SchedStats& stats, TimePoint begin, TimePoint end);
  double throughput() const { return throughput_; }  // decoded tokens/s in the last window

 private:
  const int interval_;
  const bool numbered_;  // lines say the number of the step
  int64_t steps_ = 0;
  int decode_steps_ = 0;
  int64_t decoded_ = 0;
  TimePoint window_begin_{};
  double throughput_ = 0;
};

// A warning if the scheduler retracted requests between the two.
void LogRetractions(const SchedStats& before, const SchedStats& after);

}  // namespace sgl
