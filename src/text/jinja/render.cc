// Statements.
// SPDX-License-Identifier: Apache-2.0
#include "text/jinja/render.h"

#include <algorithm>

namespace sgl::jinja {

namespace {

const char* StackHere() { return static_cast<const char*>(__builtin_frame_address(0)); }

// The items of a for statement that pass its inline if.
struct ForFilter : IteratorObj {
  ForFilter(Heap& heap, const Stmt& stmt, Activation& activation, Cursor from)
      : IteratorObj(heap), s(stmt), a(activation), hold(&activation), cursor(std::move(from)) {}
  bool Next(Renderer& r, Value* out) override {
    if (!entered) {
      entered = true;
      r.EnterFrame(s.test_frame, a);
    }
    while (cursor.Next(r, out)) {
      if (!r.Step()) return false;
      if (r.PassesTest(s, a, *out)) return true;
    }
    return false;
  }
  const Stmt& s;
  Activation& a;
  Value hold;
  Cursor cursor;
  bool entered = false;
};

}  // namespace

Renderer::Renderer(const Ast& ast, const Json& variables, int64_t unix_seconds, const Limits& limits)
    : heap(limits.memory_bytes),
      ast_(ast),
      variables_(variables),
      unix_seconds_(unix_seconds),
      limits_(limits),
      deadline_(SteadyClock().Now() + limits.time),
      stack_top_(StackHere()) {}

Renderer::~Renderer() = default;

Result<std::string> Renderer::Run() {
  std::string out;
  out_ = &out;
  {
    Value hold(heap.New<Activation>(nullptr, ast_.num_slots));
    auto& root = static_cast<Activation&>(*hold.obj());
    EnterFrame(ast_.frame, root);
    Exec(ast_.body, root);
  }
  if (failed_) return InvalidArgument(raised_ ? std::move(error_) : fmt::format("line {}: {}", line_, error_));
  return out;
}

Value Renderer::Fail(std::string message) {
  if (!failed_) {
    failed_ = true;
    error_ = std::move(message);
  }
  return Value();
}

bool Renderer::Step() {
  if (failed_) return false;
  if (++steps_ > limits_.steps) {
    Fail(fmt::format("the template takes more than {} steps", limits_.steps));
  } else if ((steps_ & 255) == 0) {
    CheckTime();
  }
  if (heap.full()) Fail("the template needs too much memory");
  return !failed_;
}

bool Renderer::Work(size_t n) {
  work_ += n + 1;
  if (work_ >= 50'000) {
    work_ = 0;
    CheckTime();
  }
  return !failed_;
}

void Renderer::CheckTime() {
  if (SteadyClock().Now() > deadline_) Fail("the template takes too long");
}

bool Renderer::StackOk() {
  if (static_cast<size_t>(std::abs(stack_top_ - StackHere())) < limits_.stack_bytes) return !failed_;
  Fail("nested too deeply");
  return false;
}

bool Renderer::RoomForText(size_t n) {
  if (n > limits_.string_bytes || !heap.Fits(n)) Fail("a string of the template is too long");
  return Work(n / 16);
}

bool Renderer::RoomForItems(size_t n) {
  if (n > limits_.memory_bytes / sizeof(Value) || !heap.Fits(n * sizeof(Value))) Fail("a list of the template is too long");
  return Work(n);
}

Value Renderer::Str(std::string text, bool markup) {
  if (!RoomForText(text.size())) return Value();
  return Value(heap.New<StrObj>(std::move(text)), markup);
}

void Renderer::Emit(std::string_view text) {
  if (out_->size() + text.size() > limits_.output_bytes) {
    Fail(fmt::format("the output is longer than {} bytes", limits_.output_bytes));
    return;
  }
  out_->append(text);
}

void Renderer::EnterFrame(const Frame& frame, Activation& a) {
  for (const Load& load : frame.loads) {
    Value& slot = a.slots[static_cast<size_t>(load.slot)];
    switch (load.from) {
      case Load::From::kMissing: slot = Value(); break;
      case Load::From::kContext: slot = Resolve(load.name); break;
      case Load::From::kOuter: {
        const Activation* from = &a;
        for (int i = 0; i < load.outer.hops && from != nullptr; ++i) from = from->outer;
        slot = from != nullptr ? Value(from->slots[static_cast<size_t>(load.outer.slot)]) : Value();
        break;
      }
    }
  }
}

Renderer::Flow Renderer::Exec(const Body& body, Activation& a) {
  for (const Stmt* s : body) {
    if (s->kind == StmtKind::kText) {
      Emit(s->text);
      if (failed_) return Flow::kBreak;
      continue;
    }
    if (!Step()) return Flow::kBreak;
    line_ = s->line;
    const Flow flow = ExecOne(*s, a);
    if (failed_) return Flow::kBreak;
    if (flow != Flow::kNormal) return flow;
  }
  return Flow::kNormal;
}

Renderer::Flow Renderer::ExecOne(const Stmt& s, Activation& a) {
  switch (s.kind) {
    case StmtKind::kText: break;
    case StmtKind::kPrint: ExecPrint(*s.expr, a); break;
    case StmtKind::kIf: return ExecIf(s, a);
    case StmtKind::kFor: return ExecFor(s, a);
    case StmtKind::kSet:
      if (CheckNamespaces(*s.target, a)) Assign(*s.target, a, Eval(*s.expr, a));
      break;
    case StmtKind::kSetBlock: return ExecSetBlock(s, a);
    case StmtKind::kMacro: ExecMacro(s, a); break;
    case StmtKind::kCallBlock: ExecCallBlock(s, a); break;
    case StmtKind::kFilterBlock: return ExecFilterBlock(s, a);
    case StmtKind::kWith: return ExecWith(s, a);
    case StmtKind::kBreak: return Flow::kBreak;
    case StmtKind::kContinue: return Flow::kContinue;
  }
  return Flow::kNormal;
}

Renderer::Flow Renderer::ExecIf(const Stmt& s, Activation& a) {
  if (!StackOk()) return Flow::kBreak;
  for (const Branch& branch : s.branches) {
    const bool holds = Truthy(Eval(*branch.test, a));
    if (failed_) return Flow::kBreak;
    if (holds) return Exec(branch.body, a);
  }
  return Exec(s.else_body, a);
}

void Renderer::ExecPrint(const Expr& e, Activation& a) {
  const Value v = Eval(e, a);
  if (failed_) return;
  if (v.is_str()) {
    Emit(v.text());
    return;
  }
  std::string text;
  AppendStr(text, v);
  Emit(text);
}

Renderer::Flow Renderer::Capture(const Body& body, Activation& a, Value* text) {
  std::string buffer;
  // While this capture runs, what is written outside it counts as memory: nested captures could hold an output's worth each.
  auto* outside = heap.New<StrObj>(std::string());
  heap.Charge(outside, out_->size());
  const Value hold(outside, false);
  std::string* const before = std::exchange(out_, &buffer);
  const Flow flow = StackOk() ? Exec(body, a) : Flow::kBreak;
  out_ = before;
  *text = Str(std::move(buffer));
  return flow;
}

// Like the compiled code of the reference, a break or continue inside a captured block leaves without using what was captured.
Renderer::Flow Renderer::ExecSetBlock(const Stmt& s, Activation& a) {
  EnterFrame(s.frame, a);
  Value text;
  const Flow flow = Capture(s.body, a, &text);
  if (failed_ || flow != Flow::kNormal) return flow;
  if (s.expr != nullptr) {
    Value before = std::exchange(filter_input_, std::move(text));
    text = Eval(*s.expr, a);
    filter_input_ = std::move(before);
  }
  if (CheckNamespaces(*s.target, a)) Assign(*s.target, a, std::move(text));
  return Flow::kNormal;
}

Renderer::Flow Renderer::ExecFilterBlock(const Stmt& s, Activation& a) {
  EnterFrame(s.frame, a);
  Value text;
  const Flow flow = Capture(s.body, a, &text);
  if (failed_ || flow != Flow::kNormal) return flow;
  Value before = std::exchange(filter_input_, std::move(text));
  ExecPrint(*s.expr, a);
  filter_input_ = std::move(before);
  return Flow::kNormal;
}

Renderer::Flow Renderer::ExecWith(const Stmt& s, Activation& a) {
  EnterFrame(s.frame, a);
  for (size_t i = 0; i < s.params.size() && !failed_; ++i) Assign(*s.params[i], a, Eval(*s.defaults[i], a));
  if (failed_ || !StackOk()) return Flow::kBreak;
  return Exec(s.body, a);
}

bool Renderer::CheckNamespaces(const Expr& target, Activation& a) {
  if (target.kind == ExprKind::kTuple) {
    for (const Expr* item : target.items) {
      if (!CheckNamespaces(*item, a)) return false;
    }
  } else if (target.kind == ExprKind::kNsRef && EvalName(target, a).kind() != Kind::kNamespace) {
    Fail("cannot assign attribute on non-namespace object");
  }
  return !failed_;
}

void Renderer::Assign(const Expr& target, Activation& a, Value value) {
  if (failed_) return;
  switch (target.kind) {
    case ExprKind::kName: {
      Activation* to = &a;
      for (int i = 0; i < target.place.hops; ++i) to = to->outer;
      // A value that came from a variable never set keeps its own name in messages.
      to->slots[static_cast<size_t>(target.place.slot)] = std::move(value);
      return;
    }
    case ExprKind::kNsRef: {
      const Value ns = EvalName(target, a);
      if (ns.kind() != Kind::kNamespace) {
        Fail("cannot assign attribute on non-namespace object");
      } else if (target.attr[0] == '_') {
        Fail(fmt::format("Chat templates cannot store underscore-prefixed attributes on a namespace, but got '{}'", target.attr));
      } else {
        AsDict(static_cast<NamespaceObj*>(ns.obj())->attrs)->Set(Value::Borrowed(target.attr), std::move(value));
      }
      return;
    }
    default: break;
  }
  Cursor cursor = Iterate(value);
  Values items;
  Value item;
  while (!failed_ && items.size() <= target.items.size() && cursor.Next(*this, &item)) items.push_back(item);
  if (failed_) return;
  if (items.size() > target.items.size()) {
    Fail(fmt::format("too many values to unpack (expected {})", target.items.size()));
  } else if (items.size() < target.items.size()) {
    Fail(fmt::format("not enough values to unpack (expected {}, got {})", target.items.size(), items.size()));
  }
  for (size_t i = 0; i < items.size() && !failed_; ++i) Assign(*target.items[i], a, std::move(items[i]));
}

bool Renderer::PassesTest(const Stmt& s, Activation& a, const Value& item) {
  Assign(*s.test_target, a, item);
  return !failed_ && Truthy(Eval(*s.test, a)) && !failed_;
}

Renderer::Flow Renderer::ExecFor(const Stmt& s, Activation& a) {
  const Value iterable = Eval(*s.expr, a);
  if (failed_) return Flow::kBreak;
  if (!s.recursive) return RunLoop(s, a, iterable, 0);
  Value hold(heap.New<Activation>(&a, s.num_slots));
  return RunLoop(s, static_cast<Activation&>(*hold.obj()), iterable, 0);
}

// A break or continue in the else branch belongs to the loop outside.
Renderer::Flow Renderer::RunLoop(const Stmt& s, Activation& a, const Value& iterable, int depth0) {
  if (!StackOk()) return Flow::kBreak;
  Value source = iterable;
  Cursor cursor = Iterate(source);
  if (failed_) return Flow::kBreak;
  if (s.test != nullptr) {
    source = Value(heap.New<ForFilter>(s, a, std::move(cursor)));
    cursor = Cursor(source);
  }
  LoopObj* loop = nullptr;
  Value hold;
  if (s.loop_slot >= 0) {
    loop = heap.New<LoopObj>();
    hold = Value(loop);
    loop->cursor = std::move(cursor);
    loop->iterable = source;
    loop->depth0 = depth0;
    if (s.recursive) {
      loop->recursive = &s;
      loop->closure = a.outer;
      loop->hold = Value(a.outer);
    }
  }
  bool completed = false;  // a body ran to its end; otherwise the else branch runs
  Value item;
  while (loop != nullptr ? loop->Advance(*this, &item) : cursor.Next(*this, &item)) {
    if (!Step()) return Flow::kBreak;
    line_ = s.line;
    Assign(*s.target, a, item);
    if (loop != nullptr) a.slots[static_cast<size_t>(s.loop_slot)] = hold;
    EnterFrame(s.frame, a);
    const Flow flow = Exec(s.body, a);
    if (failed_) return Flow::kBreak;
    if (flow == Flow::kBreak) break;
    if (flow == Flow::kNormal) completed = true;
  }
  if (failed_) return Flow::kBreak;
  if (s.loop_slot >= 0) a.slots[static_cast<size_t>(s.loop_slot)] = Value();
  if (completed || s.else_body.empty()) return Flow::kNormal;
  EnterFrame(s.else_frame, a);
  return Exec(s.else_body, a);
}

void Renderer::ExecMacro(const Stmt& s, Activation& a) {
  Activation* to = &a;
  for (int i = 0; i < s.name_place.hops; ++i) to = to->outer;
  to->slots[static_cast<size_t>(s.name_place.slot)] = Value(heap.New<MacroObj>(&s, &a));
}

void Renderer::ExecCallBlock(const Stmt& s, Activation& a) {
  const Value caller(heap.New<MacroObj>(&s, &a));
  Value text;
  if (s.generation) {
    text = CallMacro(static_cast<MacroObj&>(*caller.obj()), Args());
  } else {
    const Value callee = Eval(*s.expr->a, a);
    Args args;
    if (!EvalArgs(*s.expr, a, &args)) return;
    for (const auto& [name, value] : args.named) {
      if (name == "caller") {
        Fail("got multiple values for keyword argument 'caller'");
        return;
      }
    }
    args.named.emplace_back("caller", caller);
    text = Call(callee, args);
  }
  if (failed_) return;
  std::string out;
  AppendStr(out, text);
  Emit(out);
}

bool LoopObj::Peek(Renderer& r) {
  if (has_after) return true;
  if (ended) return false;
  has_after = cursor.Next(r, &after);
  ended = !has_after;
  return has_after;
}

bool LoopObj::Advance(Renderer& r, Value* out) {
  if (!Peek(r)) return false;
  has_after = false;
  ++index0;
  before = std::move(current);
  current = std::move(after);
  after = Value();
  *out = current;
  return true;
}

int64_t LoopObj::Length(Renderer& r) {
  if (length >= 0) return length;
  if (const auto known = r.TryLength(iterable)) return length = *known;
  Values rest;
  Value item;
  if (has_after) rest.push_back(after);
  while (!r.failed() && cursor.Next(r, &item)) {
    if (!r.Step()) break;
    rest.push_back(item);
  }
  has_after = false;
  ended = false;
  length = index0 + 1 + static_cast<int64_t>(rest.size());
  cursor = Cursor(r.List(std::move(rest)));
  return length;
}

}  // namespace sgl::jinja
