// SPDX-License-Identifier: Apache-2.0
#include "text/jinja/lexer.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "text/jinja/text_util.h"

namespace sgl::jinja {
namespace {

std::string NormalizeNewlines(std::string_view s) {
  std::string out;
  out.reserve(s.size());
  for (size_t i = 0; i < s.size(); ++i) {
    if (s[i] == '\r') {
      if (i + 1 < s.size() && s[i + 1] == '\n') ++i;
      out += '\n';
    } else {
      out += s[i];
    }
  }
  return out;
}

bool IsDigitChar(char c) { return c >= '0' && c <= '9'; }
int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(source) {}

  Result<std::vector<Token>> Run() {
    while (pos_ < source_.size() && error_.empty()) LexRoot();
    if (!error_.empty()) return InvalidArgument(fmt::format("line {}: {}", error_line_, error_));
    Add(TokenKind::kEof);
    return std::move(tokens_);
  }

 private:
  void Fail(std::string message) {
    if (!error_.empty()) return;
    error_ = std::move(message);
    error_line_ = line_;
  }
  Token& Add(TokenKind kind, std::string text = "") {
    Token token;
    token.kind = kind;
    token.line = line_;
    token.text = std::move(text);
    tokens_.push_back(std::move(token));
    return tokens_.back();
  }
  bool At(std::string_view text) const { return source_.substr(pos_, text.size()) == text; }
  // Moves to `end`, counting lines; remembers whether the text ended with a line break.
  void MoveTo(size_t end) {
    line_ += static_cast<int>(
        std::count(source_.begin() + static_cast<std::ptrdiff_t>(pos_), source_.begin() + static_cast<std::ptrdiff_t>(end), '\n'));
    if (end > pos_) line_starting_ = source_[end - 1] == '\n';
    pos_ = end;
  }
  size_t SkipSpace(size_t pos) const {
    while (pos < source_.size()) {
      size_t next = pos;
      if (!IsSpace(NextCodePoint(source_, next))) break;
      pos = next;
    }
    return pos;
  }

  // The end of a tag that closes with `close` at pos: "-%}" eats white space, "%}" one line break when trimmed. npos: none here.
  size_t CloseTag(size_t pos, std::string_view close, bool plus, bool trim) const {
    const auto at = [&](size_t p) { return source_.substr(p, close.size()) == close; };
    if (pos >= source_.size()) return npos;
    if (source_[pos] == '-' && at(pos + 1)) return SkipSpace(pos + 1 + close.size());
    if (plus && source_[pos] == '+' && at(pos + 1)) return pos + 1 + close.size();
    if (!at(pos)) return npos;
    size_t end = pos + close.size();
    if (trim && end < source_.size() && source_[end] == '\n') ++end;
    return end;
  }

  // Text before a tag, with the white space control of that tag applied.
  void AddData(std::string_view text, char sign, bool variable) {
    std::string_view kept = text;
    if (sign == '-') {
      kept = StripRight(text);
    } else if (sign != '+' && !variable) {
      const size_t newline = text.rfind('\n');
      const size_t start = newline == text.npos ? 0 : newline + 1;
      if (start > 0 || line_starting_) {
        const std::string_view tail = text.substr(start);
        if (!tail.empty() && StripLeft(tail).empty()) kept = text.substr(0, start);
      }
    }
    if (!kept.empty()) Add(TokenKind::kData, std::string(kept));
  }

  char SignAt(size_t pos) const { return pos < source_.size() && (source_[pos] == '-' || source_[pos] == '+') ? source_[pos] : '\0'; }

  // pos: after "{%". The end of a `raw` or `endraw` tag's name with the white space around it, or npos.
  size_t RawName(size_t pos, std::string_view name) const {
    if (SignAt(pos) != '\0') ++pos;
    pos = SkipSpace(pos);
    if (source_.substr(pos, name.size()) != name) return npos;
    return SkipSpace(pos + name.size());
  }

