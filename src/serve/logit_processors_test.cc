// SPDX-License-Identifier: Apache-2.0
#include "serve/logit_processors.h"

#include <fmt/core.h>
#include <gtest/gtest.h>

#include <optional>

#include "serve/fakes.h"

namespace sgl {
namespace {

// Knows <think> and </think> as tokens 300 and 301, perhaps.
class ThinkingTokenizer : public ByteTokenizer {
 public:
  std::optional<TokenId> TokenToId(std::string_view token) const override {
    if (token == "<think>") return 300;
    if (token == "</think>") return 301;
    return ByteTokenizer::TokenToId(token);
  }
};

std::string Hex(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) out += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return out;
}

std::string Error(const std::string& name, const char* params, const Tokenizer& tokenizer = ThinkingTokenizer()) {
  SamplingParams sampling;
  const Status status = ApplyLogitProcessor(name, *ParseJson(params), 400, tokenizer, sampling);
  return status.ok() ? "" : status.error().message;
}

// As pickle.dumps(<class>, protocol) writes them.
std::string Pickled4(std::string_view module, std::string_view name) {
  std::string body = "\x8c" + std::string(1, static_cast<char>(module.size())) + std::string(module) + "\x94\x8c" +
                     std::string(1, static_cast<char>(name.size())) + std::string(name) + "\x94\x93\x94.";
  std::string frame(8, '\0');
  frame[0] = static_cast<char>(body.size());
  return "\x80\x04\x95" + frame + body;
}
std::string Pickled2(std::string_view module, std::string_view name) {
  return "\x80\x02"
         "c" +
         std::string(module) + "\n" + std::string(name) + "\nq" + std::string(1, '\0') + ".";
}

constexpr const char* kModule = "sglang.srt.sampling.custom_logit_processor";

TEST(LogitProcessors, ThinkingBudgetsUseTheModelsOwnTags) {
  for (const char* name : {"ThinkingBudgetLogitProcessor", "Qwen3ThinkingBudgetLogitProcessor", "DeepSeekR1ThinkingBudgetLogitProcessor",
                           "Glm4MoeThinkingBudgetLogitProcessor"}) {
    SamplingParams sampling;
    ASSERT_TRUE(ApplyLogitProcessor(name, *ParseJson(R"({"thinking_budget":5})"), 400, ThinkingTokenizer(), sampling).ok()) << name;
    ASSERT_TRUE(sampling.thinking_limit);
    EXPECT_EQ(sampling.thinking_limit->start, 300);
    EXPECT_EQ(sampling.thinking_limit->end, 301);
    EXPECT_EQ(sampling.thinking_limit->newline, '\n');
    EXPECT_EQ(sampling.thinking_limit->tokens, 5);
  }
  EXPECT_NE(Error("Qwen3ThinkingBudgetLogitProcessor", R"({"thinking_budget":-1})").find("thinking_budget"), std::string::npos);
  EXPECT_NE(Error("Qwen3ThinkingBudgetLogitProcessor", "{}").find("thinking_budget: field required"), std::string::npos);
  EXPECT_NE(Error("Qwen3ThinkingBudgetLogitProcessor", R"({"thinking_budget":5})", ByteTokenizer()).find("no tokens <think>"),
            std::string::npos);
}

TEST(LogitProcessors, NoRepeatNgram) {
  SamplingParams sampling;
  const char* name = "DeepseekOCRNoRepeatNGramLogitProcessor";
  const Json params = *ParseJson(R"({"ngram_size":3,"window_size":90,"whitelist_token_ids":[7,8]})");
  ASSERT_TRUE(ApplyLogitProcessor(name, params, 400, ByteTokenizer(), sampling).ok());
  EXPECT_EQ(sampling.no_repeat_ngram->size, 3);
  EXPECT_EQ(sampling.no_repeat_ngram->window, 90);
  EXPECT_EQ(sampling.no_repeat_ngram->exempt, (std::vector<TokenId>{7, 8}));
  EXPECT_EQ(Error(name, R"({"ngram_size":0,"window_size":9})"), "custom_params.ngram_size must be in [1, 1048576], got 0.");
  EXPECT_EQ(Error(name, R"({"ngram_size":3})"), "custom_params.window_size: field required");
  EXPECT_NE(Error(name, R"({"ngram_size":3,"window_size":9,"whitelist_token_ids":[400]})").find("whitelist_token_ids"), std::string::npos);
}

TEST(LogitProcessors, PicklesThatAreReferences) {
  for (const std::string& pickle :
       {Pickled4(kModule, "DisallowedTokensLogitsProcessor"), Pickled2(kModule, "DisallowedTokensLogitsProcessor")}) {
    EXPECT_EQ(PickledReference(pickle), std::string(kModule) + ".DisallowedTokensLogitsProcessor");
    SamplingParams sampling;
    const std::string value = R"({"callable": ")" + Hex(pickle) + "\"}";
    ASSERT_TRUE(ApplyLogitProcessor(value, *ParseJson(R"({"token_ids":[3]})"), 400, ByteTokenizer(), sampling).ok());
    ASSERT_EQ(sampling.logit_bias.size(), 1U);
    EXPECT_EQ(sampling.logit_bias[0].first, 3);
    for (size_t cut = 0; cut < pickle.size(); ++cut) EXPECT_EQ(PickledReference(pickle.substr(0, cut)), "") << cut;
    EXPECT_EQ(PickledReference(pickle + "."), "");
    EXPECT_EQ(PickledReference(pickle.substr(0, pickle.size() - 1) + ")R."), "") << "a call of what it refers to";
  }
}

TEST(LogitProcessors, EverythingElseIsRefusedByName) {
  const auto pickled = [](std::string_view module, std::string_view name) {
    return Error(R"({"callable":")" + Hex(Pickled4(module, name)) + "\"}", "{}");
  };
  EXPECT_NE(pickled("os", "system").find("'os.system' is not known"), std::string::npos);
  EXPECT_NE(pickled(kModule, "MyProcessor").find("'MyProcessor' is not known"), std::string::npos);
  EXPECT_NE(pickled("elsewhere", "DisallowedTokensLogitsProcessor").find("'elsewhere.DisallowedTokensLogitsProcessor' is not known"),
            std::string::npos);
  EXPECT_NE(Error(R"({"callable":"8004"})", "{}").find("pickled Python code is not run"), std::string::npos);
  EXPECT_NE(Error(R"({"callable":"nothex"})", "{}").find("pickled Python code is not run"), std::string::npos);
  EXPECT_NE(Error("Nope", "{}").find("'Nope' is not known; expected one of DisallowedTokensLogitsProcessor"), std::string::npos);
}

}  // namespace
}  // namespace sgl
