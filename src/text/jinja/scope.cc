// Which variable a name means is decided before rendering, with the rules of jinja2's idtracking and compiler: each frame (template, for
// body, macro, set block...) owns the names it stores; reads look outwards; a frame's own names are filled in on entry from the frame
// outside or from the render's variables. Frames live in activations: the template's, and one per macro, call block or recursive loop.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <map>
#include <memory>
#include <set>
#include <string>

#include "text/jinja/library.h"
#include "text/jinja/parser.h"

namespace sgl::jinja {
namespace {

struct Function {
  int depth = 0;
  int num_slots = 0;
};

struct Ref {
  Function* function = nullptr;
  int slot = -1;
};

// The names of one frame; copied for the branches of an if.
struct Symbols {
  Symbols* parent = nullptr;
  Function* function = nullptr;
  std::shared_ptr<std::map<std::string, int>> slots = std::make_shared<std::map<std::string, int>>();  // shared by the copies
  std::map<std::string, Ref> refs;
  struct Action {
    enum { kParameter, kResolve, kAlias, kMissing } kind = kMissing;
    std::string name;
    Ref outer;
  };
  std::map<int, Action> loads;  // by slot
  std::set<std::string> stores;

  Symbols(Symbols* p, Function* f) : parent(p), function(f) {}

  const Ref* Find(const std::string& name) const {
    for (const Symbols* s = this; s != nullptr; s = s->parent) {
      if (const auto it = s->refs.find(name); it != s->refs.end()) return &it->second;
    }
    return nullptr;
  }
  int Define(const std::string& name, Action action) {
    const auto [it, fresh] = slots->try_emplace(name, function->num_slots);
    if (fresh) ++function->num_slots;
    refs[name] = {function, it->second};
    loads[it->second] = std::move(action);
    return it->second;
  }
  void Store(const std::string& name) {
    stores.insert(name);
    if (refs.count(name) != 0) return;
    const Ref* outer = parent != nullptr ? parent->Find(name) : nullptr;
    if (outer != nullptr) {
      Define(name, {Action::kAlias, "", *outer});
    } else {
      Define(name, {Action::kMissing, "", {}});
    }
  }
  int Parameter(const std::string& name) {
    stores.insert(name);
    return Define(name, {Action::kParameter, "", {}});
  }
  void Read(const std::string& name) {
    if (Find(name) == nullptr) Define(name, {Action::kResolve, name, {}});
  }
  // What may or may not have been stored in a branch starts with the value from outside.
  void Merge(std::initializer_list<const Symbols*> branches) {
    std::set<std::string> stored;
    for (const Symbols* branch : branches) stored.insert(branch->stores.begin(), branch->stores.end());
    for (const std::string& name : stores) stored.erase(name);
    for (const Symbols* branch : branches) {
      for (const auto& [name, ref] : branch->refs) refs[name] = ref;
      for (const auto& [slot, action] : branch->loads) loads[slot] = action;
      stores.insert(branch->stores.begin(), branch->stores.end());
    }
    for (const std::string& name : stored) {
      const Ref* outer = parent != nullptr ? parent->Find(name) : nullptr;
      loads[Find(name)->slot] = outer != nullptr ? Action{Action::kAlias, "", *outer} : Action{Action::kResolve, name, {}};
    }
  }
};

template <class F>
void ForChildren(const Expr& e, F&& f) {
  for (Expr* child : {e.a, e.b, e.c}) {
    if (child != nullptr) f(*child);
  }
  for (Expr* item : e.items) {
    if (item != nullptr) f(*item);
  }
  for (const auto& [name, value] : e.kwargs) f(*value);
  for (Expr* child : {e.star_args, e.star_kwargs}) {
    if (child != nullptr) f(*child);
  }
}

// First pass over one frame: which names it reads and stores. Does not enter inner frames.
class Collector {
 public:
  explicit Collector(Symbols& symbols) : symbols_(&symbols) {}

