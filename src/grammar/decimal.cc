// SPDX-License-Identifier: Apache-2.0
#include "grammar/decimal.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
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

constexpr uint16_t kMaxPast = 400;
constexpr uint8_t kMaxFraction = 200;
constexpr int kDoubleDigits = 309;   // of the largest double
constexpr int kIntegerExponent = 7;  // from here on some serialisers write floats with an exponent

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
  return FromText(fmt::format("{}", value));
}

Decimal Decimal::FromText(std::string_view json) {
  NumberText number;
  for (const char c : json)
    if (!number.Step(static_cast<uint8_t>(c))) break;
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
    at = next;
    if (count >= kMaxDigits) {  // beyond what is looked at: only its size counts
      if (past >= kMaxPast) return false;
      ++past;
      rounded = rounded || b != '0';
      if (next == At::kInt)
        ++extra;
      else
        --fraction;
      return true;
    }
    if (count > 0 || b != '0') ++count;
    digits = digits * 10 + (b - '0');
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
        if (fraction >= kMaxFraction) return false;
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
    case At::kExpThree:
    case At::kExpHigh:
    case At::kExpMore:
    case At::kExpFull: {
      if (!is_digit || at == At::kExpFull) return false;
      exponent = static_cast<int16_t>(exponent * 10 + (b - '0'));
      if (at == At::kE || at == At::kSign)
        at = b <= '2' ? At::kExp : b == '3' ? At::kExpThree : At::kExpHigh;
      else
        at = at == At::kExp || (at == At::kExpThree && b <= '2') ? At::kExpMore : At::kExpFull;
      return true;
    }
  }
  return false;
}

Decimal NumberText::value() const {
  const int64_t scale = (exp_negative ? -exponent : exponent) - int64_t{fraction} + extra;
  // What was left out lies strictly between two neighbours: no bound of kMaxDigits digits can tell it from the middle.
  if (rounded) return Decimal::Make((negative ? -digits : digits) * 10 + (negative ? -5 : 5), scale - 1);
  return Decimal::Make(negative ? -digits : digits, scale);
}

bool NumberText::finite() const {
  if (count + extra + (in_exponent() && !exp_negative ? exponent : 0) < 300) return true;
  static const Decimal largest = Decimal::FromText("1.7976931348623157e308");
  Decimal size = value();
  if (size.mantissa < 0) size.mantissa = -size.mantissa;
  return Compare(size, largest) <= 0;
}

bool IsExactDouble(const Decimal& value) {
  static const Decimal largest = Decimal::FromInt(int64_t{1} << 53);
  return Compare({value.mantissa < 0 ? -value.mantissa : value.mantissa, value.exponent}, largest) <= 0;
}

double ToDouble(const Decimal& value) {
  Int128 rest = value.mantissa < 0 ? -value.mantissa : value.mantissa;
  std::string digits = rest == 0 ? "0" : "";
  for (; rest > 0; rest /= 10) digits.insert(digits.begin(), static_cast<char>('0' + static_cast<int>(rest % 10)));
  const double size = std::strtod((digits + "e" + std::to_string(value.exponent)).c_str(), nullptr);
  return value.mantissa < 0 ? -size : size;
}

bool NumberSpec::Allows(const Decimal& v) const {
  if (integer && !IsInteger(v)) return false;
  if (min && (Compare(v, *min) < 0 || (min_exclusive && Compare(v, *min) == 0))) return false;
  if (max && (Compare(v, *max) > 0 || (max_exclusive && Compare(v, *max) == 0))) return false;
  for (const Decimal& m : multiples)
    if (!IsMultiple(v, m)) return false;
  if (not_integer && IsInteger(v)) return false;
  for (const Decimal& m : not_multiples)  // beyond, it depends on how the number is written
    if (IsExactDouble(v) && IsMultiple(v, m)) return false;
  for (const Decimal& x : not_values)
    if (Compare(x, v) == 0) return false;
  if (!values) return true;
  return std::any_of(values->begin(), values->end(), [&](const Decimal& x) { return Compare(x, v) == 0; });
}

