// SPDX-License-Identifier: Apache-2.0
#include "text/jinja/text_util.h"

#include <utf8proc.h>

#include <charconv>
#include <cmath>
#include <cstring>

#include "text/jinja/special_case.h"

namespace sgl::jinja {

uint32_t NextCodePoint(std::string_view s, size_t& pos) {
  auto byte = static_cast<unsigned char>(s[pos]);
  if (byte < 0x80) {
    ++pos;
    return byte;
  }
  utf8proc_int32_t c = -1;
  const utf8proc_ssize_t n =
      utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(s.data() + pos), static_cast<utf8proc_ssize_t>(s.size() - pos), &c);
  if (n <= 0 || c < 0) {
    ++pos;
    return 0xDC80u + (byte & 0x7Fu);
  }
  pos += static_cast<size_t>(n);
  return static_cast<uint32_t>(c);
}

void AppendCodePoint(std::string& out, uint32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c >= 0xDC80 && c <= 0xDCFF) {
    out += static_cast<char>((c & 0x7F) | 0x80);
  } else {
    utf8proc_uint8_t bytes[4];
    const auto n = utf8proc_encode_char(static_cast<utf8proc_int32_t>(c), bytes);
    out.append(reinterpret_cast<char*>(bytes), static_cast<size_t>(n));
  }
}

bool IsAscii(std::string_view s) {
  size_t i = 0;
  for (; i + 8 <= s.size(); i += 8) {
    uint64_t word;
    std::memcpy(&word, s.data() + i, 8);
    if (word & 0x8080808080808080u) return false;
  }
  for (; i < s.size(); ++i) {
    if (static_cast<unsigned char>(s[i]) >= 0x80) return false;
  }
  return true;
}

size_t CountCodePoints(std::string_view s) {
  if (IsAscii(s)) return s.size();
  size_t n = 0;
  for (size_t pos = 0; pos < s.size(); ++n) NextCodePoint(s, pos);
  return n;
}

size_t ByteOffset(std::string_view s, size_t n) {
  size_t pos = 0;
  while (n > 0 && pos < s.size()) {
    NextCodePoint(s, pos);
    --n;
  }
  return pos;
}

std::string ReplaceInvalidUtf8(std::string s) {
  if (IsAscii(s)) return s;
  std::string out;
  out.reserve(s.size());
  for (size_t pos = 0; pos < s.size();) {
    const uint32_t c = NextCodePoint(s, pos);
    AppendCodePoint(out, c >= 0xDC80 && c <= 0xDCFF ? 0xFFFD : c);
  }
  return out;
}

namespace {

utf8proc_category_t Category(uint32_t c) {
  if (c >= 0xD800 && c <= 0xDFFF) return UTF8PROC_CATEGORY_CS;
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

uint32_t Simple(utf8proc_int32_t (*map)(utf8proc_int32_t), uint32_t c) {
  if (c >= 0xD800 && c <= 0xDFFF) return c;
  return static_cast<uint32_t>(map(static_cast<utf8proc_int32_t>(c)));
}

enum class Case { kUpper, kLower, kTitle, kFold };

void AppendCased(std::string& out, uint32_t c, Case to) {
  if (c < 0x80) {
    const bool lower = to == Case::kLower || to == Case::kFold;
    if (lower && c >= 'A' && c <= 'Z') c += 32;
    if (!lower && c >= 'a' && c <= 'z') c -= 32;
    out += static_cast<char>(c);
    return;
  }
  if (const SpecialCase* special = FindSpecialCase(c)) {
    const char* text = to == Case::kUpper   ? special->upper
                       : to == Case::kLower ? special->lower
                       : to == Case::kTitle ? special->title
                                            : special->fold;
    if (text != nullptr) {
      out += text;
      return;
    }
  }
  switch (to) {
    case Case::kUpper: AppendCodePoint(out, Simple(utf8proc_toupper, c)); return;
    case Case::kTitle: AppendCodePoint(out, Simple(utf8proc_totitle, c)); return;
    case Case::kLower:
    case Case::kFold: AppendCodePoint(out, Simple(utf8proc_tolower, c)); return;
  }
}

bool CaseIgnorable(uint32_t c) {
  switch (Category(c)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK: return true;
    default: return c == '\'' || c == '.' || c == ':' || c == 0xB7 || c == 0x2019 || c == 0x2018 || c == 0x2024 || c == 0x2027;
  }
}

// Greek capital sigma becomes a final sigma after a cased letter and before none.
bool FinalSigma(const std::vector<uint32_t>& text, size_t i) {
  size_t before = i;
  while (before > 0 && CaseIgnorable(text[before - 1])) --before;
  if (before == 0 || !IsCased(text[before - 1])) return false;
  size_t after = i + 1;
  while (after < text.size() && CaseIgnorable(text[after])) ++after;
  return after == text.size() || !IsCased(text[after]);
}

std::vector<uint32_t> Decode(std::string_view s) {
  std::vector<uint32_t> out;
  out.reserve(s.size());
  for (size_t pos = 0; pos < s.size();) out.push_back(NextCodePoint(s, pos));
  return out;
}

void AppendLower(std::string& out, const std::vector<uint32_t>& text, size_t i) {
  if (text[i] == 0x3A3) {
    AppendCodePoint(out, FinalSigma(text, i) ? 0x3C2 : 0x3C3);
  } else {
    AppendCased(out, text[i], Case::kLower);
  }
}

}  // namespace

bool IsSpace(uint32_t c) {
  if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x1F);
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
         c == 0x205F || c == 0x3000;
}

