// SPDX-License-Identifier: Apache-2.0
#include "engine/step_log.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "obs/log.h"

namespace sgl {
namespace {

std::string Logged(StepLog& log, bool prefill) {
  const std::vector<TokenId> tokens(5, 1);
  PlanRow row;
  row.tokens = std::span(tokens).first(prefill ? 5 : 1);
  row.prefill = prefill;
  StepPlan plan;
  plan.rows.push_back(row);
  testing::internal::CaptureStderr();
  log.Record(plan, SchedStats{.running = 3, .waiting = 2, .used_tokens = 50, .total_tokens = 200}, TimePoint(),
             TimePoint() + std::chrono::seconds(1));
  return testing::internal::GetCapturedStderr();
}

TEST(StepLog, LinesAreSGLangs) {
  SetLogLevel(LogLevel::kInfo);
  StepLog plain(2, false), numbered(2, true);
  EXPECT_NE(Logged(plain, true)
                .find("Prefill batch, #new-seq: 1, #new-token: 5, #cached-token: 0, token usage: 0.25, #running-req: 3, "
                      "#queue-req: 2, #pending-token: 0, cpu graph: False, input throughput (token/s): 5.00"),
            std::string::npos);
  EXPECT_EQ(Logged(plain, false), "") << "every second decode step has a line";
  EXPECT_NE(Logged(plain, false).find("Decode batch, #running-req: 3, #token: 50, token usage: 0.25, cpu graph: False, gen throughput"),
            std::string::npos);
  EXPECT_NE(Logged(numbered, true).find("Prefill batch [1], #new-seq"), std::string::npos);
  (void)Logged(numbered, false);
  EXPECT_NE(Logged(numbered, false).find("Decode batch [3], #running-req"), std::string::npos);
}

TEST(StepLog, RetractionsAreWarnings) {
  SetLogLevel(LogLevel::kWarning);
  const auto logged = [](const SchedStats& after) {
    testing::internal::CaptureStderr();
    LogRetractions({.retractions = 1, .test_retractions = 1, .retraction_gain = 4, .new_token_ratio = 0.4}, after);
    return testing::internal::GetCapturedStderr();
  };
  EXPECT_NE(logged({.retractions = 3, .test_retractions = 1, .retraction_gain = 36, .new_token_ratio = 0.5123})
                .find("KV cache pool is full. Retract requests. #retracted_reqs: 2, #new_tokens_gained: 32, #new_token_ratio: 0.4000 -> "
                      "0.5123\n"),
            std::string::npos);
  EXPECT_NE(logged({.retractions = 2, .test_retractions = 2, .retraction_gain = 20, .new_token_ratio = 0.5})
                .find("Testing retraction. #retracted_reqs: 1, #new_tokens_gained: 16\n"),
            std::string::npos);
  EXPECT_EQ(logged({.retractions = 1, .test_retractions = 1, .retraction_gain = 4, .new_token_ratio = 0.3}), "");
}

}  // namespace
}  // namespace sgl
