// SPDX-License-Identifier: Apache-2.0
#include "serve/params.h"

#include <gtest/gtest.h>

#include <set>

#include "serve/auth.h"
#include "serve/error.h"
#include "serve/id_source.h"
#include "serve/json_reader.h"
#include "serve/reply.h"

namespace sgl {
namespace {

Json Parse(std::string_view text) { return *ParseJson(text); }

// The message that a sampling_params object is refused with; "" if it is fine.
std::string Refusal(std::string_view params) {
  SamplingAsked asked;
  if (const Status status = ReadSamplingParams(Parse(params), "sampling_params", asked); !status.ok())
    return "schema: " + status.error().message;
  const Result<SamplingParams> checked = CheckSamplingParams(asked, 100);
  return checked.ok() ? "" : checked.error().message;
}

TEST(SamplingParams, RangesAndTheirMessages) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"max_new_tokens":-1})", "max_new_tokens must be at least 0, got -1."},
      {R"({"max_new_tokens":4,"min_new_tokens":5})", "min_new_tokens must be in [0, max_new_tokens(4)], got 5."},
      {R"({"max_new_tokens":4,"min_new_tokens":4})", ""},
      {R"({"max_new_tokens":null,"min_new_tokens":-1})", "min_new_tokens must be at least 0, got -1."},
      {R"({"temperature":-0.1})", "temperature must be non-negative, got -0.1."},
      {R"({"temperature":0})", ""},
      {R"({"top_p":0.0})", "top_p must be in (0, 1], got 0.0."},
      {R"({"top_p":1.5})", "top_p must be in (0, 1], got 1.5."},
      {R"({"top_p":1})", ""},
      {R"({"top_k":0})", "top_k must be -1 (disable) or at least 1, got 0."},
      {R"({"top_k":-2})", "top_k must be -1 (disable) or at least 1, got -2."},
      {R"({"top_k":-1})", ""},
      {R"({"min_p":-0.5})", "min_p must be in [0, 1], got -0.5."},
      {R"({"min_p":1.25})", "min_p must be in [0, 1], got 1.25."},
      {R"({"frequency_penalty":2.5})", "frequency_penalty must be in [-2, 2], got 2.5."},
      {R"({"presence_penalty":-2.5})", "presence_penalty must be in [-2, 2], got -2.5."},
      {R"({"repetition_penalty":0.0})", "repetition_penalty must be in (0, 2] (1.0 = no penalty), got 0.0."},
      {R"({"repetition_penalty":2.5})", "repetition_penalty must be in (0, 2] (1.0 = no penalty), got 2.5."},
      {R"({"n":0})", "n must be at least 1, got 0."},
      {R"({"stream_interval":0})", "stream_interval must be at least 1, got 0."},
      {R"({"logit_bias":{"100":1}})", "logit_bias must has keys in [0, 99], got 100."},
      {R"({"logit_bias":{"x":1}})", "logit_bias must has keys in [0, 99], got x."},
      {R"({"logit_bias":{"1":"a"}})", "logit_bias.1: expected a number, got string"},
      {R"({"ebnf":"root ::= x"})", ""},
      {R"({"best":1})", "sampling_params: unknown parameter 'best'."},
      {R"({"stop":null,"regex":null,"stop_token_ids":[]})", ""},
      {R"({"temperature":"hot"})", "schema: sampling_params.temperature: expected a number, got string"},
      {R"({"n":1.5})", "schema: sampling_params.n: expected an integer, got number"},
      {R"({"n":2.0})", ""},
      {R"({"ignore_eos":1})", "schema: sampling_params.ignore_eos: expected a boolean, got integer"},
      {R"({"stop":["a",["b"]]})", "schema: sampling_params.stop[1]: expected a string, got array"},
      {R"({"stop_token_ids":[1,"2"]})", "schema: sampling_params.stop_token_ids[1]: expected an integer, got string"},
      {R"({"stream_interval":4294967296})", "schema: sampling_params.stream_interval: expected an integer of 32 bits, got 4294967296"},
      {R"([])", "schema: sampling_params: expected an object, got array"},
  };
  for (const auto& [params, message] : cases) EXPECT_EQ(Refusal(params), message) << params;
}

TEST(SamplingParams, NullKeepsTheDefault) {
  SamplingAsked asked;
  ASSERT_TRUE(ReadSamplingParams(Parse(R"({"top_k":null,"temperature":null,"max_new_tokens":null})"), "p", asked).ok());
  EXPECT_EQ(asked.params.top_k, -1);
  EXPECT_EQ(asked.params.temperature, 1.0);
  EXPECT_FALSE(asked.params.max_new_tokens.has_value());  // here null means: up to the context
  EXPECT_FALSE(asked.max_new_tokens_given);
}

TEST(Lengths, TheLastFittingTokenFits) {
  SamplingAsked asked;
  asked.params.max_new_tokens = 5;
  EXPECT_TRUE(CheckLengths(9, asked, 10).ok());  // 5 was not asked for
  asked.max_new_tokens_given = true;
  EXPECT_TRUE(CheckLengths(5, asked, 10).ok());
  EXPECT_EQ(CheckLengths(6, asked, 10).error().message,
            "Requested token count exceeds the model's maximum context length of 10 tokens. You requested a total of 11 tokens: 6 tokens "
            "from the input messages and 5 tokens for the completion. Please reduce the number of tokens in the input messages or the "
            "completion to fit within the limit.");
  EngineInfo info;
  info.context_length = 10;
  info.max_req_input_len = 7;
  for (const size_t length : {size_t{3}, size_t{6}, size_t{7}, size_t{8}, size_t{100}}) {
    std::vector<TokenId> prompt(length, 1);
    SamplingAsked fitted = asked;
    FitLengths(info, prompt, fitted);
    EXPECT_EQ(prompt.size(), std::min<size_t>(length, 7));
    EXPECT_EQ(fitted.params.max_new_tokens, std::min<int64_t>(5, 10 - static_cast<int64_t>(prompt.size())));
    EXPECT_TRUE(CheckLengths(static_cast<int64_t>(prompt.size()), fitted, 10).ok());
  }
  EXPECT_EQ(CheckLengths(10, asked, 10).error().message, "The input (10 tokens) is longer than the model's context length (10 tokens).");
}

