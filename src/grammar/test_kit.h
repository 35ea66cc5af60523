// Small vocabularies and exact comparisons for the room's tests.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "grammar/grammar.h"

namespace sgl {

// 256 single bytes, then pieces that cross every border a JSON text has; the last id is the stop token.
inline std::shared_ptr<const Vocabulary> TestVocabulary() {
  static const std::shared_ptr<const Vocabulary> vocabulary = [] {
    std::vector<std::string> tokens;
    for (int b = 0; b < 256; ++b) tokens.emplace_back(1, static_cast<char>(b));
    for (const char* piece : {"\"a",          "\"b\"",
                              "\":",          "\",",
                              "\"}",          "\"]",
                              "\": ",         "\", \"",
                              "{\"",          "[\"",
                              "[[",           "]]",
                              "}}",           "},",
                              "],",           "[]",
                              "{}",           "{\"a\":",
                              "{\"a\": 1",    "true",
                              "false",        "null",
                              "tru",          "nul",
                              "12",           "123",
                              "-1",           "0.5",
                              "1e",           ".5",
                              "00",           "10",
                              "99",           "1,",
                              "1]",           "1}",
                              "2,\"",         "  ",
                              "\n ",          "\n\t",
                              "ab",           "abc",
                              "bc",           "ca",
                              "abcabc",       "a\"",
                              "ab\"",         "b\":",
                              "c\",\"",       "x\"}",
                              "\\n",          "\\\"",
                              "\\u00",        "\\u0061",
                              "0061",         "\\\\",
                              "a\\",          "n\"",
                              "\xC3\xA9",     "\xC3",
                              "\xE2\x82\xAC", "\xF0\x9F\x98\x80",
                              "\x9F\x98",     "\"\xC3\xA9\"",
                              "=>",           "call",
                              "<t>",          "</t>",
                              "<t",           ">x",
                              "()",           "((",
                              "))",           "aa",
                              "aaa",          "aaaa",
                              "+1",           "1+",
                              "2024-",        "-01-",
                              "T00:",         "@x.",
                              "d41d",         "\"a\",\"b\"",
                              "a\":1,\"b\":"})
      tokens.emplace_back(piece);
    tokens.emplace_back("");
    const auto stop = static_cast<TokenId>(tokens.size() - 1);
    return std::make_shared<const Vocabulary>(std::move(tokens), std::vector<TokenId>{stop});
  }();
  return vocabulary;
}

inline std::shared_ptr<const Grammar> MustCompile(GrammarKind kind, const std::string& text, const GrammarOptions& options = {}) {
  auto grammar = Grammar::Compile({kind, text}, options, TestVocabulary());
  if (!grammar.ok()) {
    ADD_FAILURE() << text << ": " << grammar.error().message;
    return nullptr;
  }
  return *grammar;
}

inline std::string CompileError(GrammarKind kind, const std::string& text) {
  auto grammar = Grammar::Compile({kind, text}, {}, TestVocabulary());
  return grammar.ok() ? "" : grammar.error().message;
}

// Byte by byte.
inline bool Accepts(const Grammar& grammar, std::string_view text) {
  const std::unique_ptr<Matcher> m = grammar.NewMatcher();
  for (const char c : text)
    if (!m->Accept(static_cast<uint8_t>(c))) return false;
  return m->can_end();
}

// Every bit of the mask is what accepting the token says.
inline void ExpectExactMask(Matcher& m, const std::string& where) {
  const Vocabulary& v = *TestVocabulary();
  std::vector<uint32_t> mask(v.words());
  m.Fill(mask);
  for (size_t id = 0; id < v.size(); ++id) {
    const auto token = static_cast<TokenId>(id);
    const bool said = (mask[id / 32] >> (id % 32) & 1) != 0;
    const bool good = m.Accept(token);
    if (good) m.Rollback(1);
    ASSERT_EQ(said, good) << where << ": token " << id << " '" << v.bytes(token) << "'";
  }
}

// A text drawn token by token from the masks; every mask on the way is checked. "" with `ended` false when it did not end in `limit`
// tokens.
inline std::string DrawText(const Grammar& grammar, std::mt19937_64& random, size_t limit, bool check, bool* ended) {
  const std::unique_ptr<Matcher> m = grammar.NewMatcher();
  const Vocabulary& v = *TestVocabulary();
  std::vector<uint32_t> mask(v.words());
  std::string text;
  *ended = false;
  for (size_t step = 0; step < limit; ++step) {
    if (check) {
      ExpectExactMask(*m, "after '" + text + "'");
      if (::testing::Test::HasFatalFailure()) return text;
    }
    m->Fill(mask);
    std::vector<TokenId> allowed;
    for (size_t id = 0; id < v.size(); ++id)
      if ((mask[id / 32] >> (id % 32) & 1) != 0) allowed.push_back(static_cast<TokenId>(id));
    if (allowed.empty()) {
      ADD_FAILURE() << "no token is allowed after '" << text << "'";
      return text;
    }
    // The stop token is drawn more often, so that texts end.
    TokenId token = allowed[random() % allowed.size()];
    if (m->can_end() && random() % 3 == 0) token = v.stop_ids()[0];
    if (!m->Accept(token)) {
      ADD_FAILURE() << "an allowed token was rejected after '" << text << "'";
      return text;
    }
    if (m->terminated()) {
      *ended = true;
      return text;
    }
    text += v.bytes(token);
  }
  return text;
}

}  // namespace sgl
