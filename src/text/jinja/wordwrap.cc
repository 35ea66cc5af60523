// The wordwrap filter: Python's textwrap without white space replacement.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "text/jinja/text_filters.h"
#include "text/jinja/text_util.h"

namespace sgl::jinja {
namespace {

using Points = std::vector<uint32_t>;

bool Blank(uint32_t c) { return c == ' ' || (c >= 9 && c <= 13); }
bool WordChar(uint32_t c) { return c == '_' || IsAlpha(c) || IsNumeric(c); }
bool Letter(uint32_t c) { return c == '_' || IsAlpha(c); }

// Where a word may be cut: behind a hyphen between two parts of at least two word characters.
bool BreaksBehind(const Points& s, size_t i, size_t start, size_t end) {
  if (s[i] != '-' || i < start + 2 || !Letter(s[i - 1]) || !WordChar(s[i - 2])) return false;
  return i + 2 < end && WordChar(s[i + 1]) && Letter(s[i + 2]);
}

std::vector<Points> Chunks(const Points& s, bool hyphens) {
  std::vector<Points> out;
  for (size_t i = 0; i < s.size();) {
    size_t end = i;
    while (end < s.size() && Blank(s[end]) == Blank(s[i])) ++end;
    size_t start = i;
    if (hyphens && !Blank(s[i])) {
      for (size_t k = i; k < end; ++k) {
        if (!BreaksBehind(s, k, start, end)) continue;
        out.emplace_back(s.begin() + static_cast<std::ptrdiff_t>(start), s.begin() + static_cast<std::ptrdiff_t>(k + 1));
        start = k + 1;
      }
    }
    out.emplace_back(s.begin() + static_cast<std::ptrdiff_t>(start), s.begin() + static_cast<std::ptrdiff_t>(end));
    i = end;
  }
  return out;
}

void Wrap(Renderer& r, const Points& text, size_t width, bool long_words, bool hyphens, std::vector<std::string>* lines) {
  std::vector<Points> chunks = Chunks(text, hyphens);
  std::reverse(chunks.begin(), chunks.end());
  bool first = true;
  while (!chunks.empty() && r.Work(16)) {
    Points line;
    std::vector<Points> parts;
    size_t size = 0;
    bool cut_nothing = false;
    if (!first && Blank(chunks.back()[0])) chunks.pop_back();
    while (!chunks.empty() && size + chunks.back().size() <= width) {
      size += chunks.back().size();
      parts.push_back(std::move(chunks.back()));
      chunks.pop_back();
    }
    if (!chunks.empty() && chunks.back().size() > width) {
      if (long_words) {
        Points& last = chunks.back();
        size_t cut = width - size;  // 0: the reference takes an empty piece, and drops that instead of white space before it
        cut_nothing = cut == 0;
        if (hyphens && last.size() > cut) {
          for (size_t k = cut; k > 1; --k) {
            if (last[k - 1] == '-' &&
                std::any_of(last.begin(), last.begin() + static_cast<std::ptrdiff_t>(k - 1), [](uint32_t c) { return c != '-'; })) {
              cut = k;
              break;
            }
          }
        }
        if (cut > 0) parts.emplace_back(last.begin(), last.begin() + static_cast<std::ptrdiff_t>(cut));
        last.erase(last.begin(), last.begin() + static_cast<std::ptrdiff_t>(cut));
      } else if (parts.empty()) {
        parts.push_back(std::move(chunks.back()));
        chunks.pop_back();
      }
    }
    if (!parts.empty() && !cut_nothing && Blank(parts.back()[0])) parts.pop_back();
    if (parts.empty()) continue;
    first = false;
    std::string out;
    for (const Points& part : parts) {
      for (const uint32_t c : part) AppendCodePoint(out, c);
    }
    lines->push_back(std::move(out));
  }
}

}  // namespace

Value WordWrap(Renderer& r, const Value& v, const Args& args) {
  Bound b;
  if (!Bind(r, "wordwrap", args, {"width", "break_long_words", "wrapstring", "break_on_hyphens"}, 0, &b)) return Value();
  if (v.is_undefined()) return r.FailUndefined(v);
  if (!v.is_str()) return r.Fail("wordwrap: expected a string");
  const int64_t width = b.given[0] ? IntArg(r, b.storage[0], "wordwrap") : 79;
  const bool long_words = !b.given[1] || r.Truthy(b.storage[1]);
  const bool hyphens = !b.given[3] || r.Truthy(b.storage[3]);
  const TextOf between(r, b.given[2] && !b.storage[2].is_none() ? b.storage[2] : Value::Borrowed("\n"));
  std::string out;
  bool first_line = true;
  for (const std::string_view line : SplitLines(v.text(), false)) {
    if (width <= 0 && !line.empty()) return r.Fail(fmt::format("invalid width {} (must be > 0)", width));
    Points points;
    for (size_t pos = 0; pos < line.size();) points.push_back(NextCodePoint(line, pos));
    std::vector<std::string> wrapped;
    if (!r.RoomForText(out.size() + line.size() * 2) || !r.Work(line.size())) return Value();
    Wrap(r, points, static_cast<size_t>(std::max<int64_t>(1, width)), long_words, hyphens, &wrapped);
    if (!first_line) out += between.view();
    first_line = false;
    for (size_t i = 0; i < wrapped.size(); ++i) {
      if (i != 0) out += between.view();
      out += wrapped[i];
      if (!r.RoomForText(out.size())) return Value();
    }
  }
  return r.Str(std::move(out));
}

}  // namespace sgl::jinja
