// SPDX-License-Identifier: Apache-2.0
#include "text/split_pattern.h"

#include <algorithm>

#include "text/unicode.h"

namespace sgl {
namespace {

constexpr int kMaxDepth = 50;
constexpr int kMaxRepeat = 1000;

// Throws nothing: the first thing that is not understood clears ok_, and everything after it is ignored.
class PatternParser {
 public:
  PatternParser(std::string_view pattern, RegexSyntax syntax) : in_(pattern), rust_(syntax == RegexSyntax::kRust) {}

  std::optional<SplitNode> Run() {
    SplitNode node = Alternatives(0);
    if (at_ != in_.size()) ok_ = false;
    if (ok_ && !PossessiveIsGreedy(node, true)) ok_ = false;
    if (!ok_) return std::nullopt;
    return node;
  }

 private:
  bool Eat(std::string_view text) {
    if (in_.substr(at_, text.size()) != text) return false;
    at_ += text.size();
    return true;
  }
  char Peek() const { return at_ < in_.size() ? in_[at_] : '\0'; }
  bool AtEnd() const { return at_ >= in_.size(); }
  SplitNode Fail() {
    ok_ = false;
    at_ = in_.size();
    return {};
  }
  uint32_t NextChar() {
    size_t length = 0;
    const uint32_t cp = CodePointAt(in_, at_, &length);
    at_ += length;
    return cp;
  }

  SplitNode Alternatives(int depth) {
    if (depth > kMaxDepth) return Fail();
    SplitNode out;
    out.kind = SplitNode::Kind::kAlternatives;
    do {
      out.kids.push_back(Sequence(depth));
    } while (ok_ && Eat("|"));
    if (out.kids.size() > 1) return out;
    SplitNode only = std::move(out.kids[0]);
    return only;
  }

  SplitNode Sequence(int depth) {
    SplitNode out;
    while (ok_ && !AtEnd() && Peek() != '|' && Peek() != ')') {
      SplitNode atom = Atom(depth);
      if (ok_) out.kids.push_back(Quantified(std::move(atom)));
    }
    return out;
  }

  SplitNode Atom(int depth) {
    if (Eat("(?:")) return Group(depth);
    if (Eat("(?i:")) {
      const bool outer = std::exchange(ignore_case_, true);
      SplitNode group = Group(depth);
      ignore_case_ = outer;
      return group;
    }
    if (Eat("(?!")) return Lookahead(depth, true);
    if (Eat("(?=")) return Lookahead(depth, false);
    if (in_.substr(at_, 2) == "(?") return Fail();
    if (Eat("(")) return Group(depth);
    if (Eat("$")) {
      SplitNode node;
      node.kind = SplitNode::Kind::kAssert;
      node.at_end = true;
      if (!rust_) node.set.Add('\n', '\n');
      return node;
    }
    SplitNode node;
    node.kind = SplitNode::Kind::kSet;
    if (Eat(".")) {
      node.set = CharSet{{'\n', '\n'}}.Complement();
    } else if (Eat("[")) {
      node.set = Class(depth);
    } else if (Eat("\\")) {
      node.set = Escape(false);
    } else if (std::string_view("*+?{^").find(Peek()) != std::string_view::npos) {
      return Fail();
    } else {
      const uint32_t cp = NextChar();
      node.set.Add(cp, cp);
    }
    if (ok_ && ignore_case_) {
      std::optional<CharSet> folded = node.set.IgnoreCase();
      if (!folded) return Fail();
      node.set = *std::move(folded);
    }
    return node;
  }

  SplitNode Group(int depth) {
    SplitNode node = Alternatives(depth + 1);
    if (ok_ && !Eat(")")) return Fail();
    return node;
  }

  // Only of one character.
  SplitNode Lookahead(int depth, bool negative) {
    const SplitNode body = Group(depth);
    if (!ok_ || body.kids.size() != 1 || body.kids[0].kind != SplitNode::Kind::kSet) return Fail();
    SplitNode node;
    node.kind = SplitNode::Kind::kAssert;
    node.at_end = negative;
    node.set = negative ? body.kids[0].set.Complement() : body.kids[0].set;
    return node;
  }

