// SPDX-License-Identifier: Apache-2.0
#include "text/tools/gemma.h"

namespace sgl::tools {
namespace {

constexpr std::string_view kBegin = "<|tool_call>", kEnd = "<tool_call|>", kQuote = "<|\"|>";
constexpr int kMaxDepth = 128;

// Reads {key:value,...} and its values; `at` is what is left.
class Reader {
 public:
  explicit Reader(std::string_view text) : at_(text) {}
  bool Object(std::string& out, int depth) {
    out += '{';
    bool any = false;
    for (at_.remove_prefix(1);; any = true) {
      if (any && !Comma()) break;
      Space();
      if (!at_.empty() && at_[0] == '}') break;
      std::string_view key;
      const bool quoted = Quoted(key);
      const size_t colon = at_.find(':');
      if (colon == at_.npos) return false;
      const std::string_view word = Trim(at_.substr(0, colon));
      if (quoted && !word.empty()) return false;
      if (!quoted) key = word;
      at_.remove_prefix(colon + 1);
      out += any ? ", \"" : "\"";
      AppendEscaped(out, key);
      out += "\": ";
      if (!Value(out, depth)) return false;
    }
    return Close('}', out);
  }
  bool done() const { return Trim(at_).empty(); }

 private:
  void Space() {
    while (!at_.empty() && IsSpace(at_[0])) at_.remove_prefix(1);
  }
  // Text in quotes, if that comes next.
  bool Quoted(std::string_view& text) {
    if (at_.substr(0, kQuote.size()) != kQuote) return false;
    const size_t end = at_.find(kQuote, kQuote.size());
    if (end == at_.npos) return false;
    text = at_.substr(kQuote.size(), end - kQuote.size());
    at_.remove_prefix(end + kQuote.size());
    return true;
  }
  bool Comma() {
    Space();
    if (at_.empty() || at_[0] != ',') return false;
    at_.remove_prefix(1);
    return true;
  }
  bool Close(char c, std::string& out) {
    Space();
    if (at_.empty() || at_[0] != c) return false;
    at_.remove_prefix(1);
    out += c;
    return true;
  }
  bool Value(std::string& out, int depth) {
    Space();
    if (at_.empty() || depth > kMaxDepth) return false;
    if (std::string_view text; Quoted(text)) {
      out += '"';
      AppendEscaped(out, text);
      out += '"';
      return true;
    }
    if (at_[0] == '{') return Object(out, depth + 1);
    if (at_[0] == '[') return List(out, depth + 1);
    const size_t end = at_.find_first_of(",}]");
    if (end == at_.npos) return false;
    const std::string_view word = Trim(at_.substr(0, end));
    at_.remove_prefix(end);
    std::string json;
    if (word == "None") {  // as the model's template prints it
      out += "null";
      return true;
    }
    if (!word.empty() && word[0] != '"' && RelayAll(ValueRelay::Dialect::kJson, word, json)) {
      out += json;
      return true;
    }
    out += '"';
    AppendEscaped(out, word);
    out += '"';
    return true;
  }
  bool List(std::string& out, int depth) {
    out += '[';
    bool any = false;
    for (at_.remove_prefix(1);; any = true) {
      if (any && !Comma()) break;
      Space();
      if (!at_.empty() && at_[0] == ']') break;
      if (any) out += ", ";
      if (!Value(out, depth)) return false;
    }
    return Close(']', out);
  }

  std::string_view at_;
};

}  // namespace

void Gemma::Call() {
  constexpr std::string_view kCall = "call:";
  const std::string_view body = Trim(body_);
  const size_t brace = body.find('{');
  if (body.substr(0, kCall.size()) != kCall || brace == body.npos) return;
  Reader reader(body.substr(brace));
  std::string arguments;
  if (!reader.Object(arguments, 0) || !reader.done()) return;
  if (!sink_.Name(Trim(body.substr(kCall.size(), brace - kCall.size())))) return;
  sink_.Arguments(arguments);
  sink_.Done();
}

bool Gemma::Step() {
  const std::string_view begin[] = {kBegin}, stops[] = {kQuote, kEnd};
  if (!in_call_) {
    if (TextUntil(begin) < 0) return false;
    Eat(kBegin.size());
    body_.clear();
    in_call_ = true;
    in_text_ = false;
    return true;
  }
  const int found = PartUntil(std::span(stops).first(in_text_ ? 1 : 2), body_);  // text may have what else is the call's end
  if (found < 0) return false;
  if (found == 0) {
    body_ += Eat(kQuote.size());
    in_text_ = !in_text_;
    return true;
  }
  Eat(kEnd.size());
  in_call_ = false;
  Call();
  return true;
}

}  // namespace sgl::tools
