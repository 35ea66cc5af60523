// SPDX-License-Identifier: Apache-2.0
#include "grammar/regex_syntax_tree.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

#include "text/unicode.h"

namespace sgl {
namespace {

constexpr int kMaxRepeat = 10000;
constexpr int kMaxDepth = 200;

int HexValue(uint32_t c) {
  if (c >= '0' && c <= '9') return static_cast<int>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<int>(c - 'a' + 10);
  if (c >= 'A' && c <= 'F') return static_cast<int>(c - 'A' + 10);
  return -1;
}

// The characters of a general category, by its short or long name; null: there is no such category.
const CodeSet* CategorySet(std::string_view name) {
  static constexpr std::pair<std::string_view, std::string_view> kLong[] = {{"Letter", "L"},
                                                                            {"Uppercase_Letter", "Lu"},
                                                                            {"Lowercase_Letter", "Ll"},
                                                                            {"Titlecase_Letter", "Lt"},
                                                                            {"Modifier_Letter", "Lm"},
                                                                            {"Other_Letter", "Lo"},
                                                                            {"Mark", "M"},
                                                                            {"Nonspacing_Mark", "Mn"},
                                                                            {"Spacing_Mark", "Mc"},
                                                                            {"Enclosing_Mark", "Me"},
                                                                            {"Number", "N"},
                                                                            {"Decimal_Number", "Nd"},
                                                                            {"digit", "Nd"},
                                                                            {"Letter_Number", "Nl"},
                                                                            {"Other_Number", "No"},
                                                                            {"Punctuation", "P"},
                                                                            {"punct", "P"},
                                                                            {"Dash_Punctuation", "Pd"},
                                                                            {"Open_Punctuation", "Ps"},
                                                                            {"Close_Punctuation", "Pe"},
                                                                            {"Symbol", "S"},
                                                                            {"Math_Symbol", "Sm"},
                                                                            {"Currency_Symbol", "Sc"},
                                                                            {"Modifier_Symbol", "Sk"},
                                                                            {"Other_Symbol", "So"},
                                                                            {"Separator", "Z"},
                                                                            {"Space_Separator", "Zs"},
                                                                            {"Line_Separator", "Zl"},
                                                                            {"Paragraph_Separator", "Zp"},
                                                                            {"Other", "C"},
                                                                            {"Control", "Cc"},
                                                                            {"Format", "Cf"},
                                                                            {"Connector_Punctuation", "Pc"}};
  for (const auto& [written, meant] : kLong)
    if (name == written) name = meant;
  const std::optional<uint32_t> bits = CategoryMask(name);
  if (!bits) return nullptr;
  static std::mutex mutex;  // compile jobs share the sets
  static std::map<uint32_t, CodeSet> sets;
  std::lock_guard lock(mutex);
  const auto [it, fresh] = sets.try_emplace(*bits);
  if (fresh)
    for (uint32_t c = 0; c <= kMaxCodePoint; ++c) {
      if ((c >= 0xD800 && c <= 0xDFFF) || (CharTable::Get().Bits(c) & *bits) == 0) continue;
      if (!it->second.empty() && it->second.back().last + 1 == c)
        it->second.back().last = c;
      else
        it->second.push_back({c, c});
    }
  return &it->second;
}

class Parser {
 public:
  Parser(std::string_view pattern, RegexDialect dialect) : schema_(dialect == RegexDialect::kSchema) {
    for (size_t at = 0; at < pattern.size();) chars_.push_back(ReadCodePoint(pattern, &at));
  }

  Result<RegexTree> Parse() {
    const int root = Alternation(0);
    if (error_.empty() && pos_ < chars_.size()) Fail("unmatched ')'");
    if (!error_.empty()) return InvalidArgument(error_);
    tree_.root = root;
    return std::move(tree_);
  }

 private:
  bool more() const { return pos_ < chars_.size() && error_.empty(); }
  uint32_t peek(size_t ahead = 0) const { return pos_ + ahead < chars_.size() ? chars_[pos_ + ahead] : 0xFFFFFFFFu; }
  bool Take(uint32_t c) {
    if (peek() != c) return false;
    ++pos_;
    return true;
  }
  int Fail(const std::string& what) { return FailAt(pos_, what); }
  int FailAt(size_t pos, const std::string& what) {
    if (error_.empty()) error_ = fmt::format("at character {}: {}", pos, what);
    return tree_.Empty();
  }

  int Alternation(int depth) {
    if (depth > kMaxDepth) return Fail("groups are nested too deeply");
    std::vector<int> arms{Sequence(depth)};
    while (more() && Take('|')) arms.push_back(Sequence(depth));
    return arms.size() == 1 ? arms[0] : tree_.Alternate(std::move(arms));
  }

