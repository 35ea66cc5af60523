// "..." % values and "...".format(...).
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "text/jinja/render.h"
#include "text/jinja/text_filters.h"
#include "text/jinja/text_util.h"

namespace sgl::jinja {
namespace {

constexpr int64_t kMaxWidth = 1'000'000;

// One conversion: %-5.2f or {:>+10,.2f}.
struct Spec {
  uint32_t fill = ' ';
  char align = '\0', sign = '-', grouping = '\0', type = '\0';
  bool alternate = false, zero = false;
  int64_t width = 0, precision = -1;
};

std::string Grouped(const std::string& digits, char separator) {
  std::string out;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i != 0 && (digits.size() - i) % 3 == 0) out += separator;
    out += digits[i];
  }
  return out;
}

// sign, prefix, digits -> padded.
std::string PadNumber(const Spec& spec, bool negative, const std::string& prefix, std::string body) {
  if (spec.grouping != '\0') {
    const size_t end = std::min(body.find_first_not_of("0123456789"), body.size());
    body = Grouped(body.substr(0, end), spec.grouping) + body.substr(end);
  }
  std::string head = negative ? "-" : spec.sign == '+' ? "+" : spec.sign == ' ' ? " " : "";
  head += prefix;
  const auto size = static_cast<int64_t>(head.size() + body.size());
  const auto room = static_cast<size_t>(std::max<int64_t>(0, spec.width - size));
  std::string fill;
  const bool zeros = spec.zero && spec.align == '\0';
  for (size_t i = 0; i < room; ++i) AppendCodePoint(fill, zeros ? '0' : spec.fill);
  const char align = zeros ? '=' : spec.align == '\0' ? '>' : spec.align;
  if (align == '=') return head + fill + body;
  if (align == '<') return head + body + fill;
  if (align == '>') return fill + head + body;
  std::string left;
  for (size_t i = 0; i < room / 2; ++i) AppendCodePoint(left, spec.fill);
  return left + head + body + fill.substr(left.size());
}

std::string PadText(const Spec& spec, std::string_view text) {
  if (spec.precision >= 0) text = text.substr(0, ByteOffset(text, static_cast<size_t>(spec.precision)));
  const auto room = std::max<int64_t>(0, spec.width - static_cast<int64_t>(CountCodePoints(text)));
  const int64_t left = spec.align == '>' ? room : spec.align == '^' ? room / 2 : 0;
  std::string out;
  for (int64_t i = 0; i < left; ++i) AppendCodePoint(out, spec.fill);
  out += text;
  for (int64_t i = left; i < room; ++i) AppendCodePoint(out, spec.fill);
  return out;
}

std::string FormatInteger(const Spec& spec, int64_t v, char type) {
  const uint64_t u = v < 0 ? 0 - static_cast<uint64_t>(v) : static_cast<uint64_t>(v);
  std::string body, prefix;
  switch (type) {
    case 'x': body = fmt::format("{:x}", u); break;
    case 'X': body = fmt::format("{:X}", u); break;
    case 'o': body = fmt::format("{:o}", u); break;
    case 'b': body = fmt::format("{:b}", u); break;
    default: body = fmt::to_string(u);
  }
  if (spec.alternate && (type == 'x' || type == 'X' || type == 'o' || type == 'b')) prefix = std::string("0") + type;
  return PadNumber(spec, v < 0, prefix, body);
}

std::string FormatFloat(const Spec& spec, double v, char type) {
  const bool percent = type == '%';
  if (percent) v *= 100;
  const bool upper = type == 'F' || type == 'E' || type == 'G';
  std::string body;
  if (!std::isfinite(v)) {
    body = std::isnan(v) ? "nan" : "inf";
  } else {
    const char lower = static_cast<char>(type | 0x20);
    const int precision = static_cast<int>(spec.precision < 0 ? 6 : spec.precision);
    const double magnitude = std::fabs(v);
    if (type == '\0' && spec.precision < 0)
      body = FloatRepr(magnitude);
    else if (lower == 'e')
      body = fmt::format("{:.{}e}", magnitude, precision);
    else if (lower == 'g' || type == '\0')
      body = spec.alternate ? fmt::format("{:#.{}g}", magnitude, std::max(1, precision))
                            : fmt::format("{:.{}g}", magnitude, std::max(1, precision));
    else
      body = fmt::format("{:.{}f}", magnitude, precision);
  }
  if (upper) body = ToUpper(body);
  if (percent) body += '%';
  return PadNumber(spec, std::signbit(v) && !std::isnan(v), "", body);
}

