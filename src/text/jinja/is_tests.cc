// What may follow `is`.
// SPDX-License-Identifier: Apache-2.0
#include "text/jinja/render.h"
#include "text/jinja/text_util.h"

namespace sgl::jinja {
namespace {

bool NoArgs(Renderer& r, const Args& args) {
  Bound none;
  return Bind(r, "test", args, {}, 0, &none);
}

template <bool (*kHolds)(Renderer&, const Value&)>
Value Plain(Renderer& r, const Value& v, const Args& args) {
  return NoArgs(r, args) ? Value::Bool(kHolds(r, v)) : Value();
}

bool Defined(Renderer&, const Value& v) { return !v.is_undefined(); }
bool Undefined(Renderer&, const Value& v) { return v.is_undefined(); }
bool None(Renderer&, const Value& v) { return v.is_none(); }
bool Boolean(Renderer&, const Value& v) { return v.is_bool(); }
bool True(Renderer&, const Value& v) { return v.is_bool() && v.integer() != 0; }
bool False(Renderer&, const Value& v) { return v.is_bool() && v.integer() == 0; }
bool Integer(Renderer&, const Value& v) { return v.kind() == Kind::kInt; }
bool Float(Renderer&, const Value& v) { return v.is_float(); }
bool Number(Renderer&, const Value& v) { return v.is_number(); }
bool String(Renderer&, const Value& v) { return v.is_str(); }
bool Mapping(Renderer&, const Value& v) { return v.is_dict(); }
bool Escaped(Renderer&, const Value& v) { return v.is_markup(); }
bool IterableTest(Renderer& r, const Value& v) { return r.Iterable(v); }
bool Sequence(Renderer&, const Value& v) {
  return v.is_str() || v.is_sequence() || v.is_dict() || v.kind() == Kind::kRange || v.is_undefined();
}
bool Callable(Renderer&, const Value& v) {
  switch (v.kind()) {
    case Kind::kUndefined:  // it has a __call__ that raises
    case Kind::kMacro:
    case Kind::kFunction:
    case Kind::kMethod:
    case Kind::kLoop:
    case Kind::kJoiner: return true;
    default: return false;
  }
}
// A name is looked up in a dict.
bool IsName(Renderer& r, const Value& v) {
  if (!Hashable(v)) r.Fail(fmt::format("unhashable type: '{}'", TypeName(v)));
  return v.is_str();
}
bool FilterExists(Renderer& r, const Value& v) { return IsName(r, v) && FindFilter(v.text()) != nullptr; }
bool TestExists(Renderer& r, const Value& v) { return IsName(r, v) && FindTest(v.text()) != nullptr; }
bool Lower(Renderer& r, const Value& v) {
  const TextOf text(r, v);
  const Value s = r.Str(std::string(text.view()));
  bool refused = false;
  return !r.failed() && r.Truthy(FindMethod(s, "islower", &refused)->call(r, s, Args()));
}
bool Upper(Renderer& r, const Value& v) {
  const TextOf text(r, v);
  const Value s = r.Str(std::string(text.view()));
  bool refused = false;
  return !r.failed() && r.Truthy(FindMethod(s, "isupper", &refused)->call(r, s, Args()));
}

bool Remainder(Renderer& r, const Value& v, const Value& by, int64_t wanted) {
  return r.Equal(r.Binary(ExprKind::kMod, v, by), Value::Int(wanted));
}
bool Odd(Renderer& r, const Value& v) { return Remainder(r, v, Value::Int(2), 1); }
bool Even(Renderer& r, const Value& v) { return Remainder(r, v, Value::Int(2), 0); }
Value DivisibleBy(Renderer& r, const Value& v, const Args& args) {
  Bound b;
  if (!Bind(r, "divisibleby", args, {"num"}, 1, &b)) return Value();
  return Value::Bool(Remainder(r, v, b.storage[0], 0));
}

template <CompareOp kOp>
Value Comparison(Renderer& r, const Value& v, const Args& args) {
  Bound b;
  if (!Bind(r, "comparison", args, {kOp == CompareOp::kIn ? "seq" : ""}, 1, &b)) return Value();
  return Value::Bool(r.Compare(kOp, v, b.storage[0]));
}

Value SameAs(Renderer& r, const Value& v, const Args& args) {
  Bound b;
  if (!Bind(r, "sameas", args, {"other"}, 1, &b)) return Value();
  const Value& other = b.storage[0];
  if (v.kind() != other.kind()) return Value::Bool(false);
  return Value::Bool(v.kind() >= Kind::kList ? v.obj() == other.obj() : r.Equal(v, other));
}

constexpr TestEntry kTests[] = {
    {"defined", Plain<Defined>},
    {"undefined", Plain<Undefined>},
    {"none", Plain<None>},
    {"string", Plain<String>},
    {"mapping", Plain<Mapping>},
    {"iterable", Plain<IterableTest>},
    {"sequence", Plain<Sequence>},
    {"number", Plain<Number>},
    {"integer", Plain<Integer>},
    {"float", Plain<Float>},
    {"boolean", Plain<Boolean>},
    {"true", Plain<True>},
    {"false", Plain<False>},
    {"callable", Plain<Callable>},
    {"odd", Plain<Odd>},
    {"even", Plain<Even>},
    {"divisibleby", DivisibleBy},
    {"lower", Plain<Lower>},
    {"upper", Plain<Upper>},
    {"escaped", Plain<Escaped>},
    {"filter", Plain<FilterExists>},
    {"test", Plain<TestExists>},
    {"sameas", SameAs},
    {"in", Comparison<CompareOp::kIn>},
    {"==", Comparison<CompareOp::kEq>},
    {"eq", Comparison<CompareOp::kEq>},
    {"equalto", Comparison<CompareOp::kEq>},
    {"!=", Comparison<CompareOp::kNe>},
    {"ne", Comparison<CompareOp::kNe>},
    {">", Comparison<CompareOp::kGt>},
    {"gt", Comparison<CompareOp::kGt>},
    {"greaterthan", Comparison<CompareOp::kGt>},
    {"ge", Comparison<CompareOp::kGe>},
    {">=", Comparison<CompareOp::kGe>},
    {"<", Comparison<CompareOp::kLt>},
    {"lt", Comparison<CompareOp::kLt>},
    {"lessthan", Comparison<CompareOp::kLt>},
    {"<=", Comparison<CompareOp::kLe>},
    {"le", Comparison<CompareOp::kLe>},
};

}  // namespace

const TestEntry* FindTest(std::string_view name) {
  for (const TestEntry& entry : kTests) {
    if (entry.name == name) return &entry;
  }
  return nullptr;
}

bool Renderer::CallTest(std::string_view name, const Value& value, const Args& args) {
  const TestEntry* test = FindTest(name);
  if (test == nullptr) Fail(fmt::format("No test named '{}'.", name));
  return test != nullptr && Step() && Truthy(test->call(*this, value, args));
}

}  // namespace sgl::jinja
