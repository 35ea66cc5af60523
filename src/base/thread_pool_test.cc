// SPDX-License-Identifier: Apache-2.0
#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

namespace sgl {
namespace {

TEST(ThreadPool, RunsEveryTaskOnceForManyRounds) {
  ThreadPool pool(3);
  for (int round = 0; round < 2000; ++round) {
    std::vector<std::atomic<int>> hits(static_cast<size_t>(round % 17));
    pool.Run(round % 17, [&](int task, int worker) {
      EXPECT_LT(worker, 3);
      hits[static_cast<size_t>(task)].fetch_add(1);
    });
    for (auto& hit : hits) ASSERT_EQ(hit.load(), 1);
  }
}

TEST(ThreadPool, ParkedWorkersWakeUp) {
  ThreadPool pool(2);
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // long enough for the worker to park
    std::atomic<int> sum{0};
    pool.Run(8, [&](int task, int) { sum += task; });
    ASSERT_EQ(sum.load(), 28);
  }
}

// Far more threads than CPUs: most workers come late to most rounds and must neither repeat nor lose a task.
TEST(ThreadPool, LateWorkersFindNothing) {
  ThreadPool pool(16);
  for (int round = 0; round < 3000; ++round) {
    std::atomic<int> sum{0};
    pool.Run(5, [&](int task, int) { sum += 1 << (4 * task); });
    ASSERT_EQ(sum.load(), 0x11111);
  }
}

TEST(ThreadPool, NodesShareTheTasksAndHelpEachOther) {
  const CpuPlan plan{.cpus = {0, 0, 0}, .nodes = {0, 1, 1}, .threads = 3, .why = {}};
  ThreadPool pool(plan);
  for (int tasks = 0; tasks < 200; ++tasks) {
    std::vector<std::atomic<int>> hits(static_cast<size_t>(tasks));
    pool.Run(tasks, [&](int task, int) { hits[static_cast<size_t>(task)].fetch_add(1); });
    for (auto& hit : hits) ASSERT_EQ(hit.load(), 1);
  }
}

// A worker that is kept from running costs only what it has taken: a stuck one does not hold up rounds that others finish.
TEST(ThreadPool, AnAbsentWorkerHoldsUpNobody) {
  ThreadPool pool(2);
  std::atomic<bool> release{false}, held{false};
  // One task is held by whoever is not the caller; the caller does the others and waits for that one only.
  std::thread opener([&] {
    while (!held.load()) std::this_thread::yield();
    release.store(true);
  });
  std::atomic<int> others{0};
  pool.Run(64, [&](int, int worker) {
    if (worker == 1 && !held.exchange(true)) {
      while (!release.load()) std::this_thread::yield();
      return;
    }
    if (worker == 0 && others.load() >= 62 && !held.load()) return;  // the worker never came: fine too
    others.fetch_add(1);
  });
  held.store(true);
  opener.join();
  EXPECT_GE(others.load(), 62);
}

// Another busy thread on the core of one of two workers: about half of the work is still done, where pools that wait for every worker
// in every round collapse. The best of a few pairs, because the machine may be busy with other things too.
TEST(ThreadPool, ABusyCoreCostsItsShareOnly) {
  const auto plan = PlanCpus(ReadCpuFacts(), 2, {});
  ASSERT_TRUE(plan.ok());
  if (plan->cpus.size() < 2) return;  // nothing to share
  double best = 0;
  for (int trial = 0; trial < 8 && best < 0.4; ++trial) {
    std::atomic<bool> burn{false}, over{false};
    std::thread burner([&] {
      const ThreadPool pinned({.cpus = {plan->cpus[1]}, .nodes = {0}, .threads = 1, .why = {}});
      pinned.BindCaller();
      while (!over.load())
        if (!burn.load()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    });
    double rounds[2] = {};
    std::thread caller([&] {
      ThreadPool pool(*plan);
      pool.BindCaller();
      for (const bool busy : {false, true}) {
        burn.store(busy);
        const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(120);
        while (std::chrono::steady_clock::now() < end) {
          pool.Run(8, [](int task, int) {
            volatile double x = task;
            for (int i = 0; i < 3000; ++i) x = x * 1.0000001 + 0.5;
          });
          ++rounds[busy ? 1 : 0];
        }
      }
    });
    caller.join();
    over.store(true);
    burner.join();
    best = std::max(best, rounds[1] / rounds[0]);
  }
  EXPECT_GE(best, 0.4);
}

}  // namespace
}  // namespace sgl
