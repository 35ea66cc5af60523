// SPDX-License-Identifier: Apache-2.0
#include "text/jinja/value.h"

#include <fmt/format.h>

#include <cmath>
#include <functional>

#include "text/jinja/text_util.h"

namespace sgl::jinja {

Value::Value(StrObj* text, bool markup) : kind_(Kind::kStr), flags_(static_cast<uint8_t>(kCounted | (markup ? kMarkup : 0))) {
  u_.obj = text;
  ++text->refs;
}

Value Value::UndefinedMessage(StrObj* message) {
  Value out;
  out.flags_ = kCounted;
  out.u_.obj = message;
  ++message->refs;
  return out;
}

std::string Value::undefined_message() const {
  if (counted()) return static_cast<const StrObj*>(u_.obj)->text;
  if ((flags_ & kNamed) == 0) return "the value is undefined";
  const Kind on = static_cast<Kind>(flags_ >> 2);
  const std::string_view name(u_.text, size_);
  if (on == Kind::kMessage) return std::string(name);
  if (on == Kind::kNone) return fmt::format("'None' has no attribute '{}'", name);
  if (on == Kind::kUndefined) return fmt::format("'{}' is undefined", name);
  return fmt::format("'{} object' has no attribute '{}'", TypeName(on), name);
}

Heap::~Heap() {
  // Hold every object that could be part of a cycle, empty them all, let go.
  std::vector<Value> held;
  for (Mutable* m = first; m != nullptr; m = m->after) held.emplace_back(m);
  for (const Value& v : held) static_cast<Mutable*>(v.obj())->Clear();
}

void Heap::Destroy(Obj* obj) {
  obj->next = waiting_;
  waiting_ = obj;
  if (destroying_) return;
  destroying_ = true;
  while (waiting_ != nullptr) {
    Obj* now = waiting_;
    waiting_ = now->next;
    used_ -= now->bytes;
    delete now;
  }
  destroying_ = false;
}

Heap::Mutable::Mutable(Heap& heap, Kind kind) : Obj(heap, kind), after(heap.first) {
  if (after != nullptr) after->before = this;
  heap.first = this;
}

Heap::Mutable::~Mutable() {
  (before != nullptr ? before->after : heap->first) = after;
  if (after != nullptr) after->before = before;
}

void Activation::DropOuter() {
  Activation* parent = outer;
  outer = nullptr;
  if (parent != nullptr && --parent->refs == 0) parent->heap->Destroy(parent);
}

int64_t RangeObj::size() const {
  if (step > 0 ? start >= stop : start <= stop) return 0;
  const auto span =
      step > 0 ? static_cast<uint64_t>(stop) - static_cast<uint64_t>(start) : static_cast<uint64_t>(start) - static_cast<uint64_t>(stop);
  const uint64_t width = step > 0 ? static_cast<uint64_t>(step) : 0 - static_cast<uint64_t>(step);
  return static_cast<int64_t>((span - 1) / width + 1);
}

namespace {
constexpr size_t kIndexFrom = 12;  // entries; below that a scan is faster than hashing
}

void DictObj::Set(const Value& key, Value value) {
  if (const Value* found = Find(key)) {
    *const_cast<Value*>(found) = std::move(value);
    return;
  }
  items.emplace_back(key, std::move(value));
  heap->Charge(this, 2 * sizeof(items[0]));
  if (items.size() < kIndexFrom) return;
  if (items.size() == kIndexFrom) {
    for (size_t i = 0; i + 1 < items.size(); ++i) index_.emplace(Hash(items[i].first), static_cast<uint32_t>(i));
  }
  index_.emplace(Hash(key), static_cast<uint32_t>(items.size() - 1));
  heap->Charge(this, 48);
}

const Value* DictObj::Find(const Value& key) const {
  if (items.size() < kIndexFrom) {
    for (const auto& [k, v] : items) {
      if (Same(k, key)) return &v;
    }
    return nullptr;
  }
  const auto [from, to] = index_.equal_range(Hash(key));
  for (auto it = from; it != to; ++it) {
    if (Same(items[it->second].first, key)) return &items[it->second].second;
  }
  return nullptr;
}

const Value* DictObj::Find(std::string_view key) const {
  if (items.size() < kIndexFrom) {
    for (const auto& [k, v] : items) {
      if (k.is_str() && k.text() == key) return &v;
    }
    return nullptr;
  }
  return Find(Value::Borrowed(key));
}

const char* TypeName(Kind kind) {
  switch (kind) {
    case Kind::kUndefined: return "Undefined";
    case Kind::kNone: return "NoneType";
    case Kind::kBool: return "bool";
    case Kind::kInt: return "int";
    case Kind::kFloat: return "float";
    case Kind::kStr: return "str";
    case Kind::kList: return "list";
    case Kind::kTuple: return "tuple";
    case Kind::kDict: return "dict";
    case Kind::kDictView: return "dict view";
    case Kind::kRange: return "range";
    case Kind::kIterator: return "generator";
    case Kind::kNamespace: return "Namespace";
    case Kind::kMacro: return "Macro";
    case Kind::kFunction: return "function";
    case Kind::kMethod: return "method";
    case Kind::kLoop: return "LoopContext";
    case Kind::kCycler: return "Cycler";
    case Kind::kJoiner: return "Joiner";
    default: return "object";
  }
}

bool Hashable(const Value& v) {
  switch (v.kind()) {
    case Kind::kList:
    case Kind::kDict:
    case Kind::kDictView: return false;
    case Kind::kTuple:
      for (const Value& item : AsList(v)->items) {
        // A tuple in a tuple in a tuple... cannot be a key; it keeps this and its kin from recursing deeply.
        if (item.kind() == Kind::kTuple) {
          for (const Value& inner : AsList(item)->items) {
            if (inner.kind() == Kind::kTuple || !Hashable(inner)) return false;
          }
        } else if (!Hashable(item)) {
          return false;
        }
      }
      return true;
    default: return true;
  }
}

size_t Hash(const Value& v) {
  switch (v.kind()) {
    case Kind::kUndefined: return 7;
    case Kind::kNone: return 11;
    case Kind::kBool:
    case Kind::kInt: return std::hash<int64_t>()(v.integer()) * 0x9E3779B97F4A7C15u;
    case Kind::kFloat: {
      const double d = v.number();
      if (d == std::floor(d) && std::fabs(d) < 9e18) return std::hash<int64_t>()(static_cast<int64_t>(d)) * 0x9E3779B97F4A7C15u;
      return std::hash<double>()(d);
    }
    case Kind::kStr: return std::hash<std::string_view>()(v.text());
    case Kind::kTuple: {
      size_t h = 17;
      for (const Value& item : AsList(v)->items) h = h * 1000003 + Hash(item);
      return h;
    }
    default: return std::hash<const void*>()(v.obj());
  }
}

bool Same(const Value& a, const Value& b) {
  if (a.is_str() && b.is_str()) return a.text() == b.text();
  if (a.is_number() && b.is_number()) {
    if (a.is_int() && b.is_int()) return a.integer() == b.integer();
    const auto exact = [](const Value& v) {
      return v.is_int() ? static_cast<long double>(v.integer()) : static_cast<long double>(v.number());
    };
    return exact(a) == exact(b);
  }
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::kUndefined:
    case Kind::kNone: return true;
    case Kind::kTuple: {
      const Values &x = AsList(a)->items, &y = AsList(b)->items;
      if (x.size() != y.size()) return false;
      for (size_t i = 0; i < x.size(); ++i) {
        if (!Same(x[i], y[i])) return false;
      }
      return true;
    }
    default: return a.obj() == b.obj();
  }
}

}  // namespace sgl::jinja
