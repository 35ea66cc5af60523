// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include <map>

#include "grammar/rule_set.h"

namespace sgl {
namespace {

constexpr int kMaxDepth = 200;
constexpr int kMaxRepeat = 10000;

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Result<RuleSource> Parse() {
    Space(true);
    while (error_.empty() && at_ < text_.size()) Rule();
    if (error_.empty() && defined_.empty()) Fail(at_, "no rule");
    if (!error_.empty()) return InvalidArgument(error_);
    for (const auto& [name, place] : used_)
      if (!defined_.contains(name)) return InvalidArgument(Place(place) + fmt::format("unknown rule '{}'", name));
    if (!defined_.contains("root")) return InvalidArgument("there is no rule 'root'");
    source_.root = index_.at("root");
    return std::move(source_);
  }

 private:
  char peek(size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }
  bool good() const { return error_.empty() && at_ < text_.size(); }

  std::string Place(size_t at) const {
    size_t line = 1, column = 1;
    for (size_t i = 0; i < at && i < text_.size(); ++i) {
      ++column;
      if (text_[i] == '\n') ++line, column = 1;
    }
    return fmt::format("line {}, column {}: ", line, column);
  }
  RuleExpr Fail(size_t at, const std::string& what) {
    if (error_.empty()) error_ = Place(at) + what;
    return {};
  }

