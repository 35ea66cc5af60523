// The compute threads: pinned, one per core we may use, spin-then-park between jobs.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <memory>
#include <vector>

#include "base/cpus.h"

namespace sgl {

// For threads that must not hold up the compute threads where they share a core: the calling thread gets what those leave, and a quarter.
void LowerThreadPriority();

// Thread: Run from one thread at a time (the engine thread, which is worker 0). Lives as long as the Engine.
class ThreadPool {
 public:
  // One thread per entry of the plan, the caller included; pinned if the plan has CPUs.
  explicit ThreadPool(const CpuPlan& plan);
  // threads >= 1, the caller included; nobody is pinned.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const;
  // Pins the calling thread as worker 0. For the thread that will call Run.
  void BindCaller() const;

  // Calls job(task, worker) once for every task in [0, tasks), in any order, on any worker in [0, threads()); returns when all are done.
  // Tasks are handed out one by one, so a worker that the machine pauses costs one task, not its whole share, and one that does not get
  // to run at all costs nothing. Neighbouring tasks go to the same NUMA node in every Run, as long as it keeps up.
  // The result must not depend on which worker takes which task. Not re-entrant. Allocates nothing.
  template <class Job>
  void Run(int tasks, const Job& job) {
    RunErased(
        tasks, [](const void* j, int task, int worker) { (*static_cast<const Job*>(j))(task, worker); }, &job);
  }

 private:
  using Call = void (*)(const void* job, int task, int worker);
  void RunErased(int tasks, Call call, const void* job);
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sgl