// --- %

class PercentFormatter {
 public:
  PercentFormatter(Renderer& r, std::string_view format, const Value& argument, const Args* named)
      : r_(r), format_(format), argument_(argument), named_(named) {}

  Value Run(bool markup) {
    while (pos_ < format_.size() && !r_.failed()) {
      const size_t percent = std::min(format_.find('%', pos_), format_.size());
      out_ += format_.substr(pos_, percent - pos_);
      pos_ = percent + 1;
      if (percent == format_.size()) break;
      Conversion(markup);
      if (!r_.RoomForText(out_.size())) return Value();
    }
    const bool tuple = argument_.kind() == Kind::kTuple;
    const bool may_stay = named_ != nullptr || used_mapping_ || (!tuple && !IsPlain());
    if (!r_.failed() && !may_stay && taken_ < (tuple ? AsList(argument_)->items.size() : 1)) {
      r_.Fail("not all arguments converted during string formatting");
    }
    return r_.Str(std::move(out_), markup);
  }

 private:
  // A single value that is not a mapping must be used.
  bool IsPlain() const { return !argument_.is_dict() && argument_.kind() != Kind::kList && argument_.kind() != Kind::kRange; }

  Value Take() {
    if (argument_.kind() == Kind::kTuple) {
      const Values& items = AsList(argument_)->items;
      if (taken_ < items.size()) return items[taken_++];
    } else if (taken_ == 0) {
      ++taken_;
      return argument_;
    }
    return r_.Fail("not enough arguments for format string");
  }

  Value Lookup(std::string_view key) {
    used_mapping_ = true;
    if (named_ != nullptr) {
      for (const auto& [name, value] : named_->named) {
        if (name == key) return value;
      }
      return r_.Fail(fmt::format("KeyError: '{}'", key));
    }
    if (!argument_.is_dict()) return r_.Fail("format requires a mapping");
    const Value* found = AsDict(argument_)->Find(key);
    return found != nullptr ? *found : r_.Fail(fmt::format("KeyError: '{}'", key));
  }

  int64_t Number() {
    if (pos_ < format_.size() && format_[pos_] == '*') {
      ++pos_;
      return std::clamp(IntArg(r_, Take(), "*"), -kMaxWidth, kMaxWidth);
    }
    int64_t n = 0;
    while (pos_ < format_.size() && format_[pos_] >= '0' && format_[pos_] <= '9') n = std::min(n * 10 + (format_[pos_++] - '0'), kMaxWidth);
    return n;
  }

  void Conversion(bool markup) {
    Spec spec;
    Value value;
    bool keyed = false, left = false;
    if (pos_ < format_.size() && format_[pos_] == '(') {
      const size_t close = format_.find(')', pos_);
      if (close == format_.npos) return (void)r_.Fail("incomplete format key");
      value = Lookup(format_.substr(pos_ + 1, close - pos_ - 1));
      keyed = true;
      pos_ = close + 1;
    }
    for (; pos_ < format_.size(); ++pos_) {
      const char c = format_[pos_];
      if (c == '-')
        left = true;
      else if (c == '+')
        spec.sign = '+';
      else if (c == ' ' && spec.sign != '+')
        spec.sign = ' ';
      else if (c == '#')
        spec.alternate = true;
      else if (c == '0')
        spec.zero = true;
      else if (c != ' ')
        break;
    }
    spec.width = Number();
    if (spec.width < 0) left = true, spec.width = -spec.width;
    if (pos_ < format_.size() && format_[pos_] == '.') {
      ++pos_;
      spec.precision = std::max<int64_t>(0, Number());
    }
    while (pos_ < format_.size() && (format_[pos_] == 'l' || format_[pos_] == 'h' || format_[pos_] == 'L')) ++pos_;
    if (pos_ >= format_.size()) return (void)r_.Fail("incomplete format");
    const char type = format_[pos_++];
    if (type == '%') {
      out_ += '%';
      return;
    }
    if (!keyed) value = Take();
    if (r_.failed()) return;
    if (left) spec.align = '<';
    Convert(spec, value, type, markup);
  }

