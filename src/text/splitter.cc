// SPDX-License-Identifier: Apache-2.0
#include "text/splitter.h"

#include <cstdint>

#include "text/unicode.h"

namespace sgl {

const std::string_view kGpt2Pattern = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
const std::string_view kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
const std::string_view kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

namespace {

constexpr uint32_t kNotOther = kLetter | kNumber | kSpaceBit;

struct Walker {
  std::string_view text;
  const CharTable& table = CharTable::Get();

  struct Char {
    uint32_t bits;  // 0 at the end of the text
    size_t end;
  };
  Char At(size_t pos) const {
    if (pos >= text.size()) return {0, pos};
    size_t length = 0;
    const uint32_t cp = CodePointAt(text, pos, &length);
    return {table.Bits(cp), pos + length};
  }
  // The end of the longest run of characters that have one of `bits`; at most `limit` of them.
  size_t Run(size_t pos, uint32_t bits, size_t limit = SIZE_MAX) const {
    for (; limit > 0; --limit) {
      const Char c = At(pos);
      if ((c.bits & bits) == 0) break;
      pos = c.end;
    }
    return pos;
  }
  size_t RunOther(size_t pos) const {  // [^\s\p{L}\p{N}]*
    while (true) {
      const Char c = At(pos);
      if (c.bits == 0 || (c.bits & kNotOther) != 0) return pos;
      pos = c.end;
    }
  }
  // \s+(?!\S)|\s+ : the run, less its last character if something follows, unless that is all there is.
  size_t Space(size_t pos) const {
    size_t last = pos, end = pos;
    while (true) {
      const Char c = At(end);
      if ((c.bits & kSpaceBit) == 0) break;
      last = end;
      end = c.end;
    }
    return end == text.size() || last == pos ? end : last;
  }
};

// Length of 's 't 're 've 'm 'll 'd at text[pos] == '\'', or 0. Any case: also U+017F, which folds to s.
size_t Contraction(std::string_view text, size_t pos, bool any_case) {
  const auto at = [&](size_t i) {
    if (pos + i >= text.size()) return '\0';
    const char c = text[pos + i];
    return any_case && c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  };
  switch (at(1)) {
    case 's':
    case 't':
    case 'm':
    case 'd': return 2;
    case 'r':
    case 'v': return at(2) == 'e' ? 3 : 0;
    case 'l': return at(2) == 'l' ? 3 : 0;
    case '\xC5': return any_case && at(2) == '\xBF' ? 3 : 0;
    default: return 0;
  }
}

size_t NextGpt2(std::string_view text, size_t pos) {
  const Walker walk{text};
  if (text[pos] == '\'') {
    if (const size_t n = Contraction(text, pos, false); n != 0) return pos + n;
  }
  Walker::Char c = walk.At(pos);
  if (text[pos] == ' ') {
    const Walker::Char after = walk.At(pos + 1);
    if (after.bits == 0 || (after.bits & kSpaceBit) != 0) return walk.Space(pos);
    c = after;
  }
  if ((c.bits & kLetter) != 0) return walk.Run(c.end, kLetter);
  if ((c.bits & kNumber) != 0) return walk.Run(c.end, kNumber);
  if ((c.bits & kSpaceBit) != 0) return walk.Space(pos);
  return walk.RunOther(c.end);
}

bool IsNewline(char c) { return c == '\r' || c == '\n'; }

template <size_t kDigits>
size_t NextLlama3(std::string_view text, size_t pos) {
  const Walker walk{text};
  if (text[pos] == '\'') {
    if (const size_t n = Contraction(text, pos, true); n != 0) return pos + n;
  }
  const Walker::Char c = walk.At(pos);
  if ((c.bits & kLetter) != 0) return walk.Run(c.end, kLetter);
  if ((c.bits & kNumber) != 0) return walk.Run(c.end, kNumber, kDigits - 1);
  const Walker::Char after = walk.At(c.end);
  if ((after.bits & kLetter) != 0 && !IsNewline(text[pos])) return walk.Run(after.end, kLetter);
  const bool space_then_other = text[pos] == ' ' && after.bits != 0 && (after.bits & kNotOther) == 0;
  if ((c.bits & kSpaceBit) == 0 || space_then_other) {
    size_t end = walk.RunOther(c.end);
    while (end < text.size() && IsNewline(text[end])) ++end;
    return end;
  }
  // White space: up to its last newline, if it has one.
  const size_t end = walk.Run(pos, kSpaceBit);
  for (size_t at = end; at > pos; --at)
    if (IsNewline(text[at - 1])) return at;
  return walk.Space(pos);
}

}  // namespace

Splitter KnownSplitter(std::string_view pattern) {
  if (pattern == kGpt2Pattern) return NextGpt2;
  if (pattern == kLlama3Pattern) return NextLlama3<3>;
  if (pattern == kQwen2Pattern) return NextLlama3<1>;
  return nullptr;
}

}  // namespace sgl
