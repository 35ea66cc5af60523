// SPDX-License-Identifier: Apache-2.0
#include "obs/log.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <regex>
#include <string>

namespace sgl {
namespace {

std::string Logged(LogLevel level) {
  testing::internal::CaptureStderr();
  Log(level, "{} words", 2);
  return testing::internal::GetCapturedStderr();
}

TEST(Log, LinesHaveTimesAndLevels) {
  SetLogLevel(LogLevel::kInfo);
  setenv("NO_COLOR", "1", 1);
  EXPECT_TRUE(std::regex_match(Logged(LogLevel::kInfo), std::regex(R"(\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\] 2 words\n)")));
  SetLogMilliseconds(true);
  EXPECT_TRUE(std::regex_match(Logged(LogLevel::kError), std::regex(R"(\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}\] ERROR 2 words\n)")));
  SetLogMilliseconds(false);
  SetLogPrefix(" DP1");
  EXPECT_TRUE(std::regex_match(Logged(LogLevel::kWarning), std::regex(R"(\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d DP1\] WARNING 2 words\n)")));
  SetLogPrefix("");
  EXPECT_EQ(Logged(LogLevel::kDebug), "");
}

}  // namespace
}  // namespace sgl
