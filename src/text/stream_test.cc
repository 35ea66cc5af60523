// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <random>

#include "text/tokenizer.h"
#include "text/unicode.h"

namespace sgl {
namespace {

// Earliest end, then earliest start, in the whole text.
struct Naive {
  size_t begin = std::string::npos, end = std::string::npos;
  std::string stop;
};
Naive Search(const std::string& text, const std::vector<std::string>& stops) {
  Naive best;
  for (const std::string& stop : stops) {
    const size_t at = stop.empty() ? std::string::npos : text.find(stop);
    if (at == std::string::npos) continue;
    const size_t end = at + stop.size();
    if (end < best.end || (end == best.end && at < best.begin)) best = {at, end, stop};
  }
  return best;
}

// The longest end of `text` that is a proper start of a stop string.
size_t Held(const std::string& text, const std::vector<std::string>& stops) {
  size_t held = 0;
  for (const std::string& stop : stops)
    for (size_t n = 1; n < stop.size() && n <= text.size(); ++n)
      if (text.ends_with(stop.substr(0, n))) held = std::max(held, n);
  return held;
}

TEST(StopMatcher, EqualsANaiveSearchAtEverySplit) {
  for (uint32_t seed = 0; seed < 1000; ++seed) {
    std::mt19937 rng(seed);
    const auto word = [&](size_t most) {
      std::string out;
      for (size_t n = rng() % (most + 1); n > 0; --n) out += static_cast<char>('a' + rng() % 2);
      return out;
    };
    std::vector<std::string> stops;
    for (size_t n = rng() % 4; n > 0; --n) stops.push_back(word(5));
    const std::string text = word(24);
    const bool keep = rng() % 2 != 0;
    const Naive want = Search(text, stops);
    for (size_t split = 0; split <= text.size(); ++split) {
      StopMatcher matcher(stops);
      std::string got;
      std::optional<std::string> matched;
      for (const bool first : {true, false}) {
        const StopMatcher::Step step = matcher.Push(first ? text.substr(0, split) : text.substr(split), keep);
        if (matched) {
          EXPECT_TRUE(step.emit.empty()) << seed;
        }
        got += step.emit;
        if (step.matched) matched = step.matched;
        if (first && !matched) {
          EXPECT_EQ(got.size(), split - Held(text.substr(0, split), stops)) << "seed " << seed << " split " << split;
        }
      }
      EXPECT_EQ(matched.has_value(), want.end != std::string::npos) << "seed " << seed;
      if (matched) {
        EXPECT_EQ(*matched, want.stop) << "seed " << seed;
        EXPECT_EQ(got, text.substr(0, keep ? want.end : want.begin)) << "seed " << seed << " split " << split;
        EXPECT_EQ(matcher.Flush(), "");
      } else {
        EXPECT_EQ(got + matcher.Flush(), text) << "seed " << seed << " split " << split;
      }
    }
  }
}

TEST(StopMatcher, ByteByByteEqualsAtOnce) {
  for (uint32_t seed = 0; seed < 500; ++seed) {
    std::mt19937 rng(seed);
    std::string text;
    for (int i = 0; i < 60; ++i) text += static_cast<char>('a' + rng() % 3);
    const std::vector<std::string> stops = {"abcab", "bca", "ccc", "aabaa"};
    StopMatcher whole(stops), bytes(stops);
    const StopMatcher::Step want = whole.Push(text);
    std::string got;
    std::optional<std::string> matched;
    for (const char c : text) {
      StopMatcher::Step step = bytes.Push(std::string_view(&c, 1));
      got += step.emit;
      if (step.matched) matched = step.matched;
    }
    EXPECT_EQ(got + bytes.Flush(), want.emit + whole.Flush()) << seed;
    EXPECT_EQ(matched, want.matched) << seed;
  }
}

TEST(StopMatcher, HoldsOnlyWhatCouldBeginAStop) {
  StopMatcher matcher({"</tool>", "\n\n"});
  EXPECT_EQ(matcher.Push("a\n").emit, "a");
  EXPECT_EQ(matcher.Push("b </to").emit, "\nb ");
  EXPECT_EQ(matcher.Push("ad").emit, "</toad");
  const StopMatcher::Step step = matcher.Push("x</tool>y");
  EXPECT_EQ(step.emit, "x");
  EXPECT_EQ(step.matched, "</tool>");
  EXPECT_EQ(matcher.Push("more").emit, "");
}

TEST(StopMatcher, LongStopsCostLinearTime) {
  const std::string stop = std::string(50'000, 'a') + "b";
  StopMatcher matcher({stop});
  std::string got;
  for (int i = 0; i < 200'000; ++i) got += matcher.Push("a").emit;  // quadratic work would take minutes
  EXPECT_EQ(got.size(), 150'000u);
  EXPECT_EQ(matcher.Push("b").matched, stop);
}

// A tokenizer whose token i is the byte i; 256 is special.
class ByteTokenizer final : public Tokenizer {
 public:
  explicit ByteTokenizer(bool fallback) {
    for (int i = 0; i < 256; ++i) bytes_ += static_cast<char>(i);
    byte_fallback = fallback;
  }
  std::vector<TokenId> Encode(std::string_view, bool) const override { return {}; }
  std::string Decode(std::span<const TokenId> ids, bool skip) const override {
    std::string out;
    for (const TokenId id : ids)
      if (!(skip && IsSpecial(id))) out += TokenBytes(id);
    return RepairUtf8(out);
  }
  std::string_view TokenBytes(TokenId id) const override {
    return id == 256 ? "<s>" : std::string_view(bytes_).substr(static_cast<size_t>(id), 1);
  }
  bool IsSpecial(TokenId id) const override { return id == 256; }
  int64_t vocab_size() const override { return 257; }
  std::optional<TokenId> TokenToId(std::string_view) const override { return std::nullopt; }
  std::string IdToToken(TokenId) const override { return ""; }

 private:
  std::string bytes_;
};

TEST(StreamDecoder, EqualsDecodeAndNeverStalls) {
  const ByteTokenizer tokenizer(false);
  // Bytes that make interesting sequences: leads, continuations, bad ones.
  const std::vector<TokenId> alphabet = {'a', 0xC3, 0xA9, 0xE4, 0xBD, 0xA0, 0xF0, 0x9F, 0x98, 0x80, 0xED, 0xFF, 0xC0, 0xF4, 0x90, 256};
  for (uint32_t seed = 0; seed < 5000; ++seed) {
    std::mt19937 rng(seed);
    const bool skip = rng() % 2 != 0;
    StreamDecoder decoder(tokenizer, skip);
    std::vector<TokenId> ids;
    std::string got;
    for (size_t n = rng() % 12; n > 0; --n) {
      ids.push_back(alphabet[rng() % alphabet.size()]);
      const std::string piece = decoder.Push(ids.back());
      EXPECT_TRUE(IsValidUtf8(piece)) << seed;
      got += piece;
      // Whatever is still missing is one unfinished character: at the end it would be exactly one U+FFFD.
      const std::string now = tokenizer.Decode(ids, skip);
      EXPECT_TRUE(now == got || now == got + "\xEF\xBF\xBD") << "seed " << seed;
    }
    EXPECT_EQ(got + decoder.Flush(), tokenizer.Decode(ids, skip)) << "seed " << seed;
    EXPECT_EQ(decoder.Flush(), "");
  }
}

TEST(StreamDecoder, ByteFallbackGivesOneReplacementPerByte) {
  const ByteTokenizer tokenizer(true);
  StreamDecoder decoder(tokenizer, true);
  EXPECT_EQ(decoder.Push(0xE4), "");
  EXPECT_EQ(decoder.Push(0xBD), "");
  EXPECT_EQ(decoder.Push('a'),
            "\xEF\xBF\xBD\xEF\xBF\xBD"
            "a");
  EXPECT_EQ(decoder.Push(0xF0), "");
  EXPECT_EQ(decoder.Flush(), "\xEF\xBF\xBD");
}

}  // namespace
}  // namespace sgl
