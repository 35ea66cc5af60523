// One render of a template: evaluates the parse tree with Python's semantics, within limits.
// Thread: the one that made it. Needs about 2.5 MiB of stack in the worst case.
// Error style: the first r.Fail(...) is kept, everything afterwards is a cheap no-op whose results nobody uses. Loops check failed().
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <fmt/format.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "base/result.h"
#include "text/jinja/ast.h"
#include "text/jinja/library.h"
#include "text/jinja/value.h"

namespace sgl::jinja {

struct Limits {
  int depth = 64;             // macro calls and recursive loops
  int64_t steps = 1'000'000;  // statements, iterations, calls
  size_t output_bytes = size_t{16} << 20;
  size_t string_bytes = size_t{32} << 20;   // of one value
  size_t memory_bytes = size_t{256} << 20;  // of all values
  size_t stack_bytes = size_t{2} << 20;
  Duration time = std::chrono::seconds(2);
};

class Renderer {
 public:
  // unix_seconds: what strftime_now sees. ast and variables outlive the renderer.
  Renderer(const Ast& ast, const Json& variables, int64_t unix_seconds, const Limits& limits = {});
  ~Renderer();
  Result<std::string> Run();

  // --- errors and limits
  bool failed() const { return failed_; }
  Value Fail(std::string message);
  Value FailUndefined(const Value& v) { return Fail(v.undefined_message()); }
  // One step of work; false when the render has failed or just ran out of steps or time.
  bool Step();
  // n units of inner-loop work (bytes, items); false as above.
  bool Work(size_t n);
  // False (and failed) when the native stack is nearly used up.
  bool StackOk();
  // Can a string of n bytes, or a list of n values, be made? Fails when not.
  bool RoomForText(size_t n);
  bool RoomForItems(size_t n);

  // --- making values
  Heap heap;
  Value Str(std::string text, bool markup = false);
  // Part of the text of `from`, without a copy when that is borrowed.
  Value SubText(const Value& from, std::string_view part) {
    if (from.is_str() && from.borrowed()) return from.is_markup() ? Value::Borrowed(part).AsMarkup() : Value::Borrowed(part);
    return Str(std::string(part), from.is_markup());
  }
  Value List(Values items) { return Value(heap.New<ListObj>(Kind::kList, std::move(items))); }
  Value Tuple(Values items) { return Value(heap.New<ListObj>(Kind::kTuple, std::move(items))); }
  Value FromJson(const Json& json);
  Value UndefinedItem(const Value& object, const Value& key);

  // --- Python protocols (ops.cc)
  bool Truthy(const Value& v);
  void AppendStr(std::string& out, const Value& v);   // str(v)
  void AppendRepr(std::string& out, const Value& v);  // repr(v)
  bool Equal(const Value& a, const Value& b);
  bool Ordered(CompareOp op, const Value& a, const Value& b);  // < <= > >=
  bool HasKey(const Value& dict, const Value& key);
  bool Contains(const Value& container, const Value& item);
  bool Compare(CompareOp op, const Value& a, const Value& b);
  Value Binary(ExprKind op, const Value& a, const Value& b);
  Value Negate(const Value& v, bool plus);
  int64_t Length(const Value& v);  // fails for what has no len()
  std::optional<int64_t> TryLength(const Value& v);
  bool Iterable(const Value& v);
  Cursor Iterate(const Value& v);             // fails for what is not iterable
  bool Collect(const Value& v, Values* out);  // list(v)
  // object.name, object[key]. `name` outlives the render.
  Value GetAttr(const Value& object, std::string_view name);
  Value GetItem(const Value& object, const Value& key);
  Value GetSlice(const Value& object, const Value& start, const Value& stop, const Value& step);
  std::optional<Value> Attribute(const Value& object, std::string_view name);  // what the type itself offers, methods included
  void ToJson(std::string& out, const Value& v, const struct JsonStyle& style);

  // --- calls
  Value Call(const Value& callee, const Args& args);
  Value CallFilter(std::string_view name, const Value& value, const Args& args);
  bool CallTest(std::string_view name, const Value& value, const Args& args);
  Value MakeDict(const Args& args);
  void SetKey(DictObj* dict, const Value& key, Value value);  // fails for unhashable keys

