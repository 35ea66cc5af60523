// SPDX-License-Identifier: Apache-2.0
#include "text/char_set.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <string>

#include "text/regex.h"
#include "text/unicode.h"

namespace sgl {
namespace {

// The members of a class of PCRE2: every character in one text, and its runs of members.
std::optional<CharSet> FromRegex(const std::string& one) {
  Result<Regex> regex = Regex::Compile(one + "+", RegexSyntax::kOniguruma);
  if (!regex.ok()) return std::nullopt;
  std::string all;
  for (uint32_t cp = 0; cp <= kMaxCodePoint; ++cp)
    if (cp < 0xD800 || cp > 0xDFFF) AppendCodePoint(all, cp);
  Regex::Searcher searcher(*regex);
  CharSet out;
  RegexMatch match;
  for (size_t at = 0; searcher.Find(all, at, &match) == RegexOutcome::kMatch; at = match.end) {
    size_t length = 0, start = 0;
    const uint32_t first = CodePointAt(all, match.begin, &length);
    out.Add(first, CodePointBefore(all, match.end, &start));
  }
  return out;
}

}  // namespace

CharSet::CharSet(std::initializer_list<Range> ranges) {
  for (const Range& range : ranges) Add(range.first, range.last);
}

CharSet CharSet::WithBits(uint32_t bits) {
  // One set per bit, found in one walk over all characters.
  static const std::array<CharSet, 32> sets = [] {
    std::array<CharSet, 32> made;
    const CharTable& table = CharTable::Get();
    for (uint32_t cp = 0; cp <= kMaxCodePoint; ++cp) {
      for (uint32_t rest = table.Bits(cp); rest != 0; rest &= rest - 1) {
        std::vector<Range>& ranges = made[static_cast<size_t>(std::countr_zero(rest))].ranges_;
        if (!ranges.empty() && ranges.back().last + 1 == cp) {
          ranges.back().last = cp;
        } else {
          ranges.push_back({cp, cp});
        }
      }
    }
    return made;
  }();
  std::vector<Range> all;
  for (uint32_t rest = bits; rest != 0; rest &= rest - 1) {
    const std::vector<Range>& ranges = sets[static_cast<size_t>(std::countr_zero(rest))].ranges_;
    all.insert(all.end(), ranges.begin(), ranges.end());
  }
  std::sort(all.begin(), all.end(), [](const Range& a, const Range& b) { return a.first < b.first; });
  CharSet out;
  for (const Range& range : all) out.Add(range.first, range.last);
  return out;
}

std::optional<CharSet> CharSet::Property(std::string_view name) {
  if (const std::optional<uint32_t> mask = CategoryMask(name)) return WithBits(*mask);
  const bool plain = !name.empty() && std::all_of(name.begin(), name.end(),
                                                  [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; });
  if (!plain) return std::nullopt;
  std::optional<CharSet> out = FromRegex(fmt::format("\\p{{sc:{}}}", name));
  // Ideographs that came after PCRE2's Unicode 14.
  if (out && name == "Han") out->Add(CharSet{{0x2B739, 0x2B739}, {0x2EBF0, 0x2EE5D}, {0x31350, 0x323AF}});
  return out;
}

void CharSet::Add(uint32_t first, uint32_t last) {
  if (ranges_.empty() || first > ranges_.back().last + 1) return ranges_.push_back({first, last});
  // The ranges that the new one touches become one.
  const auto begin = std::lower_bound(ranges_.begin(), ranges_.end(), first, [](const Range& r, uint32_t cp) { return r.last + 1 < cp; });
  auto end = begin;
  for (; end != ranges_.end() && end->first <= last + 1; ++end) {
    first = std::min(first, end->first);
    last = std::max(last, end->last);
  }
  if (begin == end) {
    ranges_.insert(begin, {first, last});
  } else {
    *begin = {first, last};
    ranges_.erase(begin + 1, end);
  }
}

void CharSet::Add(const CharSet& other) {
  if (this == &other) return;
  for (const Range& range : other.ranges_) Add(range.first, range.last);
}

CharSet CharSet::Complement() const {
  CharSet out;
  uint32_t next = 0;
  for (const Range& range : ranges_) {
    if (range.first > next) out.ranges_.push_back({next, range.first - 1});
    next = range.last + 1;
  }
  if (next <= kMaxCodePoint) out.ranges_.push_back({next, kMaxCodePoint});
  return out;
}

CharSet CharSet::Intersect(const CharSet& other) const {
  CharSet out;
  for (size_t i = 0, j = 0; i < ranges_.size() && j < other.ranges_.size();) {
    const Range &a = ranges_[i], &b = other.ranges_[j];
    const uint32_t first = std::max(a.first, b.first), last = std::min(a.last, b.last);
    if (first <= last) out.ranges_.push_back({first, last});
    (a.last < b.last ? i : j) += 1;
  }
  return out;
}

std::optional<CharSet> CharSet::IgnoreCase() const {
  CharSet out = *this;
  for (uint32_t lower = 'a'; lower <= 'z'; ++lower) {
    const uint32_t upper = lower - 32;
    const uint32_t third = lower == 's' ? 0x17F : lower == 'k' ? 0x212A : lower;
    if (!Contains(lower) && !Contains(upper) && !Contains(third)) continue;
    for (const uint32_t cp : {lower, upper, third}) out.Add(cp, cp);
  }
  static const CharSet cased = [] {  // beyond what was handled above
    CharSet set = WithBits(Bit(Category::kLu) | Bit(Category::kLl) | Bit(Category::kLt));
    set.Add(0x345, 0x345), set.Add(0x2160, 0x217F), set.Add(0x24B6, 0x24E9);
    return set.Intersect(CharSet{{0x80, 0x17E}, {0x180, 0x2129}, {0x212B, kMaxCodePoint}});
  }();
  if (Overlaps(cased)) return std::nullopt;
  return out;
}

bool CharSet::Contains(uint32_t cp) const {
  const auto at = std::lower_bound(ranges_.begin(), ranges_.end(), cp, [](const Range& r, uint32_t value) { return r.last < value; });
  return at != ranges_.end() && at->first <= cp;
}

}  // namespace sgl
