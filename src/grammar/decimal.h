// Exact decimals for the numeric keywords: numbers are text here, never rounded.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace sgl {

using Int128 = __int128;
constexpr int kMaxDigits = 36;  // significant digits that the numeric keywords look at

// mantissa * 10^exponent; the mantissa has no trailing zero (0 has exponent 0) and at most kMaxDigits digits.
struct Decimal {
  Int128 mantissa = 0;
  int exponent = 0;
  static Decimal FromDouble(double value);  // of its shortest decimal form
  static Decimal FromInt(int64_t value);
  static Decimal Make(Int128 mantissa, int64_t exponent);
};
int Compare(const Decimal& a, const Decimal& b);  // <0, 0, >0
bool IsMultiple(const Decimal& value, const Decimal& of);
inline bool IsInteger(const Decimal& d) { return d.exponent >= 0; }

// A JSON number while it is read.
struct NumberText {
  Int128 digits = 0;     // all digits so far, the point left out
  uint8_t count = 0;     // significant digits in `digits`
  uint8_t fraction = 0;  // digits behind the point
  bool negative = false, point = false;
  bool exp_negative = false;
  int16_t exponent = 0;
  // What the last byte was; the grammar of JSON numbers.
  enum class At : uint8_t { kStart, kMinus, kZero, kInt, kPoint, kFraction, kE, kSign, kExp } at = At::kStart;

  bool Step(uint8_t byte);  // false: not a JSON number any more, or more digits than can be looked at (when `bounded`)
  bool complete() const { return at == At::kZero || at == At::kInt || at == At::kFraction || at == At::kExp; }
  bool in_exponent() const { return at == At::kE || at == At::kSign || at == At::kExp; }
  Decimal value() const;
};

struct NumberSpec {
  bool integer = false;
  bool plain = false;  // integers are written without point and exponent (draft 4: 1.0 is none)
  std::optional<Decimal> min, max;
  bool min_exclusive = false, max_exclusive = false;
  std::vector<Decimal> multiples;
  std::optional<std::vector<Decimal>> values;  // one of these

  bool free() const { return !integer && !min && !max && multiples.empty() && !values; }
  bool Allows(const Decimal& value) const;
  bool Allows(const NumberText& text) const { return (!plain || (!text.point && !text.in_exponent())) && Allows(text.value()); }
  // Some allowed number begins with this text. Exponents are looked for only behind an e: what has to be written with one is not seen.
  bool Reachable(const NumberText& text) const;
  bool Satisfiable() const;

 private:
  bool ReachableBetween(Decimal low, Decimal high) const;
};

}  // namespace sgl
