// Filters on single values: text, numbers, JSON. Those on sequences are in sequence_filters.cc.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>

#include "text/jinja/sequence_filters.h"
#include "text/jinja/text_filters.h"
#include "text/jinja/text_util.h"

namespace sgl::jinja {

bool Bind(Renderer& r, std::string_view function, const Args& args, std::initializer_list<std::string_view> names, int required,
          Bound* out) {
  if (args.positional.size() > names.size()) {
    r.Fail(fmt::format("{}() takes at most {} argument(s)", function, names.size()));
    return false;
  }
  for (size_t i = 0; i < args.positional.size(); ++i) {
    out->storage[i] = args.positional[i];
    out->given[i] = true;
  }
  for (const auto& [name, value] : args.named) {
    const auto at = static_cast<size_t>(std::find(names.begin(), names.end(), name) - names.begin());
    if (at == names.size() || name.empty()) {
      r.Fail(fmt::format("{}() got an unexpected keyword argument '{}'", function, name));
      return false;
    }
    if (out->given[at]) {
      r.Fail(fmt::format("{}() got multiple values for argument '{}'", function, name));
      return false;
    }
    out->storage[at] = value;
    out->given[at] = true;
  }
  for (size_t i = 0; i < static_cast<size_t>(required); ++i) {
    if (!out->given[i]) {
      r.Fail(fmt::format("{}() missing required argument '{}'", function, names.begin()[i]));
      return false;
    }
  }
  return !r.failed();
}

int64_t IntArg(Renderer& r, const Value& v, std::string_view what) {
  if (v.is_int()) return v.integer();
  if (v.is_undefined()) r.FailUndefined(v);
  r.Fail(fmt::format("{}: '{}' object cannot be interpreted as an integer", what, TypeName(v)));
  return 0;
}

Value ReplaceText(Renderer& r, std::string_view text, std::string_view from, std::string_view to, int64_t count, bool markup) {
  if (count < 0) count = INT64_MAX;
  std::string out;
  const auto grow = [&](std::string_view piece) {
    if (!r.RoomForText(out.size() + piece.size())) return false;
    out.append(piece);
    return true;
  };
  if (from.empty()) {  // between all characters, and at both ends
    size_t pos = 0;
    while (count > 0) {
      --count;
      if (!grow(to)) return Value();
      if (pos >= text.size()) return r.Str(std::move(out), markup);
      const size_t start = pos;
      NextCodePoint(text, pos);
      out.append(text.substr(start, pos - start));
    }
    grow(text.substr(pos));
    return r.Str(std::move(out), markup);
  }
  size_t pos = 0;
  while (count-- > 0) {
    const size_t found = text.find(from, pos);
    if (found == text.npos) break;
    if (!grow(text.substr(pos, found - pos)) || !grow(to)) return Value();
    pos = found + from.size();
  }
  grow(text.substr(pos));
  return r.Str(std::move(out), markup);
}

Value CenterText(Renderer& r, std::string_view text, int64_t width, uint32_t fill, int align) {
  const auto size = static_cast<int64_t>(CountCodePoints(text));
  const int64_t room = std::max<int64_t>(0, width - std::min(width, size));
  if (!r.RoomForText(text.size() + static_cast<size_t>(room) * 4)) return Value();
  const int64_t left = align < 0 ? 0 : align > 0 ? room : room / 2 + (room & width & 1);
  std::string out;
  for (int64_t i = 0; i < left; ++i) AppendCodePoint(out, fill);
  out += text;
  for (int64_t i = left; i < room; ++i) AppendCodePoint(out, fill);
  return r.Str(std::move(out));
}

std::optional<int64_t> ParseInt(Renderer& r, std::string_view text, int64_t base) {
  if (base != 0 && (base < 2 || base > 36)) return std::nullopt;
  std::string_view s = StripRight(StripLeft(text));
  bool negative = false;
  if (!s.empty() && (s[0] == '+' || s[0] == '-')) {
    negative = s[0] == '-';
    s.remove_prefix(1);
  }
  bool prefixed = false;
  if (s.size() > 2 && s[0] == '0') {
    const char letter = static_cast<char>(s[1] | 0x20);
    const int own = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
    if (own != 0 && (base == 0 || base == own)) {
      base = own;
      prefixed = true;
      s.remove_prefix(2);
    }
  }
  const bool plain = base == 0;
  if (plain) base = 10;
  std::string digits;
  for (size_t i = 0; i < s.size();) {
    if (s[i] == '_') {
      if ((i == 0 && !prefixed) || i + 1 == s.size() || s[i + 1] == '_') return std::nullopt;
      ++i;
      continue;
    }
    const uint32_t c = NextCodePoint(s, i);
    if (c >= 0x80 && !IsDecimal(c)) return std::nullopt;
    digits += c >= 0x80 ? static_cast<char>('0' + DecimalValue(c)) : static_cast<char>(c);
  }
  if (digits.empty() || digits[0] == '-' || digits[0] == '+') return std::nullopt;
  if (plain && digits[0] == '0' && digits.find_first_not_of('0') != digits.npos) return std::nullopt;
  if (negative) digits.insert(0, "-");
  int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, static_cast<int>(base));
  if (end != digits.data() + digits.size()) return std::nullopt;
  if (error != std::errc()) r.Fail("integer overflow: the number does not fit in 64 bits");
  return value;
}