bool IsPrintable(uint32_t c) {
  if (c < 0x80) return c >= 32 && c < 127;
  switch (Category(c)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS: return false;
    default: return true;
  }
}

bool IsDecimal(uint32_t c) { return c < 0x80 ? c >= '0' && c <= '9' : Category(c) == UTF8PROC_CATEGORY_ND; }

int DecimalValue(uint32_t c) {
  uint32_t first = c;  // the digits of a script are ten in a row; some rows follow each other
  while (first > 0 && IsDecimal(first - 1)) --first;
  return static_cast<int>((c - first) % 10);
}

bool IsDigit(uint32_t c) {
  if (IsDecimal(c)) return true;
  return c == 0xB2 || c == 0xB3 || c == 0xB9 || c == 0x2070 || (c >= 0x2074 && c <= 0x2079) || (c >= 0x2080 && c <= 0x2089) ||
         (c >= 0x2460 && c <= 0x2468) || (c >= 0x2474 && c <= 0x247C) || (c >= 0x2488 && c <= 0x2490);
}

bool IsNumeric(uint32_t c) {
  const auto category = Category(c);
  return category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_NL || category == UTF8PROC_CATEGORY_NO;
}

bool IsAlpha(uint32_t c) {
  if (c < 0x80) return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  const auto category = Category(c);
  return category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL || category == UTF8PROC_CATEGORY_LT ||
         category == UTF8PROC_CATEGORY_LM || category == UTF8PROC_CATEGORY_LO;
}

bool IsUpper(uint32_t c) {
  if (c < 0x80) return c >= 'A' && c <= 'Z';
  return Category(c) == UTF8PROC_CATEGORY_LU || (c >= 0x2160 && c <= 0x216F) || (c >= 0x24B6 && c <= 0x24CF);
}

bool IsLower(uint32_t c) {
  if (c < 0x80) return c >= 'a' && c <= 'z';
  return Category(c) == UTF8PROC_CATEGORY_LL || c == 0xAA || c == 0xBA || (c >= 0x2170 && c <= 0x217F) || (c >= 0x24D0 && c <= 0x24E9) ||
         (c >= 0x2B0 && c <= 0x2B8);
}

bool IsTitle(uint32_t c) { return c >= 0x80 && Category(c) == UTF8PROC_CATEGORY_LT; }
bool IsCased(uint32_t c) { return IsUpper(c) || IsLower(c) || IsTitle(c); }
bool IsIdentifierStart(uint32_t c) { return c == '_' || IsAlpha(c) || (c >= 0x80 && Category(c) == UTF8PROC_CATEGORY_NL); }

bool IsIdentifierPart(uint32_t c) {
  if (c < 0x80) return c == '_' || IsAlpha(c) || IsDecimal(c);
  const auto category = Category(c);
  return IsIdentifierStart(c) || category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_MC ||
         category == UTF8PROC_CATEGORY_PC;
}

std::string ToUpper(std::string_view s) {
  std::string out;
  out.reserve(s.size());
  for (size_t pos = 0; pos < s.size();) AppendCased(out, NextCodePoint(s, pos), Case::kUpper);
  return out;
}

std::string ToLower(std::string_view s) {
  std::string out;
  out.reserve(s.size());
  if (IsAscii(s)) {
    for (char c : s) out += c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    return out;
  }
  const auto text = Decode(s);
  for (size_t i = 0; i < text.size(); ++i) AppendLower(out, text, i);
  return out;
}

std::string CaseFold(std::string_view s) {
  std::string out;
  for (size_t pos = 0; pos < s.size();) AppendCased(out, NextCodePoint(s, pos), Case::kFold);
  return out;
}

std::string SwapCase(std::string_view s) {
  std::string out;
  const auto text = Decode(s);
  for (size_t i = 0; i < text.size(); ++i) {
    if (IsUpper(text[i])) {
      AppendLower(out, text, i);
    } else if (IsLower(text[i])) {
      AppendCased(out, text[i], Case::kUpper);
    } else {
      AppendCodePoint(out, text[i]);
    }
  }
  return out;
}

std::string Capitalize(std::string_view s) {
  std::string out;
  const auto text = Decode(s);
  for (size_t i = 0; i < text.size(); ++i) {
    if (i == 0) {
      AppendCased(out, text[i], Case::kTitle);
    } else {
      AppendLower(out, text, i);
    }
  }
  return out;
}

