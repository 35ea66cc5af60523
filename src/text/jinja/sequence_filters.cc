// SPDX-License-Identifier: Apache-2.0
#include "text/jinja/sequence_filters.h"

#include <algorithm>

#include "text/jinja/text_filters.h"
#include "text/jinja/text_util.h"

namespace sgl::jinja {
namespace {

// The attribute argument of many filters: "a.b.0" or an index; looks items up before attributes.
class AttributePath {
 public:
  AttributePath() = default;
  AttributePath(Renderer& r, const Value* attribute) {
    if (attribute == nullptr || attribute->is_none()) return;
    if (!attribute->is_str()) {
      parts_.push_back(*attribute);
      return;
    }
    const std::string_view text = attribute->text();
    for (size_t start = 0;;) {
      const size_t dot = std::min(text.find('.', start), text.size());
      const std::string_view part = text.substr(start, dot - start);
      const bool digits = !part.empty() && part.size() < 18 && part.find_first_not_of("0123456789") == part.npos;
      parts_.push_back(digits ? Value::Int(std::stoll(std::string(part))) : r.Str(std::string(part)));
      if (dot == text.size()) break;
      start = dot + 1;
    }
  }
  void set_default(const Value& v) {
    if (!v.is_none()) default_ = v;
  }
  Value Get(Renderer& r, Value item, bool ignore_case = false) const {
    for (const Value& part : parts_) {
      if (r.failed()) return Value();
      item = r.GetItem(item, part);
      if (default_ && item.is_undefined()) item = *default_;
    }
    return ignore_case ? Lowered(r, item) : item;
  }
  static Value Lowered(Renderer& r, const Value& v) {
    if (!v.is_str()) return v;
    r.Work(v.text().size() / 4);
    return r.Str(ToLower(v.text()));
  }

