// SPDX-License-Identifier: Apache-2.0
#include "text/charsmap.h"

#include <utf8proc.h>

#include <algorithm>

#include "text/unicode.h"

namespace sgl {
namespace {

// A unit of the double array: a label with the offset of its children, or a value.
bool HasLeaf(uint32_t unit) { return (unit >> 8 & 1) != 0; }
uint32_t Value(uint32_t unit) { return unit & 0x7FFFFFFF; }
uint32_t Label(uint32_t unit) { return unit & 0x800000FF; }
uint32_t Offset(uint32_t unit) { return unit >> 10 << ((unit & 1u << 9) >> 6); }

// For utf8proc, whose Unicode is 14: a code point that it knows and that joins its neighbours as `cp` does in Unicode 16.
int32_t Joining(uint32_t cp) {
  if (cp < 0x300 || utf8proc_category(static_cast<int32_t>(cp)) != UTF8PROC_CATEGORY_CN) return static_cast<int32_t>(cp);
  if (cp == 0x113D1 || cp == 0x11F02) return 0x600;  // two letters that stand before others: Prepend
  return (CharTable::Get().Bits(cp) & kMark) != 0 ? 0x301 : static_cast<int32_t>(cp);
}

}  // namespace

Result<Charsmap> Charsmap::Parse(std::string_view blob) {
  const auto u32 = [&](size_t at) {
    uint32_t value = 0;
    for (size_t i = 0; i < 4; ++i) value |= static_cast<uint32_t>(static_cast<unsigned char>(blob[at + i])) << (8 * i);
    return value;
  };
  if (blob.size() < 4) return InvalidArgument("the precompiled charsmap is too short");
  const size_t trie_bytes = u32(0);
  if (trie_bytes > blob.size() - 4 || trie_bytes % 4 != 0 || trie_bytes == 0)
    return InvalidArgument("the precompiled charsmap does not hold the trie that it announces");
  Charsmap out;
  out.units_.reserve(trie_bytes / 4);
  for (size_t at = 4; at < 4 + trie_bytes; at += 4) out.units_.push_back(u32(at));
  out.replacements_ = blob.substr(4 + trie_bytes);
  if (!IsValidUtf8(out.replacements_)) return InvalidArgument("the precompiled charsmap holds text that is not UTF-8");
  for (size_t c = 1; c < out.ascii_.size(); ++c) {
    const char text = static_cast<char>(c);
    const Rule rule = out.Find(std::string_view(&text, 1), false);
    if (rule.length != 0) out.ascii_[c] = std::string(out.Replacement(rule.at));
  }
  return out;
}

Charsmap::Rule Charsmap::Find(std::string_view text, bool longest) const {
  Rule best;
  size_t node = Offset(units_[0]);
  for (size_t i = 0; i < text.size(); ++i) {
    const unsigned char c = static_cast<unsigned char>(text[i]);
    node ^= c;
    if (c == 0 || node >= units_.size() || Label(units_[node]) != c) break;
    const uint32_t unit = units_[node];
    node ^= Offset(unit);
    if (node >= units_.size()) break;
    if (!HasLeaf(unit)) continue;
    best = {i + 1, Value(units_[node])};
    if (!longest) break;
  }
  return best;
}

std::string_view Charsmap::Replacement(uint32_t at) const {
  if (at >= replacements_.size()) return {};
  const std::string_view rest = std::string_view(replacements_).substr(at);
  return rest.substr(0, rest.find('\0'));
}

std::string Charsmap::ApplyLongest(std::string_view text) const {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const Rule rule = Find(text.substr(at), true);
    size_t length = rule.length;
    if (length == 0) {
      CodePointAt(text, at, &length);
      out.append(text.substr(at, length));
    } else {
      out.append(Replacement(rule.at));
    }
    at += length;
  }
  // A rule of a damaged file may end inside a character.
  return IsValidUtf8(out) ? out : RepairUtf8(out);
}

void Charsmap::AppendPart(std::string_view part, std::string* out) const {
  const Rule rule = Find(part, false);
  out->append(rule.length == 0 ? part : Replacement(rule.at));
}

std::string Charsmap::ApplyGraphemes(std::string_view text) const {
  std::string out;
  out.reserve(text.size());
  const auto ascii_at = [&](size_t at) { return at >= text.size() || static_cast<unsigned char>(text[at]) < 0x80; };
  for (size_t at = 0; at < text.size();) {
    const unsigned char lead = static_cast<unsigned char>(text[at]);
    if (lead < 0x80 && lead != '\r' && lead != 0 && ascii_at(at + 1)) {
      const std::optional<std::string>& mapped = ascii_[lead];
      mapped ? void(out.append(*mapped)) : out.push_back(text[at]);
      ++at;
      continue;
    }
    size_t length = 0;
    int32_t cp = Joining(CodePointAt(text, at, &length)), state = 0;
    size_t end = at + length;
    while (end < text.size()) {
      const int32_t next = Joining(CodePointAt(text, end, &length));
      if (utf8proc_grapheme_break_stateful(cp, next, &state)) break;
      cp = next;
      end += length;
    }
    constexpr size_t kWhole = 6;
    const std::string_view cluster = text.substr(at, end - at);
    if (const Rule rule = cluster.size() < kWhole ? Find(cluster, false) : Rule(); rule.length != 0) {
      out.append(Replacement(rule.at));
    } else {
      for (size_t part = 0; part < cluster.size(); part += length) {
        CodePointAt(cluster, part, &length);
        AppendPart(cluster.substr(part, length), &out);
      }
    }
    at = end;
  }
  return IsValidUtf8(out) ? out : RepairUtf8(out);
}

}  // namespace sgl
