// Sets of code points, by range.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace sgl {

constexpr uint32_t kMaxCodePoint = 0x10FFFF;

// Thread: a value.
class CharSet {
 public:
  struct Range {
    uint32_t first, last;
    bool operator==(const Range&) const = default;
  };
  CharSet() = default;
  CharSet(std::initializer_list<Range> ranges);

  // Characters that have one of the bits of CharTable (categories, kSpaceBit).
  static CharSet WithBits(uint32_t bits);
  // \p{name}: a general category ("L", "Lu"...) or a script ("Han"...). nullopt: neither.
  static std::optional<CharSet> Property(std::string_view name);

  void Add(uint32_t first, uint32_t last);  // first <= last <= kMaxCodePoint
  void Add(const CharSet& other);
  CharSet Complement() const;
  CharSet Intersect(const CharSet& other) const;
  // With the other case of each ASCII letter, and U+017F and U+212A, whose lower case is one. nullopt: has letters beyond those, whose
  // cases are not known here.
  std::optional<CharSet> IgnoreCase() const;

  bool Contains(uint32_t cp) const;
  bool Overlaps(const CharSet& other) const { return !Intersect(other).empty(); }
  bool empty() const { return ranges_.empty(); }
  const std::vector<Range>& ranges() const { return ranges_; }  // sorted, neither touching nor overlapping
  bool operator==(const CharSet&) const = default;

 private:
  std::vector<Range> ranges_;
};

}  // namespace sgl
