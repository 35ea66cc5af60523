// Names from outside the template, calls, macros and global functions.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <ctime>

#include "text/jinja/render.h"

namespace sgl::jinja {

namespace {
constexpr int64_t kMaxRange = 100'000;  // as in jinja2's sandbox
}

Value Renderer::Resolve(std::string_view name) {
  for (const auto& [known, value] : resolved_) {
    if (known == name && !known.empty()) return value;
  }
  const Json* json = variables_.find(name);
  Value value = json != nullptr ? FromJson(*json) : Global(name);
  resolved_.emplace_back(name, value);
  return value;
}

Value Renderer::Global(std::string_view name) {
  static constexpr std::pair<std::string_view, FunctionObj::Which> kGlobals[] = {
      {"range", FunctionObj::kRange},
      {"dict", FunctionObj::kDict},
      {"namespace", FunctionObj::kNamespace},
      {"cycler", FunctionObj::kCycler},
      {"joiner", FunctionObj::kJoiner},
      {"lipsum", FunctionObj::kLipsum},
      {"raise_exception", FunctionObj::kRaiseException},
      {"strftime_now", FunctionObj::kStrftimeNow},
  };
  for (const auto& [known, which] : kGlobals) {
    if (known == name) return Value(heap.New<FunctionObj>(which));
  }
  return Value();  // not set
}

Value Renderer::FromJson(const Json& json) {
  if (!StackOk()) return Value();
  if (json.is_null()) return Value::None();
  if (json.is_bool()) return Value::Bool(json.as_bool());
  if (json.is_int()) return Value::Int(json.as_int());
  if (json.is_double()) return Value::Float(json.as_double());
  if (json.is_string()) {
    if (!RoomForText(json.as_string().size())) return Value();
    return Value::Borrowed(json.as_string());
  }
  if (json.is_array()) {
    Values items;
    if (!RoomForItems(json.as_array().size())) return Value();
    items.reserve(json.as_array().size());
    for (const Json& item : json.as_array()) items.push_back(FromJson(item));
    return List(std::move(items));
  }
  auto* dict = heap.New<DictObj>();
  Value out(dict);
  dict->items.reserve(std::min<size_t>(json.as_object().size(), 8));
  for (const auto& [key, value] : json.as_object()) {
    if (failed_ || heap.full()) {
      Fail("the variables are too large");
      break;
    }
    dict->Set(Value::Borrowed(key), FromJson(value));
  }
  return out;
}

Value Renderer::Call(const Value& callee, const Args& args) {
  if (failed_) return Value();
  switch (callee.kind()) {
    case Kind::kUndefined: return FailUndefined(callee);
    case Kind::kMacro: return CallMacro(static_cast<MacroObj&>(*callee.obj()), args);
    case Kind::kFunction: return CallFunction(static_cast<FunctionObj*>(callee.obj())->which, args);
    case Kind::kMethod: {
      const auto& bound = static_cast<MethodObj&>(*callee.obj());
      return bound.method->call(*this, bound.self, args);
    }
    case Kind::kLoop: return CallLoop(callee, args);
    case Kind::kJoiner: {
      auto& joiner = static_cast<JoinerObj&>(*callee.obj());
      Bound none;
      if (!Bind(*this, "joiner", args, {}, 0, &none)) return Value();
      return std::exchange(joiner.used, true) ? joiner.separator : Value::Borrowed("");
    }
    default: return Fail(fmt::format("'{}' object is not callable", TypeName(callee)));
  }
}

bool Renderer::BindMacro(const Stmt& def, const Args& args, Activation& a) {
  const size_t wanted = def.params.size();
  const size_t direct = std::min(wanted, args.positional.size());
  std::vector<bool> taken(args.named.size());
  const auto take = [&](std::string_view name) -> const Value* {
    for (size_t i = 0; i < args.named.size(); ++i) {
      if (args.named[i].first == name && !taken[i]) {
        taken[i] = true;
        return &args.named[i].second;
      }
    }
    return nullptr;
  };
  std::vector<bool> given(wanted);
  const auto set = [&](int slot, Value v) { a.slots[static_cast<size_t>(slot)] = std::move(v); };
  for (size_t i = 0; i < wanted; ++i) {
    const Value* value = i < direct ? &args.positional[i] : take(def.params[i]->text);
    given[i] = value != nullptr;
    if (value != nullptr) set(def.param_slots[i], value->is_missing() ? Value::Undefined(def.params[i]->text) : *value);
  }
  if (def.caller_slot >= 0) {
    const Value* caller = take("caller");
    set(def.caller_slot, caller != nullptr && !caller->is_none() ? *caller : Value::UndefinedHint("No caller defined"));
  }
  const auto left = std::find(taken.begin(), taken.end(), false);
  const std::string_view name = def.text;
  if (def.uses_kwargs && def.kwargs_slot >= 0) {
    auto* dict = heap.New<DictObj>();
    set(def.kwargs_slot, Value(dict));
    for (size_t i = 0; i < taken.size(); ++i) {
      if (!taken[i]) dict->Set(Str(std::string(args.named[i].first)), args.named[i].second);
    }
  } else if (left != taken.end()) {
    Fail(fmt::format("macro '{}' takes no keyword argument '{}'", name, args.named[static_cast<size_t>(left - taken.begin())].first));
  }
  if (def.uses_varargs && def.varargs_slot >= 0) {
    set(def.varargs_slot, Tuple(Values(args.positional.begin() + static_cast<std::ptrdiff_t>(direct), args.positional.end())));
  } else if (args.positional.size() > wanted) {
    Fail(fmt::format("macro '{}' takes not more than {} argument(s)", name, wanted));
  }
  for (size_t i = 0; i < wanted && !failed_; ++i) {
    if (given[i]) continue;
    const size_t required = wanted - def.defaults.size();
    set(def.param_slots[i], i >= required ? Eval(*def.defaults[i - required], a) : Value::Undefined(def.params[i]->text));
  }
  return !failed_;
}

Value Renderer::CallMacro(const MacroObj& macro, const Args& args) {
  if (!Step() || !StackOk()) return Value();
  if (++depth_ > limits_.depth) {
    --depth_;
    return Fail(fmt::format("macros and recursive loops are nested more than {} levels deep", limits_.depth));
  }
  const Stmt& def = *macro.def;
  Value hold(heap.New<Activation>(macro.closure, def.num_slots));
  auto& a = static_cast<Activation&>(*hold.obj());
  EnterFrame(def.frame, a);
  Value text;
  const int line = line_;
  if (BindMacro(def, args, a)) Capture(def.body, a, &text);
  if (!failed_) line_ = line;
  --depth_;
  return text;
}

Value Renderer::CallLoop(const Value& value, const Args& args) {
  LoopObj& loop = *AsLoop(value);
  if (loop.recursive == nullptr) return Fail("The loop must have the 'recursive' marker to be called recursively.");
  Bound bound;
  if (!Bind(*this, "loop", args, {"iterable"}, 1, &bound)) return Value();
  if (++depth_ > limits_.depth) {
    --depth_;
    return Fail(fmt::format("macros and recursive loops are nested more than {} levels deep", limits_.depth));
  }
  Value hold(heap.New<Activation>(loop.closure, loop.recursive->num_slots));
  std::string buffer;
  auto* outside = heap.New<StrObj>(std::string());
  heap.Charge(outside, out_->size());  // as in Capture
  const Value written(outside, false);
  std::string* const before = std::exchange(out_, &buffer);
  RunLoop(*loop.recursive, static_cast<Activation&>(*hold.obj()), bound.storage[0], loop.depth0 + 1);
  out_ = before;
  --depth_;
  return Str(std::move(buffer));
}

Value Renderer::CallFunction(FunctionObj::Which which, const Args& args) {
  Bound bound;
  switch (which) {
    case FunctionObj::kRange: return MakeRange(args);
    case FunctionObj::kDict: return MakeDict(args);
    case FunctionObj::kNamespace: return MakeNamespace(args);
    case FunctionObj::kCycler:
      if (!args.named.empty()) return Fail("cycler() takes no keyword arguments");
      if (args.positional.empty()) return Fail("at least one item has to be provided");
      return Value(heap.New<CyclerObj>(args.positional));
    case FunctionObj::kJoiner:
      if (!Bind(*this, "joiner", args, {"sep"}, 0, &bound)) return Value();
      return Value(heap.New<JoinerObj>(bound.given[0] ? bound.storage[0] : Value::Borrowed(", ")));
    case FunctionObj::kLipsum: return Fail("lipsum() is not supported");
    case FunctionObj::kRaiseException: {
      if (!Bind(*this, "raise_exception", args, {"message"}, 1, &bound)) return Value();
      const TextOf text(*this, bound.storage[0]);
      raised_ = !failed_;
      return Fail(std::string(text.view()));
    }
    case FunctionObj::kStrftimeNow: return FormatNow(args);
  }
  return Value();
}

Value Renderer::MakeRange(const Args& args) {
  if (!args.named.empty()) return Fail("range() takes no keyword arguments");
  const Values& v = args.positional;
  if (v.empty() || v.size() > 3) return Fail(fmt::format("range expected 1 to 3 arguments, got {}", v.size()));
  for (const Value& arg : v) {
    if (arg.is_undefined()) return FailUndefined(arg);
    if (!arg.is_int()) return Fail(fmt::format("'{}' object cannot be interpreted as an integer", TypeName(arg)));
  }
  const int64_t start = v.size() > 1 ? v[0].integer() : 0;
  const int64_t stop = v.size() > 1 ? v[1].integer() : v[0].integer();
  const int64_t step = v.size() > 2 ? v[2].integer() : 1;
  if (step == 0) return Fail("range() arg 3 must not be zero");
  auto* range = heap.New<RangeObj>(start, stop, step);
  Value out(range);
  const int64_t size = range->size();
  if (size < 0 || size > kMaxRange)
    return Fail(fmt::format("Range too big. The sandbox blocks ranges larger than MAX_RANGE ({}).", kMaxRange));
  return out;
}

void Renderer::SetKey(DictObj* dict, const Value& key, Value value) {
  if (failed_) return;
  if (!Hashable(key)) {
    Fail(fmt::format("unhashable type: '{}'", TypeName(key)));
  } else if (heap.full()) {
    Fail("the template needs too much memory");
  } else {
    dict->Set(key, std::move(value));
  }
}

Value Renderer::MakeDict(const Args& args) {
  auto* dict = heap.New<DictObj>();
  Value out(dict);
  if (args.positional.size() > 1) return Fail(fmt::format("dict expected at most 1 argument, got {}", args.positional.size()));
  if (!args.positional.empty()) {
    const Value& from = args.positional[0];
    if (from.is_undefined()) return FailUndefined(from);
    if (from.is_dict()) {
      for (const auto& [key, value] : AsDict(from)->items) {
        if (!Work(4)) return Value();
        SetKey(dict, key, value);
      }
    } else {
      Cursor cursor = Iterate(from);
      Value item;
      while (!failed_ && cursor.Next(*this, &item)) {
        Values pair;
        if (!Step() || !Collect(item, &pair)) return Value();
        if (pair.size() != 2) return Fail("dictionary update sequence element must have length 2");
        SetKey(dict, pair[0], pair[1]);
      }
    }
  }
  for (const auto& [name, value] : args.named) dict->Set(Str(std::string(name)), value);
  return out;
}

Value Renderer::MakeNamespace(const Args& args) {
  const Value attrs = MakeDict(args);
  if (failed_) return Value();
  for (const auto& [key, value] : AsDict(attrs)->items) {
    if (key.is_str() && key.text().substr(0, 1) == "_") {
      return Fail(fmt::format("Chat templates cannot store underscore-prefixed attributes on a namespace, but got '{}'", key.text()));
    }
  }
  auto* ns = heap.New<NamespaceObj>();
  ns->attrs = attrs;
  return Value(ns);
}

Value Renderer::FormatNow(const Args& args) {
  Bound bound;
  if (!Bind(*this, "strftime_now", args, {"format"}, 1, &bound)) return Value();
  if (!bound.storage[0].is_str()) return Fail("strftime_now() argument must be str");
  std::string_view text = bound.storage[0].text();
  if (text.size() > 1000) return Fail("strftime_now() format is too long");
  const auto now = static_cast<std::time_t>(unix_seconds_);
  std::tm parts{};
  localtime_r(&now, &parts);
  std::string format;  // Python's own: %f is microseconds, %z and %Z of a naive time are empty
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%' || i + 1 == text.size()) {
      format += text[i];
      continue;
    }
    const char c = text[++i];
    if (c == 'f')
      format += "000000";
    else if (c != 'z' && c != 'Z')
      format += std::string("%") + c;
  }
  std::string out(format.size() * 32 + 256, '\0');
  out.resize(format.empty() ? 0 : std::strftime(out.data(), out.size(), format.c_str(), &parts));
  return Str(std::move(out));
}

}  // namespace sgl::jinja