TEST(JsonReader, OneOrManyFollowsTheDepth) {
  OneOrMany<std::vector<int64_t>> ids;
  std::string why;
  EXPECT_TRUE(ReadJson(Parse("[1,2]"), ids, why));
  EXPECT_FALSE(ids.many);
  EXPECT_TRUE(ReadJson(Parse("[[1],null,[]]"), ids, why));
  EXPECT_TRUE(ids.many);
  EXPECT_EQ(ids.values, (std::vector<std::vector<int64_t>>{{1}, {}, {}}));
  EXPECT_TRUE(ReadJson(Parse("[]"), ids, why));
  EXPECT_FALSE(ids.many);
  EXPECT_FALSE(ReadJson(Parse("[[1],[2.5]]"), ids, why));
  EXPECT_EQ(why, "[1][0]: expected an integer, got number");
}

TEST(JsonReader, InertMeansAskingForNothing) {
  for (const char* inert : {"null", "false", "\"\"", "[]", "{}", "[null,[\"\"]]"}) EXPECT_TRUE(IsInert(Parse(inert))) << inert;
  for (const char* active : {"0", "true", "\"x\"", "[1]", "{\"a\":null}", "[null,true]"}) EXPECT_FALSE(IsInert(Parse(active))) << active;
}

TEST(Auth, TableOfKeysAndLevels) {
  struct Case {
    const char *api, *admin, *normal_key, *admin_key;  // key that opens each level; nullptr: open
  };
  for (const Case& c : {Case{"", "", nullptr, nullptr}, Case{"k", "", "k", "k"}, Case{"", "a", nullptr, "a"}, Case{"k", "a", "k", "a"}}) {
    for (const AuthLevel level : {AuthLevel::kNormal, AuthLevel::kAdmin}) {
      const char* key = level == AuthLevel::kNormal ? c.normal_key : c.admin_key;
      for (const std::string given : {"", "k", "a", "kk", "K"}) {
        const bool expected = key == nullptr || given == key;
        EXPECT_EQ(MayPass(KeyFor(level, c.api, c.admin), "Bearer " + given), expected) << c.api << '/' << c.admin << " given " << given;
      }
    }
  }
  EXPECT_TRUE(MayPass(KeyFor(AuthLevel::kNormal, "k", ""), "bEaReR k"));
  EXPECT_FALSE(MayPass(KeyFor(AuthLevel::kNormal, "k", ""), "k"));
  EXPECT_FALSE(MayPass(KeyFor(AuthLevel::kNormal, "k", ""), "Basic k"));
  EXPECT_FALSE(MayPass(KeyFor(AuthLevel::kNormal, "kkkk", ""), "Bearer k"));
}

TEST(Errors, EveryCodeHasAStatus) {
  const std::pair<Code, int> cases[] = {{Code::kInvalidArgument, 400}, {Code::kUnauthorized, 401}, {Code::kNotFound, 404},
                                        {Code::kTooLarge, 413},        {Code::kExhausted, 503},    {Code::kUnavailable, 503},
                                        {Code::kUnimplemented, 501},   {Code::kInternal, 500}};
  for (const auto& [code, status] : cases) {
    EXPECT_EQ(FromError({code, "m"}, ErrorStyle::kNative).status, status);
    EXPECT_EQ(FromError({code, "m"}, ErrorStyle::kOpenAi).status, status);
  }
  EXPECT_EQ(FromError({Code::kUnimplemented, "m"}, ErrorStyle::kOpenAi).body,
            R"({"object":"error","message":"m","type":"NotImplementedError","param":null,"code":501})");
  EXPECT_EQ(StreamError(Finish::Abort("m", 500), ErrorStyle::kOpenAi),
            R"({"error":{"object":"error","message":"m","type":"INTERNAL_SERVER_ERROR","param":null,"code":500}})");
  EXPECT_FALSE(FromFinish(Finish::Abort("m"), ErrorStyle::kOpenAi).has_value());
  EXPECT_FALSE(FromFinish(Finish(), ErrorStyle::kOpenAi).has_value());
}

TEST(Query, FindsAndDecodes) {
  std::string value;
  EXPECT_TRUE(FindQuery("a=1&timeout=2%2E5&b", "timeout", value));
  EXPECT_EQ(value, "2.5");
  EXPECT_TRUE(FindQuery("a=x+y", "a", value));
  EXPECT_EQ(value, "x y");
  EXPECT_TRUE(FindQuery("a=1&b", "b", value));
  EXPECT_EQ(value, "");
  EXPECT_FALSE(FindQuery("aa=1&ba=2", "a", value));
  EXPECT_EQ(PercentDecode("%2fa%zz%4", false), "/a%zz%4");
}

TEST(IdSource, LooksLikeUuid4AndDoesNotRepeat) {
  IdSource ids(1);
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    const std::string id = ids.Next();
    ASSERT_EQ(id.size(), 32U);
    EXPECT_EQ(id.find_first_not_of("0123456789abcdef"), std::string::npos);
    EXPECT_EQ(id[12], '4');
    EXPECT_NE(std::string("89ab").find(id[16]), std::string::npos);
    EXPECT_TRUE(seen.insert(id).second);
  }
}

}  // namespace
}  // namespace sgl
