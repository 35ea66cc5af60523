// Structured output through the whole engine on a tiny random model, and the reasoning phase by itself.
// SPDX-License-Identifier: Apache-2.0
#include "engine/constraint.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <future>

#include "base/json.h"
#include "engine/engine.h"
#include "obs/log.h"

namespace sgl {
namespace {

std::shared_ptr<const Vocabulary> Letters() {  // a, b, c, </think>, stop
  return std::make_shared<const Vocabulary>(std::vector<std::string>{"a", "b", "c", "", ""}, std::vector<TokenId>{4});
}

std::unique_ptr<Matcher> MatcherFor(const std::string& regex) {
  auto grammar = Grammar::Compile({GrammarKind::kRegex, regex}, {}, Letters());
  EXPECT_TRUE(grammar.ok());
  return (*grammar)->NewMatcher();
}

std::string Allowed(OutputConstraint& c) {
  const std::span<const uint32_t> mask = c.Fill();
  if (mask.empty()) return "*";
  std::string out;
  for (size_t i = 0; i < 5; ++i)
    if ((mask[0] >> i & 1) != 0) out += "abct."[i];
  return out;
}

TEST(OutputConstraint, ReasoningComesFirst) {
  OutputConstraint c(MatcherFor("ab"), {3}, std::nullopt, {}, {4}, 5);
  EXPECT_EQ(Allowed(c), "abct");  // no end before the answer
  for (const TokenId t : {1, 1, 2}) EXPECT_EQ(c.Accept(t), OutputConstraint::Verdict::kGoesOn);
  EXPECT_EQ(c.Accept(3), OutputConstraint::Verdict::kGoesOn);
  EXPECT_EQ(Allowed(c), "a");
  EXPECT_EQ(c.Accept(0), OutputConstraint::Verdict::kGoesOn);
  EXPECT_EQ(c.Accept(0), OutputConstraint::Verdict::kRejected);
  EXPECT_EQ(c.Accept(1), OutputConstraint::Verdict::kGoesOn);
  EXPECT_TRUE(c.only_stop());
  EXPECT_EQ(Allowed(c), ".");
  EXPECT_EQ(c.Accept(4), OutputConstraint::Verdict::kEnded);
}

TEST(OutputConstraint, ASpentBudgetForcesTheEndOfReasoning) {
  OutputConstraint zero(MatcherFor("c"), {3}, 0, {}, {4}, 5);
  EXPECT_EQ(Allowed(zero), "t");
  OutputConstraint two(nullptr, {3, 2}, 2, {}, {4}, 5);  // an end of two tokens, no grammar
  EXPECT_EQ(Allowed(two), "*");
  EXPECT_EQ(two.Accept(0), OutputConstraint::Verdict::kGoesOn);
  EXPECT_EQ(two.Accept(3), OutputConstraint::Verdict::kGoesOn);
  EXPECT_EQ(Allowed(two), "c");  // the first half is there already
  EXPECT_EQ(two.Accept(2), OutputConstraint::Verdict::kGoesOn);
  EXPECT_EQ(Allowed(two), "*");
}

TEST(OutputConstraint, ReasoningWithoutSomeTokens) {
  OutputConstraint c(nullptr, {3, 2}, std::nullopt, {1, 2}, {4}, 5);
  EXPECT_EQ(Allowed(c), "at");
  EXPECT_EQ(c.Accept(3), OutputConstraint::Verdict::kGoesOn);
  EXPECT_EQ(Allowed(c), "act");  // 2 goes on with the end mark
  EXPECT_EQ(c.Accept(2), OutputConstraint::Verdict::kGoesOn);
  EXPECT_EQ(Allowed(c), "*");  // and then everything is free
}

TEST(OutputConstraint, AnEndMarkThatBeginsAgainIsFound) {
  OutputConstraint c(MatcherFor("b"), {0, 0, 1}, std::nullopt, {}, {4}, 5);
  for (const TokenId t : {0, 0, 0, 1}) EXPECT_EQ(c.Accept(t), OutputConstraint::Verdict::kGoesOn);
  EXPECT_EQ(Allowed(c), "b");
}

struct Answer {
  std::string text;
  std::vector<TokenId> tokens;
  Finish finish;
};

class Structured : public ::testing::Test {
 protected:
  static EngineConfig Config() {
    SetLogLevel(LogLevel::kError);
    EngineConfig config;
    config.model_path = (std::filesystem::path(SGLANG_SOURCE_DIR) / "tests/goldens/models/smollm2").string();
    config.max_total_tokens = 4096;
    config.threads = 2;
    config.random_seed = 1;
    return config;
  }
  static GenerateRequest Request(int64_t seed, int64_t max_new) {
    GenerateRequest r;
    r.rid = "s" + std::to_string(counter_++);
    for (int i = 0; i < 6; ++i) r.prompt.push_back(static_cast<TokenId>(5 + (seed * 7 + i * 13) % 200));
    r.sampling.max_new_tokens = max_new;
    r.sampling.sampling_seed = seed;
    return r;
  }
  static std::shared_future<Answer> Submit(Engine& engine, GenerateRequest request, RequestId* id = nullptr) {
    auto promise = std::make_shared<std::promise<Answer>>();
    auto answer = std::make_shared<Answer>();
    const auto sent = engine.Submit(std::move(request), [promise, answer](TokenDelta delta) {
      answer->text += delta.text;
      answer->tokens.insert(answer->tokens.end(), delta.tokens.begin(), delta.tokens.end());
      if (!delta.finish) return;
      answer->finish = *delta.finish;
      promise->set_value(*answer);
    });
    EXPECT_TRUE(sent.ok()) << (sent.ok() ? "" : sent.error().message);
    if (id != nullptr && sent.ok()) *id = *sent;
    return promise->get_future().share();
  }
  static inline int counter_ = 0;
};

TEST_F(Structured, FinishedAnswersParseAndNeighboursDoNotNotice) {
  EngineConfig config = Config();
  config.constrained_json_disable_any_whitespace = true;  // a random model writes white space without end
  auto engine = Engine::Create(config);
  ASSERT_TRUE(engine.ok());
  const Answer before = Submit(**engine, Request(99, 24)).get();
  const std::string schema =
      R"({"type":"object","properties":{"ok":{"type":"boolean"},"n":{"type":"integer","minimum":0,"maximum":9}},"required":["ok","n"],"additionalProperties":false})";
  std::vector<std::shared_future<Answer>> answers;
  for (int i = 0; i < 16; ++i) {
    GenerateRequest r = Request(i, 200);
    r.sampling.json_schema = schema;
    r.sampling.ignore_eos = i % 2 == 1;
    if (i % 4 == 2) r.sampling.min_new_tokens = 100;
    if (i % 4 == 3) r.sampling.logit_bias = {{7, 50.0f}};
    answers.push_back(Submit(**engine, std::move(r)));
  }
  const Answer among = Submit(**engine, Request(99, 24)).get();
  EXPECT_EQ(before.tokens, among.tokens);
  int stopped = 0;
  for (auto& future : answers) {
    const Answer a = future.get();
    ASSERT_NE(a.finish.kind, FinishKind::kAbort) << a.finish.message;
    if (a.finish.kind != FinishKind::kStop) continue;
    ++stopped;
    const Result<Json> value = ParseJson(a.text);
    ASSERT_TRUE(value.ok()) << a.text;
    EXPECT_TRUE((*value)["ok"].is_bool() && (*value)["n"].is_number() && value->as_object().size() == 2) << a.text;
  }
  EXPECT_GT(stopped, 8);
}

TEST_F(Structured, EveryKindAndItsErrors) {
  auto engine = Engine::Create(Config());
  ASSERT_TRUE(engine.ok());
  GenerateRequest regex = Request(1, 20);
  regex.sampling.regex = "[ab]{3}";
  const Answer letters = Submit(**engine, std::move(regex)).get();
  EXPECT_EQ(letters.finish.kind, FinishKind::kStop);
  EXPECT_EQ(letters.text.size(), 3u) << letters.text;
  GenerateRequest ebnf = Request(2, 60);
  ebnf.sampling.ebnf = "root ::= \"(\" [x]? \")\"";
  ebnf.sampling.ignore_eos = true;  // the end of the grammar is the end
  const Answer parens = Submit(**engine, std::move(ebnf)).get();
  EXPECT_TRUE(parens.text == "()" || parens.text == "(x)") << parens.text;
  EXPECT_EQ(parens.finish.kind, FinishKind::kStop);
  GenerateRequest bad = Request(3, 20);
  bad.sampling.regex = "(";
  const Answer refused = Submit(**engine, std::move(bad)).get();
  EXPECT_EQ(refused.finish.kind, FinishKind::kAbort);
  EXPECT_EQ(refused.finish.status_code, 400);
  EXPECT_EQ(refused.finish.message, "Failed to compile regex grammar: at character 0: unmatched '('");
}

TEST_F(Structured, RetractionKeepsTheGrammar) {
  EngineConfig config = Config();
  const std::string regex = "([a-f]{2} ){12}end";
  const auto run = [&](const EngineConfig& with) {
    auto engine = Engine::Create(with);
    std::vector<std::shared_future<Answer>> answers;
    for (int i = 0; i < 6; ++i) {
      GenerateRequest r = Request(i, 100);
      r.sampling.regex = regex;
      answers.push_back(Submit(**engine, std::move(r)));
    }
    std::vector<std::string> texts;
    for (auto& a : answers) texts.push_back(a.get().text);
    return texts;
  };
  const std::vector<std::string> plain = run(config);
  config.sched.test_retract_interval = 3;
  EXPECT_EQ(plain, run(config));
  for (const std::string& text : plain) EXPECT_TRUE(text.size() == 39 && text.substr(36) == "end") << text;
}

TEST_F(Structured, BackendNoneRefuses) {
  EngineConfig config = Config();
  config.grammar_backend = "none";
  auto engine = Engine::Create(config);
  ASSERT_TRUE(engine.ok());
  GenerateRequest r = Request(1, 5);
  r.sampling.json_schema = "{}";
  const auto sent = (*engine)->Submit(std::move(r), [](TokenDelta) {});
  ASSERT_FALSE(sent.ok());
  EXPECT_NE(sent.error().message.find("is not supported when the server is launched with grammar backend none"), std::string::npos);
}

}  // namespace
}  // namespace sgl
