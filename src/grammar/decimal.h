// Exact decimals for the numeric keywords: numbers are text here, never rounded.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sgl {

using Int128 = __int128;
constexpr int kMaxDigits = 36;  // significant digits that the numeric keywords look at; what follows is only known to be zero or not

// mantissa * 10^exponent; the mantissa has no trailing zero (0 has exponent 0) and at most kMaxDigits digits.
struct Decimal {
  Int128 mantissa = 0;
  int exponent = 0;
  static Decimal FromDouble(double value);         // of its shortest decimal form
  static Decimal FromText(std::string_view json);  // a JSON number
  static Decimal FromInt(int64_t value);
  static Decimal Make(Int128 mantissa, int64_t exponent);
};
int Compare(const Decimal& a, const Decimal& b);  // <0, 0, >0
bool IsExactDouble(const Decimal& value);         // |value| <= 2^53
double ToDouble(const Decimal& value);
bool IsMultiple(const Decimal& value, const Decimal& of);
inline bool IsInteger(const Decimal& d) { return d.exponent >= 0; }

// A JSON number while it is read.
struct NumberText {
  Int128 digits = 0;     // all digits so far, the point left out
  uint8_t count = 0;     // significant digits in `digits`
  uint8_t fraction = 0;  // digits behind the point that are in `digits`
  uint16_t extra = 0;    // digits before the point that `digits` has no room for
  uint16_t past = 0;     // digits that were left out, on both sides
  bool rounded = false;  // one of them was not zero
  bool negative = false, point = false;
  bool exp_negative = false;
  int16_t exponent = 0;
  // What the last byte was; the grammar of JSON numbers.
  // Exponents have up to three digits, the first two of three at most 32: no double needs more. By what may come: kExp (a digit up to 2 was
  // read) two digits, kExpThree (a 3) two digits or one, kExpHigh (4 to 9) and kExpMore (two digits) one, kExpFull none.
  enum class At : uint8_t {
    kStart,
    kMinus,
    kZero,
    kInt,
    kPoint,
    kFraction,
    kE,
    kSign,
    kExp,
    kExpThree,
    kExpHigh,
    kExpMore,
    kExpFull
  } at = At::kStart;

  bool Step(uint8_t byte);  // false: not a JSON number any more, or one of absurd length
  bool complete() const { return at == At::kZero || at == At::kInt || at == At::kFraction || at >= At::kExp; }
  bool in_exponent() const { return at >= At::kE; }
  int digits_behind_point() const { return point ? fraction + past - extra : 0; }
  bool only_zeros_behind_point() const;
  bool finite() const;  // as a double
  // Whether `good` holds of some number that begins with this text, which has come to its exponent or may have one now.
  template <class F>
  bool AnyExponent(F&& good) const;
  Decimal value() const;
};

constexpr int kMaxExponent = 329;

template <class F>
bool NumberText::AnyExponent(F&& good) const {
  const auto with = [&](bool negative_exponent, int64_t magnitude) {
    NumberText t = *this;
    t.at = At::kExpFull;
    t.exp_negative = negative_exponent;
    t.exponent = static_cast<int16_t>(magnitude);
    return good(t);
  };
  if (at >= At::kExp) {
    // What is there, and with as many digits more as may come.
    const int64_t most = at == At::kExpFull ? 1 : at == At::kExpHigh || at == At::kExpMore ? 10 : 100;
    for (int64_t more = 1, from = exponent; more <= most; more *= 10, from *= 10)
      for (int64_t e = from; e < from + more && e <= kMaxExponent; ++e)
        if (with(exp_negative, e)) return true;
    return false;
  }
  for (int64_t e = 0; e <= kMaxExponent; ++e)
    if (((at != At::kSign || !exp_negative) && with(false, e)) || ((at != At::kSign || exp_negative) && with(true, e))) return true;
  return false;
}

struct NumberSpec {
  bool integer = false;
  bool plain = false;  // integers are written without point and exponent (draft 4: 1.0 is none)
  std::optional<Decimal> min, max;
  bool min_exclusive = false, max_exclusive = false;
  std::vector<Decimal> multiples;
  std::optional<std::vector<Decimal>> values;  // one of these
  // What is ruled out, where a negated spec is part of this one.
  bool not_integer = false;
  std::vector<Decimal> not_multiples, not_values;

  bool rules_out() const { return not_integer || !not_multiples.empty() || !not_values.empty(); }
  bool free() const { return !integer && !min && !max && multiples.empty() && !values && !rules_out(); }
  bool Allows(const Decimal& value) const;
  bool Allows(const NumberText& text) const {
    if (plain && (text.point || text.in_exponent())) return false;
    if (!text.finite()) return false;
    // Beyond 2^53 what reads such a text as a double would not find the multiple.
    const Decimal value = text.value();
    const bool looked_at = !text.rounded && (!(text.point || text.in_exponent()) || IsExactDouble(value));
    if (!looked_at && !multiples.empty()) return false;
    for (const Decimal& m : not_multiples)
      if (looked_at && IsMultiple(value, m)) return false;
    return Allows(value);
  }
  // Some allowed number begins with this text. That an exponent may follow is foreseen where serialisers write one: behind a single digit
  // with or without a fraction, for integers only large ones.
  bool Reachable(const NumberText& text) const;
  bool Satisfiable() const;
  // Narrows this to what `other` allows as well; false: nothing is left.
  bool And(const NumberSpec& other);
  // What this does not allow, as alternatives. Nothing: texts are told apart that have the same value.
  std::optional<std::vector<NumberSpec>> Not() const;
  // Texts with equal answers go on and end alike, as far as so many digits more can tell; nothing: look at all of the text.
  std::optional<uint64_t> Alike(const NumberText& text, uint32_t digits) const;
  // Texts with equal answers go on with the same digits.
  uint64_t DigitsAhead(const NumberText& text) const;

 private:
  bool ReachableBetween(Decimal low, Decimal high) const;
  bool LastDigits(const NumberText& text) const;
  bool Between(bool negative, Int128 from, Int128 to, int64_t exponent) const;
  bool ReachableByExponent(const NumberText& text) const;
};

// Numbers that a double would round become strings with this mark before their digits, which CompileSchema reads as numbers.
constexpr std::string_view kExactNumber = "\xEF\xBF\xBF#";
std::string MarkExactNumbers(std::string_view json);

}  // namespace sgl