  void Convert(Spec spec, const Value& value, char type, bool markup) {
    switch (type) {
      case 's':
      case 'r':
      case 'a': {
        std::string text;
        if (type == 's')
          r_.AppendStr(text, value);
        else
          r_.AppendRepr(text, value);
        if (markup && !value.is_markup()) text = EscapeHtml(text);
        spec.zero = false;
        if (spec.align == '\0') spec.align = '>';
        out_ += PadText(spec, text);
        return;
      }
      case 'c':
        if (value.is_str() && CountCodePoints(value.text()) == 1) {
          spec.align = spec.align == '\0' ? '>' : spec.align;
          spec.precision = -1;
          out_ += PadText(spec, value.text());
        } else if (value.is_int() && value.integer() >= 0 && value.integer() < 0xD800) {
          AppendCodePoint(out_, static_cast<uint32_t>(value.integer()));
        } else {
          r_.Fail("%c requires int or char");
        }
        return;
      case 'd':
      case 'i':
      case 'u':
      case 'x':
      case 'X':
      case 'o': return Integer(spec, value, type);
      case 'f':
      case 'F':
      case 'e':
      case 'E':
      case 'g':
      case 'G':
        if (!value.is_number()) return (void)r_.Fail(fmt::format("must be real number, not {}", TypeName(value)));
        spec.precision = std::min<int64_t>(spec.precision, 1000);
        out_ += FormatFloat(spec, value.number(), type);
        return;
      default: r_.Fail(fmt::format("unsupported format character '{}'", type));
    }
  }

  void Integer(Spec spec, const Value& value, char type) {
    int64_t v = value.is_int() ? value.integer() : 0;
    if (value.is_float() && (type == 'd' || type == 'i' || type == 'u')) {
      if (!(std::fabs(value.number()) < 9.2e18)) return (void)r_.Fail("cannot convert float to integer");
      v = static_cast<int64_t>(value.number());
    } else if (!value.is_int()) {
      return (void)r_.Fail(fmt::format("%{} format: a real number is required, not {}", type, TypeName(value)));
    }
    if (spec.precision > 0) {  // at least so many digits
      Spec bare;
      const std::string digits = FormatInteger(bare, v, type);
      const size_t sign = v < 0 ? 1 : 0;
      if (digits.size() - sign < static_cast<size_t>(spec.precision)) {
        const std::string zeros(static_cast<size_t>(spec.precision) - (digits.size() - sign), '0');
        out_ += PadNumber(spec, v < 0, spec.alternate && type != 'd' ? std::string("0") + type : "", zeros + digits.substr(sign));
        return;
      }
    }
    out_ += FormatInteger(spec, v, type);
  }

  Renderer& r_;
  std::string_view format_;
  const Value& argument_;
  const Args* named_;
  size_t pos_ = 0, taken_ = 0;
  bool used_mapping_ = false;
  std::string out_;
};

// --- {}

class BraceFormatter {
 public:
  BraceFormatter(Renderer& r, const Args& args) : r_(r), args_(args) {}

