// Unicode as Hugging Face `tokenizers` sees it: general categories of Unicode 16, UTF-8 walking and repair, normal forms.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sgl {

// General categories, numbered as utf8proc does.
enum class Category : uint8_t {
  kCn,
  kLu,
  kLl,
  kLt,
  kLm,
  kLo,
  kMn,
  kMc,
  kMe,
  kNd,
  kNl,
  kNo,
  kPc,
  kPd,
  kPs,
  kPe,
  kPi,
  kPf,
  kPo,
  kSm,
  kSc,
  kSk,
  kSo,
  kZs,
  kZl,
  kZp,
  kCc,
  kCf,
  kCs,
  kCo
};

constexpr uint32_t Bit(Category c) { return 1u << static_cast<uint32_t>(c); }
constexpr uint32_t kLetter = Bit(Category::kLu) | Bit(Category::kLl) | Bit(Category::kLt) | Bit(Category::kLm) | Bit(Category::kLo);
constexpr uint32_t kMark = Bit(Category::kMn) | Bit(Category::kMc) | Bit(Category::kMe);
constexpr uint32_t kNumber = Bit(Category::kNd) | Bit(Category::kNl) | Bit(Category::kNo);
constexpr uint32_t kPunct = Bit(Category::kPc) | Bit(Category::kPd) | Bit(Category::kPs) | Bit(Category::kPe) | Bit(Category::kPi) |
                            Bit(Category::kPf) | Bit(Category::kPo);
constexpr uint32_t kSymbol = Bit(Category::kSm) | Bit(Category::kSc) | Bit(Category::kSk) | Bit(Category::kSo);
// The bits of "L", "Lu", "N"...; nullopt: not a category.
std::optional<uint32_t> CategoryMask(std::string_view name);
constexpr uint32_t kSpaceBit = 1u << 31;  // the White_Space property; the bits below it are categories

// One bit set of the table above per code point. Thread: immutable; any.
class CharTable {
 public:
  static const CharTable& Get();  // built once, about 10 ms
  // The category's bit, and kSpaceBit for white space. 0 <= cp <= 0x10FFFF.
  uint32_t Bits(uint32_t cp) const { return bits_[blocks_[blocks_index(cp)].entry[cp & 255]]; }

 private:
  CharTable();
  struct Block {
    std::array<uint8_t, 256> entry;  // category, +32 for white space
    bool operator==(const Block&) const = default;
  };
  size_t blocks_index(uint32_t cp) const { return index_[cp >> 8]; }
  std::array<uint32_t, 64> bits_;
  std::array<uint16_t, 0x1100> index_;
  std::vector<Block> blocks_;  // distinct ones
};

// Code points with a category that Unicode 14 (PCRE2 10.42) did not have; categories as in Unicode 16.
struct NewerRange {
  uint32_t first, last;
  Category category;
};
std::span<const NewerRange> NewerRanges();
bool IsNewer(uint32_t cp);  // is in one of them

bool IsPunctuation(uint32_t cp);  // as the Punctuation pre-tokeniser has it: its library's Unicode is older
bool IsWord(uint32_t cp);         // \w of UTS #18, as in Rust's regex
// Oniguruma's \w: no joiners, but six numbers of Latin-1.
inline bool IsOnigurumaWord(uint32_t cp) {
  if (cp == 0xB2 || cp == 0xB3 || cp == 0xB9 || (cp >= 0xBC && cp <= 0xBE)) return true;
  return cp != 0x200C && cp != 0x200D && IsWord(cp);
}

// The code point at text[pos] of valid UTF-8; `length` is its byte count. Precondition: pos < text.size().
inline uint32_t CodePointAt(std::string_view text, size_t pos, size_t* length) {
  const auto byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<unsigned char>(text[pos + i])); };
  const uint32_t lead = byte(0);
  if (lead < 0x80) return *length = 1, lead;
  if (lead < 0xE0) return *length = 2, (lead & 0x1F) << 6 | (byte(1) & 0x3F);
  if (lead < 0xF0) return *length = 3, (lead & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
  return *length = 4, (lead & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F);
}
// The code point that ends before text[end], and where it starts. Precondition: valid UTF-8, end > 0.
uint32_t CodePointBefore(std::string_view text, size_t end, size_t* start);
void AppendCodePoint(std::string& out, uint32_t cp);

// What stands at text[0] (non-empty): a whole character, the start of one that was cut off, or bytes that can never become one
// (length: the maximal subpart that one U+FFFD replaces; Unicode 16, section 3.9; as Python's errors="replace").
enum class Utf8Kind { kChar, kCut, kBad };
struct Utf8Unit {
  Utf8Kind kind;
  size_t length;
};
Utf8Unit FirstUtf8Unit(std::string_view text);

bool IsValidUtf8(std::string_view text);
std::string RepairUtf8(std::string_view text);  // bad bytes become U+FFFD

enum class NormalForm { kNfc, kNfd, kNfkc, kNfkd };
// Valid UTF-8 in, valid UTF-8 out. O(n log n), also for long runs of combining marks.
std::string Normalize(std::string_view text, NormalForm form);
std::string Lowercase(std::string_view text);  // each character by itself, as Rust's char::to_lowercase

}  // namespace sgl