// Some allowed number v with low <= v < high (low and high of one sign, low's magnitude first in reading order is the caller's matter).
bool NumberSpec::ReachableBetween(Decimal low, Decimal high) const {
  bool high_open = true, low_open = false;
  if (values)
    return std::any_of(values->begin(), values->end(),
                       [&](const Decimal& v) { return Compare(v, low) >= 0 && Compare(v, high) < 0 && Allows(v); });
  if (min && (Compare(*min, low) > 0 || (Compare(*min, low) == 0 && min_exclusive))) low = *min, low_open = min_exclusive;
  if (max && Compare(*max, high) < 0) high = *max, high_open = max_exclusive;
  const int order = Compare(low, high);
  if (order > 0 || (order == 0 && (low_open || high_open))) return false;
  if (!integer && multiples.empty()) return order < 0 || Allows(low);
  // A common multiple of every step inside the interval, in units of the finest digit.
  int scale = std::min({0, low.exponent, high.exponent});
  for (const Decimal& m : multiples) scale = std::min(scale, m.exponent);
  const std::optional<Int128> a = Scaled(low, scale), b = Scaled(high, scale);
  std::optional<Int128> step = integer ? Scaled(Decimal{1, 0}, scale) : Int128{1};
  for (const Decimal& m : multiples) {
    const std::optional<Int128> s = Scaled(m, scale);
    // Steps that are larger than whatever fits meet an interval beside zero never.
    const bool beside_zero = b && (low.mantissa > 0 || low_open);
    if (!s || !step) return !beside_zero;
    const Int128 reduced = *s / Gcd(*step, *s);
    if (Digits(reduced) + Digits(*step) > 37) {  // beyond what we can look at; the end decides
      if (beside_zero && Digits(reduced) + Digits(*step) > 39) return false;
      return true;
    }
    step = *step * reduced;
  }
  if (!a || !b || !step) return true;
  Int128 first = *a / *step * *step;  // rounds towards zero
  if (first < *a || (first == *a && low_open)) first += *step;
  if (!rules_out()) return high_open ? first < *b : first <= *b;
  // Where every step is ruled out the first few are, too.
  const size_t looked_at = 64 + not_values.size();
  for (size_t n = 0; n < looked_at; ++n, first += *step) {
    if (!(high_open ? first < *b : first <= *b)) return false;
    if (Allows(Decimal::Make(first, scale))) return true;
  }
  return !not_integer && std::none_of(not_multiples.begin(), not_multiples.end(),
                                      [&](const Decimal& m) { return IsMultiple(Decimal::Make(*step, scale), m); });
}

// The same for magnitudes: from * 10^exponent <= |v| < to * 10^exponent.
bool NumberSpec::Between(bool negative, Int128 from, Int128 to, int64_t exponent) const {
  const Decimal low = Decimal::Make(from, exponent), high = Decimal::Make(to, exponent);
  if (!negative) return ReachableBetween(low, high);
  // Mirrored: -high < v <= -low. The open end is the lower one, so the bounds are looked at mirrored as well.
  NumberSpec mirror;
  mirror.integer = integer;
  mirror.not_integer = not_integer;
  mirror.not_multiples = not_multiples;
  mirror.not_values = not_values;
  for (Decimal& v : mirror.not_values) v.mantissa = -v.mantissa;
  mirror.min = max, mirror.max = min;
  if (mirror.min) mirror.min->mantissa = -mirror.min->mantissa;
  if (mirror.max) mirror.max->mantissa = -mirror.max->mantissa;
  mirror.min_exclusive = max_exclusive, mirror.max_exclusive = min_exclusive;
  mirror.multiples = multiples;
  if (values) {
    mirror.values = values;
    for (Decimal& v : *mirror.values) v.mantissa = -v.mantissa;
  }
  return mirror.ReachableBetween(low, high);
}

