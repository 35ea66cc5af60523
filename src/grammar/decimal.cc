// SPDX-License-Identifier: Apache-2.0
#include "grammar/decimal.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

namespace sgl {
namespace {

const std::array<Int128, 39>& Powers() {
  static const std::array<Int128, 39> table = [] {
    std::array<Int128, 39> t{};
    t[0] = 1;
    for (size_t i = 1; i < t.size(); ++i) t[i] = t[i - 1] * 10;
    return t;
  }();
  return table;
}

int Digits(Int128 v) {
  if (v < 0) v = -v;
  int n = 0;
  while (n < 38 && Powers()[static_cast<size_t>(n)] <= v) ++n;
  return n;
}

int Sign(Int128 v) { return v < 0 ? -1 : v > 0 ? 1 : 0; }

// v * 10^-scale as an integer when it fits, else nothing.
std::optional<Int128> Scaled(const Decimal& v, int scale) {
  const int shift = v.exponent - scale;
  if (v.mantissa == 0) return 0;
  if (shift < 0 || shift + Digits(v.mantissa) > 37) return std::nullopt;
  return v.mantissa * Powers()[static_cast<size_t>(shift)];
}

Int128 Gcd(Int128 a, Int128 b) {
  while (b != 0) {
    const Int128 r = a % b;
    a = b;
    b = r;
  }
  return a < 0 ? -a : a;
}

}  // namespace

Decimal Decimal::Make(Int128 mantissa, int64_t exponent) {
  if (mantissa == 0) return {};
  while (mantissa % 10 == 0) mantissa /= 10, ++exponent;
  return {mantissa, static_cast<int>(std::clamp<int64_t>(exponent, -100000, 100000))};
}

Decimal Decimal::FromInt(int64_t value) { return Make(value, 0); }

Decimal Decimal::FromDouble(double value) {
  if (!std::isfinite(value)) return {};
  const std::string text = fmt::format("{}", value);
  NumberText number;
  for (const char c : text)
    if (!number.Step(static_cast<uint8_t>(c == 'E' ? 'e' : c))) break;
  return number.value();
}

int Compare(const Decimal& a, const Decimal& b) {
  if (Sign(a.mantissa) != Sign(b.mantissa)) return Sign(a.mantissa) - Sign(b.mantissa);
  if (a.mantissa == 0) return 0;
  const int sign = Sign(a.mantissa);
  const int size_a = Digits(a.mantissa) + a.exponent, size_b = Digits(b.mantissa) + b.exponent;
  if (size_a != size_b) return size_a < size_b ? -sign : sign;
  const int low = std::min(a.exponent, b.exponent);
  const Int128 x = a.mantissa * Powers()[static_cast<size_t>(a.exponent - low)];
  const Int128 y = b.mantissa * Powers()[static_cast<size_t>(b.exponent - low)];
  return x < y ? -1 : x > y ? 1 : 0;
}

bool IsMultiple(const Decimal& value, const Decimal& of) {
  if (value.mantissa == 0) return true;
  if (of.mantissa == 0) return false;
  // value / of is an integer: value.mantissa * 10^(value.exponent - of.exponent) is one of of.mantissa.
  int shift = value.exponent - of.exponent;
  Int128 rest = value.mantissa;
  const Int128 m = of.mantissa < 0 ? -of.mantissa : of.mantissa;
  if (shift >= 0) {
    rest %= m;
    for (; shift > 0 && rest != 0; --shift) {
      // rest * 10 stays in range: |rest| < m <= 10^36.
      rest = rest * 10 % m;
    }
    return rest == 0;
  }
  // The mantissa has no trailing zeros, so dividing by powers of ten cannot give an integer.
  return false;
}

bool NumberText::Step(uint8_t b) {
  const auto digit = [&](At next) {
    if (count > 0 || b != '0') {
      if (count >= kMaxDigits) return false;
      ++count;
    }
    digits = digits * 10 + (b - '0');
    at = next;
    return true;
  };
  const bool is_digit = b >= '0' && b <= '9';
  switch (at) {
    case At::kStart:
      if (b == '-') {
        negative = true;
        at = At::kMinus;
        return true;
      }
      [[fallthrough]];
    case At::kMinus:
      if (!is_digit) return false;
      return digit(b == '0' ? At::kZero : At::kInt);
    case At::kInt:
      if (is_digit) return digit(At::kInt);
      [[fallthrough]];
    case At::kZero:
      if (b == '.') {
        point = true;
        at = At::kPoint;
        return true;
      }
      [[fallthrough]];
    case At::kFraction:
      if (is_digit && at == At::kFraction) {
        if (fraction >= 200) return false;
        ++fraction;
        return digit(At::kFraction);
      }
      if (b == 'e' || b == 'E') {
        at = At::kE;
        return true;
      }
      return false;
    case At::kPoint:
      if (!is_digit) return false;
      ++fraction;
      return digit(At::kFraction);
    case At::kE:
      if (b == '+' || b == '-') {
        exp_negative = b == '-';
        at = At::kSign;
        return true;
      }
      [[fallthrough]];
    case At::kSign:
    case At::kExp:
      if (!is_digit || exponent > 999) return false;
      exponent = static_cast<int16_t>(exponent * 10 + (b - '0'));
      at = At::kExp;
      return true;
  }
  return false;
}

Decimal NumberText::value() const {
  return Decimal::Make(negative ? -digits : digits, (exp_negative ? -exponent : exponent) - int64_t{fraction});
}

bool NumberSpec::Allows(const Decimal& v) const {
  if (integer && !IsInteger(v)) return false;
  if (min && (Compare(v, *min) < 0 || (min_exclusive && Compare(v, *min) == 0))) return false;
  if (max && (Compare(v, *max) > 0 || (max_exclusive && Compare(v, *max) == 0))) return false;
  for (const Decimal& m : multiples)
    if (!IsMultiple(v, m)) return false;
  if (!values) return true;
  return std::any_of(values->begin(), values->end(), [&](const Decimal& x) { return Compare(x, v) == 0; });
}

// Some allowed number v with low <= v < high (low and high of one sign, low's magnitude first in reading order is the caller's matter).
constexpr int kIntegerZeros = 2;  // digits after the point of an integer

bool NumberSpec::ReachableBetween(Decimal low, Decimal high) const {
  bool high_open = true, low_open = false;
  if (values)
    return std::any_of(values->begin(), values->end(),
                       [&](const Decimal& v) { return Compare(v, low) >= 0 && Compare(v, high) < 0 && Allows(v); });
  if (min && (Compare(*min, low) > 0 || (Compare(*min, low) == 0 && min_exclusive))) low = *min, low_open = min_exclusive;
  if (max && Compare(*max, high) < 0) high = *max, high_open = max_exclusive;
  const int order = Compare(low, high);
  if (order > 0 || (order == 0 && (low_open || high_open))) return false;
  if (!integer && multiples.empty()) return true;
  // A common multiple of every step inside the interval, in units of the finest digit.
  int scale = std::min({0, low.exponent, high.exponent});
  for (const Decimal& m : multiples) scale = std::min(scale, m.exponent);
  const std::optional<Int128> a = Scaled(low, scale), b = Scaled(high, scale);
  std::optional<Int128> step = integer ? Scaled(Decimal{1, 0}, scale) : Int128{1};
  for (const Decimal& m : multiples) {
    const std::optional<Int128> s = Scaled(m, scale);
    if (!s || !step || *s == 0) return true;
    const Int128 reduced = *s / Gcd(*step, *s);
    if (Digits(reduced) + Digits(*step) > 37) return true;  // beyond what we can look at; the end decides
    step = *step * reduced;
  }
  if (!a || !b || !step) return true;
  Int128 first = *a / *step * *step;  // rounds towards zero
  if (first < *a || (first == *a && low_open)) first += *step;
  return high_open ? first < *b : first <= *b;
}

bool NumberSpec::Reachable(const NumberText& text) const {
  using At = NumberText::At;
  if (free() || text.at == At::kStart) return true;
  if (plain && (text.point || text.in_exponent())) return false;
  // 5.0 and 5.00 are integers; a model that writes zeros for ever is not followed.
  if (integer && text.at == At::kFraction && text.fraction > kIntegerZeros) return false;
  if (text.in_exponent()) {
    if (text.at == At::kExp && Allows(text.value())) return true;
    // Exponents that begin with what is there; beyond +-40 nothing new can come.
    for (int e = -40; e <= 40; ++e) {
      NumberText t = text;
      if (e < 0) {
        if (t.at != At::kE && !t.exp_negative) continue;
        t.exp_negative = true;
      } else if (t.exp_negative) {
        continue;
      }
      const int magnitude = e < 0 ? -e : e;
      if (t.at == At::kExp) {
        int prefix = magnitude;
        while (prefix > t.exponent) prefix /= 10;
        if (prefix != t.exponent || (t.exponent == 0 && magnitude != 0 && magnitude > 9)) continue;
      }
      t.exponent = static_cast<int16_t>(magnitude);
      if (Allows(t.value())) return true;
    }
    return false;
  }
  const auto between = [&](Int128 from, Int128 to, int64_t exponent) {  // of magnitudes
    if (!text.negative) return ReachableBetween(Decimal::Make(from, exponent), Decimal::Make(to, exponent));
    // Mirrored: -to < v <= -from. The open end is the lower one, so the bounds are looked at mirrored as well.
    NumberSpec mirror = *this;
    mirror.min = max, mirror.max = min;
    if (mirror.min) mirror.min->mantissa = -mirror.min->mantissa;
    if (mirror.max) mirror.max->mantissa = -mirror.max->mantissa;
    mirror.min_exclusive = max_exclusive, mirror.max_exclusive = min_exclusive;
    if (mirror.values)
      for (Decimal& v : *mirror.values) v.mantissa = -v.mantissa;
    return mirror.ReachableBetween(Decimal::Make(from, exponent), Decimal::Make(to, exponent));
  };
  if (text.at == At::kMinus) return between(0, 1, 90000);
  if (text.at == At::kPoint || text.at == At::kFraction) return between(text.digits, text.digits + 1, -int64_t{text.fraction});
  if (text.at == At::kZero) return between(0, 1, 0);
  // k more digits: [d * 10^k, (d + 1) * 10^k). Once past every bound nothing changes any more.
  for (int k = 0; k <= kMaxDigits - text.count; ++k)
    if (between(text.digits, text.digits + 1, k)) return true;
  return false;
}

bool NumberSpec::Satisfiable() const {
  NumberText minus;
  minus.at = NumberText::At::kMinus;
  minus.negative = true;
  if (Reachable(minus)) return true;
  return ReachableBetween({}, Decimal::Make(1, 90000));
}

}  // namespace sgl