std::optional<double> ParseFloat(std::string_view text) {
  const std::string_view s = StripRight(StripLeft(text));
  std::string clean;
  for (size_t i = 0; i < s.size(); ++i) {
    const auto digit = [&](size_t at) { return at < s.size() && s[at] >= '0' && s[at] <= '9'; };
    if (s[i] == '_') {
      if (i == 0 || !digit(i - 1) || !digit(i + 1)) return std::nullopt;
      continue;
    }
    clean += s[i];
  }
  const std::string lower = ToLower(clean);
  const std::string_view word = std::string_view(lower).substr(!lower.empty() && (lower[0] == '-' || lower[0] == '+') ? 1 : 0);
  if (word != "inf" && word != "infinity" && word != "nan" && (word.empty() || word.find_first_not_of("0123456789.e+-") != word.npos)) {
    return std::nullopt;
  }
  char* end = nullptr;
  const double value = std::strtod(clean.c_str(), &end);
  if (end != clean.c_str() + clean.size()) return std::nullopt;
  return value;
}

namespace {

using F = std::string (*)(std::string_view);

template <F kFunction, bool kKeepsMarkup = true>
Value Text(Renderer& r, const Value& v, const Args& args) {
  Bound none;
  if (!Bind(r, "filter", args, {}, 0, &none)) return Value();
  const TextOf text(r, v);
  if (!r.Work(text.view().size() / 4)) return Value();
  return r.Str(kFunction(text.view()), kKeepsMarkup && v.is_markup());
}

std::string TitleFilter(std::string_view s) {
  std::string out;
  const auto separator = [](uint32_t c) { return c == '-' || IsSpace(c) || c == '(' || c == '{' || c == '[' || c == '<'; };
  size_t pos = 0;
  while (pos < s.size()) {
    size_t first_end = pos;
    const bool is_separator = separator(NextCodePoint(s, first_end));
    size_t end = first_end;
    while (end < s.size()) {
      size_t next = end;
      if (separator(NextCodePoint(s, next)) != is_separator) break;
      end = next;
    }
    out += ToUpper(s.substr(pos, first_end - pos));
    out += ToLower(s.substr(first_end, end - first_end));
    pos = end;
  }
  return out;
}

Value Trim(Renderer& r, const Value& v, const Args& args) {
  Bound b;
  if (!Bind(r, "trim", args, {"chars"}, 0, &b)) return Value();
  const TextOf text(r, v);
  const Value source = v.is_str() ? v : r.Str(std::string(text.view()));
  if (!b.given[0] || b.storage[0].is_none()) return r.SubText(source, StripRight(StripLeft(source.text())));
  if (!b.storage[0].is_str()) return r.Fail("strip arg must be None or str");
  const std::string_view chars = b.storage[0].text();
  if (!r.Work(text.view().size() * chars.size() / 8)) return Value();
  return r.SubText(source, StripRight(StripLeft(source.text(), chars), chars));
}

Value Replace(Renderer& r, const Value& v, const Args& args) {
  Bound b;
  if (!Bind(r, "replace", args, {"old", "new", "count"}, 2, &b)) return Value();
  const TextOf text(r, v), from(r, b.storage[0]), to(r, b.storage[1]);
  const int64_t count = b.given[2] && !b.storage[2].is_none() ? IntArg(r, b.storage[2], "replace") : -1;
  return ReplaceText(r, text.view(), from.view(), to.view(), count, false);
}

Value Default(Renderer& r, const Value& v, const Args& args) {
  Bound b;
  if (!Bind(r, "default", args, {"default_value", "boolean"}, 0, &b)) return Value();
  const bool boolean = b.given[1] && r.Truthy(b.storage[1]);
  if (!v.is_undefined() && (!boolean || r.Truthy(v))) return v;
  return b.given[0] ? b.storage[0] : Value::Borrowed("");
}

Value ToJsonFilter(Renderer& r, const Value& v, const Args& args) {
  Bound b;
  if (!Bind(r, "tojson", args, {"ensure_ascii", "indent", "separators", "sort_keys"}, 0, &b)) return Value();
  JsonStyle style;
  style.ascii = b.given[0] && r.Truthy(b.storage[0]);
  style.sort_keys = b.given[3] && r.Truthy(b.storage[3]);
  if (b.given[1] && !b.storage[1].is_none()) {
    style.pretty = true;
    style.item_separator = ",";
    if (b.storage[1].is_str()) {
      style.indent = b.storage[1].text();
    } else {
      const int64_t width = IntArg(r, b.storage[1], "tojson");
      if (width > 0 && !r.RoomForText(static_cast<size_t>(width))) return Value();
      style.indent.assign(static_cast<size_t>(std::max<int64_t>(0, width)), ' ');
    }
  }
  if (b.given[2] && !b.storage[2].is_none()) {
    Values parts;
    if (!r.Collect(b.storage[2], &parts)) return Value();
    if (parts.size() != 2 || !parts[0].is_str() || !parts[1].is_str()) return r.Fail("separators must be two strings");
    style.item_separator = parts[0].text();
    style.key_separator = parts[1].text();
  }
  if (r.failed()) return Value();
  std::string out;
  r.ToJson(out, v, style);
  return r.Str(std::move(out));
}

Value Safe(Renderer& r, const Value& v, const Args&) {
  if (v.is_str()) return v.AsMarkup();
  const TextOf text(r, v);
  return r.Str(std::string(text.view()), true);
}

Value Escape(Renderer& r, const Value& v, const Args&) {
  if (v.is_markup()) return v;
  const TextOf text(r, v);
  return r.Str(EscapeHtml(text.view()), true);
}

Value ForceEscape(Renderer& r, const Value& v, const Args&) {
  const TextOf text(r, v);
  return r.Str(EscapeHtml(text.view()), true);
}

Value String(Renderer& r, const Value& v, const Args&) {
  if (v.is_str()) return v;
  std::string out;
  r.AppendStr(out, v);
  return r.Str(std::move(out));
}

// int(float): false where Python raises.
bool Truncate64(Renderer& r, double d, int64_t* out) {
  if (std::isnan(d) || std::isinf(d)) return false;
  const double whole = std::trunc(d);
  if (whole < -9223372036854775808.0 || whole >= 9223372036854775808.0) {
    r.Fail("integer overflow: the number does not fit in 64 bits");
    return true;
  }
  *out = static_cast<int64_t>(whole);
  return true;
}

Value Int(Renderer& r, const Value& v, const Args& args) {
  Bound b;
  if (!Bind(r, "int", args, {"default", "base"}, 0, &b)) return Value();
  const Value fallback = b.given[0] ? b.storage[0] : Value::Int(0);
  if (v.is_undefined()) return r.FailUndefined(v);
  if (v.is_int()) return Value::Int(v.integer());
  int64_t out = 0;
  if (v.is_float()) {
    if (std::isinf(v.number())) return fallback;
    return Truncate64(r, v.number(), &out) ? Value::Int(out) : fallback;
  }
  if (!v.is_str()) return fallback;
  const int64_t base = b.given[1] ? IntArg(r, b.storage[1], "int") : 10;
  if (const auto parsed = ParseInt(r, v.text(), base)) return Value::Int(*parsed);
  const auto number = ParseFloat(v.text());
  return number && Truncate64(r, *number, &out) ? Value::Int(out) : fallback;
}

Value Float(Renderer& r, const Value& v, const Args& args) {
  Bound b;
  if (!Bind(r, "float", args, {"default"}, 0, &b)) return Value();
  if (v.is_undefined()) return r.FailUndefined(v);
  if (v.is_number()) return Value::Float(v.number());
  if (v.is_str()) {
    if (const auto number = ParseFloat(v.text())) return Value::Float(*number);
  }
  return b.given[0] ? b.storage[0] : Value::Float(0);
}

Value Abs(Renderer& r, const Value& v, const Args&) {
  if (v.is_undefined()) return r.FailUndefined(v);
  if (v.is_float()) return Value::Float(std::fabs(v.number()));
  if (!v.is_int()) return r.Fail(fmt::format("bad operand type for abs(): '{}'", TypeName(v)));
  return v.integer() < 0 ? r.Negate(v, false) : Value::Int(v.integer());
}

Value RoundInt(Renderer& r, int64_t v, int64_t precision) {
  if (precision >= 0) return Value::Int(v);
  if (precision < -18) return Value::Int(0);
  int64_t unit = 1;
  for (int64_t i = precision; i < 0; ++i) unit *= 10;
  int64_t quotient = v / unit;
  const int64_t rest = std::abs(v % unit);
  if (rest * 2 > unit || (rest * 2 == unit && (quotient & 1) != 0)) quotient += v < 0 ? -1 : 1;
  return r.Binary(ExprKind::kMul, Value::Int(quotient), Value::Int(unit));
}

Value RoundFloat(double v, int64_t precision) {
  if (!std::isfinite(v) || precision > 330) return Value::Float(v);
  if (precision < -330) return Value::Float(std::copysign(0.0, v));
  if (precision >= 0) return Value::Float(std::strtod(fmt::format("{:.{}f}", v, static_cast<int>(precision)).c_str(), nullptr));
  const double unit = std::pow(10.0, static_cast<double>(-precision));
  return Value::Float(std::nearbyint(v / unit) * unit);
}

Value Round(Renderer& r, const Value& v, const Args& args) {
  Bound b;
  if (!Bind(r, "round", args, {"precision", "method"}, 0, &b)) return Value();
  const std::string_view method = b.given[1] && b.storage[1].is_str() ? b.storage[1].text() : "common";
  if ((b.given[1] && !b.storage[1].is_str()) || (method != "common" && method != "ceil" && method != "floor")) {
    return r.Fail("method must be common, ceil or floor");
  }
  if (v.is_undefined()) return r.FailUndefined(v);
  if (!v.is_number()) return r.Fail(fmt::format("type {} doesn't define __round__ method", TypeName(v)));
  const bool plain = b.given[0] && b.storage[0].is_none() && method == "common";
  const int64_t precision = b.given[0] && !plain ? IntArg(r, b.storage[0], "round") : 0;
  if (r.failed()) return Value();
  if (method == "common") {
    if (v.is_int()) return RoundInt(r, v.integer(), precision);
    const Value rounded = RoundFloat(v.number(), precision);
    return plain ? Int(r, rounded, Args()) : rounded;
  }
  const double unit = std::pow(10.0, static_cast<double>(precision));
  const double scaled = v.number() * unit;
  if (!std::isfinite(scaled)) return r.Fail("cannot convert float to integer");
  return Value::Float((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / unit);
}

Value Indent(Renderer& r, const Value& v, const Args& args) {
  Bound b;
  if (!Bind(r, "indent", args, {"width", "first", "blank"}, 0, &b)) return Value();
  if (v.is_undefined()) return r.FailUndefined(v);
  if (!v.is_str()) return r.Fail(fmt::format("indent: expected a string, got '{}'", TypeName(v)));
  std::string indention(4, ' ');
  if (b.given[0] && b.storage[0].is_str()) {
    indention = b.storage[0].text();
  } else if (b.given[0]) {
    const int64_t width = IntArg(r, b.storage[0], "indent");
    if (!r.RoomForText(static_cast<size_t>(std::max<int64_t>(0, width)))) return Value();
    indention.assign(static_cast<size_t>(std::max<int64_t>(0, width)), ' ');
  }
  const bool first = b.given[1] && r.Truthy(b.storage[1]);
  const bool blank = b.given[2] && r.Truthy(b.storage[2]);
  const std::string text = std::string(v.text()) + "\n";
  std::string out = first ? indention : "";
  bool start = true;
  for (const std::string_view line : SplitLines(text, false)) {
    if (!start) {
      out += '\n';
      if (blank || !line.empty()) out += indention;
    }
    start = false;
    if (!r.RoomForText(out.size() + line.size())) return Value();
    out += line;
  }
  return r.Str(std::move(out), v.is_markup());
}

Value TruncateFilter(Renderer& r, const Value& v, const Args& args) {
  Bound b;
  if (!Bind(r, "truncate", args, {"length", "killwords", "end", "leeway"}, 0, &b)) return Value();
  const int64_t length = b.given[0] ? IntArg(r, b.storage[0], "truncate") : 255;
  const int64_t leeway = b.given[3] && !b.storage[3].is_none() ? IntArg(r, b.storage[3], "truncate") : 5;
  const TextOf end(r, b.given[2] ? b.storage[2] : Value::Borrowed("..."));
  const auto end_size = static_cast<int64_t>(CountCodePoints(end.view()));
  if (length < end_size) return r.Fail(fmt::format("expected length >= {}, got {}", end_size, length));
  if (leeway < 0) return r.Fail(fmt::format("expected leeway >= 0, got {}", leeway));
  const int64_t size = r.Length(v);
  if (r.failed()) return Value();
  if (size <= length || size - length <= leeway) return v;
  if (!v.is_str()) return r.Fail("truncate: expected a string");
  std::string_view kept = v.text().substr(0, ByteOffset(v.text(), static_cast<size_t>(length - end_size)));
  if (!(b.given[1] && r.Truthy(b.storage[1]))) {
    if (const size_t space = kept.rfind(' '); space != kept.npos) kept = kept.substr(0, space);
  }
  return r.Str(std::string(kept).append(end.view()), v.is_markup());
}

Value Center(Renderer& r, const Value& v, const Args& args) {
  Bound b;
  if (!Bind(r, "center", args, {"width"}, 0, &b)) return Value();
  const TextOf text(r, v);
  return CenterText(r, text.view(), b.given[0] ? IntArg(r, b.storage[0], "center") : 80, ' ', 0);
}

Value WordCount(Renderer& r, const Value& v, const Args&) {
  const TextOf text(r, v);
  int64_t count = 0;
  bool inside = false;
  for (size_t pos = 0; pos < text.view().size();) {
    const uint32_t c = NextCodePoint(text.view(), pos);
    const bool word = c == '_' || IsAlpha(c) || IsNumeric(c);
    count += word && !inside ? 1 : 0;
    inside = word;
  }
  return Value::Int(count);
}

void AppendUrlQuoted(std::string& out, std::string_view s, bool query) {
  for (const char c : s) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-' ||
                       c == '~' || (c == '/' && !query);
    if (plain)
      out += c;
    else if (query && c == ' ')
      out += '+';
    else
      out += fmt::format("%{:02X}", byte);
  }
}

Value UrlEncode(Renderer& r, const Value& v, const Args&) {
  std::string out;
  if (v.is_str() || !r.Iterable(v)) {
    const TextOf text(r, v);
    AppendUrlQuoted(out, text.view(), false);
    return r.Str(std::move(out));
  }
  Values items;
  if (v.is_dict()) {
    for (const auto& [key, value] : AsDict(v)->items) items.push_back(r.Tuple({key, value}));
  } else if (!r.Collect(v, &items)) {
    return Value();
  }
  for (const Value& item : items) {
    Values pair;
    if (!r.Collect(item, &pair)) return Value();
    if (pair.size() != 2) return r.Fail("urlencode: expected pairs");
    const TextOf key(r, pair[0]), value(r, pair[1]);
    if (!out.empty()) out += '&';
    AppendUrlQuoted(out, key.view(), true);
    out += '=';
    AppendUrlQuoted(out, value.view(), true);
    if (!r.RoomForText(out.size())) return Value();
  }
  return r.Str(std::move(out));
}

Value FileSize(Renderer& r, const Value& v, const Args& args) {
  Bound b;
  if (!Bind(r, "filesizeformat", args, {"binary"}, 0, &b)) return Value();
  const bool binary = b.given[0] && r.Truthy(b.storage[0]);
  const auto parsed = v.is_str() ? ParseFloat(v.text()) : v.is_number() ? std::optional<double>(v.number()) : std::nullopt;
  if (!parsed) return r.Fail("could not convert to float");
  const double bytes = *parsed, base = binary ? 1024 : 1000;
  if (bytes == 1) return Value::Borrowed("1 Byte");
  if (bytes < base) return r.Str(fmt::format("{} Bytes", static_cast<int64_t>(bytes)));
  static constexpr const char* kBinary[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"};
  static constexpr const char* kDecimal[] = {"kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"};
  double unit = base;
  for (int i = 0; i < 8; ++i) {
    unit *= base;
    if (bytes < unit || i == 7) return r.Str(fmt::format("{:.1f} {}", base * bytes / unit, binary ? kBinary[i] : kDecimal[i]));
  }
  return Value();
}

Value FormatFilter(Renderer& r, const Value& v, const Args& args) {
  if (!args.positional.empty() && !args.named.empty()) return r.Fail("can't handle positional and keyword arguments at the same time");
  const TextOf text(r, v);
  return FormatPercent(r, v.is_str() ? v : r.Str(std::string(text.view())), r.Tuple(args.positional), args.named.empty() ? nullptr : &args);
}

Value Attr(Renderer& r, const Value& v, const Args& args) {
  Bound b;
  if (!Bind(r, "attr", args, {"name"}, 1, &b)) return Value();
  if (v.is_undefined()) return r.FailUndefined(v);
  if (!b.storage[0].is_str()) return r.Fail("attribute name must be string");
  if (auto attribute = r.Attribute(v, b.storage[0].text())) return *std::move(attribute);
  return r.UndefinedItem(v, b.storage[0]);
}

constexpr FilterEntry kTextFilters[] = {
    {"abs", Abs},
    {"attr", Attr},
    {"capitalize", Text<Capitalize>},
    {"center", Center},
    {"d", Default},
    {"default", Default},
    {"e", Escape},
    {"escape", Escape},
    {"filesizeformat", FileSize},
    {"float", Float},
    {"forceescape", ForceEscape},
    {"format", FormatFilter},
    {"indent", Indent},
    {"int", Int},
    {"lower", Text<ToLower>},
    {"replace", Replace},
    {"round", Round},
    {"safe", Safe},
    {"string", String},
    {"title", Text<TitleFilter, false>},
    {"tojson", ToJsonFilter},
    {"trim", Trim},
    {"truncate", TruncateFilter},
    {"upper", Text<ToUpper>},
    {"urlencode", UrlEncode},
    {"wordcount", WordCount},
    {"wordwrap", WordWrap},
};

}  // namespace

const FilterEntry* FindFilter(std::string_view name) {
  for (const FilterEntry& entry : kTextFilters) {
    if (entry.name == name) return &entry;
  }
  return FindSequenceFilter(name);
}

Value Renderer::CallFilter(std::string_view name, const Value& value, const Args& args) {
  const FilterEntry* filter = FindFilter(name);
  if (filter == nullptr) return Fail(fmt::format("No filter named '{}'.", name));
  return Step() ? filter->call(*this, value, args) : Value();
}

}  // namespace sgl::jinja