  void LexRoot() {
    size_t tag = pos_;
    while (true) {
      tag = source_.find('{', tag);
      if (tag == npos || (tag + 1 < source_.size() && (source_[tag + 1] == '%' || source_[tag + 1] == '{' || source_[tag + 1] == '#')))
        break;
      ++tag;
    }
    if (tag == npos) {
      Add(TokenKind::kData, std::string(source_.substr(pos_)));
      MoveTo(source_.size());
      return;
    }
    const char kind = source_[tag + 1];
    const char sign = SignAt(tag + 2);
    AddData(source_.substr(pos_, tag - pos_), sign, kind == '{');
    MoveTo(tag);
    if (kind == '%') {
      if (const size_t name_end = RawName(tag + 2, "raw"); name_end != npos) {
        if (const size_t end = CloseTag(name_end, "%}", false, false); end != npos) {
          MoveTo(end);
          LexRaw();
          return;
        }
      }
    }
    const size_t inside = tag + 2 + (sign != '\0' ? 1 : 0);
    if (kind == '#') {
      LexComment(inside);
      return;
    }
    Add(kind == '%' ? TokenKind::kBlockBegin : TokenKind::kVariableBegin);
    MoveTo(inside);
    LexTag(kind == '%');
  }

  void LexComment(size_t pos) {
    for (; pos < source_.size(); ++pos) {
      if (const size_t end = CloseTag(pos, "#}", true, true); end != npos) {
        MoveTo(end);
        return;
      }
    }
    Fail("Missing end of comment tag");
  }

  void LexRaw() {
    for (size_t tag = source_.find("{%", pos_); tag != npos; tag = source_.find("{%", tag + 1)) {
      const size_t name_end = RawName(tag + 2, "endraw");
      if (name_end == npos) continue;
      const size_t end = CloseTag(name_end, "%}", true, true);
      if (end == npos) continue;
      AddData(source_.substr(pos_, tag - pos_), SignAt(tag + 2), false);
      MoveTo(end);
      return;
    }
    Fail("Missing end of raw directive");
  }

  void LexTag(bool block) {
    std::string open;  // brackets waiting to be closed
    while (error_.empty()) {
      if (open.empty()) {
        const size_t end = block ? CloseTag(pos_, "%}", true, true) : CloseTag(pos_, "}}", false, false);
        if (end != npos) {
          Add(block ? TokenKind::kBlockEnd : TokenKind::kVariableEnd);
          MoveTo(end);
          return;
        }
      }
      if (pos_ >= source_.size()) return;  // the parser reports the missing end
      LexToken(open);
    }
  }

  void LexToken(std::string& open) {
    const char c = source_[pos_];
    if (const size_t end = SkipSpace(pos_); end != pos_) {
      MoveTo(end);
    } else if (IsDigitChar(c)) {
      LexNumber();
    } else if (c == '"' || c == '\'') {
      LexString(c);
    } else {
      size_t end = pos_;
      if (IsIdentifierPart(NextCodePoint(source_, end))) {
        LexName();
      } else {
        LexOperator(open);
      }
    }
  }

  // (\d+_)*\d+ from pos; pos itself when there is no digit.
  size_t Digits(size_t pos, int base = 10) const {
    const auto digit = [&](size_t p) {
      if (p >= source_.size()) return false;
      const int v = HexDigit(source_[p]);
      return v >= 0 && v < base;
    };
    while (digit(pos) || (pos < source_.size() && source_[pos] == '_' && digit(pos - 1) && digit(pos + 1))) ++pos;
    return pos;
  }

