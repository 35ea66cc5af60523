// SPDX-License-Identifier: Apache-2.0
#include "engine/watchdog.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <future>
#include <mutex>
#include <vector>

#include "engine/engine_test_kit.h"
#include "obs/crash_report.h"

namespace sgl {
namespace {

// Keeps what the watchdog says.
class Witness {
 public:
  std::function<void(const Hang&)> eye() {
    return [this](const Hang& hang) {
      std::lock_guard lock(mutex_);
      seen_.push_back(hang);
      changed_.notify_all();
    };
  }
  std::vector<Hang> WaitFor(size_t count) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds(60), [&] { return seen_.size() >= count; }));
    return seen_;
  }
  size_t count() {
    std::lock_guard lock(mutex_);
    return seen_.size();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Hang> seen_;
};

Result<std::string> Control(Engine& engine, ControlRequest request) {
  std::promise<Result<std::string>> answer;
  engine.Control(std::move(request), [&](Result<std::string> r) { answer.set_value(std::move(r)); });
  return answer.get_future().get();
}

TEST(Watchdog, WarnsFirstThenGivesUpOnAStepThatDoesNotEnd) {
  auto engine = Start(Config());
  Witness witness;
  Watchdog watchdog({engine.get()}, {.timeout_s = 0.6, .soft_timeout_s = 0.2}, witness.eye());
  ASSERT_TRUE(Control(*engine, SlowDown{2.5}).ok());
  Collector collector;
  ASSERT_TRUE(engine->Submit(Request(1, 1), collector.sink()).ok());
  const std::vector<Hang> seen = witness.WaitFor(2);
  EXPECT_FALSE(seen[0].hard);
  EXPECT_GE(seen[0].seconds, 0.2);
  EXPECT_TRUE(seen[1].hard);
  EXPECT_GE(seen[1].seconds, 0.6);
  EXPECT_EQ(seen[1].engine, engine.get());
  (void)collector.Wait();
  EXPECT_EQ(witness.count(), 2u) << "once each";
}

TEST(Watchdog, LeavesAnEngineAloneThatIsIdleOrPausedOrOnlyBusy) {
  auto engine = Start(Config());
  Witness witness;
  Watchdog watchdog({engine.get()}, {.timeout_s = 1.5, .soft_timeout_s = 1.0}, witness.eye());
  std::this_thread::sleep_for(std::chrono::milliseconds(1600));  // idle
  ASSERT_TRUE(Control(*engine, SlowDown{0.05}).ok());
  Collector collector;
  ASSERT_TRUE(engine->Submit(Request(1, 40), collector.sink()).ok());  // two seconds of steps, each short
  collector.WaitForTokens(2);
  ASSERT_TRUE(Control(*engine, PauseGeneration{PauseMode::kInPlace}).ok());
  std::this_thread::sleep_for(std::chrono::milliseconds(1600));
  ASSERT_TRUE(Control(*engine, ContinueGeneration{}).ok());
  (void)collector.Wait();
  EXPECT_EQ(witness.count(), 0u);
}

TEST(Watchdog, AHangEndsTheProcessWithTheStackOfTheEngine) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        (void)InstallCrashReport("");
        auto engine = Start(Config());
        Watchdog watchdog({engine.get()}, {.timeout_s = 0.3});
        (void)Control(*engine, SlowDown{60});
        Collector collector;
        (void)engine->Submit(Request(1, 1), collector.sink());
        (void)collector.Wait();
      },
      testing::KilledBySignal(SIGABRT), "engine 0 has been in the same step for .*crash report: signal 6.*stack");
}

TEST(Watchdog, WithoutTimeoutsThereIsNone) {
  auto engine = Start(Config());
  Witness witness;
  Watchdog watchdog({engine.get()}, {.timeout_s = 0}, witness.eye());
  ASSERT_TRUE(Control(*engine, SlowDown{0.2}).ok());
  (void)RunOne(*engine, Request(1, 1));
  EXPECT_EQ(witness.count(), 0u);
}

}  // namespace
}  // namespace sgl