  int Sequence(int depth) {
    std::vector<int> parts;
    while (more() && peek() != '|' && peek() != ')') {
      const int atom = Atom(depth);
      parts.push_back(Quantified(atom));
    }
    if (parts.empty()) return tree_.Empty();
    return parts.size() == 1 ? parts[0] : tree_.Concat(std::move(parts));
  }

  // {m}, {m,}, {m,n} at pos_; false (and nothing consumed) when it is not one.
  bool Braces(int* min, int* max) {
    const size_t start = pos_;
    const auto number = [&](int* out) {
      if (peek() < '0' || peek() > '9') return false;
      int64_t value = 0;
      while (peek() >= '0' && peek() <= '9') value = std::min<int64_t>(value * 10 + (chars_[pos_++] - '0'), 1000000000);
      *out = static_cast<int>(value);
      return true;
    };
    ++pos_;
    bool good = number(min);
    *max = *min;
    if (good && Take(',') && !number(max)) *max = kUnbounded;
    good = good && Take('}');
    if (!good) pos_ = start;
    return good;
  }

  int Quantified(int atom) {
    if (!more()) return atom;
    const size_t at = pos_;
    int min = 0, max = 0;
    if (Take('*')) {
      max = kUnbounded;
    } else if (Take('+')) {
      min = 1, max = kUnbounded;
    } else if (Take('?')) {
      max = 1;
    } else if (peek() != '{' || !Braces(&min, &max)) {
      return atom;
    }
    if (max != kUnbounded && max < min) return FailAt(at, fmt::format("repetition {{{},{}}} counts down", min, max));
    if (min > kMaxRepeat || max > kMaxRepeat) return FailAt(at, fmt::format("repetition above {}", kMaxRepeat));
    Take('?');  // lazy: the same language
    int more_min = 0, more_max = 0;
    if (peek() == '*' || peek() == '+' || peek() == '?') return Fail("two repetition marks in a row");
    if (const size_t save = pos_; peek() == '{' && Braces(&more_min, &more_max)) return FailAt(save, "two repetition marks in a row");
    const RegexOp op = tree_.nodes[static_cast<size_t>(atom)].op;
    if (op == RegexOp::kBegin || op == RegexOp::kEnd || op == RegexOp::kLook) return FailAt(at, "an anchor cannot be repeated");
    return tree_.Repeat(atom, min, max);
  }

  int Atom(int depth) {
    const size_t at = pos_;
    const uint32_t c = chars_[pos_++];
    switch (c) {
      case '(': return Group(depth, at);
      case '[': return Bracket(at);
      case '.': return tree_.Class(Complement({{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}}));
      case '^': return tree_.Add({.op = RegexOp::kBegin, .min = 0, .max = 0, .kids = {}, .set = {}});
      case '$': return tree_.Add({.op = RegexOp::kEnd, .min = 0, .max = 0, .kids = {}, .set = {}});
      case '\\': return Escape(at);
      case '*':
      case '+':
      case '?': return FailAt(at, "nothing to repeat");
      default: return tree_.Class({{c, c}});
    }
  }

  int Group(int depth, size_t at) {
    if (Take('?')) {
      const uint32_t kind = peek();
      if (kind == '=' || kind == '!') {
        if (!schema_) return FailAt(at, "look-ahead is not supported");
        ++pos_;
        const int ahead = Alternation(depth + 1);
        if (error_.empty() && !Take(')')) return FailAt(at, "unmatched '('");
        return tree_.Add({.op = RegexOp::kLook, .min = 0, .max = kind == '=' ? 1 : 0, .kids = {ahead}, .set = {}});
      }
      if (kind == '<' && (peek(1) == '=' || peek(1) == '!')) return FailAt(at, "look-behind is not supported");
      if (kind == 'P' && peek(1) == '<') ++pos_;
      if (Take('<')) {
        while (more() && peek() != '>') ++pos_;
        if (!Take('>')) return FailAt(at, "group name without '>'");
      } else if (!Take(':')) {
        return FailAt(at, "flags and special groups are not supported");
      }
    }
    const int inner = Alternation(depth + 1);
    if (error_.empty() && !Take(')')) return FailAt(at, "unmatched '('");
    return inner;
  }

  // Value of `digits` hex digits, or -1.
  int64_t Hex(int digits) {
    int64_t value = 0;
    for (int i = 0; i < digits; ++i) {
      const int v = HexValue(peek(static_cast<size_t>(i)));
      if (v < 0) return -1;
      value = value * 16 + v;
    }
    pos_ += static_cast<size_t>(digits);
    return value;
  }

