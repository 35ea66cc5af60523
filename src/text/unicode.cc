// SPDX-License-Identifier: Apache-2.0
#include "text/unicode.h"

#include <utf8proc.h>

#include <algorithm>

#include "base/check.h"
#include "text/unicode_tables.h"

namespace sgl {
namespace {

bool IsWhiteSpace(uint32_t cp) {
  return (cp >= 9 && cp <= 13) || cp == 0x20 || cp == 0x85 || cp == 0xA0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200A) ||
         cp == 0x2028 || cp == 0x2029 || cp == 0x202F || cp == 0x205F || cp == 0x3000;
}

// The reference's normal forms are of Unicode 10: what came later is a character like any other.
bool KnownToNormalForms(uint32_t cp) {
  constexpr uint32_t kFirstUnknown = 0x7FD;
  return cp < kFirstUnknown || (!IsNewer(cp) && !InRanges(Unnormalized(), cp));
}

// Composes cps[begin, end) and appends the result.
void Compose(std::vector<utf8proc_int32_t>& cps, size_t begin, size_t end, std::vector<utf8proc_int32_t>* out) {
  const int options = UTF8PROC_COMPOSE | UTF8PROC_STABLE;
  const utf8proc_ssize_t n =
      utf8proc_normalize_utf32(cps.data() + begin, static_cast<utf8proc_ssize_t>(end - begin), static_cast<utf8proc_option_t>(options));
  CHECK(n >= 0);
  out->insert(out->end(), cps.begin() + static_cast<std::ptrdiff_t>(begin), cps.begin() + static_cast<std::ptrdiff_t>(begin) + n);
}

// Decomposes one code point and appends the result, each code point with its combining class.
struct Mark {
  int32_t cp;
  int32_t combining_class;
};

void Decompose(uint32_t cp, bool compat, std::vector<Mark>* out) {
  if (!KnownToNormalForms(cp)) return out->push_back({static_cast<int32_t>(cp), 0});
  constexpr size_t kMax = 32;  // the longest compatibility decomposition has 18 code points
  utf8proc_int32_t parts[kMax];
  const int options = UTF8PROC_DECOMPOSE | UTF8PROC_STABLE | (compat ? UTF8PROC_COMPAT : 0);
  const utf8proc_ssize_t n =
      utf8proc_decompose_char(static_cast<utf8proc_int32_t>(cp), parts, kMax, static_cast<utf8proc_option_t>(options), nullptr);
  CHECK(n >= 0 && n <= static_cast<utf8proc_ssize_t>(kMax));
  for (utf8proc_ssize_t i = 0; i < n; ++i) out->push_back({parts[i], utf8proc_get_property(parts[i])->combining_class});
}

}  // namespace

CharTable::CharTable() {
  for (uint32_t i = 0; i < 64; ++i) bits_[i] = 1u << (i & 31) | (i >= 32 ? kSpaceBit : 0);
  std::span<const NewerRange> newer = NewerRanges();
  size_t next = 0;
  for (uint32_t block = 0; block < index_.size(); ++block) {
    Block entries;
    for (uint32_t i = 0; i < 256; ++i) {
      const uint32_t cp = block << 8 | i;
      while (next < newer.size() && newer[next].last < cp) ++next;
      Category category = static_cast<Category>(utf8proc_category(static_cast<utf8proc_int32_t>(cp)));
      if (next < newer.size() && newer[next].first <= cp && category == Category::kCn) category = newer[next].category;
      entries.entry[i] = static_cast<uint8_t>(static_cast<uint8_t>(category) + (IsWhiteSpace(cp) ? 32 : 0));
    }
    size_t at = 0;  // most blocks repeat a recent one (CJK, Hangul, unassigned planes)
    while (at < blocks_.size() && !(blocks_[at] == entries)) ++at;
    if (at == blocks_.size()) blocks_.push_back(entries);
    index_[block] = static_cast<uint16_t>(at);
  }
}

const CharTable& CharTable::Get() {
  static const CharTable table;
  return table;
}

std::optional<uint32_t> CategoryMask(std::string_view name) {
  if (name == "L") return kLetter;
  if (name == "N") return kNumber;
  if (name == "M") return kMark;
  if (name == "P") return kPunct;
  if (name == "S") return kSymbol;
  constexpr std::string_view kNames = "CnLuLlLtLmLoMnMcMeNdNlNoPcPdPsPePiPfPoSmScSkSoZsZlZpCcCfCsCo";
  for (size_t i = 1; i * 2 < kNames.size(); ++i)
    if (kNames.substr(i * 2, 2) == name) return 1u << i;
  return std::nullopt;
}

bool IsWord(uint32_t cp) {
  constexpr uint32_t kWord = kLetter | kMark | Bit(Category::kNd) | Bit(Category::kNl) | Bit(Category::kPc);
  if ((CharTable::Get().Bits(cp) & kWord) != 0) return true;
  return cp == 0x200C || cp == 0x200D || (cp >= 0x24B6 && cp <= 0x24E9) || (cp >= 0x1F130 && cp <= 0x1F149) ||
         (cp >= 0x1F150 && cp <= 0x1F169) || (cp >= 0x1F170 && cp <= 0x1F189);
}

uint32_t CodePointBefore(std::string_view text, size_t end, size_t* start) {
  size_t at = end - 1;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
  *start = at;
  size_t length = 0;
  return CodePointAt(text, at, &length);
}