  void LexNumber() {
    const size_t whole_end = Digits(pos_);
    size_t end = whole_end;
    bool is_float = false;
    if (pos_ == 0 || source_[pos_ - 1] != '.') {
      if (end + 1 < source_.size() && source_[end] == '.' && IsDigitChar(source_[end + 1])) {
        end = Digits(end + 1);
        is_float = true;
      }
      if (end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
        size_t power = end + 1;
        if (power < source_.size() && (source_[power] == '+' || source_[power] == '-')) ++power;
        if (power < source_.size() && IsDigitChar(source_[power])) {
          end = Digits(power);
          is_float = true;
        }
      }
    }
    if (is_float) {
      std::string text(source_.substr(pos_, end - pos_));
      text.erase(std::remove(text.begin(), text.end(), '_'), text.end());
      Add(TokenKind::kFloat).number = std::strtod(text.c_str(), nullptr);
      MoveTo(end);
      return;
    }
    LexInteger(whole_end);
  }

  void LexInteger(size_t decimal_end) {
    int base = 10;
    size_t start = pos_, end = decimal_end;
    if (source_[pos_] == '0') {
      const char letter = pos_ + 1 < source_.size() ? static_cast<char>(source_[pos_ + 1] | 0x20) : '\0';
      const int other = letter == 'b' ? 2 : letter == 'o' ? 8 : letter == 'x' ? 16 : 10;
      if (other != 10) {
        size_t first = pos_ + 2;
        if (first < source_.size() && source_[first] == '_') ++first;
        const size_t other_end = Digits(first, other);
        if (other_end != first) {
          base = other;
          start = first;
          end = other_end;
        }
      }
      if (base == 10) {  // 0(_?0)*
        end = pos_ + 1;
        while (end < decimal_end && (source_[end] == '0' || (source_[end] == '_' && end + 1 < decimal_end && source_[end + 1] == '0')))
          ++end;
      }
    }
    std::string text(source_.substr(start, end - start));
    text.erase(std::remove(text.begin(), text.end(), '_'), text.end());
    int64_t value = 0;
    if (std::from_chars(text.data(), text.data() + text.size(), value, base).ec != std::errc()) {
      Fail(fmt::format("integer {} does not fit in 64 bits", text));
      return;
    }
    Add(TokenKind::kInteger).integer = value;
    MoveTo(end);
  }

  void LexName() {
    size_t end = pos_;
    while (end < source_.size()) {
      size_t next = end;
      if (!IsIdentifierPart(NextCodePoint(source_, next))) break;
      end = next;
    }
    size_t first = pos_;
    if (!IsIdentifierStart(NextCodePoint(source_, first))) {
      Fail("Invalid character in identifier");
      return;
    }
    Add(TokenKind::kName, std::string(source_.substr(pos_, end - pos_)));
    MoveTo(end);
  }

  void LexString(char quote) {
    size_t end = pos_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) {
      Fail(fmt::format("unexpected char {} (a string that does not end)", quote == '"' ? "'\"'" : "\"'\""));
      return;
    }
    std::string text;
    Unescape(source_.substr(pos_ + 1, end - pos_ - 1), text);
    Add(TokenKind::kString, std::move(text));
    MoveTo(end + 1);
  }

  void Unescape(std::string_view s, std::string& out) {
    for (size_t i = 0; i < s.size();) {
      if (s[i] != '\\') {
        out += s[i++];
        continue;
      }
      const char c = s[i + 1];  // a string never ends with a lone backslash
      i += 2;
      switch (c) {
        case '\n': break;
        case 'a': out += '\a'; break;
        case 'b': out += '\b'; break;
        case 'f': out += '\f'; break;
        case 'n': out += '\n'; break;
        case 'r': out += '\r'; break;
        case 't': out += '\t'; break;
        case 'v': out += '\v'; break;
        case '\\':
        case '\'':
        case '"': out += c; break;
        case 'x': i = HexEscape(s, i, 2, out); break;
        case 'u': i = HexEscape(s, i, 4, out); break;
        case 'U': i = HexEscape(s, i, 8, out); break;
        case 'N': Fail("named characters (\\N{...}) are not supported"); break;
        default: i = OtherEscape(s, i - 1, out);
      }
    }
  }