// d or d.ddd, and an exponent to come: is there one with which some allowed number is met?
bool NumberSpec::ReachableByExponent(const NumberText& text) const {
  const int whole = text.count - text.fraction;
  if (plain || whole != 1 || text.at == NumberText::At::kZero) return false;
  const auto at = [&](int64_t first) {  // the power of ten of the first digit
    // Multiples that are written so have to be exact as doubles.
    if (!multiples.empty() && !IsExactDouble(Decimal::Make(text.digits, first + 1 - text.count))) return false;
    // Integers are written so when they are large, or every "1.5" would be the begin of one.
    return first >= (integer ? kIntegerExponent : -kMaxExponent) && first <= kMaxExponent &&
           Between(text.negative, text.digits, text.digits + 1, first + 1 - text.count);
  };
  const auto near = [&](const Decimal& d) {
    const int64_t first = int64_t{d.exponent} + Digits(d.mantissa) - 1;
    return at(first) || at(first - 1) || at(first + 1);
  };
  if (values) return std::any_of(values->begin(), values->end(), near);
  return near(Decimal{1, -kMaxExponent + 2}) || near(Decimal{1, multiples.empty() ? 306 : 15}) || (min && near(*min)) ||
         (max && near(*max));
}

bool NumberSpec::Reachable(const NumberText& text) const {
  using At = NumberText::At;
  if (free() || text.at == At::kStart) return true;
  if (plain && (text.point || text.in_exponent())) return false;
  if (text.rounded && !text.in_exponent() && (!multiples.empty() || values || (integer && text.point))) return false;
  // 5.0 is an integer and serialisers write one zero; a model that writes zeros for ever is not followed.
  if (integer && text.at == At::kFraction && text.digits_behind_point() > 1 && text.only_zeros_behind_point()) return false;
  if (text.in_exponent()) return text.AnyExponent([&](const NumberText& t) { return Allows(t); });
  if (!text.finite() || (text.point && !multiples.empty() && !IsExactDouble(text.value()))) return false;
  if (text.at == At::kMinus) return Between(true, 0, 1, 90000);
  const bool at_limit = text.count >= kMaxDigits ? text.past >= kMaxPast : text.fraction >= kMaxFraction;
  if (text.at == At::kFraction && at_limit) return Allows(text) || ReachableByExponent(text);
  if (text.at == At::kPoint || text.at == At::kFraction)
    return Between(text.negative, text.digits, text.digits + 1, -int64_t{text.fraction} + text.extra) || ReachableByExponent(text);
  if (text.at == At::kZero) return Between(text.negative, 0, 1, 0);
  if (not_integer && text.extra > 0) return false;  // what stands behind the point is not looked at any more
  // k more digits: [d * 10^k, (d + 1) * 10^k). Past the farther bound nothing can come any more.
  const std::optional<Decimal>& far = text.negative ? min : max;
  const int looked_at = multiples.empty() ? kMaxDigits : kMaxDigits - text.count;
  for (int k = 0; k <= looked_at && text.count + text.extra + k <= kDoubleDigits; ++k) {
    const int64_t exponent = int64_t{k} + text.extra;
    if (Between(text.negative, text.digits, text.digits + 1, exponent)) return true;
    if (far && text.count + exponent > int64_t{far->exponent} + Digits(far->mantissa)) break;
  }
  return LastDigits(text) || ReachableByExponent(text);
}

