// What it costs to hand work to the pool and to wait for it: nanoseconds per Run by threads and tasks, of tasks that do nothing, and of
// one task per thread that waits for all the others, which is a whole barrier.
//   thread_pool_bench [rounds]
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "base/thread_pool.h"

int main(int argc, char** argv) {
  using Clock = std::chrono::steady_clock;
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 2000;
  const sgl::CpuFacts facts = sgl::ReadCpuFacts();
  const int most = sgl::PlanCpus(facts, 0, {})->threads;
  std::vector<int> counts = {1};
  for (int n = 2; n < most; n *= 2) counts.push_back(n);
  if (most > 1) counts.push_back(most);
  for (const int threads : counts) {
    const auto plan = sgl::PlanCpus(facts, threads, {});
    sgl::ThreadPool pool(*plan);
    pool.BindCaller();
    const auto measure = [&](const char* what, int tasks, const auto& job) {
      std::vector<double> ns;
      for (int slice = 0; slice < 31; ++slice) {
        const auto begin = Clock::now();
        for (int i = 0; i < rounds; ++i) job(tasks);
        ns.push_back(std::chrono::duration<double, std::nano>(Clock::now() - begin).count() / rounds);
      }
      std::sort(ns.begin(), ns.end());
      std::printf("%2d threads, %3d %-8s %7.0f ns per Run (best %.0f)\n", threads, tasks, what, ns[ns.size() / 2], ns.front());
    };
    for (const int tasks : {threads, 4 * threads, 64}) measure("tasks:", tasks, [&](int n) { pool.Run(n, [](int, int) {}); });
    if (threads > 1)
      measure("meeting:", threads, [&](int n) {
        std::atomic<int> here{0};
        pool.Run(n, [&](int, int) {
          here.fetch_add(1);
          while (here.load(std::memory_order_acquire) < n) {
          }
        });
      });
  }
}
