// SPDX-License-Identifier: Apache-2.0
#include "text/tools/value_relay.h"

#include <fmt/format.h>

#include "text/jinja/text_util.h"
#include "text/tools/input.h"

namespace sgl::tools {
namespace {

constexpr size_t kMaxDepth = 256;
constexpr size_t kMaxWord = 4096;  // digits of a number

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

int HexValue(char c) {
  if (IsDigit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

size_t SkipDigits(std::string_view text, size_t at) {
  while (at < text.size() && IsDigit(text[at])) ++at;
  return at;
}

// The number in JSON's form; "" if it is none. Python's +1, 1. and .5 become 1, 1.0 and 0.5.
std::string Number(std::string_view text, bool python) {
  std::string out;
  size_t at = 0;
  if (text[0] == '-' || (python && text[0] == '+')) {
    if (text[0] == '-') out = "-";
    at = 1;
  }
  const size_t whole = SkipDigits(text, at);
  if (whole - at > 1 && text[at] == '0') return "";
  if (whole == at && !(python && at < text.size() && text[at] == '.')) return "";
  out += whole == at ? std::string_view("0") : text.substr(at, whole - at);
  const size_t integer = at;
  at = whole;
  if (at < text.size() && text[at] == '.') {
    const size_t end = SkipDigits(text, at + 1);
    if (end == at + 1 && (!python || whole == integer)) return "";
    out += '.';
    out += end == at + 1 ? std::string_view("0") : text.substr(at + 1, end - at - 1);
    at = end;
  }
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    const size_t sign = at + 1 < text.size() && (text[at + 1] == '+' || text[at + 1] == '-') ? 1 : 0;
    const size_t end = SkipDigits(text, at + 1 + sign);
    if (end == at + 1 + sign) return "";
    out += text.substr(at, end - at);
    at = end;
  }
  return at == text.size() ? out : "";
}

}  // namespace

void AppendEscaped(std::string& out, std::string_view text) {
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) >= 0x20) {
      out += c;
    } else if (c == '\n' || c == '\r' || c == '\t' || c == '\b' || c == '\f') {
      out += '\\';
      out += c == '\n' ? 'n' : c == '\r' ? 'r' : c == '\t' ? 't' : c == '\b' ? 'b' : 'f';
    } else {
      out += fmt::format("\\u{:04x}", static_cast<unsigned char>(c));
    }
  }
}

void ValueRelay::Item(std::string& out) {
  if (comma_) out += ", ";
  comma_ = false;
}

Relay ValueRelay::ValueEnds(Relay how) {
  if (open_.empty()) {
    state_ = State::kEnd;
    return how;
  }
  state_ = State::kAfter;
  return Relay::kMore;
}

Relay ValueRelay::Push(char c, std::string& out) {
  switch (state_) {
    case State::kString: return InString(c, out);
    case State::kEscape: return Escape(c, out);
    case State::kDigits: return Digit(c, out);
    case State::kSurrogate:  // after the first half: only \uDC00..\uDFFF joins it
      state_ = State::kString;
      if (c == '\\') return InString(c, out);
      FlushSurrogate(out);
      return InString(c, out);
    case State::kWord: return WordEnds(c, out);
    case State::kEnd: return Relay::kBad;
    default: break;
  }
  if (IsSpace(c)) return Relay::kMore;
  if (state_ == State::kColon) {
    if (c != ':') return Relay::kBad;
    out += ": ";
    state_ = State::kValue;
    return Relay::kMore;
  }
  if (state_ == State::kAfter) return After(c, out);
  // After an opening bracket, and in Python after a comma, there may be a closing one.
  const bool may_close = state_ == State::kFirst || state_ == State::kFirstKey || (comma_ && dialect_ == Dialect::kPython);
  if (may_close && !open_.empty() && c == open_.back()) return After(c, out);
  return Start(c, out);
}

Relay ValueRelay::Start(char c, std::string& out) {
  is_key_ = state_ == State::kKey || state_ == State::kFirstKey;
  const bool python = dialect_ == Dialect::kPython;
  if (c == '"' || (python && c == '\'')) {
    Item(out);
    out += '"';
    quote_ = c;
    state_ = State::kString;
    return Relay::kMore;
  }
  if (!is_key_ && (c == '{' || c == '[' || (python && c == '('))) {
    if (open_.size() >= kMaxDepth) return Relay::kBad;
    Item(out);
    out += c == '{' ? '{' : '[';
    open_.push_back(c == '{' ? '}' : c == '[' ? ']' : ')');
    state_ = c == '{' ? State::kFirstKey : State::kFirst;
    return Relay::kMore;
  }
  const bool number = IsDigit(c) || c == '-' || (python && (c == '+' || c == '.'));
  if ((number && (python || !is_key_)) || (!is_key_ && IsLetter(c))) {
    word_ = c;
    state_ = State::kWord;
    return Relay::kMore;
  }
  return Relay::kBad;
}

Relay ValueRelay::After(char c, std::string& out) {
  if (c == ',') {
    comma_ = true;
    state_ = open_.back() == '}' ? State::kKey : State::kValue;
    return Relay::kMore;
  }
  if (c != open_.back()) return Relay::kBad;
  comma_ = false;
  out += c == ')' ? ']' : c;
  open_.pop_back();
  return ValueEnds(Relay::kDone);
}

