// SPDX-License-Identifier: Apache-2.0
#include "base/thread_pool.h"

#include <gtest/gtest.h>

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

TEST(ThreadPool, UsableCpusIsNeverEmpty) { EXPECT_FALSE(UsableCpus().empty()); }

}  // namespace
}  // namespace sgl
