// Strings as Python sees them: sequences of code points in UTF-8. A byte that is not part of valid UTF-8 counts as one code point.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sgl::jinja {

// The code point at s[pos]; advances pos. Precondition: pos < s.size(). Invalid bytes give 0xDC80 + (byte & 0x7F).
uint32_t NextCodePoint(std::string_view s, size_t& pos);
void AppendCodePoint(std::string& out, uint32_t c);  // a code made by NextCodePoint for an invalid byte gives that byte back

bool IsAscii(std::string_view s);
size_t CountCodePoints(std::string_view s);
// Byte offset of the n-th code point; s.size() when n is at or past the end.
size_t ByteOffset(std::string_view s, size_t n);
std::string ReplaceInvalidUtf8(std::string s);

bool IsSpace(uint32_t c);  // str.isspace
bool IsPrintable(uint32_t c);
bool IsDigit(uint32_t c);  // str.isdigit
bool IsDecimal(uint32_t c);
int DecimalValue(uint32_t c);  // precondition: IsDecimal
bool IsNumeric(uint32_t c);
bool IsAlpha(uint32_t c);
bool IsUpper(uint32_t c);
bool IsLower(uint32_t c);
bool IsTitle(uint32_t c);
bool IsCased(uint32_t c);
bool IsIdentifierStart(uint32_t c);
bool IsIdentifierPart(uint32_t c);

std::string ToUpper(std::string_view s);
std::string ToLower(std::string_view s);
std::string CaseFold(std::string_view s);
std::string SwapCase(std::string_view s);
std::string Capitalize(std::string_view s);  // str.capitalize
std::string TitleWords(std::string_view s);  // str.title

std::string_view StripLeft(std::string_view s);
std::string_view StripRight(std::string_view s);
std::string_view StripLeft(std::string_view s, std::string_view chars);
std::string_view StripRight(std::string_view s, std::string_view chars);
std::vector<std::string_view> SplitLines(std::string_view s, bool keep_ends);

// repr(str)
void AppendRepr(std::string& out, std::string_view s);
// repr(float): shortest form that reads back the same, "1e+16", "inf", "nan".
std::string FloatRepr(double v);
// HTML escaping of markupsafe.
std::string EscapeHtml(std::string_view s);

}  // namespace sgl::jinja
