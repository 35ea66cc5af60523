// Methods of str, list, tuple, dict and the small helper objects. The sandbox hides methods that change a list or dict.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "text/jinja/text_filters.h"
#include "text/jinja/text_util.h"

namespace sgl::jinja {
namespace {

std::string_view TextArg(Renderer& r, const Value& v) {
  if (v.is_str()) return v.text();
  r.Fail(fmt::format("expected a string argument, got '{}'", TypeName(v)));
  return "";
}

int64_t OptionalInt(Renderer& r, const Bound& b, int i, int64_t fallback) {
  return b.given[i] && !b.storage[i].is_none() ? IntArg(r, b.storage[i], "argument") : fallback;
}

template <std::string (*kFunction)(std::string_view)>
Value Mapped(Renderer& r, const Value& v, const Args& args) {
  Bound none;
  if (!Bind(r, "method", args, {}, 0, &none) || !r.Work(v.text().size() / 4)) return Value();
  return r.Str(kFunction(v.text()), v.is_markup());
}

template <bool kLeft, bool kRight>
Value Strip(Renderer& r, const Value& v, const Args& args) {
  Bound b;
  if (!Bind(r, "strip", args, {""}, 0, &b)) return Value();
  std::string_view s = v.text();
  if (!b.given[0] || b.storage[0].is_none()) {
    if (kLeft) s = StripLeft(s);
    if (kRight) s = StripRight(s);
  } else {
    const std::string_view chars = TextArg(r, b.storage[0]);
    if (!r.Work(s.size() * chars.size() / 8)) return Value();
    if (kLeft) s = StripLeft(s, chars);
    if (kRight) s = StripRight(s, chars);
  }
  return r.SubText(v, s);
}

// The part of the text that start and end name, by code points; false when start is past the end. offset: code points before it.
bool Window(Renderer& r, const Value& v, const Bound& b, int first, std::string_view* part, int64_t* offset) {
  *part = v.text();
  *offset = 0;
  const bool from = b.given[first] && !b.storage[first].is_none(), to = b.given[first + 1] && !b.storage[first + 1].is_none();
  if (!from && !to) return true;
  const auto size = static_cast<int64_t>(CountCodePoints(v.text()));
  const auto clamp = [&](int64_t i) { return i < 0 ? std::max<int64_t>(0, i < -size ? 0 : i + size) : i; };
  const int64_t start = clamp(OptionalInt(r, b, first, 0)), end = std::min(size, clamp(OptionalInt(r, b, first + 1, size)));
  if (start > size || start > end) return false;
  const size_t begin = ByteOffset(v.text(), static_cast<size_t>(start));
  *part = v.text().substr(begin, ByteOffset(v.text(), static_cast<size_t>(end)) - begin);
  *offset = start;
  return true;
}

template <bool kStart>
Value Affix(Renderer& r, const Value& v, const Args& args) {
  Bound b;
  if (!Bind(r, kStart ? "startswith" : "endswith", args, {"", "", ""}, 1, &b)) return Value();
  std::string_view part;
  int64_t offset;
  const bool inside = Window(r, v, b, 1, &part, &offset);
  const auto matches = [&](const Value& affix) {
    const std::string_view a = TextArg(r, affix);
    if (!inside || a.size() > part.size()) return false;
    return (kStart ? part.substr(0, a.size()) : part.substr(part.size() - a.size())) == a;
  };
  if (b.storage[0].kind() != Kind::kTuple) return Value::Bool(matches(b.storage[0]));
  for (const Value& affix : AsList(b.storage[0])->items) {
    if (matches(affix)) return Value::Bool(true);
  }
  return Value::Bool(false);
}

template <bool kLast, bool kMustExist>
Value Find(Renderer& r, const Value& v, const Args& args) {
  Bound b;
  if (!Bind(r, "find", args, {"", "", ""}, 1, &b)) return Value();
  const std::string_view wanted = TextArg(r, b.storage[0]);
  std::string_view part;
  int64_t offset;
  if (!r.Work(v.text().size() / 16)) return Value();
  size_t at = std::string_view::npos;
  if (Window(r, v, b, 1, &part, &offset)) at = kLast ? part.rfind(wanted) : part.find(wanted);
  if (at == std::string_view::npos) return kMustExist ? r.Fail("substring not found") : Value::Int(-1);
  return Value::Int(offset + static_cast<int64_t>(CountCodePoints(part.substr(0, at))));
}

Value CountText(Renderer& r, const Value& v, const Args& args) {
  Bound b;
  if (!Bind(r, "count", args, {"", "", ""}, 1, &b)) return Value();
  const std::string_view wanted = TextArg(r, b.storage[0]);
  std::string_view part;
  int64_t offset;
  if (!r.Work(v.text().size() / 16) || !Window(r, v, b, 1, &part, &offset)) return Value::Int(0);
  if (wanted.empty()) return Value::Int(static_cast<int64_t>(CountCodePoints(part)) + 1);
  int64_t count = 0;
  for (size_t at = part.find(wanted); at != part.npos; at = part.find(wanted, at + wanted.size())) ++count;
  return Value::Int(count);
}

Value Replace(Renderer& r, const Value& v, const Args& args) {
  Bound b;
  if (!Bind(r, "replace", args, {"", "", ""}, 2, &b)) return Value();
  const std::string_view from = TextArg(r, b.storage[0]), to = TextArg(r, b.storage[1]);
  const int64_t count = b.given[2] ? IntArg(r, b.storage[2], "replace") : -1;
  if (v.is_markup() && !b.storage[1].is_markup()) return ReplaceText(r, v.text(), from, EscapeHtml(to), count, true);
  return ReplaceText(r, v.text(), from, to, count, v.is_markup());
}

void SplitSpace(Renderer& r, const Value& v, int64_t limit, bool from_right, Values* out) {
  std::string_view s = from_right ? StripRight(v.text()) : StripLeft(v.text());
  while (!s.empty() && r.Work(16)) {
    if (limit-- == 0) {
      out->push_back(r.SubText(v, from_right ? StripRight(s) : s));
      break;
    }
    size_t edge = 0;  // end of the first word, or start of the last
    if (from_right) {
      edge = s.size();
      for (size_t pos = s.size(); pos > 0;) {
        do --pos;
        while (pos > 0 && (static_cast<unsigned char>(s[pos]) & 0xC0) == 0x80);
        size_t next = pos;
        if (IsSpace(NextCodePoint(s, next))) break;
        edge = pos;
      }
      out->push_back(r.SubText(v, s.substr(edge)));
      s = StripRight(s.substr(0, edge));
    } else {
      while (edge < s.size()) {
        size_t next = edge;
        if (IsSpace(NextCodePoint(s, next))) break;
        edge = next;
      }
      out->push_back(r.SubText(v, s.substr(0, edge)));
      s = StripLeft(s.substr(edge));
    }
  }
}

template <bool kFromRight>
Value Split(Renderer& r, const Value& v, const Args& args) {
  Bound b;
  if (!Bind(r, "split", args, {"sep", "maxsplit"}, 0, &b)) return Value();
  int64_t limit = b.given[1] ? IntArg(r, b.storage[1], "split") : -1;
  if (!r.Work(v.text().size() / 4)) return Value();
  Values out;
  if (!b.given[0] || b.storage[0].is_none()) {
    SplitSpace(r, v, limit, kFromRight, &out);
  } else {
    const std::string_view separator = TextArg(r, b.storage[0]);
    if (r.failed()) return Value();
    if (separator.empty()) return r.Fail("empty separator");
    std::string_view s = v.text();
    while (limit-- != 0 && r.Work(16) && r.RoomForItems(out.size())) {
      const size_t at = kFromRight ? s.rfind(separator) : s.find(separator);
      if (at == s.npos) break;
      out.push_back(r.SubText(v, kFromRight ? s.substr(at + separator.size()) : s.substr(0, at)));
      s = kFromRight ? s.substr(0, at) : s.substr(at + separator.size());
    }
    out.push_back(r.SubText(v, s));
  }
  if (kFromRight) std::reverse(out.begin(), out.end());
  return r.List(std::move(out));
}

template <bool kFromRight>
Value Partition(Renderer& r, const Value& v, const Args& args) {
  Bound b;
  if (!Bind(r, "partition", args, {""}, 1, &b)) return Value();
  const std::string_view separator = TextArg(r, b.storage[0]), s = v.text();
  if (r.failed()) return Value();
  if (separator.empty()) return r.Fail("empty separator");
  const size_t at = kFromRight ? s.rfind(separator) : s.find(separator);
  const Value none = Value::Borrowed("");
  if (at == s.npos) return kFromRight ? r.Tuple({none, none, v}) : r.Tuple({v, none, none});
  return r.Tuple({r.SubText(v, s.substr(0, at)), b.storage[0], r.SubText(v, s.substr(at + separator.size()))});
}

Value SplitLinesMethod(Renderer& r, const Value& v, const Args& args) {
  Bound b;
  if (!Bind(r, "splitlines", args, {"keepends"}, 0, &b) || !r.Work(v.text().size() / 4)) return Value();
  Values out;
  for (const std::string_view line : SplitLines(v.text(), b.given[0] && r.Truthy(b.storage[0]))) {
    if (!r.RoomForItems(out.size())) return Value();
    out.push_back(r.SubText(v, line));
  }
  return r.List(std::move(out));
}

Value JoinMethod(Renderer& r, const Value& v, const Args& args) {
  Bound b;
  if (!Bind(r, "join", args, {""}, 1, &b)) return Value();
  Cursor cursor = r.Iterate(b.storage[0]);
  std::string out;
  Value item;
  for (int64_t i = 0; cursor.Next(r, &item); ++i) {
    if (!item.is_str() && !v.is_markup())
      return r.Fail(fmt::format("sequence item {}: expected str instance, {} found", i, TypeName(item)));
    const TextOf plain(r, item);
    const std::string escaped = v.is_markup() && !item.is_markup() ? EscapeHtml(plain.view()) : "";  // Markup's own join takes anything
    const std::string_view text = v.is_markup() && !item.is_markup() ? std::string_view(escaped) : plain.view();
    if (!r.Work(4) || !r.RoomForText(out.size() + v.text().size() + text.size())) return Value();
    if (i != 0) out += v.text();
    out += text;
  }
  return r.Str(std::move(out), v.is_markup());
}

template <bool kPrefix>
Value RemoveAffix(Renderer& r, const Value& v, const Args& args) {
  Bound b;
  if (!Bind(r, "removeprefix", args, {""}, 1, &b)) return Value();
  const std::string_view affix = TextArg(r, b.storage[0]), s = v.text();
  if (s.size() < affix.size()) return v;
  if (kPrefix) return s.substr(0, affix.size()) == affix ? r.SubText(v, s.substr(affix.size())) : v;
  return s.substr(s.size() - affix.size()) == affix ? r.SubText(v, s.substr(0, s.size() - affix.size())) : v;
}

template <int kAlign>
Value Justify(Renderer& r, const Value& v, const Args& args) {
  Bound b;
  if (!Bind(r, "justify", args, {"", ""}, 1, &b)) return Value();
  const int64_t width = IntArg(r, b.storage[0], "width");
  uint32_t fill = ' ';
  if (b.given[1]) {
    const std::string_view text = TextArg(r, b.storage[1]);
    if (CountCodePoints(text) != 1) return r.Fail("The fill character must be exactly one character long");
    size_t pos = 0;
    fill = NextCodePoint(text, pos);
  }
  return CenterText(r, v.text(), width, fill, -kAlign);
}

Value ZFill(Renderer& r, const Value& v, const Args& args) {
  Bound b;
  if (!Bind(r, "zfill", args, {""}, 1, &b)) return Value();
  const int64_t width = IntArg(r, b.storage[0], "zfill");
  const bool sign = !v.text().empty() && (v.text()[0] == '-' || v.text()[0] == '+');
  const Value digits = CenterText(r, v.text().substr(sign ? 1 : 0), width - (sign && width > INT64_MIN ? 1 : 0), '0', 1);
  if (r.failed()) return Value();
  return r.Str((sign ? std::string(1, v.text()[0]) : "") + std::string(digits.text()));
}

Value ExpandTabs(Renderer& r, const Value& v, const Args& args) {
  Bound b;
  if (!Bind(r, "expandtabs", args, {"tabsize"}, 0, &b)) return Value();
  const int64_t size = b.given[0] ? IntArg(r, b.storage[0], "expandtabs") : 8;
  std::string out;
  int64_t column = 0;
  for (size_t pos = 0; pos < v.text().size();) {
    const uint32_t c = NextCodePoint(v.text(), pos);
    if (c == '\t') {
      const int64_t n = size > 0 ? size - column % size : 0;
      if (!r.RoomForText(out.size() + static_cast<size_t>(n))) return Value();
      out.append(static_cast<size_t>(n), ' ');
      column += n;
      continue;
    }
    AppendCodePoint(out, c);
    column = c == '\n' || c == '\r' ? 0 : column + 1;
  }
  return r.Str(std::move(out), v.is_markup());
}

Value Format(Renderer& r, const Value& v, const Args& args) { return FormatBraces(r, v, args); }

Value FormatMap(Renderer& r, const Value& v, const Args& args) {
  Bound b;
  if (!Bind(r, "format_map", args, {""}, 1, &b)) return Value();
  Args named;
  if (!b.storage[0].is_dict()) return r.Fail("format_map() needs a mapping");
  for (const auto& [key, value] : AsDict(b.storage[0])->items) {
    if (!r.Work(4)) return Value();
    if (key.is_str()) named.named.emplace_back(key.text(), value);
  }
  return FormatBraces(r, v, named);
}

template <bool (*kHolds)(uint32_t)>
Value All(Renderer& r, const Value& v, const Args& args) {
  Bound none;
  if (!Bind(r, "method", args, {}, 0, &none) || !r.Work(v.text().size() / 8)) return Value();
  for (size_t pos = 0; pos < v.text().size();) {
    if (!kHolds(NextCodePoint(v.text(), pos))) return Value::Bool(false);
  }
  return Value::Bool(!v.text().empty());
}
bool IsAlnum(uint32_t c) { return IsAlpha(c) || IsNumeric(c) || IsDigit(c); }

template <bool (*kWanted)(uint32_t)>
Value CasedAs(Renderer& r, const Value& v, const Args&) {
  if (!r.Work(v.text().size() / 8)) return Value();
  bool any = false;
  for (size_t pos = 0; pos < v.text().size();) {
    const uint32_t c = NextCodePoint(v.text(), pos);
    if (kWanted(c))
      any = true;
    else if (IsCased(c))
      return Value::Bool(false);
  }
  return Value::Bool(any);
}

Value IsTitleMethod(Renderer&, const Value& v, const Args&) {
  bool any = false, in_word = false;
  for (size_t pos = 0; pos < v.text().size();) {
    const uint32_t c = NextCodePoint(v.text(), pos);
    if (IsUpper(c) || IsTitle(c)) {
      if (in_word) return Value::Bool(false);
      any = in_word = true;
    } else if (IsLower(c)) {
      if (!in_word) return Value::Bool(false);
    } else {
      in_word = false;
    }
  }
  return Value::Bool(any);
}

Value IsAsciiMethod(Renderer&, const Value& v, const Args&) { return Value::Bool(IsAscii(v.text())); }
Value IsPrintableMethod(Renderer& r, const Value& v, const Args& args) {
  return v.text().empty() ? Value::Bool(true) : All<IsPrintable>(r, v, args);
}
Value IsIdentifier(Renderer& r, const Value& v, const Args& args) {
  size_t pos = 0;
  if (v.text().empty() || !IsIdentifierStart(NextCodePoint(v.text(), pos))) return Value::Bool(false);
  return All<IsIdentifierPart>(r, v, args);
}

constexpr MethodEntry kStrMethods[] = {
    {"strip", Strip<true, true>},
    {"lstrip", Strip<true, false>},
    {"rstrip", Strip<false, true>},
    {"split", Split<false>},
    {"rsplit", Split<true>},
    {"startswith", Affix<true>},
    {"endswith", Affix<false>},
    {"replace", Replace},
    {"upper", Mapped<ToUpper>},
    {"lower", Mapped<ToLower>},
    {"title", Mapped<TitleWords>},
    {"capitalize", Mapped<Capitalize>},
    {"casefold", Mapped<CaseFold>},
    {"swapcase", Mapped<SwapCase>},
    {"find", Find<false, false>},
    {"rfind", Find<true, false>},
    {"index", Find<false, true>},
    {"rindex", Find<true, true>},
    {"count", CountText},
    {"join", JoinMethod},
    {"format", Format},
    {"format_map", FormatMap},
    {"splitlines", SplitLinesMethod},
    {"partition", Partition<false>},
    {"rpartition", Partition<true>},
    {"removeprefix", RemoveAffix<true>},
    {"removesuffix", RemoveAffix<false>},
    {"center", Justify<0>},
    {"ljust", Justify<1>},
    {"rjust", Justify<-1>},
    {"zfill", ZFill},
    {"expandtabs", ExpandTabs},
    {"isdigit", All<IsDigit>},
    {"isdecimal", All<IsDecimal>},
    {"isnumeric", All<IsNumeric>},
    {"isalpha", All<IsAlpha>},
    {"isalnum", All<IsAlnum>},
    {"isspace", All<IsSpace>},
    {"isupper", CasedAs<IsUpper>},
    {"islower", CasedAs<IsLower>},
    {"istitle", IsTitleMethod},
    {"isascii", IsAsciiMethod},
    {"isprintable", IsPrintableMethod},
    {"isidentifier", IsIdentifier},
};

// --- list, tuple, range

Value CountItems(Renderer& r, const Value& v, const Args& args) {
  Bound b;
  if (!Bind(r, "count", args, {""}, 1, &b)) return Value();
  int64_t count = 0;
  Cursor cursor = r.Iterate(v);
  Value item;
  while (cursor.Next(r, &item) && r.Work(1)) count += r.Equal(item, b.storage[0]) ? 1 : 0;
  return Value::Int(count);
}

Value IndexOf(Renderer& r, const Value& v, const Args& args) {
  Bound b;
  if (!Bind(r, "index", args, {"", "", ""}, 1, &b)) return Value();
  const int64_t size = r.Length(v);
  const auto clamp = [&](int64_t i) { return i < 0 ? std::max<int64_t>(0, i < -size ? 0 : i + size) : std::min(i, size); };
  const int64_t start = clamp(OptionalInt(r, b, 1, 0)), end = clamp(OptionalInt(r, b, 2, size));
  Cursor cursor = r.Iterate(v);
  Value item;
  for (int64_t i = 0; cursor.Next(r, &item) && r.Work(1); ++i) {
    if (i >= start && i < end && r.Equal(item, b.storage[0])) return Value::Int(i);
  }
  return r.Fail("the value is not in the list");
}

Value CopyList(Renderer& r, const Value& v, const Args&) { return r.GetSlice(v, Value::None(), Value::None(), Value::None()); }

constexpr MethodEntry kTupleMethods[] = {{"count", CountItems}, {"index", IndexOf}};
constexpr MethodEntry kListMethods[] = {{"count", CountItems}, {"index", IndexOf}, {"copy", CopyList}};
constexpr std::string_view kListRefused[] = {"append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove"};

// --- dict

Value Get(Renderer& r, const Value& v, const Args& args) {
  Bound b;
  if (!Bind(r, "get", args, {"", ""}, 1, &b)) return Value();
  if (!Hashable(b.storage[0])) return r.Fail(fmt::format("unhashable type: '{}'", TypeName(b.storage[0])));
  if (const Value* found = AsDict(v)->Find(b.storage[0])) return *found;
  return b.given[1] ? b.storage[1] : Value::None();
}

template <DictViewObj::What kWhat>
Value View(Renderer& r, const Value& v, const Args& args) {
  Bound none;
  if (!Bind(r, "method", args, {}, 0, &none)) return Value();
  return Value(r.heap.New<DictViewObj>(v, kWhat));
}

Value CopyDict(Renderer& r, const Value& v, const Args&) {
  Args args;
  args.positional.push_back(v);
  return r.MakeDict(args);
}

constexpr MethodEntry kDictMethods[] = {{"get", Get},
                                        {"items", View<DictViewObj::kItems>},
                                        {"keys", View<DictViewObj::kKeys>},
                                        {"values", View<DictViewObj::kValues>},
                                        {"copy", CopyDict}};
constexpr std::string_view kDictRefused[] = {"clear", "pop", "popitem", "setdefault", "update"};

// --- numbers and helpers

Value BitLength(Renderer&, const Value& v, const Args&) {
  const auto u = v.integer() < 0 ? 0 - static_cast<uint64_t>(v.integer()) : static_cast<uint64_t>(v.integer());
  return Value::Int(u == 0 ? 0 : 64 - __builtin_clzll(u));
}
Value IsInteger(Renderer&, const Value& v, const Args&) {
  return Value::Bool(std::isfinite(v.number()) && v.number() == std::floor(v.number()));
}

Value Cycle(Renderer& r, const Value& v, const Args& args) {
  if (!args.named.empty()) return r.Fail("cycle() takes no keyword arguments");
  if (args.positional.empty()) return r.Fail("no items for cycling given");
  return args.positional[static_cast<size_t>(AsLoop(v)->index0) % args.positional.size()];
}

Value Changed(Renderer& r, const Value& v, const Args& args) {
  if (!args.named.empty()) return r.Fail("changed() takes no keyword arguments");
  LoopObj& loop = *AsLoop(v);
  const Value now = r.Tuple(args.positional);
  if (loop.has_changed && r.Equal(loop.changed, now)) return Value::Bool(false);
  loop.has_changed = true;
  loop.changed = now;
  return Value::Bool(true);
}

Value NextInCycle(Renderer&, const Value& v, const Args&) {
  auto& cycler = static_cast<CyclerObj&>(*v.obj());
  Value out = cycler.items[cycler.pos];
  cycler.pos = (cycler.pos + 1) % cycler.items.size();
  return out;
}

Value ResetCycle(Renderer&, const Value& v, const Args&) {
  static_cast<CyclerObj&>(*v.obj()).pos = 0;
  return Value::None();
}

constexpr MethodEntry kIntMethods[] = {{"bit_length", BitLength}};
constexpr MethodEntry kFloatMethods[] = {{"is_integer", IsInteger}};
constexpr MethodEntry kLoopMethods[] = {{"cycle", Cycle}, {"changed", Changed}};
constexpr MethodEntry kCyclerMethods[] = {{"next", NextInCycle}, {"reset", ResetCycle}};

// What every Python object has, and the sandbox hides.
constexpr std::string_view kInternal[] = {"__class__",
                                          "__doc__",
                                          "__init__",
                                          "__new__",
                                          "__repr__",
                                          "__str__",
                                          "__eq__",
                                          "__ne__",
                                          "__lt__",
                                          "__le__",
                                          "__gt__",
                                          "__ge__",
                                          "__hash__",
                                          "__dir__",
                                          "__format__",
                                          "__reduce__",
                                          "__reduce_ex__",
                                          "__sizeof__",
                                          "__getattribute__",
                                          "__setattr__",
                                          "__delattr__",
                                          "__subclasshook__",
                                          "__init_subclass__",
                                          "__getstate__"};

template <size_t N>
const MethodEntry* Search(const MethodEntry (&table)[N], std::string_view name) {
  for (const MethodEntry& entry : table) {
    if (entry.name == name) return &entry;
  }
  return nullptr;
}

}  // namespace

const MethodEntry* FindMethod(const Value& object, std::string_view name, bool* refused) {
  const auto in = [&](const auto& names) { return std::find(std::begin(names), std::end(names), name) != std::end(names); };
  if (name.substr(0, 2) == "__" && object.kind() != Kind::kNamespace && in(kInternal)) {
    *refused = true;
    return nullptr;
  }
  switch (object.kind()) {
    case Kind::kStr: return Search(kStrMethods, name);
    case Kind::kDict: *refused = in(kDictRefused); return Search(kDictMethods, name);
    case Kind::kList: *refused = in(kListRefused); return Search(kListMethods, name);
    case Kind::kTuple:
    case Kind::kRange: return Search(kTupleMethods, name);
    case Kind::kBool:
    case Kind::kInt: return Search(kIntMethods, name);
    case Kind::kFloat: return Search(kFloatMethods, name);
    case Kind::kLoop: return Search(kLoopMethods, name);
    case Kind::kCycler: return Search(kCyclerMethods, name);
    default: return nullptr;
  }
}

}  // namespace sgl::jinja
