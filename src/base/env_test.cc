// SPDX-License-Identifier: Apache-2.0
#include "base/env.h"

#include <gtest/gtest.h>

#include <set>
#include <stdexcept>

namespace sgl {
namespace {

// A clean slate of our variables, restored afterwards.
class EnvTest : public testing::Test {
 protected:
  EnvTest() {
    for (const char* name : kNames) before_.emplace_back(name, RawEnv(name));
    for (const EnvInfo& info : AllEnv()) before_.emplace_back(info.name, RawEnv(info.name));
    for (const auto& [name, value] : before_) SetRawEnv(name.c_str(), std::nullopt);
  }
  ~EnvTest() override {
    for (const auto& [name, value] : before_) SetRawEnv(name.c_str(), value);
  }

 private:
  static constexpr const char* kNames[] = {"SGL_CPU_ISA", "SGLANG_QUEUED_TIMEOUT_MS", "SGLANG_FORWARD_TIMEOUT_MS", "SGLANG_CPU_ISAX",
                                           "SGLANG_QQQQQQQQQQQQ"};
  std::vector<std::pair<std::string, std::optional<std::string>>> before_;
};

TEST_F(EnvTest, TypesParse) {
  for (const char* text : {"true", "1", "YES", "y", " True "}) EXPECT_EQ(ParseEnv<bool>(text), true) << text;
  for (const char* text : {"false", "0", "no", "N"}) EXPECT_EQ(ParseEnv<bool>(text), false) << text;
  for (const char* text : {"", "on", "2", "tru"}) EXPECT_EQ(ParseEnv<bool>(text), std::nullopt) << text;
  EXPECT_EQ(ParseEnv<int64_t>("-12"), -12);
  EXPECT_EQ(ParseEnv<int64_t>("12.5"), std::nullopt);
  EXPECT_EQ(ParseEnv<int64_t>("99999999999999999999"), std::nullopt);
  EXPECT_EQ(ParseEnv<double>("1e-3"), 1e-3);
  EXPECT_EQ(ParseEnv<double>("nan"), std::nullopt);
  EXPECT_EQ(ParseEnv<std::vector<std::string>>(" a, b ,c"), (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(ParseEnv<std::vector<std::string>>(""), std::vector<std::string>());
}

TEST_F(EnvTest, DefaultWhenUnsetOrMalformed) {
  EXPECT_EQ(env::kTestRetractInterval.Get(), 3);
  EXPECT_FALSE(env::kTestRetractInterval.is_set());
  SetRawEnv("SGLANG_TEST_RETRACT_INTERVAL", "often");
  EXPECT_TRUE(env::kTestRetractInterval.is_set());
  EXPECT_EQ(env::kTestRetractInterval.Get(), 3);
  env::kTestRetractInterval.Set(7);
  EXPECT_EQ(env::kTestRetractInterval.Get(), 7);
  env::kTestRetractInterval.Clear();
  EXPECT_FALSE(env::kTestRetractInterval.is_set());
}

TEST_F(EnvTest, MalformedValueIsOneWarning) {
  SetRawEnv("SGLANG_TEST_RETRACT", "maybe");
  EXPECT_EQ(PrepareEnvironment(),
            std::vector<std::string>{"Invalid value for SGLANG_TEST_RETRACT: \"maybe\" is not a bool, using default \"false\""});
}

TEST_F(EnvTest, OverrideRestoresAlsoWhenLeftByAnException) {
  env::kInitNewTokenRatio.Set(0.5);
  try {
    EnvFloat::Override inner(env::kInitNewTokenRatio, 0.25);
    EnvStr::Override absent(env::kCpuIsa, "portable");
    EXPECT_EQ(env::kInitNewTokenRatio.Get(), 0.25);
    EXPECT_EQ(env::kCpuIsa.Get(), "portable");
    throw std::runtime_error("leaves the scope");
  } catch (const std::runtime_error&) {
  }
  EXPECT_EQ(env::kInitNewTokenRatio.Get(), 0.5);
  EXPECT_FALSE(env::kCpuIsa.is_set());
}

TEST_F(EnvTest, OldPrefixIsCopiedWithAWarning) {
  SetRawEnv("SGL_CPU_ISA", "avx2");
  EXPECT_EQ(PrepareEnvironment(), std::vector<std::string>{"environment variable SGL_CPU_ISA is deprecated, use SGLANG_CPU_ISA"});
  EXPECT_EQ(env::kCpuIsa.Get(), "avx2");
}

TEST_F(EnvTest, NewNameWinsOverOldPrefix) {
  SetRawEnv("SGL_CPU_ISA", "avx2");
  SetRawEnv("SGLANG_CPU_ISA", "portable");
  EXPECT_EQ(PrepareEnvironment().size(), 1u);
  EXPECT_EQ(env::kCpuIsa.Get(), "portable");
}

TEST_F(EnvTest, RegisteredShortNameIsNotAnOldName) {
  SetRawEnv("SGL_FORCE_SHUTDOWN", "1");
  EXPECT_TRUE(PrepareEnvironment().empty());
  EXPECT_TRUE(env::kForceShutdown.Get());
  EXPECT_FALSE(RawEnv("SGLANG_FORCE_SHUTDOWN").has_value());
}

TEST_F(EnvTest, NamedAliasesConvertMilliseconds) {
  SetRawEnv("SGLANG_QUEUED_TIMEOUT_MS", "1500");
  SetRawEnv("SGLANG_FORWARD_TIMEOUT_MS", "soon");
  EXPECT_EQ(PrepareEnvironment(),
            (std::vector<std::string>{"environment variable SGLANG_QUEUED_TIMEOUT_MS is deprecated, use SGLANG_REQ_WAITING_TIMEOUT",
                                      "environment variable SGLANG_FORWARD_TIMEOUT_MS is deprecated, use SGLANG_REQ_RUNNING_TIMEOUT",
                                      "Invalid value for SGLANG_FORWARD_TIMEOUT_MS: \"soon\" is not a float, ignored"}));
  EXPECT_EQ(env::kReqWaitingTimeout.Get(), 1.5);
  EXPECT_EQ(env::kReqRunningTimeout.Get(), -1);
}

TEST_F(EnvTest, UnknownNameNamesTheNearest) {
  SetRawEnv("SGLANG_CPU_ISAX", "1");
  SetRawEnv("SGLANG_QQQQQQQQQQQQ", "1");
  EXPECT_EQ(PrepareEnvironment(),
            (std::vector<std::string>{
                "environment variable SGLANG_CPU_ISAX is not known to this build and has no effect (did you mean SGLANG_CPU_ISA?)",
                "environment variable SGLANG_QQQQQQQQQQQQ is not known to this build and has no effect"}));
}

TEST_F(EnvTest, EveryDefaultIsOfItsTypeAndEveryNameUnique) {
  std::set<std::string> names;
  for (const EnvInfo& info : AllEnv()) {
    EXPECT_TRUE(names.insert(info.name).second) << info.name;
    EXPECT_NE(*info.help, '\0') << info.name;
    if (info.type == EnvType::kBool) {
      EXPECT_TRUE(ParseEnv<bool>(info.fallback)) << info.name;
    }
    if (info.type == EnvType::kInt) {
      EXPECT_TRUE(ParseEnv<int64_t>(info.fallback)) << info.name;
    }
    if (info.type == EnvType::kFloat) {
      EXPECT_TRUE(ParseEnv<double>(info.fallback)) << info.name;
    }
  }
}

TEST_F(EnvTest, DescriptionShowsWhatIsSet) {
  SetRawEnv("SGLANG_CPU_ISA", "avx2");
  SetRawEnv("SGLANG_TEST_RETRACT_INTERVAL", "x");
  const std::string text = DescribeEnvironment();
  EXPECT_NE(text.find("type str, default \"\", now \"avx2\"\n"), std::string::npos) << text;
  EXPECT_NE(text.find("type int, default \"3\", now \"x\" (invalid, the default is used)\n"), std::string::npos) << text;
  EXPECT_NE(text.find("type float, default \"0.7\", now unset\n"), std::string::npos) << text;
  EXPECT_EQ(EnvironmentMarkdown().find("avx2\""), std::string::npos);
}

}  // namespace
}  // namespace sgl
