// The compute threads: pinned, one per core we may use, spin-then-park between jobs.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <functional>
#include <memory>
#include <vector>

namespace sgl {

// The CPUs this process may use: affinity mask, cut down to cgroup cpu.max. Ascending.
std::vector<int> UsableCpus();

// Thread: Run from one thread at a time (the engine thread, which is worker 0). Lives as long as the Engine.
class ThreadPool {
 public:
  // threads >= 1, the caller included. cpus: worker i is pinned to cpus[i % size]; empty: nobody is pinned.
  explicit ThreadPool(int threads, std::vector<int> cpus = {});
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const;
  // Pins the calling thread as worker 0. For the thread that will call Run.
  void BindCaller() const;

  // Calls job(task, worker) once for every task in [0, tasks), in any order, on any worker in [0, threads()); returns when all are
  // done. Tasks are handed out one by one, so a worker that the machine pauses costs one task, not half of the work.
  // The result must not depend on which worker takes which task.
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