  size_t HexEscape(std::string_view s, size_t i, size_t digits, std::string& out) {
    uint32_t code = 0;
    for (size_t end = i + digits; i < end; ++i) {
      const int v = i < s.size() ? HexDigit(s[i]) : -1;
      if (v < 0) {
        Fail("truncated \\x, \\u or \\U escape");
        return s.size();
      }
      code = code << 4 | static_cast<uint32_t>(v);
    }
    if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) {
      Fail("illegal Unicode character in a string");
      return s.size();
    }
    AppendCodePoint(out, code);
    return i;
  }

  // i: at the character behind the backslash. Octal, or an escape that Python leaves as it stands.
  size_t OtherEscape(std::string_view s, size_t i, std::string& out) {
    if (s[i] >= '0' && s[i] <= '7') {
      uint32_t code = 0;
      for (size_t end = std::min(s.size(), i + 3); i < end && s[i] >= '0' && s[i] <= '7'; ++i)
        code = code * 8 + static_cast<uint32_t>(s[i] - '0');
      AppendCodePoint(out, code);
      return i;
    }
    const uint32_t c = NextCodePoint(s, i);
    out += '\\';
    if (c < 0x80) {
      out += static_cast<char>(c);
    } else {  // the reference escapes the character to ASCII first, and the two backslashes meet
      out += c < 0x100 ? fmt::format("x{:02x}", c) : c < 0x10000 ? fmt::format("u{:04x}", c) : fmt::format("U{:08x}", c);
    }
    return i;
  }

  void LexOperator(std::string& open) {
    static constexpr std::string_view kTwo[] = {"//", "**", "==", "!=", ">=", "<="};
    static constexpr std::string_view kOne = "+-/*%~[](){}><=.:|,;";
    std::string op;
    for (std::string_view two : kTwo) {
      if (At(two)) op = two;
    }
    const char c = source_[pos_];
    if (op.empty() && kOne.find(c) != kOne.npos) op = c;
    if (op.empty()) {
      size_t end = pos_;
      NextCodePoint(source_, end);
      Fail(fmt::format("unexpected char '{}' at {}", source_.substr(pos_, end - pos_), pos_));
      return;
    }
    if (op == "(" || op == "[" || op == "{") {
      open += op == "(" ? ')' : op == "[" ? ']' : '}';
    } else if (op == ")" || op == "]" || op == "}") {
      if (open.empty()) return Fail(fmt::format("unexpected '{}'", op));
      if (open.back() != op[0]) return Fail(fmt::format("unexpected '{}', expected '{}'", op, open.back()));
      open.pop_back();
    }
    const size_t size = op.size();
    Add(TokenKind::kOperator, std::move(op));
    MoveTo(pos_ + size);
  }

  static constexpr size_t npos = std::string_view::npos;
  std::string_view source_;
  size_t pos_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
  std::vector<Token> tokens_;
  std::string error_;
  int error_line_ = 0;
};

}  // namespace

Result<std::vector<Token>> Tokenize(const std::string& source) {
  std::string text = NormalizeNewlines(source);
  if (!text.empty() && text.back() == '\n') text.pop_back();
  return Lexer(text).Run();
}

std::string Describe(const Token& token) {
  switch (token.kind) {
    case TokenKind::kData: return "template data / text";
    case TokenKind::kVariableBegin: return "begin of print statement";
    case TokenKind::kVariableEnd: return "end of print statement";
    case TokenKind::kBlockBegin: return "begin of statement block";
    case TokenKind::kBlockEnd: return "end of statement block";
    case TokenKind::kString: return "string";
    case TokenKind::kInteger: return "integer";
    case TokenKind::kFloat: return "float";
    case TokenKind::kEof: return "end of template";
    default: return token.text;
  }
}

}  // namespace sgl::jinja