 private:
  Values parts_;
  std::optional<Value> default_;
};

// sort's attribute argument: several paths separated by commas.
std::vector<AttributePath> MultiPath(Renderer& r, const Value* attribute) {
  std::vector<AttributePath> out;
  if (attribute == nullptr || !attribute->is_str()) {
    out.emplace_back(r, attribute);
    return out;
  }
  const std::string_view text = attribute->text();
  for (size_t start = 0;;) {
    const size_t comma = std::min(text.find(',', start), text.size());
    const Value part = r.Str(std::string(text.substr(start, comma - start)));
    out.emplace_back(r, &part);
    if (comma == text.size()) return out;
    start = comma + 1;
  }
}

struct Keyed {
  Value key, item;
};

void SortKeyed(Renderer& r, std::vector<Keyed>* items, bool reverse) {
  std::stable_sort(items->begin(), items->end(), [&](const Keyed& a, const Keyed& b) {
    if (!r.Work(4)) return false;
    return reverse ? r.Ordered(CompareOp::kLt, b.key, a.key) : r.Ordered(CompareOp::kLt, a.key, b.key);
  });
}

Value Sort(Renderer& r, const Value& v, const Args& args) {
  Bound b;
  if (!Bind(r, "sort", args, {"reverse", "case_sensitive", "attribute"}, 0, &b)) return Value();
  const bool fold = !(b.given[1] && r.Truthy(b.storage[1]));
  const auto paths = MultiPath(r, b.Get(2));
  Values items;
  if (!r.Collect(v, &items)) return Value();
  std::vector<Keyed> keyed;
  keyed.reserve(items.size());
  for (Value& item : items) {
    if (!r.Step()) return Value();
    Values key;
    for (const AttributePath& path : paths) key.push_back(path.Get(r, item, fold));
    // The reference sorts by lists of keys, and equal members of lists are not put in order: undefined ones and none among them.
    const bool plain = key.size() == 1 && (key[0].is_str() || key[0].is_number());
    keyed.push_back({plain ? std::move(key[0]) : r.List(std::move(key)), std::move(item)});
  }
  SortKeyed(r, &keyed, b.given[0] && r.Truthy(b.storage[0]));
  Values out;
  out.reserve(keyed.size());
  for (Keyed& k : keyed) out.push_back(std::move(k.item));
  return r.List(std::move(out));
}

Value DictSort(Renderer& r, const Value& v, const Args& args) {
  Bound b;
  if (!Bind(r, "dictsort", args, {"case_sensitive", "by", "reverse"}, 0, &b)) return Value();
  const bool fold = !(b.given[0] && r.Truthy(b.storage[0]));
  const std::string_view by = b.given[1] && b.storage[1].is_str() ? b.storage[1].text() : b.given[1] ? "" : "key";
  if (by != "key" && by != "value") return r.Fail("You can only sort by either \"key\" or \"value\"");
  if (v.is_undefined()) return r.FailUndefined(v);
  if (!v.is_dict()) return r.Fail(fmt::format("'{}' object has no attribute 'items'", TypeName(v)));
  std::vector<Keyed> keyed;
  for (const auto& [key, value] : AsDict(v)->items) {
    const Value& from = by == "key" ? key : value;
    keyed.push_back({fold ? AttributePath::Lowered(r, from) : from, r.Tuple({key, value})});
  }
  SortKeyed(r, &keyed, b.given[2] && r.Truthy(b.storage[2]));
  Values out;
  for (Keyed& k : keyed) out.push_back(std::move(k.item));
  return r.List(std::move(out));
}

Value GroupBy(Renderer& r, const Value& v, const Args& args) {
  Bound b;
  if (!Bind(r, "groupby", args, {"attribute", "default", "case_sensitive"}, 1, &b)) return Value();
  const bool fold = !(b.given[2] && r.Truthy(b.storage[2]));
  AttributePath path(r, b.Get(0));
  if (b.given[1]) path.set_default(b.storage[1]);
  Values items;
  if (!r.Collect(v, &items)) return Value();
  std::vector<Keyed> keyed;
  for (Value& item : items) {
    if (!r.Step()) return Value();
    Value key = path.Get(r, item, fold);
    keyed.push_back({std::move(key), std::move(item)});
  }
  SortKeyed(r, &keyed, false);
  Values out;
  for (size_t i = 0; i < keyed.size() && !r.failed();) {
    Values group;
    const size_t start = i;
    for (; i < keyed.size() && (i == start || r.Equal(keyed[start].key, keyed[i].key)); ++i) group.push_back(keyed[i].item);
    const Value grouper = fold ? path.Get(r, group[0]) : keyed[start].key;
    out.push_back(r.Tuple({grouper, r.List(std::move(group))}));
    AsList(out.back())->is_group = true;
  }
  return r.List(std::move(out));
}

Value MinMax(Renderer& r, const Value& v, const Args& args, CompareOp better) {
  Bound b;
  if (!Bind(r, better == CompareOp::kLt ? "min" : "max", args, {"case_sensitive", "attribute"}, 0, &b)) return Value();
  const bool fold = !(b.given[0] && r.Truthy(b.storage[0]));
  const AttributePath path(r, b.Get(1));
  Cursor cursor = r.Iterate(v);
  Value item, best, best_key;
  bool any = false;
  while (cursor.Next(r, &item)) {
    if (!r.Work(4)) return Value();
    Value key = path.Get(r, item, fold);
    if (any && !r.Ordered(better, key, best_key)) continue;
    any = true;
    best = item;
    best_key = std::move(key);
  }
  return any ? best : Value::UndefinedHint("No aggregated item, sequence was empty.");
}
Value Min(Renderer& r, const Value& v, const Args& args) { return MinMax(r, v, args, CompareOp::kLt); }
Value Max(Renderer& r, const Value& v, const Args& args) { return MinMax(r, v, args, CompareOp::kGt); }

Value Sum(Renderer& r, const Value& v, const Args& args) {
  Bound b;
  if (!Bind(r, "sum", args, {"attribute", "start"}, 0, &b)) return Value();
  const AttributePath path(r, b.Get(0));
  Value total = b.given[1] ? b.storage[1] : Value::Int(0);
  if (total.is_str()) return r.Fail("sum() can't sum strings");
  Cursor cursor = r.Iterate(v);
  Value item;
  while (cursor.Next(r, &item)) {
    if (!r.Step()) return Value();
    total = r.Binary(ExprKind::kAdd, total, path.Get(r, item));
  }
  return total;
}

Value Join(Renderer& r, const Value& v, const Args& args) {
  Bound b;
  if (!Bind(r, "join", args, {"d", "attribute"}, 0, &b)) return Value();
  const TextOf separator(r, b.given[0] ? b.storage[0] : Value::Borrowed(""));
  const AttributePath path(r, b.Get(1));
  const bool by_attribute = b.given[1] && !b.storage[1].is_none();
  std::string out;
  Cursor cursor = r.Iterate(v);
  Value item;
  bool first = true;
  while (cursor.Next(r, &item)) {
    if (by_attribute) item = path.Get(r, item);
    if (!r.Work(4)) return Value();
    const TextOf text(r, item);
    if (!r.RoomForText(out.size() + separator.view().size() + text.view().size())) return Value();
    if (!first) out += separator.view();
    first = false;
    out += text.view();
  }
  return r.Str(std::move(out));
}

Value LengthFilter(Renderer& r, const Value& v, const Args&) { return Value::Int(r.Length(v)); }

Value ListFilter(Renderer& r, const Value& v, const Args&) {
  Values items;
  if (!r.Collect(v, &items)) return Value();
  return r.List(std::move(items));
}

Value First(Renderer& r, const Value& v, const Args&) {
  Cursor cursor = r.Iterate(v);
  Value item;
  return cursor.Next(r, &item) ? item : Value::UndefinedHint("No first item, sequence was empty.");
}

// Items that are known in full, given one by one.
struct ItemsIterator : IteratorObj {
  ItemsIterator(Heap& heap, Values v) : IteratorObj(heap), items(std::move(v)) { heap.Charge(this, items.capacity() * sizeof(Value)); }
  bool Next(Renderer& r, Value* out) override {
    if (r.failed() || pos >= items.size()) return false;
    *out = items[pos++];
    return true;
  }
  Values items;
  size_t pos = 0;
};

bool Reversible(const Value& v) {
  switch (v.kind()) {
    case Kind::kUndefined:
    case Kind::kStr:
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kDict:
    case Kind::kDictView:
    case Kind::kRange: return true;
    default: return false;
  }
}

Value Last(Renderer& r, const Value& v, const Args&) {
  if (!Reversible(v)) return r.Fail(fmt::format("'{}' object is not reversible", TypeName(v)));
  if (v.is_sequence() && !AsList(v)->items.empty()) return AsList(v)->items.back();
  Values items;
  if (!r.Collect(v, &items)) return Value();
  return items.empty() ? Value::UndefinedHint("No last item, sequence was empty.") : items.back();
}

Value Reverse(Renderer& r, const Value& v, const Args&) {
  if (v.is_str()) return r.GetSlice(v, Value::None(), Value::None(), Value::Int(-1));
  Values items;
  if (!r.Iterable(v)) return r.Fail("argument must be iterable");
  if (!r.Collect(v, &items)) return Value();
  std::reverse(items.begin(), items.end());
  return Reversible(v) ? Value(r.heap.New<ItemsIterator>(std::move(items))) : r.List(std::move(items));
}

struct UniqueIterator : IteratorObj {
  UniqueIterator(Heap& heap, Cursor c, AttributePath p, bool f) : IteratorObj(heap), cursor(std::move(c)), path(std::move(p)), fold(f) {
    seen = Value(heap.New<DictObj>());
  }
  bool Next(Renderer& r, Value* out) override {
    while (cursor.Next(r, out)) {
      if (!r.Step()) return false;
      const Value key = path.Get(r, *out, fold);
      if (r.failed()) return false;
      if (Hashable(key) && AsDict(seen)->Find(key) != nullptr) continue;
      r.SetKey(AsDict(seen), key, Value::None());
      return !r.failed();
    }
    return false;
  }
  Cursor cursor;
  AttributePath path;
  bool fold;
  Value seen;
};

Value Unique(Renderer& r, const Value& v, const Args& args) {
  Bound b;
  if (!Bind(r, "unique", args, {"case_sensitive", "attribute"}, 0, &b)) return Value();
  const bool fold = !(b.given[0] && r.Truthy(b.storage[0]));
  // The reference is a generator: what cannot be iterated fails when it is used; here at once.
  return Value(r.heap.New<UniqueIterator>(r.Iterate(v), AttributePath(r, b.Get(1)), fold));
}

Value ItemsFilter(Renderer& r, const Value& v, const Args&) {
  if (v.is_undefined()) return Value(r.heap.New<ItemsIterator>(Values()));
  if (!v.is_dict()) return r.Fail("Can only get item pairs from a mapping.");
  Values items;
  for (const auto& [key, value] : AsDict(v)->items) items.push_back(r.Tuple({key, value}));
  return Value(r.heap.New<ItemsIterator>(std::move(items)));
}

Value Batch(Renderer& r, const Value& v, const Args& args) {
  Bound b;
  if (!Bind(r, "batch", args, {"linecount", "fill_with"}, 1, &b)) return Value();
  const bool fill = b.given[1] && !b.storage[1].is_none();
  if (!b.storage[0].is_number()) return r.Fail("batch: linecount must be a number");
  const double count = b.storage[0].number();
  Values out, line, items;
  if (!r.Collect(v, &items)) return Value();
  for (Value& item : items) {
    if (static_cast<double>(line.size()) == count) {
      out.push_back(r.List(std::move(line)));
      line = Values();
    }
    line.push_back(std::move(item));
  }
  if (!line.empty()) {
    if (fill && static_cast<double>(line.size()) < count) {
      if (count > 1e7 || !r.RoomForItems(static_cast<size_t>(count))) return r.Fail("batch: too many items to fill");
      line.resize(static_cast<size_t>(count), b.storage[1]);
    }
    out.push_back(r.List(std::move(line)));
  }
  return Value(r.heap.New<ItemsIterator>(std::move(out)));
}

Value Slice(Renderer& r, const Value& v, const Args& args) {
  Bound b;
  if (!Bind(r, "slice", args, {"slices", "fill_with"}, 1, &b)) return Value();
  const int64_t slices = IntArg(r, b.storage[0], "slice");
  Values items;
  if (!r.Collect(v, &items)) return Value();
  if (slices == 0) return r.Fail("integer division or modulo by zero");
  Values out;
  if (slices > 0 && !r.RoomForItems(static_cast<size_t>(slices) * 8)) return Value();
  const bool fill = b.given[1] && !b.storage[1].is_none();
  const auto size = static_cast<int64_t>(items.size());
  int64_t pos = 0;
  for (int64_t i = 0; i < slices && r.Step(); ++i) {
    const bool extra = i < size % slices;
    const int64_t end = pos + size / slices + (extra ? 1 : 0);
    Values part(items.begin() + pos, items.begin() + end);
    if (fill && !extra) part.push_back(b.storage[1]);
    out.push_back(r.List(std::move(part)));
    pos = end;
  }
  return Value(r.heap.New<ItemsIterator>(std::move(out)));
}

struct MapIterator : IteratorObj {
  MapIterator(Heap& heap, Value v, Args a) : IteratorObj(heap), value(std::move(v)), args(std::move(a)) {}
  bool Next(Renderer& r, Value* out) override {
    if (!started && !Start(r)) return false;
    if (done || !cursor.Next(r, out) || !r.Step()) return false;
    *out = filter != nullptr ? filter->call(r, *out, args) : path.Get(r, *out);
    return !r.failed();
  }
  bool Start(Renderer& r) {
    started = true;
    done = !r.Truthy(value);
    if (done || r.failed()) return !r.failed();
    if (args.positional.empty() && !args.named.empty() && StartAttribute(r)) return !r.failed();
    if (args.positional.empty()) {
      r.Fail("map requires a filter argument");
    } else {
      const TextOf name(r, args.positional[0]);
      filter = FindFilter(name.view());
      if (filter == nullptr) r.Fail(fmt::format("No filter named '{}'.", name.view()));
      args.positional.erase(args.positional.begin());
    }
    cursor = r.Iterate(value);
    return !r.failed();
  }
  bool StartAttribute(Renderer& r) {
    const Value *attribute = nullptr, *fallback = nullptr;
    for (const auto& [name, v] : args.named) {
      if (name == "attribute") attribute = &v;
      if (name == "default") fallback = &v;
    }
    if (attribute == nullptr) return false;
    if (args.named.size() > (fallback != nullptr ? 2u : 1u)) r.Fail("Unexpected keyword argument");
    path = AttributePath(r, attribute);
    if (fallback != nullptr) path.set_default(*fallback);
    cursor = r.Iterate(value);
    return true;
  }
  Value value;
  Args args;
  Cursor cursor;
  AttributePath path;
  const FilterEntry* filter = nullptr;
  bool started = false, done = false;
};

struct SelectIterator : IteratorObj {
  SelectIterator(Heap& heap, Value v, Args a, bool attr, bool neg)
      : IteratorObj(heap), value(std::move(v)), args(std::move(a)), by_attribute(attr), negate(neg) {}
  bool Next(Renderer& r, Value* out) override {
    if (!started && !Start(r)) return false;
    while (!done && cursor.Next(r, out)) {
      if (!r.Step()) return false;
      const Value tested = by_attribute ? path.Get(r, *out) : *out;
      const bool holds = test != nullptr ? r.Truthy(test->call(r, tested, args)) : r.Truthy(tested);
      if (r.failed()) return false;
      if (holds != negate) return true;
    }
    return false;
  }
  bool Start(Renderer& r) {
    started = true;
    done = !r.Truthy(value);
    if (done || r.failed()) return !r.failed();
    if (by_attribute) {
      if (args.positional.empty()) {
        r.Fail("Missing parameter for attribute name");
        return false;
      }
      path = AttributePath(r, &args.positional[0]);
      args.positional.erase(args.positional.begin());
    }
    if (!args.positional.empty()) {
      const TextOf name(r, args.positional[0]);
      test = FindTest(name.view());
      if (test == nullptr) r.Fail(fmt::format("No test named '{}'.", name.view()));
      args.positional.erase(args.positional.begin());
    }
    cursor = r.Iterate(value);
    return !r.failed();
  }
  Value value;
  Args args;
  bool by_attribute, negate;
  Cursor cursor;
  AttributePath path;
  const TestEntry* test = nullptr;
  bool started = false, done = false;
};

template <bool kAttribute, bool kNegate>
Value Select(Renderer& r, const Value& v, const Args& args) {
  return Value(r.heap.New<SelectIterator>(v, args, kAttribute, kNegate));
}

Value Map(Renderer& r, const Value& v, const Args& args) { return Value(r.heap.New<MapIterator>(v, args)); }

constexpr FilterEntry kFilters[] = {
    {"batch", Batch},
    {"count", LengthFilter},
    {"dictsort", DictSort},
    {"first", First},
    {"groupby", GroupBy},
    {"items", ItemsFilter},
    {"join", Join},
    {"last", Last},
    {"length", LengthFilter},
    {"list", ListFilter},
    {"map", Map},
    {"max", Max},
    {"min", Min},
    {"reject", Select<false, true>},
    {"rejectattr", Select<true, true>},
    {"reverse", Reverse},
    {"select", Select<false, false>},
    {"selectattr", Select<true, false>},
    {"slice", Slice},
    {"sort", Sort},
    {"sum", Sum},
    {"unique", Unique},
};

}  // namespace

const FilterEntry* FindSequenceFilter(std::string_view name) {
  for (const FilterEntry& entry : kFilters) {
    if (entry.name == name) return &entry;
  }
  return nullptr;
}

}  // namespace sgl::jinja