  void Reads(const Expr* e) {
    if (e == nullptr) return;
    if (e->kind == ExprKind::kName || e->kind == ExprKind::kNsRef) symbols_->Read(e->text);
    ForChildren(*e, [&](const Expr& child) { Reads(&child); });
  }
  void Target(const Expr* e, bool parameter) {
    if (e->kind == ExprKind::kTuple) {
      for (const Expr* item : e->items) Target(item, parameter);
    } else if (e->kind == ExprKind::kNsRef) {
      symbols_->Read(e->text);
    } else if (parameter) {
      symbols_->Parameter(e->text);
    } else {
      symbols_->Store(e->text);
    }
  }
  void Visit(const Body& body) {
    for (const Stmt* s : body) Visit(*s);
  }

 private:
  void Visit(const Stmt& s) {
    switch (s.kind) {
      case StmtKind::kText:
      case StmtKind::kBreak:
      case StmtKind::kContinue: break;
      case StmtKind::kPrint:
      case StmtKind::kFor:
      case StmtKind::kCallBlock:
      case StmtKind::kFilterBlock: Reads(s.expr); break;
      case StmtKind::kIf: VisitIf(s); break;
      case StmtKind::kSet:
        Reads(s.expr);
        Target(s.target, false);
        break;
      case StmtKind::kSetBlock: Target(s.target, false); break;
      case StmtKind::kMacro: symbols_->Store(s.text); break;
      case StmtKind::kWith:
        for (const Expr* value : s.defaults) Reads(value);
        break;
    }
  }

  void VisitIf(const Stmt& s) {
    Reads(s.branches[0].test);
    Symbols* const original = symbols_;
    Symbols body = *original, elifs = *original, otherwise = *original;
    symbols_ = &body;
    Visit(s.branches[0].body);
    // Each elif is an if of its own that sees what the previous ones did.
    symbols_ = &elifs;
    for (size_t i = 1; i < s.branches.size(); ++i) {
      Reads(s.branches[i].test);
      Symbols branch = elifs;
      const Symbols empty = elifs;
      symbols_ = &branch;
      Visit(s.branches[i].body);
      symbols_ = &elifs;
      elifs.Merge({&branch, &empty, &empty});
    }
    symbols_ = &otherwise;
    Visit(s.else_body);
    symbols_ = original;
    original->Merge({&body, &elifs, &otherwise});
  }

  Symbols* symbols_;
};

// Is `name` read in the body before anything in it stores that name? Enters inner frames, in the order of the reference's node fields.
class FreeNames {
 public:
  explicit FreeNames(std::string_view name) : name_(name) {}
  bool Check(const Body& body) {
    Walk(body);
    return state_ == kRead;
  }

 private:
  void Walk(const Body& body) {
    for (const Stmt* s : body) Walk(*s);
  }
  void Walk(const Expr* e) {
    if (e == nullptr || state_ != kOpen) return;
    if (e->kind == ExprKind::kName && e->text == name_) state_ = kRead;
    ForChildren(*e, [&](const Expr& child) { Walk(&child); });
  }
  void Stored(const Expr* e) {
    if (e->kind == ExprKind::kName && e->text == name_ && state_ == kOpen) state_ = kStored;
    for (const Expr* item : e->items) Stored(item);
  }
  void Walk(const Stmt& s) {
    if (state_ != kOpen) return;
    switch (s.kind) {
      case StmtKind::kCallBlock: Walk(s.expr); break;
      case StmtKind::kFor: Stored(s.target), Walk(s.expr); break;
      case StmtKind::kSet:
      case StmtKind::kSetBlock: Stored(s.target), Walk(s.expr); break;
      case StmtKind::kPrint: Walk(s.expr); break;
      default: break;
    }
    for (const Expr* param : s.params) Stored(param);
    for (const Expr* value : s.defaults) Walk(value);
    for (const Branch& branch : s.branches) {
      Walk(branch.test);
      Walk(branch.body);
    }
    Walk(s.body);
    Walk(s.else_body);
    if (s.kind == StmtKind::kFor) Walk(s.test);
    if (s.kind == StmtKind::kFilterBlock) Walk(s.expr);
  }

  enum { kOpen, kRead, kStored } state_ = kOpen;
  std::string_view name_;
};

// Second pass: walks everything and writes places and loads into the tree.
class Resolver {
 public:
  explicit Resolver(Ast& ast) : ast_(ast) {}

  std::string Run() {
    Function function;
    Symbols symbols(nullptr, &function);
    Collector(symbols).Visit(ast_.body);
    Context context{&symbols, &function};
    Visit(ast_.body, context);
    WriteFrame(symbols, function, &ast_.frame);
    ast_.num_slots = function.num_slots;
    return error_;
  }