// Of multiples: behind the digits that are looked at only zeros may come, which bring nothing but twos and fives.
bool NumberSpec::LastDigits(const NumberText& text) const {
  if (multiples.empty() || values || text.rounded) return false;
  const std::optional<Decimal>& far = text.negative ? min : max;
  if (far && int64_t{far->exponent} + Digits(far->mantissa) <= kMaxDigits) return false;
  NumberSpec odd;
  odd.integer = true;
  for (const Decimal& m : multiples) {
    Int128 rest = m.mantissa < 0 ? -m.mantissa : m.mantissa;
    while (rest % 2 == 0) rest /= 2;
    while (rest % 5 == 0) rest /= 5;
    odd.multiples.push_back(Decimal::Make(rest, 0));
  }
  if (text.count < kMaxDigits) return odd.Between(text.negative, text.digits, text.digits + 1, kMaxDigits - text.count);
  const Int128 digits = text.negative ? -text.digits : text.digits;
  if (!odd.Allows(Decimal::Make(digits, 0))) return false;
  constexpr int kTwosAndFives = 130;  // in a number of kMaxDigits digits
  for (int k = 0; k <= kTwosAndFives && text.count + text.extra + k < kDoubleDigits; ++k)
    if (Allows(Decimal::Make(digits, int64_t{k} + text.extra))) return true;
  return false;
}

bool NumberSpec::And(const NumberSpec& other) {
  integer = integer || other.integer;
  plain = plain || other.plain;
  not_integer = not_integer || other.not_integer;
  const auto tighten = [](std::optional<Decimal>& bound, bool& exclusive, const std::optional<Decimal>& to, bool to_exclusive, int sign) {
    if (!to) return;
    const int order = bound ? sign * Compare(*to, *bound) : 1;
    if (order > 0) exclusive = to_exclusive;
    if (order == 0) exclusive = exclusive || to_exclusive;
    if (order > 0) bound = to;
  };
  tighten(min, min_exclusive, other.min, other.min_exclusive, 1);
  tighten(max, max_exclusive, other.max, other.max_exclusive, -1);
  const auto append = [](std::vector<Decimal>& to, const std::vector<Decimal>& from) { to.insert(to.end(), from.begin(), from.end()); };
  append(multiples, other.multiples);
  append(not_multiples, other.not_multiples);
  append(not_values, other.not_values);
  if (!values) values = other.values;
  if (values) {
    std::erase_if(*values, [&](const Decimal& v) { return !Allows(v) || !other.Allows(v); });
    if (values->empty()) return false;
  }
  return !(integer && not_integer) && Satisfiable();
}

std::optional<std::vector<NumberSpec>> NumberSpec::Not() const {
  if (plain || rules_out()) return std::nullopt;
  std::vector<NumberSpec> out;
  if (integer) out.emplace_back().not_integer = true;
  if (min) {
    NumberSpec& below = out.emplace_back();
    below.max = min;
    below.max_exclusive = !min_exclusive;
  }
  if (max) {
    NumberSpec& above = out.emplace_back();
    above.min = max;
    above.min_exclusive = !max_exclusive;
  }
  for (const Decimal& m : multiples) out.emplace_back().not_multiples = {m};
  if (values) out.emplace_back().not_values = *values;
  return out;
}

std::optional<uint64_t> NumberSpec::Alike(const NumberText& text, uint32_t digits) const {
  using At = NumberText::At;
  if (values || rules_out() || !multiples.empty() || text.past > 0 || text.count + digits >= kMaxDigits ||
      text.fraction + digits >= kMaxFraction)
    return std::nullopt;
  // Behind a single digit an exponent may come, to which every digit counts.
  const bool single = text.count - text.fraction <= 1;
  const bool bounded = min || max;
  if (text.in_exponent() || (integer && text.at == At::kFraction) || (single && bounded)) return std::nullopt;
  return (bounded ? DigitsAhead(text) << 1 : 0) | (single ? 1 : 0);
}

bool NumberText::only_zeros_behind_point() const {
  if (rounded) return false;
  return fraction == 0 || digits % Powers()[std::min<size_t>(fraction, 38)] == 0;
}

