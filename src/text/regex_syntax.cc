// Rewrites a pattern of another dialect into PCRE2's. Only what differs is touched.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "text/regex.h"
#include "text/unicode.h"

namespace sgl {
namespace {

constexpr std::string_view kWhiteSpace = R"(\x09-\x0d\x20\x85\xa0\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
constexpr std::string_view kNotWhiteSpace =
    R"(\x00-\x08\x0e-\x1f\x21-\x84\x86-\x9f\x{a1}-\x{167f}\x{1681}-\x{1fff}\x{200b}-\x{2027}\x{202a}-\x{202e}\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{10ffff})";
constexpr std::string_view kPythonExtraSpace = R"(\x1c-\x1f)";
// Oniguruma's \w beyond letters, marks, Nd, Nl and Pc: Other_Alphabetic symbols and the Latin-1 numbers.
constexpr std::string_view kWordExtra =
    R"(\xb2\xb3\xb9\xbc-\xbe\x{24b6}-\x{24e9}\x{1f130}-\x{1f149}\x{1f150}-\x{1f169}\x{1f170}-\x{1f189})";

// Ranges, in class syntax, of the code points of these categories that PCRE2's Unicode version may lack.
std::string Newer(uint32_t mask) {
  std::string out;
  for (const NewerRange& range : NewerRanges())
    if ((Bit(range.category) & mask) != 0) out += fmt::format(R"(\x{{{:x}}}-\x{{{:x}}})", range.first, range.last);
  return out;
}

std::string WordSet() {
  constexpr uint32_t kMask = kLetter | kMark | Bit(Category::kNd) | Bit(Category::kNl);
  return R"(\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc})" + Newer(kMask) + std::string(kWordExtra);
}

class Translator {
 public:
  Translator(std::string_view pattern, RegexSyntax syntax) : in_(pattern), onig_(syntax == RegexSyntax::kOniguruma) {}

  Result<std::string> Run() {
    while (at_ < in_.size()) {
      const char c = in_[at_];
      if (c == '\\') {
        TRY_STATUS(Escape());
      } else if (in_class_) {
        TRY_STATUS(ClassChar(c));
      } else if (c == '[') {
        OpenClass();
      } else if (onig_ && c == '{') {
        TRY_STATUS(Interval());
      } else if (onig_ && in_.substr(at_, 2) == "(?") {
        InlineOptions();
      } else {
        Copy(1);
      }
    }
    return std::move(out_);
  }

 private:
  Error Bad(std::string_view what) const { return InvalidArgument(fmt::format("at byte {}: {}", at_, what)); }
  void Copy(size_t n) { out_ += in_.substr(at_, n), at_ += std::min(n, in_.size() - at_); }

  void OpenClass() {
    Copy(1);
    in_class_ = true;
    if (at_ < in_.size() && in_[at_] == '^') Copy(1);
    if (at_ < in_.size() && in_[at_] == ']') out_ += "\\]", ++at_;  // first in the set: a literal
  }

  Status ClassChar(char c) {
    if (c == ']') in_class_ = false;
    if (c == '[') {
      if (onig_) return Bad("sets inside a set are not supported");
      out_ += '\\';
    }
    if (onig_ && in_.substr(at_, 2) == "&&") return Bad("set intersection is not supported");
    Copy(1);
    return {};
  }

  // {,n} means {0,n}; {n,m}+ repeats the repetition instead of being possessive.
  Status Interval() {
    const size_t close = in_.find('}', at_);
    const std::string_view body = close == std::string_view::npos ? "" : in_.substr(at_ + 1, close - at_ - 1);
    const bool interval = !body.empty() && body != "," && body.find_first_not_of("0123456789,") == std::string_view::npos;
    if (!interval) {
      Copy(1);
      return {};
    }
    if (in_.substr(close + 1, 1) == "+") return Bad("'+' after an interval is not supported");
    out_ += body[0] == ',' ? "{0" : "{";
    out_ += body;
    out_ += '}';
    at_ = close + 1;
    return {};
  }

  // (?m) is Ruby's name for PCRE2's (?s).
  void InlineOptions() {
    Copy(2);
    const size_t end = in_.find_first_not_of("imx-", at_);
    const bool options = end != std::string_view::npos && (in_[end] == ':' || in_[end] == ')');
    if (!options) return;
    for (; at_ < end; ++at_) out_ += in_[at_] == 'm' ? 's' : in_[at_];
  }

  void Set(std::string_view members, bool negated) {
    if (in_class_) {
      out_ += members;
    } else {
      out_ += negated ? "[^" : "[";
      out_ += members;
      out_ += ']';
    }
  }

