// Truth, order, containment, iteration, subscripts and printing, as Python defines them.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "text/jinja/render.h"
#include "text/jinja/text_util.h"

namespace sgl::jinja {

bool Renderer::Truthy(const Value& v) {
  switch (v.kind()) {
    case Kind::kUndefined:
    case Kind::kNone: return false;
    case Kind::kBool:
    case Kind::kInt: return v.integer() != 0;
    case Kind::kFloat: return v.number() != 0;
    case Kind::kStr: return !v.text().empty();
    case Kind::kList:
    case Kind::kTuple: return !AsList(v)->items.empty();
    case Kind::kDict: return !AsDict(v)->items.empty();
    case Kind::kDictView: return !AsDict(AsView(v)->dict)->items.empty();
    case Kind::kRange: return AsRange(v)->size() > 0;
    case Kind::kLoop: return AsLoop(v)->Length(*this) > 0;
    default: return true;
  }
}

std::optional<int64_t> Renderer::TryLength(const Value& v) {
  switch (v.kind()) {
    case Kind::kUndefined: return 0;
    case Kind::kStr: Work(v.text().size() / 64); return static_cast<int64_t>(CountCodePoints(v.text()));
    case Kind::kList:
    case Kind::kTuple: return static_cast<int64_t>(AsList(v)->items.size());
    case Kind::kDict: return static_cast<int64_t>(AsDict(v)->items.size());
    case Kind::kDictView: return static_cast<int64_t>(AsDict(AsView(v)->dict)->items.size());
    case Kind::kRange: return AsRange(v)->size();
    case Kind::kLoop: return AsLoop(v)->Length(*this);
    default: return std::nullopt;
  }
}

int64_t Renderer::Length(const Value& v) {
  if (const auto n = TryLength(v)) return *n;
  Fail(fmt::format("object of type '{}' has no len()", TypeName(v)));
  return 0;
}

bool Renderer::Iterable(const Value& v) {
  switch (v.kind()) {
    case Kind::kUndefined:
    case Kind::kStr:
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kDict:
    case Kind::kDictView:
    case Kind::kRange:
    case Kind::kIterator:
    case Kind::kLoop: return true;
    default: return false;
  }
}

Cursor Renderer::Iterate(const Value& v) {
  if (!Iterable(v)) Fail(fmt::format("'{}' object is not iterable", TypeName(v)));
  return Cursor(v);
}

bool Cursor::Next(Renderer& r, Value* out) {
  if (r.failed()) return false;
  switch (source_.kind()) {
    case Kind::kStr: {
      const std::string_view text = source_.text();
      if (pos_ >= text.size()) return false;
      const size_t start = pos_;
      NextCodePoint(text, pos_);
      *out = r.Str(std::string(text.substr(start, pos_ - start)));
      return true;
    }
    case Kind::kList:
    case Kind::kTuple: {
      const Values& items = AsList(source_)->items;
      if (pos_ >= items.size()) return false;
      *out = items[pos_++];
      return true;
    }
    case Kind::kDict:
    case Kind::kDictView: {
      const bool view = source_.kind() == Kind::kDictView;
      const auto what = view ? AsView(source_)->what : DictViewObj::kKeys;
      const auto& items = AsDict(view ? AsView(source_)->dict : source_)->items;
      if (pos_ >= items.size()) return false;
      const auto& [key, value] = items[pos_++];
      *out = what == DictViewObj::kKeys ? key : what == DictViewObj::kValues ? value : r.Tuple({key, value});
      return true;
    }
    case Kind::kRange:
      if (static_cast<int64_t>(pos_) >= AsRange(source_)->size()) return false;
      *out = Value::Int(AsRange(source_)->at(static_cast<int64_t>(pos_++)));
      return true;
    case Kind::kIterator: return r.StackOk() && static_cast<IteratorObj*>(source_.obj())->Next(r, out);
    case Kind::kLoop: {
      Value item;
      if (!r.StackOk() || !AsLoop(source_)->Advance(r, &item)) return false;
      *out = r.Tuple({item, source_});
      return true;
    }
    default: return false;
  }
}

bool Renderer::Collect(const Value& v, Values* out) {
  Cursor cursor = Iterate(v);
  Value item;
  while (cursor.Next(*this, &item)) {
    if (!Work(1) || !RoomForItems(out->size())) return false;
    out->push_back(std::move(item));
  }
  return !failed_;
}

bool Renderer::EqualSequences(const Value& a, const Value& b) {
  const Values &x = AsList(a)->items, &y = AsList(b)->items;
  if (x.size() != y.size()) return false;
  for (size_t i = 0; i < x.size(); ++i) {
    if (!Work(1) || !Equal(x[i], y[i])) return false;
  }
  return true;
}

bool Renderer::EqualDicts(const Value& a, const Value& b) {
  const DictObj *x = AsDict(a), *y = AsDict(b);
  if (x->items.size() != y->items.size()) return false;
  for (const auto& [key, value] : x->items) {
    const Value* other = y->Find(key);
    if (!Work(1) || other == nullptr || !Equal(value, *other)) return false;
  }
  return true;
}

bool Renderer::Equal(const Value& a, const Value& b) {
  if (a.kind() == b.kind() && a.kind() >= Kind::kList) {
    if (!StackOk()) return false;
    if (a.obj() == b.obj()) return true;
    if (a.is_sequence()) return EqualSequences(a, b);
    if (a.is_dict()) return EqualDicts(a, b);
    if (a.kind() == Kind::kRange) {
      const RangeObj *x = AsRange(a), *y = AsRange(b);
      return x->size() == y->size() && (x->size() == 0 || (x->start == y->start && (x->size() == 1 || x->step == y->step)));
    }
    return false;
  }
  if (a.is_str() && b.is_str()) Work(std::min(a.text().size(), b.text().size()) / 64);
  return Same(a, b);
}

bool Renderer::Ordered(CompareOp op, const Value& a, const Value& b) {
  const auto decide = [op](int order) {
    switch (op) {
      case CompareOp::kLt: return order < 0;
      case CompareOp::kLe: return order <= 0;
      case CompareOp::kGt: return order > 0;
      default: return order >= 0;
    }
  };
  if (a.is_number() && b.is_number()) {
    if (a.is_int() && b.is_int()) return decide(a.integer() < b.integer() ? -1 : a.integer() > b.integer() ? 1 : 0);
    const auto exact = [](const Value& v) {
      return v.is_int() ? static_cast<long double>(v.integer()) : static_cast<long double>(v.number());
    };
    const long double x = exact(a), y = exact(b);
    if (std::isnan(x) || std::isnan(y)) return false;
    return decide(x < y ? -1 : x > y ? 1 : 0);
  }
  if (a.is_str() && b.is_str()) {
    Work(std::min(a.text().size(), b.text().size()) / 64);
    return decide(a.text().compare(b.text()));  // UTF-8 sorts as its code points do
  }
  if (a.is_undefined() || b.is_undefined()) {
    FailUndefined(a.is_undefined() ? a : b);
    return false;
  }
  if (a.is_sequence() && a.kind() == b.kind()) {
    if (!StackOk()) return false;
    const Values &x = AsList(a)->items, &y = AsList(b)->items;
    for (size_t i = 0; i < x.size() && i < y.size(); ++i) {
      if (!Work(1)) return false;
      if (!Equal(x[i], y[i])) return Ordered(op, x[i], y[i]);
    }
    return decide(x.size() < y.size() ? -1 : x.size() > y.size() ? 1 : 0);
  }
  static constexpr const char* kNames[] = {"==", "!=", "<", "<=", ">", ">="};
  Fail(fmt::format("'{}' not supported between instances of '{}' and '{}'", kNames[static_cast<int>(op)], TypeName(a), TypeName(b)));
  return false;
}

bool Renderer::HasKey(const Value& dict, const Value& key) {
  if (!Hashable(key)) Fail(fmt::format("unhashable type: '{}'", TypeName(key)));
  return !failed_ && AsDict(dict)->Find(key) != nullptr;
}

bool Renderer::Contains(const Value& container, const Value& item) {
  switch (container.kind()) {
    case Kind::kStr:
      if (!item.is_str()) {
        Fail(fmt::format("'in <string>' requires string as left operand, not {}", TypeName(item)));
        return false;
      }
      Work(container.text().size() / 16);
      return container.text().find(item.text()) != std::string_view::npos;
    case Kind::kDict: return HasKey(container, item);
    case Kind::kDictView:
      if (AsView(container)->what == DictViewObj::kKeys) return HasKey(AsView(container)->dict, item);
      break;
    default: break;
  }
  if (!Iterable(container)) {
    Fail(fmt::format("argument of type '{}' is not iterable", TypeName(container)));
    return false;
  }
  Cursor cursor(container);
  Value candidate;
  while (cursor.Next(*this, &candidate)) {
    if (!Work(1)) return false;
    if (Equal(candidate, item)) return true;
  }
  return false;
}

bool Renderer::Compare(CompareOp op, const Value& a, const Value& b) {
  switch (op) {
    case CompareOp::kEq: return Equal(a, b);
    case CompareOp::kNe: return !Equal(a, b);
    case CompareOp::kIn: return Contains(b, a);
    case CompareOp::kNotIn: return !Contains(b, a);
    default: return Ordered(op, a, b);
  }
}

// --- attributes and subscripts

Value Renderer::UndefinedItem(const Value& object, const Value& key) {
  std::string message;
  if (key.is_str()) {
    message = fmt::format("'{} object' has no attribute '{}'", TypeName(object), key.text().substr(0, 200));
  } else {
    std::string name;
    if (key.kind() < Kind::kList) AppendRepr(name, key);
    message = fmt::format("{} object has no element {}", TypeName(object), name);
  }
  return Value::UndefinedMessage(heap.New<StrObj>(std::move(message)));
}

std::optional<Value> Renderer::LoopAttribute(const Value& value, std::string_view name) {
  LoopObj& loop = *AsLoop(value);
  if (name == "index") return Value::Int(loop.index0 + 1);
  if (name == "index0") return Value::Int(loop.index0);
  if (name == "first") return Value::Bool(loop.index0 == 0);
  if (name == "last") return Value::Bool(!loop.Peek(*this));
  if (name == "length") return Value::Int(loop.Length(*this));
  if (name == "revindex") return Value::Int(loop.Length(*this) - loop.index0);
  if (name == "revindex0") return Value::Int(loop.Length(*this) - loop.index0 - 1);
  if (name == "depth") return Value::Int(loop.depth0 + 1);
  if (name == "depth0") return Value::Int(loop.depth0);
  if (name == "previtem") {
    if (loop.index0 == 0) return Value::UndefinedHint("there is no previous item");
    return loop.before;
  }
  if (name == "nextitem") {
    if (!loop.Peek(*this)) return Value::UndefinedHint("there is no next item");
    return loop.after;
  }
  return std::nullopt;
}

std::optional<Value> Renderer::OtherAttribute(const Value& object, std::string_view name) {
  switch (object.kind()) {
    case Kind::kLoop: return LoopAttribute(object, name);
    case Kind::kNamespace: {
      const Value* found = AsDict(static_cast<NamespaceObj*>(object.obj())->attrs)->Find(name);
      return found != nullptr ? std::optional<Value>(*found) : std::nullopt;
    }
    case Kind::kCycler: {
      const auto& cycler = static_cast<CyclerObj&>(*object.obj());
      if (name == "current") return cycler.items[cycler.pos];
      return std::nullopt;
    }
    case Kind::kTuple:
      if (AsList(object)->is_group && name == "grouper") return AsList(object)->items[0];
      if (AsList(object)->is_group && name == "list") return AsList(object)->items[1];
      return std::nullopt;
    case Kind::kBool:
    case Kind::kInt:
      if (name == "real" || name == "numerator") return Value::Int(object.integer());
      if (name == "imag") return Value::Int(0);
      if (name == "denominator") return Value::Int(1);
      return std::nullopt;
    case Kind::kFloat:
      if (name == "real") return object;
      if (name == "imag") return Value::Float(0);
      return std::nullopt;
    case Kind::kRange:
      if (name == "start") return Value::Int(AsRange(object)->start);
      if (name == "stop") return Value::Int(AsRange(object)->stop);
      if (name == "step") return Value::Int(AsRange(object)->step);
      return std::nullopt;
    case Kind::kMacro: {
      const Stmt& def = *static_cast<MacroObj*>(object.obj())->def;
      if (name == "name") return def.kind == StmtKind::kMacro ? Value::Borrowed(def.text) : Value::None();
      if (name == "caller") return Value::Bool(def.uses_caller);
      if (name == "catch_kwargs") return Value::Bool(def.uses_kwargs);
      if (name == "catch_varargs") return Value::Bool(def.uses_varargs);
      if (name != "arguments") return std::nullopt;
      Values names;
      for (const Expr* param : def.params) names.push_back(Value::Borrowed(param->text));
      return Tuple(std::move(names));
    }
    default: return std::nullopt;
  }
}

std::optional<Value> Renderer::Attribute(const Value& object, std::string_view name) {
  bool refused = false;
  const MethodEntry* method = FindMethod(object, name, &refused);
  if (refused) {
    return Value::UndefinedMessage(
        heap.New<StrObj>(fmt::format("access to attribute '{}' of '{}' object is unsafe.", name, TypeName(object))));
  }
  if (method != nullptr) return Value(heap.New<MethodObj>(object, method));
  return OtherAttribute(object, name);
}

Value Renderer::GetAttr(const Value& object, std::string_view name) {
  if (failed_) return Value();
  if (object.is_undefined()) return FailUndefined(object);
  if (auto attribute = Attribute(object, name)) return *std::move(attribute);
  if (object.is_dict()) {
    if (const Value* found = AsDict(object)->Find(name)) return *found;
  }
  return Value::Undefined(name, object.kind());
}

Value Renderer::GetItem(const Value& object, const Value& key) {
  if (failed_) return Value();
  if (object.is_undefined()) return FailUndefined(object);
  if (object.is_dict() && Hashable(key)) {
    if (const Value* found = AsDict(object)->Find(key)) return *found;
  } else if (key.is_int() && (object.is_sequence() || object.is_str() || object.kind() == Kind::kRange)) {
    const int64_t size = Length(object);
    int64_t index = key.integer();
    if (index < 0) index += size;
    if (index < 0 || index >= size) return UndefinedItem(object, key);
    if (object.is_sequence()) return AsList(object)->items[static_cast<size_t>(index)];
    if (object.kind() == Kind::kRange) return Value::Int(AsRange(object)->at(index));
    const std::string_view text = object.text();
    if (static_cast<size_t>(size) == text.size()) return Str(std::string(1, text[static_cast<size_t>(index)]), object.is_markup());
    size_t pos = ByteOffset(text, static_cast<size_t>(index));
    const size_t start = pos;
    NextCodePoint(text, pos);
    return Str(std::string(text.substr(start, pos - start)), object.is_markup());
  }
  if (key.is_str()) {
    if (auto attribute = Attribute(object, key.text())) return *std::move(attribute);
  }
  return UndefinedItem(object, key);
}

namespace {

// Python's slice.indices.
struct SliceRange {
  int64_t start, stop, step, count;
};
SliceRange Indices(int64_t size, const Value& start, const Value& stop, int64_t step) {
  const auto clamp = [&](const Value& v, int64_t fallback) {
    if (v.is_none()) return fallback;
    int64_t i = v.integer();
    if (i < 0)
      i = i < -size ? -1 : i + size;
    else if (i > size)
      i = size;
    if (i < 0) return step < 0 ? int64_t{-1} : int64_t{0};
    return step < 0 && i >= size ? size - 1 : i;
  };
  const int64_t from = clamp(start, step < 0 ? size - 1 : 0);
  const int64_t to = clamp(stop, step < 0 ? -1 : size);
  int64_t count = 0;
  if (step > 0 && from < to) count = (to - from - 1) / step + 1;
  if (step < 0 && from > to) count = (from - to - 1) / -step + 1;
  return {from, to, step, count};
}

}  // namespace

Value Renderer::GetSlice(const Value& object, const Value& start, const Value& stop, const Value& step) {
  if (object.is_undefined()) return FailUndefined(object);
  if (!object.is_str() && !object.is_sequence() && object.kind() != Kind::kRange) {
    return Fail(fmt::format("'{}' object is not subscriptable with a slice", TypeName(object)));
  }
  for (const Value* v : {&start, &stop, &step}) {
    if (!v->is_none() && !v->is_int()) return Fail("slice indices must be integers or None or have an __index__ method");
  }
  const int64_t stride = step.is_none() ? 1 : std::max(step.integer(), -INT64_MAX);
  if (stride == 0) return Fail("slice step cannot be zero");
  const int64_t size = Length(object);
  const SliceRange range = Indices(size, start, stop, stride);
  if (!Work(static_cast<size_t>(size) / 16 + static_cast<size_t>(range.count))) return Value();
  const auto at = [&](int64_t i) { return static_cast<size_t>(range.start + i * range.step); };
  if (object.kind() == Kind::kRange) {
    const RangeObj* from = AsRange(object);
    int64_t bounds[2] = {range.start, range.stop}, by = 0;
    bool overflow = __builtin_mul_overflow(from->step, range.step, &by);
    for (int64_t& bound : bounds) {
      overflow |= __builtin_mul_overflow(bound, from->step, &bound);
      overflow |= __builtin_add_overflow(bound, from->start, &bound);
    }
    return overflow ? Fail("integer overflow in a range") : Value(heap.New<RangeObj>(bounds[0], bounds[1], by));
  }
  if (object.is_sequence()) {
    if (!RoomForItems(static_cast<size_t>(range.count))) return Value();
    Values items;
    items.reserve(static_cast<size_t>(range.count));
    for (int64_t i = 0; i < range.count; ++i) items.push_back(AsList(object)->items[at(i)]);
    return object.kind() == Kind::kList ? List(std::move(items)) : Tuple(std::move(items));
  }
  const std::string_view text = object.text();
  std::string out;
  if (stride == 1) {
    const size_t from = ByteOffset(text, static_cast<size_t>(range.start));
    const std::string_view rest = text.substr(from);
    out = static_cast<size_t>(size) == text.size() ? rest.substr(0, static_cast<size_t>(range.count))
                                                   : rest.substr(0, ByteOffset(rest, static_cast<size_t>(range.count)));
  } else if (static_cast<size_t>(size) == text.size()) {
    for (int64_t i = 0; i < range.count; ++i) out += text[at(i)];
  } else {
    std::vector<uint32_t> points;
    points.reserve(static_cast<size_t>(size));
    for (size_t pos = 0; pos < text.size();) points.push_back(NextCodePoint(text, pos));
    for (int64_t i = 0; i < range.count; ++i) AppendCodePoint(out, points[at(i)]);
  }
  return Str(std::move(out), object.is_markup());
}

// --- printing

void Renderer::AppendStr(std::string& out, const Value& v) {
  if (v.is_str()) {
    out += v.text();
  } else if (!v.is_undefined()) {
    AppendRepr(out, v);
  }
}

void Renderer::AppendItems(std::string& out, const Values& items) {
  bool first = true;
  for (const Value& item : items) {
    if (failed_) return;
    if (!first) out += ", ";
    first = false;
    AppendRepr(out, item);
  }
}

void Renderer::AppendRepr(std::string& out, const Value& v) {
  if (v.kind() >= Kind::kList && !StackOk()) return;
  if (!RoomForText(out.size())) return;
  switch (v.kind()) {
    case Kind::kUndefined: out += "Undefined"; return;
    case Kind::kNone: out += "None"; return;
    case Kind::kBool: out += v.integer() != 0 ? "True" : "False"; return;
    case Kind::kInt: out += fmt::to_string(v.integer()); return;
    case Kind::kFloat: out += FloatRepr(v.number()); return;
    case Kind::kStr:
      if (!RoomForText(out.size() + v.text().size())) return;
      if (v.is_markup()) out += "Markup(";
      jinja::AppendRepr(out, v.text());
      if (v.is_markup()) out += ")";
      return;
    case Kind::kList:
      out += '[';
      AppendItems(out, AsList(v)->items);
      out += ']';
      return;
    case Kind::kTuple:
      out += '(';
      AppendItems(out, AsList(v)->items);
      out += AsList(v)->items.size() == 1 ? ",)" : ")";
      return;
    case Kind::kDict: {
      bool first = true;
      out += '{';
      for (const auto& [key, value] : AsDict(v)->items) {
        if (failed_) return;
        if (!first) out += ", ";
        first = false;
        AppendRepr(out, key);
        out += ": ";
        AppendRepr(out, value);
      }
      out += '}';
      return;
    }
    case Kind::kDictView: {
      static constexpr const char* kNames[] = {"dict_keys", "dict_values", "dict_items"};
      out += kNames[AsView(v)->what];
      Values items;
      if (!Collect(v, &items)) return;
      out += "([";
      AppendItems(out, items);
      out += "])";
      return;
    }
    case Kind::kRange: {
      const RangeObj* range = AsRange(v);
      out += range->step == 1 ? fmt::format("range({}, {})", range->start, range->stop)
                              : fmt::format("range({}, {}, {})", range->start, range->stop, range->step);
      return;
    }
    case Kind::kNamespace:
      out += "<Namespace ";
      AppendRepr(out, static_cast<NamespaceObj*>(v.obj())->attrs);
      out += '>';
      return;
    case Kind::kMacro: {
      const Stmt& def = *static_cast<MacroObj*>(v.obj())->def;
      out += def.kind == StmtKind::kMacro ? fmt::format("<Macro '{}'>", def.text) : "<Macro anonymous>";
      return;
    }
    case Kind::kLoop: out += fmt::format("<LoopContext {}/{}>", AsLoop(v)->index0 + 1, AsLoop(v)->Length(*this)); return;
    default: out += fmt::format("<{} object>", TypeName(v)); return;
  }
}

}  // namespace sgl::jinja