 private:
  struct Context {
    Symbols* symbols;
    Function* function;
    bool soft = false;     // inside an if of this frame: unknown filters are errors only when they run
    bool in_loop = false;  // break and continue are allowed
    bool in_for = false;   // somewhere inside a for: `loop` must not be assigned
  };

  void Fail(int line, const std::string& message) {
    if (error_.empty()) error_ = fmt::format("line {}: {}", line, message);
  }

  Place PlaceOf(const std::string& name, const Context& c) {
    c.symbols->Read(name);
    const Ref* ref = c.symbols->Find(name);
    return {c.function->depth - ref->function->depth, ref->slot};
  }

  void WriteFrame(const Symbols& symbols, const Function& function, Frame* frame) {
    for (const auto& [slot, action] : symbols.loads) {
      Load load;
      load.slot = slot;
      switch (action.kind) {
        case Symbols::Action::kParameter: continue;
        case Symbols::Action::kResolve:
          load.from = Load::From::kContext;
          load.name = action.name;
          break;
        case Symbols::Action::kAlias:
          load.from = Load::From::kOuter;
          load.outer = {function.depth - action.outer.function->depth, action.outer.slot};
          break;
        case Symbols::Action::kMissing: load.from = Load::From::kMissing; break;
      }
      frame->loads.push_back(std::move(load));
    }
  }

  void Visit(Expr* e, const Context& c) {
    if (e == nullptr) return;
    if (e->kind == ExprKind::kName || e->kind == ExprKind::kNsRef) e->place = PlaceOf(e->text, c);
    if (e->kind == ExprKind::kFilter) {
      e->filter = FindFilter(e->text);
      if (e->filter == nullptr && !c.soft) Fail(e->line, fmt::format("No filter named '{}'.", e->text));
    }
    if (e->kind == ExprKind::kTest) {
      e->test = FindTest(e->text);
      if (e->test == nullptr && !c.soft) Fail(e->line, fmt::format("No test named '{}'.", e->text));
    }
    Context inner = c;
    if (e->kind == ExprKind::kCond) inner.soft = true;
    ForChildren(*e, [&](Expr& child) { Visit(&child, inner); });
  }

  void VisitTarget(Expr* e, const Context& c) {
    if (e->kind == ExprKind::kTuple) {
      for (Expr* item : e->items) VisitTarget(item, c);
      return;
    }
    if (e->kind == ExprKind::kName && e->text == "loop" && c.in_for)
      Fail(e->line, "Can't assign to special loop variable in for-loop target");
    e->place = PlaceOf(e->text, c);
  }

  void Visit(const Body& body, const Context& c) {
    for (Stmt* s : body) Visit(*s, c);
  }

  void Visit(Stmt& s, const Context& c) {
    switch (s.kind) {
      case StmtKind::kText: break;
      case StmtKind::kPrint: Visit(s.expr, c); break;
      case StmtKind::kIf: VisitIf(s, c); break;
      case StmtKind::kFor: VisitFor(s, c); break;
      case StmtKind::kSet:
        Visit(s.expr, c);
        VisitTarget(s.target, c);
        break;
      case StmtKind::kSetBlock:
      case StmtKind::kFilterBlock:
      case StmtKind::kWith: VisitInnerFrame(s, c); break;
      case StmtKind::kMacro:
        s.name_place = PlaceOf(s.text, c);
        VisitMacro(s, c);
        break;
      case StmtKind::kCallBlock:
        VisitMacro(s, c);
        Visit(s.expr, c);
        break;
      case StmtKind::kBreak:
      case StmtKind::kContinue:
        if (!c.in_loop) Fail(s.line, fmt::format("'{}' outside loop", s.kind == StmtKind::kBreak ? "break" : "continue"));
        break;
    }
  }

  void VisitIf(Stmt& s, const Context& c) {
    Context soft = c;
    soft.soft = true;
    for (Branch& branch : s.branches) {
      Visit(branch.test, soft);
      Visit(branch.body, soft);
    }
    Visit(s.else_body, soft);
  }

