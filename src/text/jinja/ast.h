// The parse tree of a template. Built once, never changed afterwards, shared by concurrent renders.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <deque>
#include <string>
#include <utility>
#include <vector>

namespace sgl::jinja {

struct FilterEntry;
struct TestEntry;

enum class ExprKind : uint8_t {
  kNone,
  kBool,
  kInt,
  kFloat,
  kStr,    // constants
  kName,   // text; place
  kNsRef,  // text.attr as an assignment target
  kList,
  kTuple,
  kDict,  // items (a dict: key, value, key, value...)
  kGetattr,
  kGetitem,
  kSlice,  // a.text; a[b]; slice: items[3], may be null
  kCall,
  kFilter,
  kTest,  // a(...), a|text(...), a is text(...)
  kNot,
  kNeg,
  kPos,
  kAdd,
  kSub,
  kMul,
  kDiv,
  kFloorDiv,
  kMod,
  kPow,
  kAnd,
  kOr,
  kCompare,  // a ops[0] items[0] ops[1] items[1]...
  kConcat,   // items
  kCond,     // a if b else c (c may be null)
};

enum class CompareOp : uint8_t { kEq, kNe, kLt, kLe, kGt, kGe, kIn, kNotIn };

// Where a variable lives: `hops` functions outwards, then a slot of that function's activation.
struct Place {
  int hops = 0;
  int slot = -1;
};

struct Expr {
  ExprKind kind = ExprKind::kNone;
  bool boolean = false;
  int line = 0;
  int depth = 1;  // height of the tree below; bounded by the parser
  int64_t integer = 0;
  double number = 0;
  std::string text;  // string, name, attribute, filter or test
  std::string attr;  // kNsRef
  Expr *a = nullptr, *b = nullptr, *c = nullptr;
  std::vector<Expr*> items;  // elements or positional arguments
  std::vector<std::pair<std::string, Expr*>> kwargs;
  Expr *star_args = nullptr, *star_kwargs = nullptr;
  std::vector<CompareOp> ops;
  Place place;
  const FilterEntry* filter = nullptr;  // null: unknown name, an error when it runs
  const TestEntry* test = nullptr;
};

enum class StmtKind : uint8_t {
  kText,
  kPrint,
  kIf,
  kFor,
  kSet,
  kSetBlock,
  kMacro,
  kCallBlock,
  kFilterBlock,
  kWith,
  kBreak,
  kContinue,
};

// What happens to a frame's variables on entry, as jinja2's compiler decides it (idtracking).
struct Load {
  enum class From : uint8_t { kContext, kOuter, kMissing };
  From from = From::kMissing;
  int slot = 0;
  Place outer;       // kOuter
  std::string name;  // kContext
};

struct Frame {
  std::vector<Load> loads;
};

struct Stmt;
using Body = std::vector<Stmt*>;

struct Branch {
  Expr* test = nullptr;
  Body body;
};

struct Stmt {
  StmtKind kind = StmtKind::kText;
  int line = 0;
  std::string text;             // kText: data; kMacro: name
  Expr* target = nullptr;       // kFor, kSet, kSetBlock
  Expr* expr = nullptr;         // printed value, iterable, assigned value, call, filter chain
  Expr* test = nullptr;         // kFor: inline if
  Expr* test_target = nullptr;  // kFor: the target again, with the places it has while the inline if runs
  Body body, else_body;
  std::vector<Branch> branches;         // kIf: if and elifs
  std::vector<Expr*> params, defaults;  // kMacro, kCallBlock; kWith: targets and values
  bool recursive = false;               // kFor
  bool generation = false;              // kCallBlock made by {% generation %}
  bool uses_caller = false, uses_kwargs = false, uses_varargs = false;
  Place name_place;    // kMacro: where it is bound
  int loop_slot = -1;  // kFor: where `loop` lives; -1: not used
  int caller_slot = -1, kwargs_slot = -1, varargs_slot = -1;
  std::vector<int> param_slots;  // kMacro, kCallBlock
  int num_slots = 0;             // functions: kMacro, kCallBlock, recursive kFor
  Frame frame, else_frame, test_frame;
};

struct Ast {
  std::deque<Expr> exprs;  // owns the nodes: flat, so that no destructor recurses
  std::deque<Stmt> stmts;
  Body body;
  Frame frame;
  int num_slots = 0;
};

}  // namespace sgl::jinja