  // The code point of \u; called behind the u. -1: bad.
  int64_t UnicodeEscape() {
    if (Take('{')) {
      int64_t value = 0;
      int digits = 0;
      for (int v; (v = HexValue(peek())) >= 0 && digits < 7; ++digits, ++pos_) value = value * 16 + v;
      return digits > 0 && Take('}') && value <= kMaxCodePoint ? value : -1;
    }
    const int64_t high = Hex(4);
    if (high < 0xD800 || high > 0xDBFF || peek() != '\\' || peek(1) != 'u') return high;
    const size_t save = pos_;
    pos_ += 2;
    const int64_t low = Hex(4);
    if (low >= 0xDC00 && low <= 0xDFFF) return 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
    pos_ = save;
    return high;
  }

  // A single character written as an escape, or a set (\d...). Called behind the backslash. False: neither; error_ says why.
  bool EscapedSet(size_t at, bool in_class, CodeSet* set) {
    if (pos_ >= chars_.size()) {
      FailAt(at, "a backslash at the end");
      return false;
    }
    const uint32_t c = chars_[pos_++];
    const auto one = [&](int64_t code) {
      if (code < 0) {
        FailAt(at, "bad escape");
        return false;
      }
      const auto u = static_cast<uint32_t>(code);
      *set = {{u, u}};
      return true;
    };
    switch (c) {
      case 'd':
      case 'w':
      case 's': *set = NamedClass(static_cast<char>(c)); return true;
      case 'D':
      case 'W':
      case 'S': *set = Complement(NamedClass(static_cast<char>(c + 32))); return true;
      case 'n': return one('\n');
      case 't': return one('\t');
      case 'r': return one('\r');
      case 'f': return one('\f');
      case 'v': return one('\v');
      case 'a': return one('\a');
      case 'e': return one(0x1B);
      case '0':
        if (peek() >= '0' && peek() <= '9') return FailAt(at, "octal escapes are not supported"), false;
        return one(0);
      case 'c': {
        const uint32_t letter = peek();
        if ((letter | 32) < 'a' || (letter | 32) > 'z') return one(-1);
        ++pos_;
        return one(letter & 31);
      }
      case 'x': return one(Hex(2));
      case 'u': return one(UnicodeEscape());
      case 'U': return one(Hex(8));
      case 'b':
        if (in_class) return one('\b');
        FailAt(at, "\\b (word boundary) is not supported");
        return false;
      case 'B': FailAt(at, "\\B (word boundary) is not supported"); return false;
      case 'p':
      case 'P': return Property(at, c == 'P', set);
      case 'k': FailAt(at, "back-references are not supported"); return false;
      default: break;
    }
    if (c >= '1' && c <= '9') {
      FailAt(at, "back-references are not supported");
      return false;
    }
    if (c < 0x80 && ((c | 32) >= 'a' && (c | 32) <= 'z')) {
      FailAt(at, fmt::format("unknown escape \\{}", static_cast<char>(c)));
      return false;
    }
    return one(c);
  }

  // \p{L}, \p{Letter}, \p{General_Category=Lu}; called behind the letter.
  bool Property(size_t at, bool negated, CodeSet* set) {
    std::string name;
    if (schema_ && Take('{')) {
      while (more() && peek() != '}' && peek() < 0x80) name += static_cast<char>(chars_[pos_++]);
      if (!Take('}')) name.clear();
    }
    for (const std::string_view prefix : {"General_Category=", "gc="})
      if (name.starts_with(prefix)) name.erase(0, prefix.size());
    const CodeSet* category = name.empty() ? nullptr : CategorySet(name);
    if (category == nullptr) {
      FailAt(at, fmt::format("\\{}{} (Unicode property) is not supported", negated ? 'P' : 'p', name.empty() ? "" : "{" + name + "}"));
      return false;
    }
    *set = negated ? Complement(*category) : *category;
    return true;
  }

  int Escape(size_t at) {
    const uint32_t c = peek();
    if (c == 'A' || c == 'Z' || c == 'z') {
      ++pos_;
      return tree_.Add({.op = c == 'A' ? RegexOp::kBegin : RegexOp::kEnd, .min = 0, .max = 0, .kids = {}, .set = {}});
    }
    CodeSet set;
    if (!EscapedSet(at, false, &set)) return tree_.Empty();
    return tree_.Class(std::move(set));
  }

