// What the scheduler costs per step of pure decoding: Sweep, Plan and Commit with made-up tokens. Medians of the thread's CPU time.
//   sched_bench
// SPDX-License-Identifier: Apache-2.0
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <vector>

#include "sched/scheduler.h"

namespace sgl {
namespace {

double CpuSeconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

// Microseconds per step with `running` requests decoding and `waiting` more that find no place.
double StepMicros(int running, int waiting) {
  constexpr int kSlices = 41, kSteps = 50;
  SchedConfig config;
  config.max_running_requests = running;
  config.context_length = 1 << 20;
  KvCache cache(running * 256 + 64, 16, true);
  Scheduler sched(config, cache);
  for (int i = 0; i < running + waiting; ++i) {
    SchedRequest r;
    r.id = RequestId{static_cast<uint64_t>(i) + 1};
    for (int t = 0; t < 64; ++t) r.prompt.push_back(i * 64 + t);
    r.max_new_tokens = 2500;
    if (!sched.Add(std::move(r), {}).ok()) return -1;
  }
  std::vector<Sampled> sampled;
  std::vector<Ended> ended;
  const auto step = [&] {
    (void)sched.Sweep({});
    const StepPlan& plan = sched.Plan({}, ended);
    sampled.clear();
    for (const PlanRow& row : plan.rows)
      if (row.sample) sampled.push_back({.token = 7, .hit = {}});
    (void)sched.Commit(sampled, {});
  };
  while (sched.stats().running < running) step();
  std::vector<double> micros;
  for (int slice = 0; slice < kSlices; ++slice) {
    const double begin = CpuSeconds();
    for (int i = 0; i < kSteps; ++i) step();
    micros.push_back((CpuSeconds() - begin) / kSteps * 1e6);
  }
  std::nth_element(micros.begin(), micros.begin() + kSlices / 2, micros.end());
  return micros[kSlices / 2];
}

}  // namespace
}  // namespace sgl

int main() {
  for (const int running : {1, 32, 64, 256})
    for (const int waiting : {0, 1000})
      std::printf("running %3d, waiting %4d: %.2f us per step\n", running, waiting, sgl::StepMicros(running, waiting));
}
