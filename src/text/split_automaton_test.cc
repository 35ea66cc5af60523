// SPDX-License-Identifier: Apache-2.0
#include "text/split_automaton.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "text/gguf_families.h"
#include "text/splitter.h"

namespace sgl {
namespace {

using Ends = std::vector<std::pair<size_t, size_t>>;

Ends ByAutomaton(const SplitAutomaton& automaton, std::string_view text) {
  Ends out;
  size_t length = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = automaton.Match(text, at);
    if (end != SplitAutomaton::kNone) out.push_back({at, end});
    CodePointAt(text, at, &length);
    at = end == SplitAutomaton::kNone ? at + length : end;
  }
  return out;
}

Ends ByRegex(const Regex& regex, std::string_view text) {
  Ends out;
  Regex::Searcher searcher(regex);
  RegexMatch match;
  for (size_t at = 0; at < text.size() && searcher.Find(text, at, &match) == RegexOutcome::kMatch; at = match.end)
    out.push_back({match.begin, match.end});
  return out;
}

std::string RandomText(std::mt19937& rng) {
  const char* parts[] = {
      "a", "B",         "don't", "'LL", "'",  "  ", " ", "\n", "\r\n",     "\t",           "1",    "42", "12345",           "!", "/",
      "é", "e\xCC\x81", "你好",  "カ",  "가", "½",  "_", "--", "\xC5\xBF", "\xE2\x80\xA8", "🙂", "²",  "\xF0\x90\x90\x80"};
  std::string out;
  for (size_t n = rng() % 14; n > 0; --n) out += parts[rng() % std::size(parts)];
  return out;
}

// The regex engine is the reference; patterns of every shape that the automaton takes.
TEST(SplitAutomaton, FindsWhatABacktrackingEngineFinds) {
  const std::string patterns[] = {std::string(kGpt2Pattern),
                                  std::string(kLlama3Pattern),
                                  std::string(kQwen2Pattern),
                                  std::string(kO200kPattern),
                                  R"(\p{N}{1,3})",
                                  R"([\x{4E00}-\x{9FA5}\x{3040}-\x{30FF}]+)",
                                  R"(\s?\p{L}+|\s+$)",
                                  R"(a|ab|abc|a*b+?c{2,})",
                                  R"((?:ab|a)(?:bc|c)?|\d{2,3})",
                                  R"([^\s\p{L}\p{N}]+[\r\n]*|\s+(?!\S)|(?=\s)\s)",
                                  R"((?i:hel+o|'s)|\w+|[^\w\s]+)",
                                  R"( ?[^(\s|.,!?)]+)",
                                  R"((a+?|b)*x|[ab])"};
  std::mt19937 rng(3);
  for (const std::string& pattern : patterns) {
    const auto automaton = SplitAutomaton::Compile(pattern, RegexSyntax::kOniguruma);
    ASSERT_NE(automaton, nullptr) << pattern;
    const auto regex = Regex::Compile(pattern, RegexSyntax::kOniguruma);
    ASSERT_TRUE(regex.ok()) << pattern;
    for (int i = 0; i < 400; ++i) {
      const std::string text = RandomText(rng) + (i % 3 == 0 ? "aabbccabc" : "");
      ASSERT_EQ(ByAutomaton(*automaton, text), ByRegex(*regex, text)) << pattern << "\n" << text;
    }
  }
}

TEST(SplitAutomaton, TakesSetsOfSets) {
  const auto automaton = SplitAutomaton::Compile(R"([\p{L}&&[^\p{Han}x-z]]+|\p{Han}+|[a[b[c]]^])", RegexSyntax::kOniguruma);
  ASSERT_NE(automaton, nullptr);
  const std::string text = "abx中文é\xF0\xAE\xAF\xB0^";  // U+2EBF0 is a newer ideograph
  EXPECT_EQ(ByAutomaton(*automaton, text), (Ends{{0, 2}, {3, 9}, {9, 11}, {11, 15}, {15, 16}}));
}

TEST(SplitAutomaton, RefusesWhatItCannotDo) {
  for (const char* pattern :
       {"",   "a*", "(a|b*)", R"(\bfoo)", "(?<=a)b", R"((a)\1)", "(?=ab)a",      "a{2,1}", "[z-a]",       "(a",      "a)",
        "[a", "*a", "a**",    "(?>a)b",   "^a",      "a{1001}",  R"(\p{Nope}+)", "a++ab",  "[[:alpha:]]", "(?:a?)+", "\xFF"})
    EXPECT_EQ(SplitAutomaton::Compile(pattern, RegexSyntax::kOniguruma), nullptr) << pattern;
  // Possessive repetitions whose character cannot come again are only greedy.
  EXPECT_NE(SplitAutomaton::Compile(R"([^\r\n\p{L}\p{N}]?+\p{L}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$)", RegexSyntax::kRust), nullptr);
  EXPECT_EQ(SplitAutomaton::Compile(R"(\s++\s)", RegexSyntax::kRust), nullptr);
}

TEST(SplitAutomaton, DollarIsTheEndOfALineOrOfTheText) {
  const auto line = SplitAutomaton::Compile("a+$", RegexSyntax::kOniguruma), end = SplitAutomaton::Compile("a+$", RegexSyntax::kRust);
  EXPECT_EQ(ByAutomaton(*line, "aab\naa\naa"), (Ends{{4, 6}, {7, 9}}));
  EXPECT_EQ(ByAutomaton(*end, "aab\naa\naa"), (Ends{{7, 9}}));
}

TEST(SplitAutomaton, KnowsWhereTextCanBeCut) {
  const CharSet letters{{'A', 'Z'}, {'a', 'z'}}, space{{' ', ' '}}, newline{{'\n', '\n'}}, digits{{'0', '9'}};
  const auto llama = SplitAutomaton::Compile(kLlama3Pattern, RegexSyntax::kOniguruma);
  EXPECT_TRUE(llama->tiles());
  EXPECT_TRUE(llama->NeverCrosses(letters, space));
  EXPECT_TRUE(llama->NeverCrosses(newline, letters));
  EXPECT_FALSE(llama->NeverCrosses(space, letters));
  EXPECT_FALSE(llama->NeverCrosses(digits, digits));
  const auto gpt2 = SplitAutomaton::Compile(kGpt2Pattern, RegexSyntax::kOniguruma);
  EXPECT_TRUE(gpt2->NeverCrosses(letters, space));
  EXPECT_FALSE(gpt2->NeverCrosses(newline, letters));  // "\n\n" alone is one piece, before a letter it is two
  const auto numbers = SplitAutomaton::Compile(R"(\p{N}{1,3})", RegexSyntax::kOniguruma);
  EXPECT_FALSE(numbers->tiles());
  EXPECT_FALSE(numbers->MatchesEach(letters));
  EXPECT_TRUE(numbers->MatchesEach(digits));
  const auto words = SplitAutomaton::Compile(R"([^\p{L}]?\p{L}+)", RegexSyntax::kOniguruma);
  EXPECT_TRUE(!words->tiles() && words->MatchesEach(letters) && !words->MatchesEach(space));
  EXPECT_TRUE(numbers->Ignores(letters));
  EXPECT_FALSE(numbers->Ignores(digits));
}

// One table step per character: no run of anything is slow. Counted in steps by the text's length alone, so here it is the result that
// counts.
TEST(SplitAutomaton, LongRunsAreOnePiece) {
  const auto o200k = SplitAutomaton::Compile(kO200kPattern, RegexSyntax::kOniguruma);
  for (const char* run : {"a", "A", " ", "\n", "!", "\xE4\xBD\xA0", "\xCC\x81"}) {
    std::string text;
    while (text.size() < 300000) text += run;
    EXPECT_LE(ByAutomaton(*o200k, text).size(), 2u) << run;
  }
}

}  // namespace
}  // namespace sgl