  std::string Run(std::string_view format, int depth) {
    std::string out;
    for (size_t i = 0; i < format.size() && !r_.failed();) {
      const char c = format[i];
      if ((c == '{' || c == '}') && i + 1 < format.size() && format[i + 1] == c) {
        out += c;
        i += 2;
      } else if (c == '}') {
        r_.Fail("Single '}' encountered in format string");
      } else if (c == '{') {
        i = Field(format, i + 1, depth, &out);
        r_.RoomForText(out.size());
      } else {
        out += c;
        ++i;
      }
    }
    return out;
  }

 private:
  // From behind the brace; returns the place behind the closing one.
  size_t Field(std::string_view format, size_t start, int depth, std::string* out) {
    int open = 1;
    size_t end = start;
    for (; end < format.size(); ++end) {
      if (format[end] == '{') ++open;
      if (format[end] == '}' && --open == 0) break;
    }
    if (end >= format.size()) {
      r_.Fail("expected '}' before end of string");
      return end;
    }
    if (depth == 0) {
      r_.Fail("Max string recursion exceeded");
      return end;
    }
    const std::string_view field = format.substr(start, end - start);
    size_t name_end = 0;
    for (bool in_index = false; name_end < field.size(); ++name_end) {
      if (field[name_end] == '[') in_index = true;
      if (field[name_end] == ']') in_index = false;
      if (!in_index && (field[name_end] == '!' || field[name_end] == ':')) break;
    }
    Value value = Lookup(field.substr(0, name_end));
    std::string_view rest = field.substr(name_end);
    if (!rest.empty() && rest[0] == '!') {
      if (rest.size() < 2 || (rest.size() > 2 && rest[2] != ':')) {
        r_.Fail("expected ':' after conversion specifier");
        return end;
      }
      std::string text;
      if (rest[1] == 's')
        r_.AppendStr(text, value);
      else if (rest[1] == 'r')
        r_.AppendRepr(text, value);
      else
        r_.Fail(fmt::format("Unknown conversion specifier {}", rest[1]));
      value = r_.Str(std::move(text));
      rest.remove_prefix(2);
    }
    const std::string spec = rest.empty() ? "" : Run(rest.substr(1), depth - 1);
    if (!r_.failed()) Format(value, spec, out);
    return end + 1;
  }

  Value Lookup(std::string_view name) {
    const size_t first_end = std::min(name.find_first_of(".["), name.size());
    Value value = First(name.substr(0, first_end));
    for (size_t i = first_end; i < name.size() && !r_.failed();) {
      if (name[i] == '.') {
        const size_t end = std::min(name.find_first_of(".[", i + 1), name.size());
        const Value key = r_.Str(std::string(name.substr(i + 1, end - i - 1)));
        if (key.is_str() && key.text().empty()) return r_.Fail("Empty attribute in format string");
        if (value.is_undefined()) return r_.FailUndefined(value);
        if (auto attribute = r_.Attribute(value, key.text()))
          value = *std::move(attribute);
        else
          value = value.is_dict() ? r_.GetItem(value, key) : r_.UndefinedItem(value, key);
        i = end;
        continue;
      }
      const size_t close = name[i] == '[' ? name.find(']', i) : name.npos;
      if (close == name.npos) return r_.Fail("Missing ']' in format string");
      const std::string_view index = name.substr(i + 1, close - i - 1);
      const bool digits = !index.empty() && index.size() < 18 && index.find_first_not_of("0123456789") == index.npos;
      value = r_.GetItem(value, digits ? Value::Int(std::stoll(std::string(index))) : r_.Str(std::string(index)));
      i = close + 1;
    }
    return value;
  }

  Value First(std::string_view name) {
    if (name.empty() || name.find_first_not_of("0123456789") == name.npos) {
      if (name.empty() ? numbered_ : automatic_ > 0) return r_.Fail("cannot mix automatic and manual field numbering");
      size_t index = name.empty() ? automatic_++ : 0;
      if (!name.empty()) {
        numbered_ = true;
        index = name.size() < 9 ? static_cast<size_t>(std::stoll(std::string(name))) : SIZE_MAX;
      }
      if (index >= args_.positional.size()) return r_.Fail("Replacement index out of range for positional args tuple");
      return args_.positional[index];
    }
    for (const auto& [known, value] : args_.named) {
      if (known == name) return value;
    }
    return r_.Fail(fmt::format("KeyError: '{}'", name));
  }

