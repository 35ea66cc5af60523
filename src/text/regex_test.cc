// SPDX-License-Identifier: Apache-2.0
#include "text/regex.h"

#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>

#include "text/splitter.h"
#include "text/unicode.h"

namespace sgl {
namespace {

std::string First(std::string_view pattern, std::string_view text, RegexSyntax syntax = RegexSyntax::kPython) {
  Result<Regex> regex = Regex::Compile(pattern, syntax);
  if (!regex.ok()) return "error " + regex.error().message;
  RegexMatch match;
  switch (regex->Find(text, 0, &match)) {
    case RegexOutcome::kMatch: return std::string(text.substr(match.begin, match.end - match.begin));
    case RegexOutcome::kNone: return "none";
    case RegexOutcome::kLimit: return "limit";
  }
  return "";
}

TEST(Regex, ErrorsNameTheByte) {
  const Result<Regex> bad = Regex::Compile("a(b", RegexSyntax::kPython);
  ASSERT_FALSE(bad.ok());
  EXPECT_EQ(bad.error().message, "at byte 3: missing closing parenthesis");
  EXPECT_EQ(bad.error().code, Code::kInvalidArgument);
  EXPECT_FALSE(Regex::Compile("\\", RegexSyntax::kPython).ok());
  EXPECT_FALSE(Regex::Compile("\xff", RegexSyntax::kPython).ok());
  EXPECT_FALSE(Regex::Compile(std::string(100'000, 'a'), RegexSyntax::kPython).ok());
}

TEST(Regex, PythonDialect) {
  EXPECT_EQ(First(R"(\d+\Z)", "12 34"), "34");
  EXPECT_EQ(First(R"(a\Z)", "a\n"), "none");
  EXPECT_EQ(First(R"(a$)", "a\n"), "a");
  EXPECT_EQ(First(R"(\u00e9+)", "caféé"), "éé");
  EXPECT_EQ(First(R"([[a]+)", "x[a["), "[a[");
  EXPECT_EQ(First(R"((?P<x>.)(?P=x))", "abccd"), "cc");
  EXPECT_EQ(First(R"(\x1c\s)", "\x1c\x1f"), "\x1c\x1f");
  EXPECT_EQ(First(R"(\s)", "\xe1\xa0\x8e"), "none");  // U+180E is no longer white space
  EXPECT_EQ(First(R"(^b)", "a\nb"), "none");
  EXPECT_EQ(First(R"(\h)", "a").substr(0, 5), "error");
}

TEST(Regex, OnigurumaDialect) {
  constexpr RegexSyntax kOnig = RegexSyntax::kOniguruma;
  EXPECT_EQ(First(R"(^b)", "a\nb", kOnig), "b");
  EXPECT_EQ(First(R"((?m)a.b)", "a\nb", kOnig), "a\nb");
  EXPECT_EQ(First(R"((?m:a.b))", "a\nb", kOnig), "a\nb");
  EXPECT_EQ(First(R"(x{,2}y)", "xxxy", kOnig), "xxy");
  EXPECT_EQ(First(R"(\bfoo)", "\U0002EBF0foo foo", kOnig), "foo");
  EXPECT_EQ(First(R"(\bfoo)", "\U0002EBF0foo", kOnig), "none");  // a letter of Unicode 15.1 stands before it
  EXPECT_EQ(First(R"(\d+\b)", "14\u0657 3.", kOnig), "3");       // marks belong to words
  EXPECT_EQ(First(R"(\Boo\b)", "oo foo", kOnig), "oo");
  EXPECT_EQ(First(R"(\Boo\b)", "oo", kOnig), "none");
  EXPECT_EQ(First(R"([^\S\r\n]+)", "\n \t\r", kOnig), " \t");
  EXPECT_EQ(First(R"(\p{L}+)", "1\U00016D40\U0002EBF0", kOnig), "\U00016D40\U0002EBF0");  // Unicode 16 and 15.1
  EXPECT_EQ(First(R"([\p{N}]+)", "a\U0001CCF5", kOnig), "\U0001CCF5");
  EXPECT_EQ(First(R"([^\p{L}]+)", "a\U00016D40-", kOnig), "-");
  for (const char* refused : {"[a[b]]", "[a&&b]", "a{2,3}+", R"(\xff)", R"([\W])", R"(\k<a>)"})
    EXPECT_EQ(First(refused, "a", kOnig).substr(0, 5), "error") << refused;
}

TEST(Regex, OffsetSeesWhatIsBefore) {
  Result<Regex> regex = Regex::Compile(R"((?<=a)b)", RegexSyntax::kPython);
  ASSERT_TRUE(regex.ok());
  RegexMatch match;
  EXPECT_EQ(regex->Find("ab", 1, &match), RegexOutcome::kMatch);
  EXPECT_EQ(match.begin, 1u);
  EXPECT_EQ(regex->Find("ab", 2, &match), RegexOutcome::kNone);
  EXPECT_EQ(regex->Find("ab", 3, &match), RegexOutcome::kNone);
  EXPECT_EQ(regex->Find("a\xff"
                        "ab",
                        0, &match),
            RegexOutcome::kMatch);
}

TEST(Regex, CatastrophicPatternsGiveUp) {
  EXPECT_EQ(First("(a+)+$", std::string(40, 'a') + "b"), "limit");
  EXPECT_EQ(First("(?:a|a)*?(?:b|c)\\Z", std::string(300, 'a')), "limit");
}

TEST(Regex, ManyThreadsMayShareOne) {
  Result<Regex> regex = Regex::Compile("(b|c)+d", RegexSyntax::kPython);
  ASSERT_TRUE(regex.ok());
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 500; ++i) {
        RegexMatch match;
        if (regex->Find("aabcbcd", 0, &match) != RegexOutcome::kMatch || match.begin != 2 || match.end != 7) ++wrong;
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

std::string RandomText(std::mt19937& rng) {
  static const std::vector<std::string> kBits = {"'",  "s",      "S",      "\u017f", "re",     "LL",  " ",      "  ",        "\n",     "\r",
                                                 "\t", "\u00a0", "\u3000", "\u0085", "\u180e", "1",   "23",     "\u0664",    "\u00bd", "a",
                                                 "Z",  "\u00e9", "\u4f60", "\u0301", "!",      "...", "\u2019", "\U0001F600"};
  std::string out;
  for (size_t n = rng() % 30; n > 0; --n) {
    if (rng() % 4 != 0) {
      out += kBits[rng() % kBits.size()];
    } else {
      uint32_t cp = rng() % 3 == 0 ? rng() % 0x110000 : rng() % 0x3000;
      if (cp >= 0xD800 && cp < 0xE000) cp = 0xFFFD;
      AppendCodePoint(out, cp);
    }
  }
  return out;
}

class KnownPattern : public testing::TestWithParam<std::string_view> {};

TEST_P(KnownPattern, SplitterEqualsRegex) {
  const Splitter splitter = KnownSplitter(GetParam());
  ASSERT_NE(splitter, nullptr);
  Result<Regex> regex = Regex::Compile(GetParam(), RegexSyntax::kOniguruma);
  ASSERT_TRUE(regex.ok()) << regex.error().message;
  Regex::Searcher searcher(*regex);
  for (uint32_t seed = 0; seed < 4000; ++seed) {
    std::mt19937 rng(seed);
    const std::string text = RandomText(rng);
    for (size_t at = 0; at < text.size();) {
      RegexMatch match;
      ASSERT_EQ(searcher.Find(text, at, &match), RegexOutcome::kMatch) << seed;
      ASSERT_EQ(match.begin, at) << seed;
      ASSERT_EQ(splitter(text, at), match.end) << "seed " << seed << " at " << at << ": " << text;
      at = match.end;
    }
  }
}
INSTANTIATE_TEST_SUITE_P(All, KnownPattern, testing::Values(kGpt2Pattern, kLlama3Pattern, kQwen2Pattern));

// Every code point, between two that stand for each kind of neighbour.
TEST_P(KnownPattern, SplitterEqualsRegexOnEveryCodePoint) {
  const Splitter splitter = KnownSplitter(GetParam());
  Result<Regex> regex = Regex::Compile(GetParam(), RegexSyntax::kOniguruma);
  ASSERT_TRUE(regex.ok());
  Regex::Searcher searcher(*regex);
  for (uint32_t cp = 0; cp < 0x32500; cp += cp >= 0x14500 && cp < 0x2E000 ? 7 : 1) {
    if (cp >= 0xD800 && cp < 0xE000) continue;
    std::string text = "a";
    AppendCodePoint(text, cp);
    text += "1";
    AppendCodePoint(text, cp);
    for (size_t at = 0; at < text.size();) {
      RegexMatch match;
      ASSERT_EQ(searcher.Find(text, at, &match), RegexOutcome::kMatch);
      ASSERT_EQ(splitter(text, at), match.end) << "code point " << cp;
      at = match.end;
    }
  }
}

}  // namespace
}  // namespace sgl
