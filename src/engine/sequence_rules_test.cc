// SPDX-License-Identifier: Apache-2.0
#include "engine/sequence_rules.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <set>

#include "engine/sampler.h"

namespace sgl {
namespace {

constexpr TokenId kThink = 1, kEnd = 2, kNewline = 3;
constexpr size_t kVocabulary = 10;

SamplingParams Limit(int64_t tokens, std::optional<TokenId> newline = kNewline) {
  SamplingParams params;
  params.thinking_limit = ThinkingLimit{kThink, kEnd, newline, tokens};
  return params;
}

// What may come next; logits are all the same before.
std::set<TokenId> Possible(const SequenceRules& rules, std::set<TokenId> impossible = {}) {
  std::vector<float> logits(kVocabulary, 0.5F);
  for (const TokenId token : impossible) logits[static_cast<size_t>(token)] = -INFINITY;
  rules.Apply(logits);
  std::set<TokenId> out;
  for (size_t i = 0; i < logits.size(); ++i)
    if (std::isfinite(logits[i])) out.insert(static_cast<TokenId>(i));
  return out;
}

TEST(SequenceRules, ReasoningEndsWithANewLineAndTheTag) {
  const std::vector<TokenId> prompt = {5, kThink};
  SequenceRules rules(Limit(3), prompt);
  for (const TokenId token : {6, 7, 8}) {
    EXPECT_EQ(Possible(rules).size(), kVocabulary);
    rules.Accept(token);
  }
  EXPECT_EQ(Possible(rules), std::set<TokenId>{kNewline});
  EXPECT_EQ(Possible(rules, {kNewline}).size(), kVocabulary - 1) << "a grammar that forbids it is the stronger one";
  rules.Accept(kNewline);
  EXPECT_EQ(Possible(rules), std::set<TokenId>{kEnd});
  rules.Accept(kEnd);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(Possible(rules).size(), kVocabulary);
    rules.Accept(6);
  }
  rules.Accept(kThink);  // reasoning that the answer begins
  for (int i = 0; i < 3; ++i) rules.Accept(6);
  EXPECT_EQ(Possible(rules), std::set<TokenId>{kNewline});
}

TEST(SequenceRules, ReasoningOfEarlierTurnsDoesNotCount) {
  const std::vector<TokenId> prompt = {kThink, 6, 6, 6, 6, kEnd, 7};
  SequenceRules rules(Limit(2), prompt);
  EXPECT_EQ(Possible(rules).size(), kVocabulary);
  rules.Accept(kThink);
  rules.Accept(6);
  EXPECT_EQ(Possible(rules).size(), kVocabulary);
  rules.Accept(kNewline);
  EXPECT_EQ(Possible(rules), std::set<TokenId>{kEnd}) << "the new line is there already";
  SequenceRules none(Limit(0, std::nullopt), std::vector<TokenId>{kThink});
  EXPECT_EQ(Possible(none), std::set<TokenId>{kEnd}) << "no token is a new line";
}

// Against the definition: next is forbidden if the last n - 1 tokens and it stand somewhere in the window.
TEST(SequenceRules, NoNgramComesTwice) {
  std::mt19937 random(7);
  for (const auto& [size, window] : {std::pair(1, 4), std::pair(2, 6), std::pair(3, 20), std::pair(3, 2)}) {
    SamplingParams params;
    params.no_repeat_ngram = NoRepeatNgram{size, window, {4}};
    std::vector<TokenId> all = {4, 5, 4, 5};
    SequenceRules rules(params, all);
    for (int step = 0; step < 60; ++step) {
      std::set<TokenId> expected;
      for (TokenId next = 0; next < static_cast<TokenId>(kVocabulary); ++next) {
        std::vector<TokenId> ngram(all.end() - (size - 1), all.end());
        ngram.push_back(next);
        const auto begin = all.size() > static_cast<size_t>(window) ? all.end() - window : all.begin();
        const bool there = std::search(begin, all.end(), ngram.begin(), ngram.end()) != all.end();
        if (!there || next == 4) expected.insert(next);
      }
      EXPECT_EQ(Possible(rules), expected) << size << " of " << window << ", step " << step;
      all.push_back(static_cast<TokenId>(random() % 3 + 4));
      rules.Accept(all.back());
    }
  }
}

TEST(SequenceRules, TheSamplerObeys) {
  SamplingParams params = Limit(2);
  params.temperature = 0;
  SamplerState sampler(params, 1, {}, std::vector<TokenId>{kThink});
  std::vector<TokenId> out;
  for (int i = 0; i < 6; ++i) {
    std::vector<float> logits(kVocabulary, 0);
    logits[9] = 5;
    out.push_back(sampler.Sample(logits, i, {}).token);
    sampler.Accept(out.back());
  }
  EXPECT_EQ(out, (std::vector<TokenId>{9, 9, kNewline, kEnd, 9, 9}));
}

}  // namespace
}  // namespace sgl