uint64_t NumberSpec::DigitsAhead(const NumberText& text) const {
  using At = NumberText::At;
  const auto whole = [&] {
    uint64_t h = static_cast<uint64_t>(text.digits) * 0x9E3779B97F4A7C15u;
    h = (h ^ static_cast<uint64_t>(text.digits >> 64)) * 0xFF51AFD7ED558CCDu;
    h = (h ^ (uint64_t{text.count} << 48 | uint64_t{text.fraction} << 40 | uint64_t{text.extra} << 24 | uint64_t{text.past} << 8)) *
        0xC4CEB9FE1A85EC53u;
    h = (h ^ (h >> 31) ^ static_cast<uint16_t>(text.exponent)) * 0x9E3779B97F4A7C15u;
    h ^= static_cast<uint64_t>(text.rounded) | static_cast<uint64_t>(text.negative) << 1 | static_cast<uint64_t>(text.point) << 2 |
         static_cast<uint64_t>(text.exp_negative) << 3 | static_cast<uint64_t>(text.at) << 4;
    return h | uint64_t{1} << 63;
  };
  const std::optional<Decimal>& far = text.negative ? min : max;
  const bool integral = text.at == At::kInt, fraction = text.at == At::kPoint || text.at == At::kFraction;
  if (values || rules_out() || text.past > 0 || (!integral && !(fraction && !integer))) return whole();
  // Near the digits that are looked at, and near 2^53, each counts.
  if (!multiples.empty()) return integral && !far && text.count <= 12 ? uint64_t{text.negative} << 1 | 1 : whole();
  // How [digits, digits + 1) at every size to come lies to the bounds: where it is inside of them or outside, the digits do not matter.
  uint64_t inside = 0;
  int k = 0;
  for (; k < 40; ++k) {
    const int64_t exponent = fraction ? -int64_t{text.fraction} : k;
    Decimal low = Decimal::Make(text.digits, exponent), high = Decimal::Make(text.digits + 1, exponent);
    if (text.negative) {
      std::swap(low, high);
      low.mantissa = -low.mantissa, high.mantissa = -high.mantissa;
    }
    const bool above = !min || Compare(low, *min) > 0 || (Compare(low, *min) == 0 && !min_exclusive && !text.negative);
    const bool below = !max || Compare(high, *max) < 0 || (Compare(high, *max) == 0 && !text.negative);
    if (above && below)
      inside |= uint64_t{1} << k;
    else if (fraction || (!(min && Compare(high, *min) < 0) && !(max && Compare(low, *max) > 0)))
      return whole();
    if (fraction || (far && text.count + exponent > int64_t{far->exponent} + Digits(far->mantissa))) break;
  }
  // How many digits are left to look at counts as well.
  return inside << 8 | static_cast<uint64_t>(far ? k : 63) << 2 | static_cast<uint64_t>(fraction) << 1 | 1;
}

bool NumberSpec::Satisfiable() const {
  NumberText minus;
  minus.at = NumberText::At::kMinus;
  minus.negative = true;
  if (Reachable(minus)) return true;
  return ReachableBetween({}, Decimal::Make(1, 90000));
}

std::string MarkExactNumbers(std::string_view json) {
  std::string out;
  size_t copied = 0;
  for (size_t i = 0; i < json.size();) {
    if (json[i] == '"') {
      for (++i; i < json.size() && json[i] != '"'; ++i)
        if (json[i] == '\\') ++i;
      ++i;
      continue;
    }
    if (json[i] != '-' && (json[i] < '0' || json[i] > '9')) {
      ++i;
      continue;
    }
    NumberText number;
    const size_t begin = i;
    while (i < json.size() && number.Step(static_cast<uint8_t>(json[i]))) ++i;
    if (!number.complete()) return std::string(json);  // the parser says what is wrong
    if (number.count <= 15 && number.past == 0) continue;
    out.append(json, copied, begin - copied);
    out += fmt::format("\"{}{}\"", kExactNumber, json.substr(begin, i - begin));
    copied = i;
  }
  if (copied == 0) return std::string(json);
  return out.append(json, copied);
}

}  // namespace sgl
