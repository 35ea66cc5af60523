// Expressions.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "text/jinja/render.h"

namespace sgl::jinja {

Value Renderer::Constant(const Expr& e) {
  switch (e.kind) {
    case ExprKind::kBool: return Value::Bool(e.boolean);
    case ExprKind::kInt: return Value::Int(e.integer);
    case ExprKind::kFloat: return Value::Float(e.number);
    case ExprKind::kStr: return Value::Borrowed(e.text);
    default: return Value::None();
  }
}

Value Renderer::Eval(const Expr& e, Activation& a) {
  if (failed_) return Value();
  switch (e.kind) {
    case ExprKind::kNone:
    case ExprKind::kBool:
    case ExprKind::kInt:
    case ExprKind::kFloat:
    case ExprKind::kStr: return Constant(e);
    case ExprKind::kName:
    case ExprKind::kNsRef: return EvalName(e, a);
    default: break;
  }
  if (!StackOk()) return Value();
  switch (e.kind) {
    case ExprKind::kList:
    case ExprKind::kTuple: return EvalSequence(e, a);
    case ExprKind::kDict: return EvalDict(e, a);
    case ExprKind::kGetattr: return GetAttr(Eval(*e.a, a), e.text);
    case ExprKind::kGetitem: return EvalGetitem(e, a);
    case ExprKind::kSlice: return Fail("slices are only allowed in subscripts");
    case ExprKind::kCall: return EvalCall(e, a);
    case ExprKind::kFilter: return EvalFilter(e, a);
    case ExprKind::kTest: return EvalTest(e, a);
    case ExprKind::kNot: return Value::Bool(!Truthy(Eval(*e.a, a)));
    case ExprKind::kNeg:
    case ExprKind::kPos: return Negate(Eval(*e.a, a), e.kind == ExprKind::kPos);
    case ExprKind::kAnd: {
      Value left = Eval(*e.a, a);
      return Truthy(left) ? Eval(*e.b, a) : left;
    }
    case ExprKind::kOr: {
      Value left = Eval(*e.a, a);
      return Truthy(left) ? left : Eval(*e.b, a);
    }
    case ExprKind::kCompare: return EvalCompare(e, a);
    case ExprKind::kConcat: return EvalConcat(e, a);
    case ExprKind::kCond: return EvalCond(e, a);
    default: {
      const Value left = Eval(*e.a, a);
      const Value right = Eval(*e.b, a);
      return Binary(e.kind, left, right);
    }
  }
}

Value Renderer::EvalName(const Expr& e, Activation& a) {
  const Activation* from = &a;
  for (int i = 0; i < e.place.hops && from != nullptr; ++i) from = from->outer;
  if (from == nullptr) return Value::Undefined(e.text);
  const Value& v = from->slots[static_cast<size_t>(e.place.slot)];
  return v.is_missing() ? Value::Undefined(e.text) : v;
}

Value Renderer::EvalSequence(const Expr& e, Activation& a) {
  Values items;
  items.reserve(e.items.size());
  for (const Expr* item : e.items) items.push_back(Eval(*item, a));
  return e.kind == ExprKind::kList ? List(std::move(items)) : Tuple(std::move(items));
}

Value Renderer::EvalDict(const Expr& e, Activation& a) {
  auto* dict = heap.New<DictObj>();
  Value out(dict);
  for (size_t i = 0; i + 1 < e.items.size() && !failed_; i += 2) {
    const Value key = Eval(*e.items[i], a);
    SetKey(dict, key, Eval(*e.items[i + 1], a));
  }
  return out;
}

Value Renderer::EvalGetitem(const Expr& e, Activation& a) {
  const Value object = Eval(*e.a, a);
  if (e.b->kind == ExprKind::kSlice) {
    Value parts[3];
    for (int i = 0; i < 3; ++i) {
      const Expr* part = e.b->items[static_cast<size_t>(i)];
      parts[i] = part == nullptr ? Value::None() : Eval(*part, a);
    }
    return failed_ ? Value() : GetSlice(object, parts[0], parts[1], parts[2]);
  }
  const Value key = Eval(*e.b, a);
  if (failed_) return Value();
  if (e.b->kind == ExprKind::kStr && object.is_dict()) {  // the common message['role'], without making an object for a miss
    if (const Value* found = AsDict(object)->Find(e.b->text)) return *found;
    if (auto attribute = Attribute(object, e.b->text)) return *std::move(attribute);
    return Value::Undefined(e.b->text, Kind::kDict);
  }
  return GetItem(object, key);
}

bool Renderer::EvalArgs(const Expr& e, Activation& a, Args* args) {
  args->positional.reserve(e.items.size());
  for (const Expr* item : e.items) args->positional.push_back(Eval(*item, a));
  for (const auto& [name, value] : e.kwargs) args->named.emplace_back(name, Eval(*value, a));
  if (e.star_args != nullptr) Collect(Eval(*e.star_args, a), &args->positional);
  if (e.star_kwargs != nullptr && !failed_) {
    const Value extra = Eval(*e.star_kwargs, a);
    if (failed_) return false;
    if (!extra.is_dict()) {
      Fail("argument after ** must be a mapping");
      return false;
    }
    if (AsDict(extra)->items.size() > 1000) {
      Fail("more than 1000 keyword arguments");
      return false;
    }
    for (const auto& [key, value] : AsDict(extra)->items) {
      if (!key.is_str()) {
        Fail("keywords must be strings");
        return false;
      }
      for (const auto& [name, other] : args->named) {
        if (name == key.text()) Fail(fmt::format("got multiple values for keyword argument '{}'", name));
      }
      args->keep.push_back(key);
      args->named.emplace_back(args->keep.back().text(), value);
    }
  }
  return !failed_;
}

Value Renderer::EvalCall(const Expr& e, Activation& a) {
  if (!Step()) return Value();
  if (e.a->kind == ExprKind::kGetattr) {  // object.method(...), without making a bound method
    const Value object = Eval(*e.a->a, a);
    if (failed_) return Value();
    bool refused = false;
    if (const MethodEntry* method = FindMethod(object, e.a->text, &refused); method != nullptr && !refused) {
      Args args;
      if (!EvalArgs(e, a, &args)) return Value();
      line_ = e.line;
      return method->call(*this, object, args);
    }
    const Value callee = GetAttr(object, e.a->text);
    Args args;
    if (!EvalArgs(e, a, &args)) return Value();
    line_ = e.line;
    return Call(callee, args);
  }
  const Value callee = Eval(*e.a, a);
  Args args;
  if (!EvalArgs(e, a, &args)) return Value();
  line_ = e.line;
  return Call(callee, args);
}

Value Renderer::EvalFilter(const Expr& e, Activation& a) {
  if (!Step()) return Value();
  const Value input = e.a != nullptr ? Eval(*e.a, a) : filter_input_;
  Args args;
  if (!EvalArgs(e, a, &args)) return Value();
  line_ = e.line;
  if (e.filter == nullptr) return Fail(fmt::format("No filter named '{}' found.", e.text));
  return e.filter->call(*this, input, args);
}

Value Renderer::EvalTest(const Expr& e, Activation& a) {
  if (!Step()) return Value();
  const Value input = Eval(*e.a, a);
  Args args;
  if (!EvalArgs(e, a, &args)) return Value();
  if (e.test == nullptr) return Fail(fmt::format("No test named '{}' found.", e.text));
  return e.test->call(*this, input, args);
}

Value Renderer::EvalCompare(const Expr& e, Activation& a) {
  Value left = Eval(*e.a, a);
  for (size_t i = 0; i < e.ops.size(); ++i) {
    Value right = Eval(*e.items[i], a);
    if (failed_) return Value();
    if (!Compare(e.ops[i], left, right)) return Value::Bool(false);
    left = std::move(right);
  }
  return Value::Bool(true);
}

Value Renderer::EvalConcat(const Expr& e, Activation& a) {
  std::string out;
  Values parts;
  parts.reserve(e.items.size());
  for (const Expr* item : e.items) parts.push_back(Eval(*item, a));
  if (failed_) return Value();
  for (const Value& part : parts) {
    if (part.is_str() && !RoomForText(out.size() + part.text().size())) return Value();
    AppendStr(out, part);
  }
  return Str(std::move(out));
}

Value Renderer::EvalCond(const Expr& e, Activation& a) {
  const bool holds = Truthy(Eval(*e.b, a));
  if (failed_) return Value();
  if (holds) return Eval(*e.a, a);
  if (e.c != nullptr) return Eval(*e.c, a);
  return Value::UndefinedHint("the inline if-expression evaluated to false and no else section was defined.");
}

}  // namespace sgl::jinja