void ValueRelay::FlushSurrogate(std::string& out) {
  if (surrogate_ != 0) out += fmt::format("\\u{:04x}", surrogate_);
  surrogate_ = 0;
}

void ValueRelay::EmitCode(uint32_t code, std::string& out) {
  if (surrogate_ != 0 && code >= 0xDC00 && code < 0xE000) {
    jinja::AppendCodePoint(out, 0x10000 + ((surrogate_ - 0xD800) << 10) + (code - 0xDC00));
    surrogate_ = 0;
    return;
  }
  FlushSurrogate(out);
  if (code >= 0xD800 && code < 0xDC00) {
    surrogate_ = code;
  } else if (code >= 0xDC00 && code < 0xE000) {
    out += fmt::format("\\u{:04x}", code);
  } else {
    std::string text;
    jinja::AppendCodePoint(text, code);
    AppendEscaped(out, text);
  }
}

Relay ValueRelay::InString(char c, std::string& out) {
  if (c == '\\') {
    state_ = State::kEscape;
    return Relay::kMore;
  }
  if (c == quote_) {
    FlushSurrogate(out);
    out += '"';
    if (is_key_) {
      state_ = State::kColon;
      return Relay::kMore;
    }
    return ValueEnds(Relay::kDone);
  }
  AppendEscaped(out, std::string_view(&c, 1));
  return Relay::kMore;
}

Relay ValueRelay::Escape(char c, std::string& out) {
  const bool python = dialect_ == Dialect::kPython;
  state_ = State::kString;
  if (c == 'u' || (python && (c == 'U' || c == 'x'))) {
    state_ = State::kDigits;
    escape_ = c;
    digits_ = c == 'u' ? 4 : c == 'U' ? 8 : 2;
    word_.clear();
    return Relay::kMore;
  }
  FlushSurrogate(out);
  // Names of escapes and what they stand for; the last ones are Python's only. A backslash at the end of a line joins the lines.
  constexpr std::string_view kNames("\"\\/bfnrt'av0\n", 13), kValues("\"\\/\b\f\n\r\t'\a\v\0\n", 13);
  if (const size_t place = kNames.find(c); place < (python ? kNames.size() : 8)) {
    if (c != '\n') AppendEscaped(out, kValues.substr(place, 1));
    return Relay::kMore;
  }
  if (!python) return Relay::kBad;
  const char text[] = {'\\', c};  // Python keeps the backslash of what is no escape
  AppendEscaped(out, std::string_view(text, 2));
  return Relay::kMore;
}

Relay ValueRelay::Digit(char c, std::string& out) {
  if (HexValue(c) < 0) return Relay::kBad;
  word_ += c;
  if (--digits_ > 0) return Relay::kMore;
  uint32_t code = 0;
  for (const char digit : word_) code = code << 4 | static_cast<uint32_t>(HexValue(digit));
  if (code > 0x10FFFF) return Relay::kBad;
  EmitCode(code, out);
  state_ = surrogate_ != 0 ? State::kSurrogate : State::kString;
  return Relay::kMore;
}

bool ValueRelay::FinishWord(std::string& out) {
  const bool python = dialect_ == Dialect::kPython;
  std::string json;
  if (IsLetter(word_[0])) {
    if (word_ == "true" || (python && word_ == "True")) json = "true";
    if (word_ == "false" || (python && word_ == "False")) json = "false";
    if (word_ == "null" || (python && word_ == "None")) json = "null";
  } else {
    json = Number(word_, python);
  }
  if (json.empty()) return false;
  Item(out);
  out += is_key_ ? '"' + json + '"' : json;
  return true;
}

Relay ValueRelay::WordEnds(char c, std::string& out) {
  const bool goes_on = IsLetter(word_[0]) ? IsLetter(c) : (IsDigit(c) || c == '.' || c == '+' || c == '-' || c == 'e' || c == 'E');
  if (goes_on) {
    word_ += c;
    return word_.size() <= kMaxWord ? Relay::kMore : Relay::kBad;
  }
  if (!FinishWord(out)) return Relay::kBad;
  if (is_key_) {
    state_ = State::kColon;
    return Push(c, out);
  }
  if (ValueEnds(Relay::kDoneBefore) == Relay::kDoneBefore) return Relay::kDoneBefore;
  return Push(c, out);
}

bool ValueRelay::End(std::string& out) {
  if (state_ == State::kEnd) return true;
  if (state_ != State::kWord || !open_.empty() || is_key_ || !FinishWord(out)) return false;
  state_ = State::kEnd;
  return true;
}

bool RelayAll(ValueRelay::Dialect dialect, std::string_view text, std::string& out) {
  ValueRelay relay(dialect);
  text = Trim(text);
  for (size_t i = 0; i < text.size(); ++i) {
    const Relay step = relay.Push(text[i], out);
    if (step == Relay::kDone) return i + 1 == text.size();
    if (step != Relay::kMore) return false;
  }
  return relay.End(out);
}

}  // namespace sgl::tools