std::string TitleWords(std::string_view s) {
  std::string out;
  const auto text = Decode(s);
  bool in_word = false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (in_word) {
      AppendLower(out, text, i);
    } else {
      AppendCased(out, text[i], Case::kTitle);
    }
    in_word = IsCased(text[i]);
  }
  return out;
}

std::string_view StripLeft(std::string_view s) {
  size_t pos = 0;
  while (pos < s.size()) {
    size_t next = pos;
    if (!IsSpace(NextCodePoint(s, next))) break;
    pos = next;
  }
  return s.substr(pos);
}

namespace {

// The last code point of a non-empty string, and where it starts.
uint32_t LastCodePoint(std::string_view s, size_t& start) {
  const auto continues = [&](size_t i) { return (static_cast<unsigned char>(s[i]) & 0xC0) == 0x80; };
  start = s.size() - 1;
  while (start > 0 && s.size() - start < 4 && continues(start)) --start;
  size_t pos = start;
  const uint32_t c = NextCodePoint(s, pos);
  if (pos == s.size()) return c;
  pos = start = s.size() - 1;  // not valid: a byte for itself
  return NextCodePoint(s, pos);
}

bool Contains(std::string_view chars, uint32_t c) {
  for (size_t pos = 0; pos < chars.size();) {
    if (NextCodePoint(chars, pos) == c) return true;
  }
  return false;
}

}  // namespace

std::string_view StripRight(std::string_view s) {
  while (!s.empty()) {
    size_t start;
    if (!IsSpace(LastCodePoint(s, start))) break;
    s = s.substr(0, start);
  }
  return s;
}

std::string_view StripLeft(std::string_view s, std::string_view chars) {
  size_t pos = 0;
  while (pos < s.size()) {
    size_t next = pos;
    if (!Contains(chars, NextCodePoint(s, next))) break;
    pos = next;
  }
  return s.substr(pos);
}

std::string_view StripRight(std::string_view s, std::string_view chars) {
  while (!s.empty()) {
    size_t start;
    if (!Contains(chars, LastCodePoint(s, start))) break;
    s = s.substr(0, start);
  }
  return s;
}

std::vector<std::string_view> SplitLines(std::string_view s, bool keep_ends) {
  std::vector<std::string_view> out;
  size_t start = 0;
  for (size_t pos = 0; pos < s.size();) {
    const size_t at = pos;
    const uint32_t c = NextCodePoint(s, pos);
    const bool ends = (c >= 10 && c <= 13) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
    if (!ends) continue;
    if (c == '\r' && pos < s.size() && s[pos] == '\n') ++pos;
    out.push_back(s.substr(start, (keep_ends ? pos : at) - start));
    start = pos;
  }
  if (start < s.size()) out.push_back(s.substr(start));
  return out;
}

void AppendRepr(std::string& out, std::string_view s) {
  const char quote = s.find('\'') != s.npos && s.find('"') == s.npos ? '"' : '\'';
  static const char kHex[] = "0123456789abcdef";
  out += quote;
  for (size_t pos = 0; pos < s.size();) {
    const uint32_t c = NextCodePoint(s, pos);
    if (c == static_cast<unsigned char>(quote) || c == '\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (IsPrintable(c)) {
      AppendCodePoint(out, c);
    } else {
      const int digits = c < 0x100 ? 2 : c < 0x10000 ? 4 : 8;
      out += digits == 2 ? "\\x" : digits == 4 ? "\\u" : "\\U";
      for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) out += kHex[(c >> shift) & 15];
    }
  }
  out += quote;
}

std::string FloatRepr(double v) {
  if (std::isnan(v)) return "nan";
  if (std::isinf(v)) return v > 0 ? "inf" : "-inf";
  char buffer[40];
  auto end = std::to_chars(buffer, buffer + sizeof buffer, v, std::chars_format::scientific).ptr;
  const std::string_view text(buffer, static_cast<size_t>(end - buffer));
  const size_t e = text.find('e');
  std::string digits;
  for (char c : text.substr(0, e)) {
    if (c >= '0' && c <= '9') digits += c;
  }
  int exponent = 0;
  std::from_chars(text.data() + e + (text[e + 1] == '+' ? 2 : 1), end, exponent);
  std::string out = std::signbit(v) ? "-" : "";
  if (exponent < -4 || exponent >= 16) {
    out += digits[0];
    if (digits.size() > 1) out += "." + digits.substr(1);
    out += exponent < 0 ? "e-" : "e+";
    const std::string power = std::to_string(exponent < 0 ? -exponent : exponent);
    return out + (power.size() < 2 ? "0" : "") + power;
  }
  if (exponent < 0) return out + "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  const auto whole = static_cast<size_t>(exponent) + 1;
  if (digits.size() <= whole) return out + digits + std::string(whole - digits.size(), '0') + ".0";
  return out + digits.substr(0, whole) + "." + digits.substr(whole);
}

std::string EscapeHtml(std::string_view s) {
  std::string out;
  for (char c : s) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&#34;"; break;
      case '\'': out += "&#39;"; break;
      default: out += c;
    }
  }
  return out;
}

}  // namespace sgl::jinja