  void VisitInnerFrame(Stmt& s, const Context& c) {
    Symbols symbols(c.symbols, c.function);
    Collector collector(symbols);
    for (const Expr* target : s.params) collector.Target(target, true);
    collector.Visit(s.body);
    if (s.kind == StmtKind::kFilterBlock) collector.Reads(s.expr);
    Context inner{&symbols, c.function, false, c.in_loop, c.in_for};
    for (Expr* value : s.defaults) Visit(value, c);
    for (Expr* target : s.params) VisitTarget(target, {&symbols, c.function});
    Visit(s.body, inner);
    if (s.kind == StmtKind::kSetBlock) VisitTarget(s.target, c);
    Visit(s.kind == StmtKind::kWith ? nullptr : s.expr, inner);
    WriteFrame(symbols, *c.function, &s.frame);
  }

  void VisitMacro(Stmt& s, const Context& c) {
    Function function{c.function->depth + 1, 0};
    Symbols symbols(c.symbols, &function);
    Collector collector(symbols);
    for (const Expr* param : s.params) collector.Target(param, true);
    for (const Expr* value : s.defaults) collector.Reads(value);
    collector.Visit(s.body);
    CheckSpecialParameters(s);
    const auto declare = [&](const char* name, bool* used, int* slot) {
      bool is_param = false;
      for (const Expr* param : s.params) is_param |= param->text == name;
      if (!FreeNames(name).Check(s.body)) return;
      *used = !is_param || slot == &s.caller_slot;
      if (!is_param) *slot = symbols.Parameter(name);
    };
    declare("caller", &s.uses_caller, &s.caller_slot);
    declare("kwargs", &s.uses_kwargs, &s.kwargs_slot);
    declare("varargs", &s.uses_varargs, &s.varargs_slot);
    const Context inner{&symbols, &function, false, false, c.in_for};
    for (Expr* param : s.params) {
      param->place = PlaceOf(param->text, inner);
      s.param_slots.push_back(param->place.slot);
    }
    for (Expr* value : s.defaults) Visit(value, inner);
    Visit(s.body, inner);
    WriteFrame(symbols, function, &s.frame);
    s.num_slots = function.num_slots;
  }

  void CheckSpecialParameters(const Stmt& s) {
    for (size_t i = 0; i < s.params.size(); ++i) {
      const bool has_default = i + s.defaults.size() >= s.params.size();
      if (s.params[i]->text == "caller" && !has_default && FreeNames("caller").Check(s.body)) {
        Fail(s.line, "the special \"caller\" argument must be omitted or be given a default");
      }
    }
  }

  Expr* CloneTarget(const Expr* e) {
    Expr copy = *e;
    for (Expr*& item : copy.items) item = CloneTarget(item);
    ast_.exprs.push_back(std::move(copy));
    return &ast_.exprs.back();
  }

  void VisitFor(Stmt& s, const Context& c) {
    Function own{c.function->depth + 1, 0};
    Function* function = s.recursive ? &own : c.function;
    Symbols symbols(c.symbols, function);
    if (s.recursive || FreeNames("loop").Check(s.body)) s.loop_slot = symbols.Parameter("loop");
    Collector collector(symbols);
    collector.Target(s.target, true);
    collector.Visit(s.body);
    Visit(s.expr, c);
    if (s.test != nullptr) {
      Symbols test_symbols(c.symbols, function);
      Collector test_collector(test_symbols);
      s.test_target = CloneTarget(s.target);
      test_collector.Target(s.test_target, true);
      test_collector.Reads(s.test);
      const Context test_context{&test_symbols, function, false, false, true};
      VisitTarget(s.test_target, test_context);
      Visit(s.test, test_context);
      WriteFrame(test_symbols, *function, &s.test_frame);
    }
    const Context inner{&symbols, function, false, true, true};
    VisitTarget(s.target, inner);
    Visit(s.body, inner);
    WriteFrame(symbols, *function, &s.frame);
    if (!s.else_body.empty()) {
      Symbols else_symbols(c.symbols, function);
      Collector(else_symbols).Visit(s.else_body);
      Visit(s.else_body, {&else_symbols, function, false, c.in_loop && !s.recursive, true});
      WriteFrame(else_symbols, *function, &s.else_frame);
    }
    s.num_slots = own.num_slots;
  }

  Ast& ast_;
  std::string error_;
};

}  // namespace

std::string ResolveScopes(Ast& ast) { return Resolver(ast).Run(); }

}  // namespace sgl::jinja
