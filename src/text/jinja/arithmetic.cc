// + - * / // % ** and unary minus. Integers have 64 bits; what does not fit is an error.
// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "text/jinja/render.h"
#include "text/jinja/text_util.h"

namespace sgl::jinja {

namespace {

const char* Symbol(ExprKind op) {
  switch (op) {
    case ExprKind::kAdd: return "+";
    case ExprKind::kSub: return "-";
    case ExprKind::kMul: return "*";
    case ExprKind::kDiv: return "/";
    case ExprKind::kFloorDiv: return "//";
    case ExprKind::kMod: return "%";
    default: return "** or pow()";
  }
}

constexpr const char* kOverflow = "integer overflow: the result does not fit in 64 bits";

double FloorMod(double a, double b, double* quotient) {
  double mod = std::fmod(a, b);
  double div = (a - mod) / b;
  if (mod != 0) {
    if ((b < 0) != (mod < 0)) {
      mod += b;
      div -= 1;
    }
  } else {
    mod = std::copysign(0.0, b);
  }
  if (div != 0) {
    const double floored = std::floor(div);
    *quotient = div - floored > 0.5 ? floored + 1 : floored;
  } else {
    *quotient = std::copysign(0.0, a / b);
  }
  return mod;
}

}  // namespace

Value Renderer::BinaryInt(ExprKind op, int64_t a, int64_t b) {
  int64_t out = 0;
  switch (op) {
    case ExprKind::kAdd: return __builtin_add_overflow(a, b, &out) ? Fail(kOverflow) : Value::Int(out);
    case ExprKind::kSub: return __builtin_sub_overflow(a, b, &out) ? Fail(kOverflow) : Value::Int(out);
    case ExprKind::kMul: return __builtin_mul_overflow(a, b, &out) ? Fail(kOverflow) : Value::Int(out);
    case ExprKind::kDiv:
      if (b == 0) return Fail("division by zero");
      return Value::Float(static_cast<double>(static_cast<long double>(a) / static_cast<long double>(b)));
    case ExprKind::kFloorDiv:
    case ExprKind::kMod: {
      if (b == 0) return Fail("integer division or modulo by zero");
      if (b == -1) return op == ExprKind::kMod ? Value::Int(0) : BinaryInt(ExprKind::kSub, 0, a);
      int64_t quotient = a / b, rest = a % b;
      if (rest != 0 && (rest < 0) != (b < 0)) {
        rest += b;
        --quotient;
      }
      return Value::Int(op == ExprKind::kMod ? rest : quotient);
    }
    default: break;
  }
  if (b < 0) return BinaryFloat(op, static_cast<double>(a), static_cast<double>(b));
  out = 1;
  for (int64_t base = a; b > 0; b >>= 1) {
    if ((b & 1) != 0 && __builtin_mul_overflow(out, base, &out)) return Fail(kOverflow);
    if (b > 1 && __builtin_mul_overflow(base, base, &base)) return Fail(kOverflow);
  }
  return Value::Int(out);
}

Value Renderer::BinaryFloat(ExprKind op, double a, double b) {
  switch (op) {
    case ExprKind::kAdd: return Value::Float(a + b);
    case ExprKind::kSub: return Value::Float(a - b);
    case ExprKind::kMul: return Value::Float(a * b);
    case ExprKind::kDiv:
      if (b == 0) return Fail("float division by zero");
      return Value::Float(a / b);
    case ExprKind::kFloorDiv:
    case ExprKind::kMod: {
      if (b == 0) return Fail("float floor division or modulo by zero");
      double quotient = 0;
      const double rest = FloorMod(a, b, &quotient);
      return Value::Float(op == ExprKind::kMod ? rest : quotient);
    }
    default: break;
  }
  if (a == 0 && b < 0) return Fail("0.0 cannot be raised to a negative power");
  if (a < 0 && std::isfinite(a) && std::isfinite(b) && b != std::floor(b)) return Fail("complex numbers are not supported");
  const double out = std::pow(a, b);
  if (std::isinf(out) && std::isfinite(a) && std::isfinite(b)) return Fail("numerical result out of range");
  return Value::Float(out);
}

Value Renderer::AddText(const Value& a, const Value& b) {
  const bool markup = a.is_markup() || b.is_markup();  // a plain string joining safe text is escaped
  const std::string escaped = !markup ? "" : !a.is_markup() ? EscapeHtml(a.text()) : !b.is_markup() ? EscapeHtml(b.text()) : "";
  const std::string_view left = markup && !a.is_markup() ? std::string_view(escaped) : a.text();
  const std::string_view right = markup && !b.is_markup() ? std::string_view(escaped) : b.text();
  if (!RoomForText(left.size() + right.size())) return Value();
  std::string out;
  out.reserve(left.size() + right.size());
  out.append(left).append(right);
  return Str(std::move(out), markup);
}

Value Renderer::Repeat(const Value& sequence, int64_t times) {
  const auto n = static_cast<size_t>(times > 0 ? times : 0);
  const size_t size = sequence.is_str() ? sequence.text().size() : AsList(sequence)->items.size();
  if (size != 0 && n > (size_t{1} << 40) / size) return Fail("the result of * is too large");
  if (sequence.is_str()) {
    if (!RoomForText(n * size)) return Value();
    std::string out;
    out.reserve(n * size);
    for (size_t i = 0; i < n && size != 0; ++i) out += sequence.text();
    return Str(std::move(out), sequence.is_markup());
  }
  if (!RoomForItems(n * size)) return Value();
  Values items;
  items.reserve(n * size);
  for (size_t i = 0; i < n && size != 0; ++i) items.insert(items.end(), AsList(sequence)->items.begin(), AsList(sequence)->items.end());
  return sequence.kind() == Kind::kList ? List(std::move(items)) : Tuple(std::move(items));
}

Value Renderer::Binary(ExprKind op, const Value& a, const Value& b) {
  if (failed_) return Value();
  if (a.is_int() && b.is_int()) return BinaryInt(op, a.integer(), b.integer());
  if (a.is_number() && b.is_number()) return BinaryFloat(op, a.number(), b.number());
  if (op == ExprKind::kMod && a.is_str()) return FormatPercent(*this, a, b, nullptr);
  if (a.is_undefined()) return FailUndefined(a);
  if (b.is_undefined()) return FailUndefined(b);
  if (op == ExprKind::kAdd) {
    if (a.is_str() && b.is_str()) return AddText(a, b);
    if (a.is_sequence() && a.kind() == b.kind()) {
      const Values &x = AsList(a)->items, &y = AsList(b)->items;
      if (!RoomForItems(x.size() + y.size())) return Value();
      Values items;
      items.reserve(x.size() + y.size());
      items.insert(items.end(), x.begin(), x.end());
      items.insert(items.end(), y.begin(), y.end());
      return a.kind() == Kind::kList ? List(std::move(items)) : Tuple(std::move(items));
    }
  }
  if (op == ExprKind::kMul) {
    if ((a.is_str() || a.is_sequence()) && b.is_int()) return Repeat(a, b.integer());
    if (a.is_int() && (b.is_str() || b.is_sequence())) return Repeat(b, a.integer());
  }
  return Fail(fmt::format("unsupported operand type(s) for {}: '{}' and '{}'", Symbol(op), TypeName(a), TypeName(b)));
}

Value Renderer::Negate(const Value& v, bool plus) {
  if (failed_) return Value();
  if (v.is_undefined()) return FailUndefined(v);
  if (v.is_float()) return Value::Float(plus ? v.number() : -v.number());
  if (v.is_int()) return plus ? Value::Int(v.integer()) : BinaryInt(ExprKind::kSub, 0, v.integer());
  return Fail(fmt::format("bad operand type for unary {}: '{}'", plus ? '+' : '-', TypeName(v)));
}

}  // namespace sgl::jinja