  // Blanks and comments; newlines too when `lines`.
  void Space(bool lines) {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '#') {
        while (at_ < text_.size() && text_[at_] != '\n') ++at_;
      } else if (c == ' ' || c == '\t' || (lines && (c == '\n' || c == '\r'))) {
        ++at_;
      } else {
        break;
      }
    }
  }

  static bool NameChar(char c, bool first) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (!first && ((c >= '0' && c <= '9') || c == '-' || c == '.'));
  }
  std::string Name() {
    const size_t begin = at_;
    while (at_ < text_.size() && NameChar(text_[at_], at_ == begin)) ++at_;
    return std::string(text_.substr(begin, at_ - begin));
  }
  int RuleIndex(const std::string& name) {
    const auto [it, fresh] = index_.try_emplace(name, static_cast<int>(source_.rules.size()));
    if (fresh) {
      source_.rules.emplace_back();
      source_.names.push_back(name);
    }
    return it->second;
  }

  // At a rule's "name ::=".
  bool AtDefinition() const {
    size_t i = at_;
    while (i < text_.size() && NameChar(text_[i], i == at_)) ++i;
    if (i == at_) return false;
    while (i < text_.size() && (text_[i] == ' ' || text_[i] == '\t')) ++i;
    return text_.substr(i, 3) == "::=";
  }

  void Rule() {
    const size_t begin = at_;
    if (!AtDefinition()) {
      Fail(at_, "expected 'name ::='");
      return;
    }
    const std::string name = Name();
    Space(false);
    at_ += 3;
    if (!defined_.try_emplace(name, begin).second) {
      Fail(begin, fmt::format("rule '{}' is defined twice", name));
      return;
    }
    const int index = RuleIndex(name);
    RuleExpr body = Alternation(0);
    if (!error_.empty()) return;
    Space(true);
    // (= ...): a hint about what follows, nothing more.
    if (at_ < text_.size() && !AtDefinition()) {
      Fail(at_, fmt::format("unexpected '{}'", text_[at_]));
      return;
    }
    source_.rules[static_cast<size_t>(index)] = std::move(body);
  }

  RuleExpr Alternation(int depth) {
    if (depth > kMaxDepth) return Fail(at_, "nested too deeply");
    std::vector<RuleExpr> arms;
    arms.push_back(Sequence(depth));
    for (;;) {
      Space(true);
      if (!good() || peek() != '|') break;
      ++at_;
      arms.push_back(Sequence(depth));
    }
    return arms.size() == 1 ? std::move(arms[0]) : RuleExpr::Alternate(std::move(arms));
  }

  RuleExpr Sequence(int depth) {
    std::vector<RuleExpr> parts;
    for (;;) {
      Space(true);
      if (!good() || peek() == '|' || peek() == ')' || AtDefinition()) break;
      RuleExpr part;
      if (!Atom(depth, &part)) break;
      Space(false);
      Quantify(part);
      if (!error_.empty()) break;
      parts.push_back(std::move(part));
    }
    return parts.size() == 1 ? std::move(parts[0]) : RuleExpr::Concat(std::move(parts));
  }

  void Quantify(RuleExpr& part) {
    const size_t at = at_;
    int min = 0, max = kUnbounded;
    if (peek() == '*') {
      ++at_;
    } else if (peek() == '+') {
      ++at_;
      min = 1;
    } else if (peek() == '?') {
      ++at_;
      max = 1;
    } else if (peek() == '{') {
      ++at_;
      const auto number = [&](int* out) {
        Space(false);
        if (peek() < '0' || peek() > '9') return false;
        int64_t v = 0;
        while (peek() >= '0' && peek() <= '9') v = std::min<int64_t>(v * 10 + (text_[at_++] - '0'), 1000000);
        Space(false);
        *out = static_cast<int>(v);
        return true;
      };
      bool ok = number(&min);
      max = min;
      if (ok && peek() == ',') {
        ++at_;
        if (!number(&max)) max = kUnbounded;
      }
      if (!ok || peek() != '}') {
        Fail(at, "bad repetition");
        return;
      }
      ++at_;
      if (max != kUnbounded && max < min) {
        Fail(at, "repetition counts down");
        return;
      }
      if (min > kMaxRepeat || max > kMaxRepeat) {
        Fail(at, fmt::format("repetition above {}", kMaxRepeat));
        return;
      }
    } else {
      return;
    }
    part = RuleExpr::Repeat(std::move(part), min, max);
    Space(false);
    if (peek() == '*' || peek() == '+' || peek() == '?' || peek() == '{') Fail(at_, "two repetition marks in a row");
  }

  bool Atom(int depth, RuleExpr* out) {
    const size_t at = at_;
    const char c = peek();
    if (c == '"' || c == '\'') {
      ++at_;
      RegexTree tree;
      std::vector<int> kids;
      while (at_ < text_.size() && text_[at_] != c) {
        uint32_t code = 0;
        if (text_[at_] == '\n' || !Char(&code)) return Fail(at, "unterminated string"), false;
        kids.push_back(tree.Class({{code, code}}));
      }
      if (at_ >= text_.size()) return Fail(at, "unterminated string"), false;
      ++at_;
      tree.root = tree.Concat(std::move(kids));
      *out = FromTree(std::move(tree));
      return true;
    }
    if (c == '[') return Class(out);
    if (c == '.') {  // GBNF: any character
      ++at_;
      RegexTree tree;
      tree.root = tree.Class(Complement(CodeSet{}));
      *out = FromTree(std::move(tree));
      return true;
    }
    if (c == '(') {
      ++at_;
      Space(true);
      const bool hint = peek() == '=';
      if (hint) ++at_;
      RuleExpr inner = Alternation(depth + 1);
      if (!error_.empty()) return false;
      if (peek() != ')') return Fail(at, "unmatched '('"), false;
      ++at_;
      *out = hint ? RuleExpr::Concat({}) : std::move(inner);
      return true;
    }
    if (!NameChar(c, true)) return Fail(at, fmt::format("unexpected '{}'", c)), false;
    const std::string name = Name();
    if (peek() == '(') {
      if (name == "Regex") return Regex(at, out);
      if (name == "Token" || name == "ExcludeToken" || name == "TagDispatch")
        return Fail(at, fmt::format("{}(...) is not supported", name)), false;
    }
    used_.emplace(name, at);
    *out = RuleExpr::Call(RuleIndex(name));
    return true;
  }

  // Regex("...")
  bool Regex(size_t at, RuleExpr* out) {
    ++at_;
    Space(false);
    if (peek() != '"') return Fail(at, "Regex(...) takes a string"), false;
    ++at_;
    std::string pattern;
    while (at_ < text_.size() && text_[at_] != '"') {
      if (text_[at_] == '\\' && at_ + 1 < text_.size() && (text_[at_ + 1] == '"' || text_[at_ + 1] == '\\')) ++at_;
      pattern += text_[at_++];
    }
    if (at_ >= text_.size()) return Fail(at, "unterminated string"), false;
    ++at_;
    Space(false);
    if (peek() != ')') return Fail(at, "unmatched '('"), false;
    ++at_;
    auto tree = ParseRegex(pattern);
    if (!tree.ok()) return Fail(at, "Regex: " + tree.error().message), false;
    // Anchored at both ends; so anchors there mean nothing, and elsewhere they would.
    for (const RegexNode& n : tree->nodes)
      if (n.op == RegexOp::kBegin || n.op == RegexOp::kEnd) return Fail(at, "Regex: anchors are not supported inside a rule"), false;
    *out = FromTree(*std::move(tree));
    return true;
  }

  static RuleExpr FromTree(RegexTree tree) {
    RuleExpr e;
    e.op = RuleExpr::Op::kText;
    e.text = std::move(tree);
    return e;
  }

  // One character of a string or class, escapes included.
  bool Char(uint32_t* code) {
    const size_t at = at_;
    if (text_[at_] != '\\') {
      *code = ReadCodePoint(text_, &at_);
      return true;
    }
    ++at_;
    const char c = peek();
    ++at_;
    const auto hex = [&](int digits) {
      uint32_t v = 0;
      for (int i = 0; i < digits; ++i) {
        const char d = peek();
        const int value = d >= '0' && d <= '9' ? d - '0' : (d | 32) >= 'a' && (d | 32) <= 'f' ? (d | 32) - 'a' + 10 : -1;
        if (value < 0) return false;
        v = v * 16 + static_cast<uint32_t>(value);
        ++at_;
      }
      *code = v;
      return v <= kMaxCodePoint && (v < 0xD800 || v > 0xDFFF);
    };
    bool ok = true;
    switch (c) {
      case 'n': *code = '\n'; break;
      case 't': *code = '\t'; break;
      case 'r': *code = '\r'; break;
      case 'f': *code = '\f'; break;
      case 'v': *code = '\v'; break;
      case 'a': *code = '\a'; break;
      case 'b': *code = '\b'; break;
      case 'e': *code = 0x1B; break;
      case '0': *code = 0; break;
      case 'x': ok = hex(2); break;
      case 'u': ok = hex(4); break;
      case 'U': ok = hex(8); break;
      default:
        ok = at_ <= text_.size() && !((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '\0');
        *code = static_cast<uint8_t>(c);
        if (ok && static_cast<uint8_t>(c) >= 0x80) {
          --at_;
          *code = ReadCodePoint(text_, &at_);
        }
    }
    if (!ok) Fail(at, "bad escape");
    return ok;
  }

  bool Class(RuleExpr* out) {
    const size_t at = at_++;
    const bool negated = peek() == '^';
    if (negated) ++at_;
    CodeSet set;
    bool first = true;
    while (at_ < text_.size() && (text_[at_] != ']' || first)) {
      if (text_[at_] == ']' && first) break;
      first = false;
      const char next = peek(1);
      if (text_[at_] == '\\' && (next == 'd' || next == 'w' || next == 's' || next == 'D' || next == 'W' || next == 'S')) {
        CodeSet named = NamedClass(static_cast<char>(next | 32));
        if (next < 'a') named = Complement(std::move(named));
        set.insert(set.end(), named.begin(), named.end());
        at_ += 2;
        continue;
      }
      CodeRange range;
      if (!Char(&range.first)) return false;
      range.last = range.first;
      if (peek() == '-' && peek(1) != ']' && peek(1) != '\0') {
        ++at_;
        if (!Char(&range.last)) return false;
        if (range.last < range.first) return Fail(at, "class range counts down"), false;
      }
      set.push_back(range);
    }
    if (at_ >= text_.size()) return Fail(at, "unmatched '['"), false;
    ++at_;
    if (set.empty() && !negated) return Fail(at, "empty class"), false;
    Normalise(set);
    RegexTree tree;
    tree.root = tree.Class(negated ? Complement(std::move(set)) : std::move(set));
    *out = FromTree(std::move(tree));
    return true;
  }

  std::string_view text_;
  size_t at_ = 0;
  std::string error_;
  RuleSource source_;
  std::map<std::string, int> index_;
  std::map<std::string, size_t> defined_, used_;
};

}  // namespace

Result<RuleSource> ParseEbnf(std::string_view text) { return Parser(text).Parse(); }

}  // namespace sgl