void AppendCodePoint(std::string& out, uint32_t cp) {
  const auto put = [&](uint32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (cp < 0x80) return put(cp);
  if (cp < 0x800) return put(0xC0 | cp >> 6), put(0x80 | (cp & 0x3F));
  if (cp < 0x10000) return put(0xE0 | cp >> 12), put(0x80 | (cp >> 6 & 0x3F)), put(0x80 | (cp & 0x3F));
  put(0xF0 | cp >> 18), put(0x80 | (cp >> 12 & 0x3F)), put(0x80 | (cp >> 6 & 0x3F)), put(0x80 | (cp & 0x3F));
}

Utf8Unit FirstUtf8Unit(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {Utf8Kind::kChar, 1};
  size_t need = 0;
  unsigned char low = 0x80, high = 0xBF;  // what the second byte may be
  if (lead >= 0xC2 && lead <= 0xDF) {
    need = 2;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    need = 3;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;  // no surrogates
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    need = 4;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;  // up to U+10FFFF
  } else {
    return {Utf8Kind::kBad, 1};
  }
  for (size_t i = 1; i < need; ++i) {
    if (i == text.size()) return {Utf8Kind::kCut, i};
    if (byte(i) < low || byte(i) > high) return {Utf8Kind::kBad, i};
    low = 0x80, high = 0xBF;
  }
  return {Utf8Kind::kChar, need};
}

namespace {
// Bytes at the start of `text` that are valid UTF-8.
size_t ValidPrefix(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    if (static_cast<unsigned char>(text[at]) < 0x80) {
      ++at;
      continue;
    }
    const Utf8Unit unit = FirstUtf8Unit(text.substr(at, 4));
    if (unit.kind != Utf8Kind::kChar) break;
    at += unit.length;
  }
  return at;
}
}  // namespace

bool IsValidUtf8(std::string_view text) { return ValidPrefix(text) == text.size(); }

std::string RepairUtf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (true) {
    const size_t good = ValidPrefix(text);
    out.append(text.substr(0, good));
    text.remove_prefix(good);
    if (text.empty()) return out;
    out += "\xEF\xBF\xBD";
    text.remove_prefix(FirstUtf8Unit(text.substr(0, 4)).length);
  }
}

std::string Normalize(std::string_view text, NormalForm form) {
  const bool compat = form == NormalForm::kNfkc || form == NormalForm::kNfkd;
  const bool compose = form == NormalForm::kNfc || form == NormalForm::kNfkc;
  // Below U+0300 every character is its own NFC; below U+0080 every form.
  const unsigned char plain_below = form == NormalForm::kNfc ? 0xCC : 0x80;
  if (std::all_of(text.begin(), text.end(), [&](char c) { return static_cast<unsigned char>(c) < plain_below; })) return std::string(text);

  std::vector<Mark> marks;
  marks.reserve(text.size());
  size_t length = 0;
  for (size_t at = 0; at < text.size(); at += length) Decompose(CodePointAt(text, at, &length), compat, &marks);
  // Canonical order: each run of combining marks by class. utf8proc's own ordering is quadratic in the run.
  for (size_t i = 0; i < marks.size();) {
    size_t end = i + 1;
    if (marks[i].combining_class != 0) {
      while (end < marks.size() && marks[end].combining_class != 0) ++end;
      std::stable_sort(marks.begin() + static_cast<std::ptrdiff_t>(i), marks.begin() + static_cast<std::ptrdiff_t>(end),
                       [](const Mark& a, const Mark& b) { return a.combining_class < b.combining_class; });
    }
    i = end;
  }
  std::vector<utf8proc_int32_t> cps;
  cps.reserve(marks.size());
  for (const Mark& mark : marks) cps.push_back(mark.cp);
  if (compose) {
    // Between characters that the reference does not know as parts of others.
    constexpr utf8proc_int32_t kOfNewPair = 0x11930;
    std::vector<utf8proc_int32_t> composed;
    composed.reserve(cps.size());
    size_t begin = 0;
    for (size_t i = 0; i < cps.size(); ++i) {
      const bool known = KnownToNormalForms(static_cast<uint32_t>(cps[i]));
      if (known && cps[i] != kOfNewPair) continue;
      Compose(cps, begin, i, &composed);
      if (!known) composed.push_back(cps[i]);
      begin = known ? i : i + 1;
    }
    Compose(cps, begin, cps.size(), &composed);
    cps = std::move(composed);
  }
  std::string out;
  out.reserve(text.size());
  for (const utf8proc_int32_t cp : cps) AppendCodePoint(out, static_cast<uint32_t>(cp));
  return out;
}

// Letters whose lower case is newer than utf8proc's Unicode 15; 0: none. As in Unicode 17.
static uint32_t NewerLowercase(uint32_t cp) {
  if (cp < 0x1C89) return 0;
  if (cp == 0x1C89 || cp == 0xA7CC || cp == 0xA7CE || cp == 0xA7D2 || cp == 0xA7D4 || cp == 0xA7DA) return cp + 1;
  if (cp == 0xA7CB) return 0x264;
  if (cp == 0xA7DC) return 0x19B;
  if (cp >= 0x10D50 && cp <= 0x10D65) return cp + 0x20;
  return cp >= 0x16EA0 && cp <= 0x16EB8 ? cp + 0x1B : 0;
}

std::string Lowercase(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  size_t length = 0;
  for (size_t at = 0; at < text.size(); at += length) {
    const uint32_t cp = CodePointAt(text, at, &length);
    if (const uint32_t newer = NewerLowercase(cp); newer != 0) {
      AppendCodePoint(out, newer);
    } else if (cp == 0x130) {
      out += "i\xCC\x87";  // the one character whose lower case has two code points
    } else {
      AppendCodePoint(out, static_cast<uint32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(cp))));
    }
  }
  return out;
}

}  // namespace sgl