  int Bracket(size_t at) {
    const bool negated = Take('^');
    CodeSet set;
    if (!negated && peek() == ']') return FailAt(at, "empty class");
    while (more() && peek() != ']') {
      CodeSet item;
      if (!ClassItem(&item)) return tree_.Empty();
      const bool single = item.size() == 1 && item[0].first == item[0].last;
      if (single && peek() == '-' && peek(1) != ']' && pos_ + 1 < chars_.size()) {
        const size_t save = pos_++;
        CodeSet upper;
        if (!ClassItem(&upper)) return tree_.Empty();
        if (upper.size() == 1 && upper[0].first == upper[0].last) {
          if (upper[0].first < item[0].first) return FailAt(save, "class range counts down");
          item[0].last = upper[0].first;
        } else {  // [a-\d]: the hyphen is a character
          item.push_back({'-', '-'});
          item.insert(item.end(), upper.begin(), upper.end());
        }
      }
      set.insert(set.end(), item.begin(), item.end());
    }
    if (!Take(']')) return FailAt(at, "unmatched '['");
    Normalise(set);
    return tree_.Class(negated ? Complement(std::move(set)) : std::move(set));
  }

  bool ClassItem(CodeSet* set) {
    const size_t at = pos_;
    const uint32_t c = chars_[pos_++];
    if (c == '\\') return EscapedSet(at, true, set);
    if (c == '[' && (peek() == ':' || peek() == '.' || peek() == '=')) {
      FailAt(at, "POSIX classes are not supported");
      return false;
    }
    *set = {{c, c}};
    return true;
  }

  std::vector<uint32_t> chars_;
  const bool schema_;
  size_t pos_ = 0;
  RegexTree tree_;
  std::string error_;
};

}  // namespace

uint32_t ReadCodePoint(std::string_view text, size_t* at) {
  const auto byte = [&](size_t i) { return *at + i < text.size() ? static_cast<uint8_t>(text[*at + i]) : 0u; };
  const uint32_t b = byte(0);
  const size_t length = b < 0x80 ? 1 : b >= 0xC2 && b < 0xE0 ? 2 : b >= 0xE0 && b < 0xF0 ? 3 : b >= 0xF0 && b < 0xF5 ? 4 : 0;
  uint32_t code = length <= 1 ? b : b & (0xFFu >> (length + 1));
  bool good = length > 0;
  for (size_t i = 1; i < length && good; ++i) {
    good = (byte(i) & 0xC0) == 0x80;
    code = code << 6 | (byte(i) & 0x3F);
  }
  good = good && !(length == 3 && (code < 0x800 || (code >= 0xD800 && code <= 0xDFFF))) &&
         !(length == 4 && (code < 0x10000 || code > kMaxCodePoint));
  *at += good ? length : 1;
  return good ? code : 0xFFFD;
}

void SpellCodePoint(std::string& out, uint32_t code) {
  const auto put = [&](uint32_t b) { out += static_cast<char>(b); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | code >> 6), put(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    put(0xE0 | code >> 12), put(0x80 | (code >> 6 & 0x3F)), put(0x80 | (code & 0x3F));
  } else {
    put(0xF0 | code >> 18), put(0x80 | (code >> 12 & 0x3F)), put(0x80 | (code >> 6 & 0x3F)), put(0x80 | (code & 0x3F));
  }
}

void Normalise(CodeSet& set) {
  std::sort(set.begin(), set.end(), [](const CodeRange& a, const CodeRange& b) { return a.first < b.first; });
  size_t kept = 0;
  for (const CodeRange r : set) {
    if (kept > 0 && r.first <= set[kept - 1].last + 1)
      set[kept - 1].last = std::max(set[kept - 1].last, r.last);
    else
      set[kept++] = r;
  }
  set.resize(kept);
}

CodeSet Complement(CodeSet set) {
  set.push_back({0xD800, 0xDFFF});
  Normalise(set);
  CodeSet out;
  uint32_t next = 0;
  for (const CodeRange r : set) {
    if (r.first > next) out.push_back({next, r.first - 1});
    next = r.last + 1;
  }
  if (next <= kMaxCodePoint) out.push_back({next, kMaxCodePoint});
  return out;
}

CodeSet NamedClass(char name) {
  if (name == 'd') return {{'0', '9'}};
  if (name == 'w') return {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
  return {{'\t', '\r'},     {' ', ' '},       {0xA0, 0xA0},     {0x1680, 0x1680}, {0x2000, 0x200A},
          {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
}

int RegexTree::Class(CodeSet set) {
  Normalise(set);
  return Add({.op = RegexOp::kClass, .min = 0, .max = 0, .kids = {}, .set = std::move(set)});
}

int RegexTree::Text(std::string_view utf8) {
  std::vector<int> kids;
  for (size_t at = 0; at < utf8.size();) {
    const uint32_t c = ReadCodePoint(utf8, &at);
    kids.push_back(Class({{c, c}}));
  }
  return Concat(std::move(kids));
}

Result<RegexTree> ParseRegex(std::string_view pattern, RegexDialect dialect) { return Parser(pattern, dialect).Parse(); }

}  // namespace sgl