  SplitNode Quantified(SplitNode atom) {
    for (bool more = true; more && ok_;) {
      int min = 0, max = -1;
      bool interval = false;
      if (Eat("*")) {
      } else if (Eat("+")) {
        min = 1;
      } else if (Eat("?")) {
        max = 1;
      } else if (Peek() == '{') {
        interval = true;
        if (!Interval(&min, &max)) return Fail();
      } else {
        return atom;
      }
      if (atom.kind == SplitNode::Kind::kAssert) return Fail();
      SplitNode out;
      out.kind = SplitNode::Kind::kRepeat;
      out.min = min, out.max = max;
      more = false;
      if (interval && !rust_) {
        // In Oniguruma {n,m}? is lazy, but {n}? and {n,m}+ repeat the repetition: nobody means that.
        if (Peek() == '+' || Peek() == '?' || Peek() == '*' || Peek() == '{') return Fail();
      } else if (Eat("?")) {
        out.lazy = true;
      } else if (Eat("+")) {
        out.possessive = true;
      }
      if (Peek() == '*' || Peek() == '+' || Peek() == '?') return Fail();
      if (max == -1 && atom.Nullable()) return Fail();
      out.kids.push_back(std::move(atom));
      atom = std::move(out);
    }
    return atom;
  }

  bool Number(int* out) {
    if (Peek() < '0' || Peek() > '9') return false;
    for (*out = 0; Peek() >= '0' && Peek() <= '9'; ++at_) {
      *out = *out * 10 + (Peek() - '0');
      if (*out > kMaxRepeat) return false;
    }
    return true;
  }

  bool Interval(int* min, int* max) {
    ++at_;
    const bool has_min = Number(min);
    if (!has_min) *min = 0;
    *max = *min;
    if (Eat(",")) {
      *max = -1;
      const bool has_max = Number(max);
      if (!has_max && !has_min) return false;
      if (has_max && *max < *min) return false;
    } else if (!has_min) {
      return false;
    }
    return Eat("}");
  }

  // After "[". Unions, nested sets, && and negation.
  CharSet Class(int depth) {
    if (depth > kMaxDepth) return Fail(), CharSet();
    const bool negated = Eat("^");
    CharSet whole, part;
    bool first = true, intersected = false;
    const auto close_part = [&] {
      whole = intersected ? whole.Intersect(part) : part;
      part = CharSet();
      intersected = true;
    };
    while (ok_) {
      if (AtEnd()) return Fail(), CharSet();
      if (!first && Eat("]")) break;
      if (first && Peek() == ']') return Fail(), CharSet();
      first = false;
      if (Eat("&&")) {
        close_part();
      } else if (in_.substr(at_, 2) == "[:") {
        return Fail(), CharSet();
      } else if (Eat("[")) {
        part.Add(Class(depth + 1));
      } else {
        ClassItem(&part);
      }
    }
    close_part();
    return negated ? whole.Complement() : whole;
  }

  void ClassItem(CharSet* out) {
    bool single = true;
    CharSet item;
    if (Eat("\\")) {
      item = Escape(true);
      single = item.ranges().size() == 1 && item.ranges()[0].first == item.ranges()[0].last;
    } else {
      const uint32_t cp = NextChar();
      item.Add(cp, cp);
    }
    if (!ok_) return;
    const bool range = Peek() == '-' && at_ + 1 < in_.size() && in_[at_ + 1] != ']';
    if (!range) return out->Add(item);
    if (!single || in_.substr(at_, 2) == "-[") return Fail(), void();
    ++at_;
    uint32_t last = 0;
    if (Eat("\\")) {
      const CharSet end = Escape(true);
      if (!ok_ || end.ranges().size() != 1 || end.ranges()[0].first != end.ranges()[0].last) return Fail(), void();
      last = end.ranges()[0].first;
    } else {
      last = NextChar();
    }
    const uint32_t begin = item.ranges()[0].first;
    if (last < begin) return Fail(), void();
    out->Add(begin, last);
  }

  // After "\".
  CharSet Escape(bool in_class) {
    if (AtEnd()) return Fail(), CharSet();
    const char c = in_[at_];
    if (static_cast<unsigned char>(c) >= 0x80) {
      const uint32_t cp = NextChar();
      return CharSet{{cp, cp}};
    }
    ++at_;
    const auto one = [](uint32_t cp) { return CharSet{{cp, cp}}; };
    switch (c) {
      case 's': return CharSet::WithBits(kSpaceBit);
      case 'S': return CharSet::WithBits(kSpaceBit).Complement();
      case 'd': return CharSet::WithBits(Bit(Category::kNd));
      case 'D': return CharSet::WithBits(Bit(Category::kNd)).Complement();
      case 'w': return Word();
      case 'W': return Word().Complement();
      case 'n': return one('\n');
      case 'r': return one('\r');
      case 't': return one('\t');
      case 'f': return one('\f');
      case 'v': return one('\v');
      case 'p':
      case 'P': return Property(c == 'P');
      case 'x':
      case 'u': return Hex(c);
      default: break;
    }
    const bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (word && !(in_class && c == '_')) return Fail(), CharSet();
    return one(static_cast<unsigned char>(c));
  }