  // Runs the inline if of a for statement; used by its iterator.
  bool PassesTest(const Stmt& s, Activation& a, const Value& item);
  void EnterFrame(const Frame& frame, Activation& a);

 private:
  friend struct LoopObj;
  enum class Flow : uint8_t { kNormal, kBreak, kContinue };

  Flow Exec(const Body& body, Activation& a);
  Flow ExecOne(const Stmt& s, Activation& a);
  Flow ExecIf(const Stmt& s, Activation& a);
  void ExecPrint(const Expr& e, Activation& a);
  Flow ExecFor(const Stmt& s, Activation& a);
  Flow RunLoop(const Stmt& s, Activation& a, const Value& iterable, int depth0);
  void ExecMacro(const Stmt& s, Activation& a);
  void ExecCallBlock(const Stmt& s, Activation& a);
  Flow ExecSetBlock(const Stmt& s, Activation& a);
  Flow ExecFilterBlock(const Stmt& s, Activation& a);
  Flow ExecWith(const Stmt& s, Activation& a);
  Flow Capture(const Body& body, Activation& a, Value* text);
  void Assign(const Expr& target, Activation& a, Value value);
  bool CheckNamespaces(const Expr& target, Activation& a);
  void Emit(std::string_view text);

  Value Eval(const Expr& e, Activation& a);
  Value EvalName(const Expr& e, Activation& a);
  Value EvalSequence(const Expr& e, Activation& a);
  Value EvalDict(const Expr& e, Activation& a);
  Value EvalGetitem(const Expr& e, Activation& a);
  Value EvalCall(const Expr& e, Activation& a);
  Value EvalFilter(const Expr& e, Activation& a);
  Value EvalTest(const Expr& e, Activation& a);
  Value EvalCompare(const Expr& e, Activation& a);
  Value EvalConcat(const Expr& e, Activation& a);
  Value EvalCond(const Expr& e, Activation& a);
  bool EvalArgs(const Expr& e, Activation& a, Args* args);
  Value Constant(const Expr& e);

  Value Resolve(std::string_view name);
  Value Global(std::string_view name);
  Value CallFunction(FunctionObj::Which which, const Args& args);
  Value CallMacro(const MacroObj& macro, const Args& args);
  bool BindMacro(const Stmt& def, const Args& args, Activation& a);
  Value CallLoop(const Value& loop, const Args& args);
  Value MakeRange(const Args& args);
  Value MakeNamespace(const Args& args);
  Value FormatNow(const Args& args);
  std::optional<Value> LoopAttribute(const Value& loop, std::string_view name);
  std::optional<Value> OtherAttribute(const Value& object, std::string_view name);
  Value BinaryInt(ExprKind op, int64_t a, int64_t b);
  Value BinaryFloat(ExprKind op, double a, double b);
  Value AddText(const Value& a, const Value& b);
  Value Repeat(const Value& sequence, int64_t times);
  bool EqualSequences(const Value& a, const Value& b);
  bool EqualDicts(const Value& a, const Value& b);
  void AppendItems(std::string& out, const Values& items);
  void CheckTime();

  const Ast& ast_;
  const Json& variables_;
  const int64_t unix_seconds_;
  const Limits limits_;
  const TimePoint deadline_;
  const char* const stack_top_;
  std::vector<std::pair<std::string_view, Value>> resolved_;
  std::string* out_ = nullptr;
  Value filter_input_;
  int line_ = 1;
  int depth_ = 0;
  int64_t steps_ = 0;
  size_t work_ = 0;
  bool failed_ = false;
  std::string error_;

  bool raised_ = false;  // by raise_exception: the message stands alone
};

// The text of a value as str() gives it, without a copy when it is a string already.
class TextOf {
 public:
  TextOf(Renderer& r, const Value& v) {
    if (v.is_str()) {
      view_ = v.text();
    } else {
      r.AppendStr(store_, v);
      view_ = store_;
    }
  }
  TextOf(const TextOf&) = delete;
  TextOf& operator=(const TextOf&) = delete;
  std::string_view view() const { return view_; }

 private:
  std::string store_;
  std::string_view view_;
};

struct JsonStyle {
  bool ascii = false, sort_keys = false, pretty = false;
  std::string indent, item_separator = ", ", key_separator = ": ";
  int level = 0;
};

}  // namespace sgl::jinja