  bool Parse(std::string_view text, Spec* spec) {
    size_t pos = 0;
    const auto is_align = [](char c) { return c == '<' || c == '>' || c == '^' || c == '='; };
    if (!text.empty()) {
      size_t next = 0;
      const uint32_t fill = NextCodePoint(text, next);
      if (next < text.size() && is_align(text[next])) {
        spec->fill = fill;
        spec->align = text[next];
        pos = next + 1;
      } else if (is_align(text[0])) {
        spec->align = text[0];
        pos = 1;
      }
    }
    const auto take = [&](std::string_view any) { return pos < text.size() && any.find(text[pos]) != any.npos ? text[pos++] : '\0'; };
    if (const char c = take("+- ")) spec->sign = c;
    spec->alternate = take("#") != '\0';
    if (pos < text.size() && text[pos] == '0') {
      ++pos;
      spec->zero = true;
      if (spec->align != '\0') spec->fill = spec->fill == ' ' ? '0' : spec->fill;
    }
    const auto number = [&] {
      int64_t n = 0;
      while (pos < text.size() && text[pos] >= '0' && text[pos] <= '9') n = std::min(n * 10 + (text[pos++] - '0'), kMaxWidth + 1);
      return n;
    };
    spec->width = number();
    if (const char c = take(",_")) spec->grouping = c;
    if (take(".") != '\0') spec->precision = number();
    if (pos < text.size()) spec->type = text[pos++];
    return pos == text.size() && spec->width <= kMaxWidth && spec->precision <= kMaxWidth;
  }

  void Format(const Value& value, std::string_view text, std::string* out) {
    if (text.empty()) return r_.AppendStr(*out, value);
    Spec spec;
    if (!Parse(text, &spec)) return (void)r_.Fail("Invalid format specifier");
    static constexpr std::string_view kFloatTypes = "eEfFgG%";
    const bool float_type = spec.type != '\0' && kFloatTypes.find(spec.type) != kFloatTypes.npos;
    if (value.is_str()) {
      if ((spec.type != '\0' && spec.type != 's') || spec.align == '=' || spec.sign != '-' || spec.grouping != '\0') {
        return (void)r_.Fail("Invalid format specifier for a string");
      }
      if (spec.zero && spec.align == '\0') spec.fill = '0';
      *out += PadText(spec, value.text());
    } else if (value.is_number() && (value.is_float() || float_type)) {
      if (spec.type != '\0' && !float_type)
        return (void)r_.Fail(fmt::format("Unknown format code '{}' for object of type 'float'", spec.type));
      spec.precision = std::min<int64_t>(spec.precision, 1000);
      *out += FormatFloat(spec, value.number(), spec.type);
    } else if (value.is_int() && spec.precision < 0) {
      static constexpr std::string_view kIntTypes = "bdoxXn";
      if (spec.type != '\0' && kIntTypes.find(spec.type) == kIntTypes.npos) {
        return (void)r_.Fail(fmt::format("Unknown format code '{}' for object of type 'int'", spec.type));
      }
      *out += FormatInteger(spec, value.integer(), spec.type);
    } else {
      r_.Fail(fmt::format("unsupported format string passed to {}.__format__", TypeName(value)));
    }
  }

  Renderer& r_;
  const Args& args_;
  size_t automatic_ = 0;
  bool numbered_ = false;
};

}  // namespace

Value FormatPercent(Renderer& r, const Value& format, const Value& argument, const Args* named) {
  return PercentFormatter(r, format.text(), argument, named).Run(format.is_markup());
}

Value FormatBraces(Renderer& r, const Value& format, const Args& args) {
  std::string out = BraceFormatter(r, args).Run(format.text(), 2);
  return r.Str(std::move(out), format.is_markup());
}

}  // namespace sgl::jinja
