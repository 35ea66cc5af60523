// SPDX-License-Identifier: Apache-2.0
#include "base/thread_pool.h"

#include <pthread.h>
#include <sched.h>

#include <atomic>
#include <cmath>
#include <condition_variable>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>

#include "base/check.h"

namespace sgl {
namespace {

void Relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

void PinTo(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  // Refused inside some sandboxes: then the thread just is not pinned.
  (void)pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

// Whole CPUs that cgroup v2's cpu.max grants, at least 1; a huge number where there is no limit.
int CgroupCpus() {
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  std::string quota;
  double period = 0;
  if (!(file >> quota >> period) || quota == "max" || period <= 0) return 1 << 20;
  return std::max(1, static_cast<int>(std::ceil(std::stod(quota) / period)));
}

}  // namespace

std::vector<int> UsableCpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cpus;
  if (sched_getaffinity(0, sizeof set, &set) == 0)
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
      if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  if (cpus.empty()) cpus.push_back(0);
  const int limit = CgroupCpus();
  if (static_cast<int>(cpus.size()) > limit) cpus.resize(static_cast<size_t>(limit));
  return cpus;
}

// One generation of `round` is one Run. A worker that finds no work for a while parks on the condition variable.
struct ThreadPool::State {
  int count = 1;
  std::vector<int> cpus;
  std::vector<std::thread> workers;

  alignas(64) std::atomic<uint64_t> round{0};
  alignas(64) std::atomic<int> next_task{0};
  alignas(64) std::atomic<int> busy{0};  // workers that have not left the current round
  alignas(64) std::atomic<int> parked{0};
  std::atomic<bool> stop{false};
  int tasks = 0;
  Call call = nullptr;
  const void* job = nullptr;

  std::mutex mutex;  // only for parking
  std::condition_variable wake;

  void Work(int worker) {
    for (int task; (task = next_task.fetch_add(1, std::memory_order_relaxed)) < tasks;) call(job, task, worker);
  }

  void WorkerMain(int worker) {
    uint64_t seen = 0;
    for (;;) {
      // About 50 us of spinning: longer than the gap between two kernels of a step, shorter than a scheduler tick.
      for (int spin = 0; spin < 2000 && round.load(std::memory_order_acquire) == seen; ++spin) Relax();
      if (round.load(std::memory_order_acquire) == seen) {
        std::unique_lock lock(mutex);
        parked.fetch_add(1);
        wake.wait(lock, [&] { return round.load() != seen; });
        parked.fetch_sub(1);
      }
      seen = round.load(std::memory_order_acquire);
      if (stop.load()) return;
      Work(worker);
      busy.fetch_sub(1, std::memory_order_release);
    }
  }

  void NextRound() {
    round.fetch_add(1);  // seq_cst: ordered against `parked`, so that a worker about to park sees the round or is seen parking
    if (parked.load() > 0) {
      std::lock_guard lock(mutex);
      wake.notify_all();
    }
  }
};

ThreadPool::ThreadPool(int threads, std::vector<int> cpus) : state_(std::make_unique<State>()) {
  CHECK(threads >= 1);
  state_->count = threads;
  state_->cpus = std::move(cpus);
  for (int i = 1; i < threads; ++i) {
    state_->workers.emplace_back([this, i] {
      const std::vector<int>& own = state_->cpus;
      if (!own.empty()) PinTo(own[static_cast<size_t>(i) % own.size()]);
      pthread_setname_np(pthread_self(), ("compute-" + std::to_string(i)).c_str());
      state_->WorkerMain(i);
    });
  }
}

ThreadPool::~ThreadPool() {
  state_->stop.store(true);
  state_->NextRound();
  for (std::thread& worker : state_->workers) worker.join();
}

int ThreadPool::threads() const { return state_->count; }

void ThreadPool::BindCaller() const {
  if (!state_->cpus.empty()) PinTo(state_->cpus.front());
}

void ThreadPool::RunErased(int tasks, Call call, const void* job) {
  State& s = *state_;
  if (s.count == 1 || tasks <= 1) {
    for (int task = 0; task < tasks; ++task) call(job, task, 0);
    return;
  }
  s.tasks = tasks;
  s.call = call;
  s.job = job;
  s.next_task.store(0, std::memory_order_relaxed);
  s.busy.store(s.count - 1, std::memory_order_relaxed);
  s.NextRound();
  s.Work(0);
  for (int spin = 0; s.busy.load(std::memory_order_acquire) != 0; ++spin) {
    Relax();
    if (spin > 20000) std::this_thread::yield();  // somebody took our workers' cores: let them run
  }
}

}  // namespace sgl