  CharSet Word() const {
    CharSet out;
    for (uint32_t cp = 0; cp <= kMaxCodePoint; ++cp)
      if (rust_ ? IsWord(cp) : IsOnigurumaWord(cp)) out.Add(cp, cp);
    return out;
  }

  CharSet Property(bool negated) {
    const size_t close = in_.find('}', at_);
    if (!Eat("{") || close == std::string_view::npos) return Fail(), CharSet();
    std::string_view name = in_.substr(at_, close - at_);
    if (name.starts_with('^')) negated = !negated, name.remove_prefix(1);
    at_ = close + 1;
    std::optional<CharSet> set = CharSet::Property(name);
    if (!set) return Fail(), CharSet();
    return negated ? set->Complement() : *std::move(set);
  }

  // \x{1F600}, \x41, \u4e00.
  CharSet Hex(char kind) {
    const bool braces = Eat("{");
    const size_t most = braces ? 6 : kind == 'u' ? 4 : 2;
    uint32_t cp = 0;
    size_t digits = 0;
    for (; digits < most; ++digits, ++at_) {
      const char c = Peek();
      const int value = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
      if (value < 0) break;
      cp = cp * 16 + static_cast<uint32_t>(value);
    }
    const bool complete = braces ? digits > 0 && Eat("}") : digits == most;
    // Two digits above 7F are a raw byte in Oniguruma.
    if (!complete || cp > kMaxCodePoint || (!braces && kind == 'x' && cp > 0x7F)) return Fail(), CharSet();
    return CharSet{{cp, cp}};
  }

  // A possessive repetition gives nothing back. That is only the same as a greedy one when what follows could not use what it would give
  // back. last: what follows `node` is the end of the pattern.
  static bool PossessiveIsGreedy(const SplitNode& node, bool last) {
    if (node.kind != SplitNode::Kind::kSequence) {
      // In a repetition the sequence may follow itself.
      const bool passes = node.kind == SplitNode::Kind::kAlternatives && last;
      return std::all_of(node.kids.begin(), node.kids.end(), [&](const SplitNode& kid) {
        if (node.kind == SplitNode::Kind::kRepeat && kid.kind == SplitNode::Kind::kSet) return true;
        return PossessiveIsGreedy(kid, passes);
      });
    }
    for (size_t i = 0; i < node.kids.size(); ++i) {
      const SplitNode& kid = node.kids[i];
      if (!PossessiveIsGreedy(kid, last && i + 1 == node.kids.size())) return false;
      if (!kid.possessive) continue;
      if (kid.kids[0].kind != SplitNode::Kind::kSet || !CannotUse(node, i + 1, kid.kids[0].set, last)) return false;
    }
    return true;
  }

  // What follows from kids[from] on cannot begin with a character of `given`.
  static bool CannotUse(const SplitNode& sequence, size_t from, const CharSet& given, bool last) {
    for (size_t i = from; i < sequence.kids.size(); ++i) {
      const SplitNode& kid = sequence.kids[i];
      const SplitNode& one = kid.kind == SplitNode::Kind::kRepeat ? kid.kids[0] : kid;
      const bool set = one.kind == SplitNode::Kind::kSet || one.kind == SplitNode::Kind::kAssert;
      if (!set || one.set.Overlaps(given)) return false;
      if (!kid.Nullable() || one.kind == SplitNode::Kind::kAssert) return true;
    }
    return last;
  }

  std::string_view in_;
  bool rust_;
  size_t at_ = 0;
  bool ok_ = true;
  bool ignore_case_ = false;
};

}  // namespace

bool SplitNode::Nullable() const {
  switch (kind) {
    case Kind::kSet: return false;
    case Kind::kAssert: return true;
    case Kind::kRepeat: return min == 0 || kids[0].Nullable();
    case Kind::kSequence: return std::all_of(kids.begin(), kids.end(), [](const SplitNode& kid) { return kid.Nullable(); });
    case Kind::kAlternatives: return std::any_of(kids.begin(), kids.end(), [](const SplitNode& kid) { return kid.Nullable(); });
  }
  return true;
}

std::optional<SplitNode> ParseSplitPattern(std::string_view pattern, RegexSyntax syntax) {
  constexpr size_t kMaxPattern = 1 << 16;
  if (pattern.size() > kMaxPattern || !IsValidUtf8(pattern)) return std::nullopt;
  return PatternParser(pattern, syntax).Run();
}

}  // namespace sgl
