// SPDX-License-Identifier: Apache-2.0
#include "text/unicode.h"

#include <gtest/gtest.h>

#include <chrono>
#include <random>

namespace sgl {
namespace {

constexpr const char* kBad = "\xEF\xBF\xBD";

TEST(Utf8, RepairsAsPythonDoes) {
  const std::pair<std::string, std::string> cases[] = {
      {"abc", "abc"},
      {"\xff", "?"},
      {"\xc3(", "?("},
      {"\xe4\xbd"
       "a",
       "?a"},
      {"\xed\xa0\x80", "???"},  // a surrogate
      {"\xf0\x9f\x98", "?"},
      {"\xf0\x9f\xf0\x9f\x98\x80", "?\xf0\x9f\x98\x80"},
      {"\xf4\x90\x80\x80", "????"},  // above U+10FFFF
      {"\xc0\x80", "??"},            // overlong
      {"\xe0\x9f\xbf", "???"},
  };
  for (const auto& [in, form] : cases) {
    std::string want;
    for (const char c : form) want += c == '?' ? std::string(kBad) : std::string(1, c);
    EXPECT_EQ(RepairUtf8(in), want);
    EXPECT_EQ(IsValidUtf8(in), in == want);
  }
}

TEST(Utf8, RandomBytesRepairToValidText) {
  for (uint32_t seed = 0; seed < 5000; ++seed) {
    std::mt19937 rng(seed);
    std::string text;
    for (size_t n = rng() % 20; n > 0; --n) text += static_cast<char>(rng() % 3 == 0 ? rng() % 128 : 0xC0 - 64 + rng() % 128);
    const std::string fixed = RepairUtf8(text);
    EXPECT_TRUE(IsValidUtf8(fixed)) << seed;
    EXPECT_EQ(RepairUtf8(fixed), fixed) << seed;
  }
}

TEST(Unicode, CategoriesKnowUnicode16) {
  const CharTable& table = CharTable::Get();
  EXPECT_EQ(table.Bits('a'), Bit(Category::kLl));
  EXPECT_EQ(table.Bits(' '), Bit(Category::kZs) | kSpaceBit);
  EXPECT_EQ(table.Bits(0x85), Bit(Category::kCc) | kSpaceBit);
  EXPECT_EQ(table.Bits(0x180E), Bit(Category::kCf));
  EXPECT_EQ(table.Bits(0x1C89), Bit(Category::kLu));   // 16.0
  EXPECT_EQ(table.Bits(0x2EBF0), Bit(Category::kLo));  // 15.1
  EXPECT_EQ(table.Bits(0x10FFFF), Bit(Category::kCn));
}

TEST(Unicode, NormalForms) {
  EXPECT_EQ(Normalize("e\u0301", NormalForm::kNfc), "\u00e9");
  EXPECT_EQ(Normalize("\u00e9", NormalForm::kNfd), "e\u0301");
  EXPECT_EQ(Normalize("\ufb01\u212b", NormalForm::kNfkc), "fi\u00c5");
  EXPECT_EQ(Normalize("\uac01", NormalForm::kNfkd), "\u1100\u1161\u11a8");
  EXPECT_EQ(Normalize("\u1100\u1161\u11a8", NormalForm::kNfc), "\uac01");
  EXPECT_EQ(Normalize("a\u0301\u0323", NormalForm::kNfc), "\u1ea1\u0301");  // reordered first
  EXPECT_EQ(Normalize("\u0958", NormalForm::kNfc), "\u0915\u093c");         // a composition exclusion
  EXPECT_EQ(Lowercase("ÀB\u0130\u03A3"), "àbi\u0307\u03C3");
}

TEST(Unicode, LongRunsOfMarksStayFast) {
  std::string text = "a";
  for (int i = 0; i < 100'000; ++i) text += i % 2 == 0 ? "\u0301" : "\u0323";  // classes 230 and 220: all to be reordered
  const std::string sorted = Normalize(text, NormalForm::kNfd);
  EXPECT_EQ(sorted.size(), text.size());
  EXPECT_EQ(sorted.substr(0, 3), "a\u0323");
}

}  // namespace
}  // namespace sgl
