// SPDX-License-Identifier: Apache-2.0
#include "base/thread_pool.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <string>
#include <thread>

#include "base/check.h"

namespace sgl {
namespace {

// Longer than the gap between two kernels of a step, shorter than anything a person notices.
constexpr std::chrono::microseconds kSpin{60};
constexpr int kChecksPerClock = 32;  // spins between two looks at the clock

void Relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// Spins until `ready` or the time is over; returns ready().
template <class Ready>
bool SpinUntil(std::chrono::microseconds limit, const Ready& ready) {
  std::chrono::steady_clock::time_point end{};
  for (bool first = true;; first = false) {
    for (int i = 0; i < kChecksPerClock; ++i) {
      if (ready()) return true;
      Relax();
    }
    const auto now = std::chrono::steady_clock::now();
    if (first) end = now + limit;
    if (now >= end) return ready();
  }
}

void FutexWait(std::atomic<uint32_t>& word, uint32_t seen) {
  (void)syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, seen, nullptr, nullptr, 0);
}
void FutexWake(std::atomic<uint32_t>& word, int waiters) {
  (void)syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, waiters, nullptr, nullptr, 0);
}

void PinTo(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (cpu >= CPU_SETSIZE) return;
  CPU_SET(cpu, &set);
  // Refused inside some sandboxes: then the thread just is not pinned.
  (void)pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

// The tasks of one Run that belong to one NUMA node: which Run, how many there are left to hand out. One 64-bit word, so that who takes a
// ticket knows in the same moment that it is valid: a worker that comes late sees an exhausted or a newer word, never a stale job.
struct Ticket {
  static constexpr int kIndexBits = 20;
  static constexpr uint64_t kIndexMask = (uint64_t{1} << kIndexBits) - 1;
  static uint64_t Word(uint64_t round, uint64_t end, uint64_t next) { return round << (2 * kIndexBits) | end << kIndexBits | next; }
  static uint64_t next(uint64_t word) { return word & kIndexMask; }
  static uint64_t end(uint64_t word) { return word >> kIndexBits & kIndexMask; }
};
constexpr int kMaxTasks = 1 << 19;  // the other half is room for workers that ask in vain

struct alignas(64) Queue {
  std::atomic<uint64_t> word{0};
};

}  // namespace

void LowerThreadPriority() {
  constexpr int kNice = 5;                    // about a quarter of the time next to a thread at 0
  (void)setpriority(PRIO_PROCESS, 0, kNice);  // Linux: of this thread; refused: it stays as it is
}

struct ThreadPool::State {
  int count = 1;
  std::vector<int> cpus;
  std::vector<int> node;  // of each worker
  std::vector<Queue> queues;
  std::vector<int> node_end;  // workers on nodes [0, n], cumulated
  std::vector<std::thread> workers;

  alignas(64) std::atomic<uint32_t> round{0};  // also the futex that idle workers park on
  alignas(64) std::atomic<int> done{0};        // tasks of this round
  alignas(64) std::atomic<uint32_t> parked{0};
  std::atomic<bool> stop{false};
  alignas(64) Call call = nullptr;
  const void* job = nullptr;

  void Start();

  // Takes tasks of one queue until it is empty; returns how many it did. The job is stable as long as a taken task is not done.
  int Drain(Queue& queue, int worker) {
    int mine = 0;
    for (;;) {
      const uint64_t seen = queue.word.load(std::memory_order_acquire);
      if (Ticket::next(seen) >= Ticket::end(seen)) return mine;
      const uint64_t ticket = queue.word.fetch_add(1, std::memory_order_acq_rel);
      if (Ticket::next(ticket) >= Ticket::end(ticket)) return mine;
      call(job, static_cast<int>(Ticket::next(ticket)), worker);
      ++mine;
    }
  }
  void Work(int worker) {
    const size_t own = static_cast<size_t>(node[static_cast<size_t>(worker)]);
    for (size_t i = 0; i < queues.size(); ++i) {
      const int did = Drain(queues[(own + i) % queues.size()], worker);
      if (did > 0) done.fetch_add(did, std::memory_order_release);
    }
  }

  void WorkerMain(int worker) {
    uint32_t seen = 0;
    const auto changed = [&] { return round.load(std::memory_order_acquire) != seen; };
    for (;;) {
      if (!SpinUntil(kSpin, changed)) {
        parked.fetch_add(1);  // seq_cst, as NextRound's increment: either we see the round or it sees us
        while (!changed()) FutexWait(round, seen);
        parked.fetch_sub(1);
      }
      seen = round.load(std::memory_order_acquire);
      if (stop.load()) return;
      Work(worker);
    }
  }

  void NextRound() {
    round.fetch_add(1);
    if (parked.load() > 0) FutexWake(round, count);
  }
};

void ThreadPool::State::Start() {
  queues = std::vector<Queue>(static_cast<size_t>(*std::max_element(node.begin(), node.end()) + 1));
  node_end.resize(queues.size());
  for (const int n : node)
    for (size_t i = static_cast<size_t>(n); i < node_end.size(); ++i) ++node_end[i];
  for (int i = 1; i < count; ++i) {
    workers.emplace_back([this, i] {
      if (!cpus.empty()) PinTo(cpus[static_cast<size_t>(i)]);
      pthread_setname_np(pthread_self(), ("compute-" + std::to_string(i)).c_str());
      WorkerMain(i);
    });
  }
}

ThreadPool::ThreadPool(const CpuPlan& plan) : state_(std::make_unique<State>()) {
  CHECK(plan.threads >= 1);
  CHECK(plan.cpus.size() == plan.nodes.size() && (plan.cpus.empty() || plan.cpus.size() == static_cast<size_t>(plan.threads)));
  state_->count = plan.threads;
  state_->cpus = plan.cpus;
  state_->node = plan.nodes;
  state_->node.resize(static_cast<size_t>(plan.threads));
  state_->Start();
}

ThreadPool::ThreadPool(int threads) : ThreadPool(CpuPlan{.cpus = {}, .nodes = {}, .threads = threads, .why = {}}) {}

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
  CHECK(tasks <= kMaxTasks);
  s.call = call;
  s.job = job;
  s.done.store(0, std::memory_order_relaxed);
  const uint64_t next_round = s.round.load(std::memory_order_relaxed) + 1;
  int64_t begin = 0;
  for (size_t n = 0; n < s.queues.size(); ++n) {
    const int64_t end = int64_t{tasks} * s.node_end[n] / s.count;
    // Everything above is visible to who takes a ticket from this word.
    s.queues[n].word.store(Ticket::Word(next_round, static_cast<uint64_t>(end), static_cast<uint64_t>(begin)), std::memory_order_release);
    begin = end;
  }
  s.NextRound();
  s.Work(0);
  // Somebody still has a task. When it takes long his core may be shared: then let others run on ours too.
  const auto all_done = [&] { return s.done.load(std::memory_order_acquire) == tasks; };
  while (!SpinUntil(kSpin, all_done)) sched_yield();
}

}  // namespace sgl