  Status Escape() {
    if (at_ + 1 == in_.size()) return Bad("the pattern ends with a backslash");
    const char c = in_[at_ + 1];
    if (c == 'u' || (c == 'U' && !onig_)) return HexEscape(c == 'u' ? 4 : 8);
    if (c == 's' || c == 'S') {
      Space(c == 'S');
      at_ += 2;
      return {};
    }
    if (onig_) return OnigurumaEscape(c);
    if (c == 'Z' && !in_class_) return Replace(2, "\\z");
    constexpr std::string_view kPythonLetters = "AbBdDwWafnrtvx";
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (letter && kPythonLetters.find(c) == std::string_view::npos) return Bad(fmt::format("bad escape \\{}", c));
    Copy(2);
    return {};
  }

  Status Replace(size_t n, std::string_view with) {
    out_ += with;
    at_ += n;
    return {};
  }

  void Space(bool negated) {
    if (onig_) return Set(negated && in_class_ ? kNotWhiteSpace : kWhiteSpace, negated);
    if (negated && in_class_) {  // the same set without U+001C..U+001F
      std::string members(kNotWhiteSpace);
      members.replace(members.find(R"(\x0e-\x1f)"), 9, R"(\x0e-\x1b)");
      return Set(members, true);
    }
    Set(std::string(kWhiteSpace) + std::string(kPythonExtraSpace), negated);
  }

  Status HexEscape(size_t digits) {
    const std::string_view hex = in_.substr(at_ + 2, digits);
    if (hex.size() != digits || hex.find_first_not_of("0123456789abcdefABCDEF") != std::string_view::npos) return Bad("incomplete escape");
    return Replace(2 + digits, fmt::format("\\x{{{}}}", hex));
  }

  Status OnigurumaEscape(char c) {
    if (c == 'p' || c == 'P') return Property(c == 'P');
    if (c == 'd') return Set("\\p{Nd}" + Newer(Bit(Category::kNd)), false), at_ += 2, Status();
    if (c == 'w') return Set(WordSet(), false), at_ += 2, Status();
    if (c == 'W' && !in_class_) return Set(WordSet(), true), at_ += 2, Status();
    if (c == 'D' && !in_class_) return Set("\\p{Nd}" + Newer(Bit(Category::kNd)), true), at_ += 2, Status();
    if (c == 'h') return Set("0-9a-fA-F", false), at_ += 2, Status();
    if (c == 'W' || c == 'D') return Bad("a negated class inside a set is not supported");
    if (c == 'b' && in_class_) return Copy(2), Status();
    if (c == 'b' || c == 'B') {  // PCRE2 has its own word characters
      const std::string word = "[" + WordSet() + "]";
      const auto [before, other] = c == 'b' ? std::pair("(?!", "(?=") : std::pair("(?=", "(?!");
      return Replace(2, fmt::format("(?:(?<={0}){1}{0})|(?<!{0}){2}{0}))", word, before, other));
    }
    constexpr std::string_view kSame = "aefnrtvAzZxXR0";
    const bool plain = !((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'));
    if (!plain && kSame.find(c) == std::string_view::npos) return Bad(fmt::format("escape \\{} is not supported", c));
    if (c == 'x' && in_.substr(at_ + 2, 1) != "{") {
      const std::string_view digits = in_.substr(at_ + 2, 2);
      if (digits.empty() || digits[0] > '7') return Bad("\\x above 7F is a raw byte; use \\x{...}");
    }
    Copy(2);
    return {};
  }

  Status Property(bool negated) {
    const size_t close = in_.find('}', at_);
    if (in_.substr(at_ + 2, 1) != "{" || close == std::string_view::npos) return Bad("\\p needs {name}");
    std::string_view name = in_.substr(at_ + 3, close - at_ - 3);
    if (!name.empty() && name[0] == '^') negated = !negated, name.remove_prefix(1);
    const std::optional<uint32_t> mask = CategoryMask(name);
    // Plain script names mean Script_Extensions to PCRE2.
    constexpr std::string_view kScripts[] = {"Arabic", "Cyrillic", "Devanagari", "Greek", "Han", "Hangul",
                                             "Hebrew", "Hiragana", "Katakana",   "Latin", "Thai"};
    const bool script = std::find(std::begin(kScripts), std::end(kScripts), name) != std::end(kScripts);
    const std::string property = fmt::format("{}{}", script ? "sc:" : "", name);
    if (negated && in_class_) {
      // Code points newer than PCRE2's tables count as unassigned here.
      out_ += fmt::format("\\P{{{}}}", property);
    } else {
      Set(fmt::format("\\p{{{}}}", property) + (mask ? Newer(*mask) : ""), negated);
    }
    at_ = close + 1;
    return {};
  }

  std::string_view in_;
  bool onig_;
  size_t at_ = 0;
  bool in_class_ = false;
  std::string out_;
};

}  // namespace

Result<std::string> TranslateRegex(std::string_view pattern, RegexSyntax syntax) {
  if (pattern.size() > 64 * 1024) return InvalidArgument("the pattern is longer than 64 KiB");
  if (!IsValidUtf8(pattern)) return InvalidArgument("the pattern is not valid UTF-8");
  return Translator(pattern, syntax).Run();
}

}  // namespace sgl
