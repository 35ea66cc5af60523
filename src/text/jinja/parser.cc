// SPDX-License-Identifier: Apache-2.0
#include "text/jinja/parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>

#include "text/jinja/lexer.h"

namespace sgl::jinja {
namespace {

constexpr int kMaxDepth = 200;  // nested expressions, or nested statements; CPython refuses about as many in compiled templates

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)), ast_(std::make_unique<Ast>()) {}

  Result<std::unique_ptr<const Ast>> Run() {
    ParseBody(ast_->body, {});
    if (error_.empty()) error_ = ResolveScopes(*ast_);
    if (!error_.empty()) return InvalidArgument(std::move(error_));
    return std::unique_ptr<const Ast>(std::move(ast_));
  }

 private:
  using Names = std::initializer_list<std::string_view>;

  // --- tokens. After an error every look-up sees the end of the template, so all loops end.
  const Token& Now() const { return tokens_[pos_]; }
  const Token& Ahead() const { return tokens_[std::min(pos_ + 1, tokens_.size() - 1)]; }
  void Next() {
    if (pos_ + 1 < tokens_.size()) ++pos_;
  }
  bool Take(std::string_view op) {
    if (!Now().Is(op)) return false;
    Next();
    return true;
  }
  bool TakeName(std::string_view name) {
    if (!Now().IsName(name)) return false;
    Next();
    return true;
  }
  void Fail(int line, const std::string& message) {
    if (error_.empty()) error_ = fmt::format("line {}: {}", line, message);
    pos_ = tokens_.size() - 1;
  }
  bool failed() const { return !error_.empty(); }
  void Unexpected(std::string_view wanted) {
    if (Now().kind == TokenKind::kEof) {
      Fail(Now().line, fmt::format("unexpected end of template, expected '{}'", wanted));
    } else {
      Fail(Now().line, fmt::format("expected token '{}', got '{}'", wanted, Describe(Now())));
    }
  }
  void Expect(std::string_view op) {
    if (!Take(op)) Unexpected(op);
  }
  void ExpectKind(TokenKind kind) {
    if (Now().kind == kind) return Next();
    Token wanted;
    wanted.kind = kind;
    Unexpected(Describe(wanted));
  }
  std::string ExpectName() {
    if (Now().kind != TokenKind::kName) {
      Unexpected("name");
      return "";
    }
    std::string name = Now().text;
    Next();
    return name;
  }

  // --- nodes
  Expr* New(ExprKind kind, int line, Expr* a = nullptr, Expr* b = nullptr, Expr* c = nullptr) {
    Expr& e = ast_->exprs.emplace_back();
    e.kind = kind;
    e.line = line;
    e.a = a;
    e.b = b;
    e.c = c;
    return Measure(&e);
  }
  // Sets the height of the node from its children; refuses trees too tall to walk recursively.
  Expr* Measure(Expr* e) {
    int below = 0;
    const auto see = [&](const Expr* child) {
      if (child != nullptr) below = std::max(below, child->depth);
    };
    see(e->a), see(e->b), see(e->c), see(e->star_args), see(e->star_kwargs);
    for (const Expr* item : e->items) see(item);
    for (const auto& [name, value] : e->kwargs) see(value);
    e->depth = below + 1;
    if (e->depth > kMaxDepth) Fail(e->line, fmt::format("expression nested more than {} levels deep", kMaxDepth));
    return e;
  }
  Stmt* NewStmt(StmtKind kind, int line) {
    Stmt& s = ast_->stmts.emplace_back();
    s.kind = kind;
    s.line = line;
    return &s;
  }

  // Counts how deep the parser's own recursion is.
  class Deeper {
   public:
    explicit Deeper(Parser& parser) : parser_(parser) {
      if (++parser_.depth_ > 2 * kMaxDepth) parser_.Fail(parser_.Now().line, "nested too deeply");
    }
    ~Deeper() { --parser_.depth_; }
    Deeper(const Deeper&) = delete;
    Deeper& operator=(const Deeper&) = delete;

   private:
    Parser& parser_;
  };

  // --- statements
  bool AtAny(Names names) const {
    return std::any_of(names.begin(), names.end(), [&](std::string_view name) { return Now().IsName(name); });
  }

  // Parses until a block that starts with one of `ends` (left unread), or to the end of the template if there are none.
  void ParseBody(Body& body, Names ends) {
    const Deeper deeper(*this);
    while (!failed()) {
      const Token& token = Now();
      switch (token.kind) {
        case TokenKind::kData: {
          Stmt* text = NewStmt(StmtKind::kText, token.line);
          text->text = token.text;
          body.push_back(text);
          Next();
          break;
        }
        case TokenKind::kVariableBegin: {
          Next();
          Stmt* print = NewStmt(StmtKind::kPrint, token.line);
          print->expr = ParseTuple();
          body.push_back(print);
          ExpectKind(TokenKind::kVariableEnd);
          break;
        }
        case TokenKind::kBlockBegin:
          Next();
          if (ends.size() > 0 && AtAny(ends)) return;
          ParseStatement(body, ends);
          ExpectKind(TokenKind::kBlockEnd);
          break;
        default:
          if (ends.size() > 0) {
            Fail(token.line, fmt::format("unexpected end of template, looking for {}; the innermost block that needs to be closed is '{}'",
                                         Join(ends), tags_.empty() ? "" : tags_.back()));
          } else if (token.kind != TokenKind::kEof) {
            Fail(token.line, fmt::format("unexpected '{}'", Describe(token)));
          }
          return;
      }
    }
  }

  static std::string Join(Names names) {
    std::string out;
    for (std::string_view name : names) out += fmt::format("{}'{}'", out.empty() ? "" : " or ", name);
    return out;
  }

  // From behind the tag's words to one of the end tags; leaves the end tag's name as the current token.
  void ParseBlock(Body& body, Names ends) {
    Take(":");
    ExpectKind(TokenKind::kBlockEnd);
    ParseBody(body, ends);
  }
  void ParseBlockToEnd(Body& body, std::string_view end) {
    ParseBlock(body, {end});
    Next();
  }

  void ParseStatement(Body& body, Names ends) {
    const Token token = Now();
    if (token.kind != TokenKind::kName) return Fail(token.line, "tag name expected");
    Next();
    tags_.push_back(token.text);
    const std::string& tag = token.text;
    if (tag == "if")
      body.push_back(ParseIf(token.line));
    else if (tag == "for")
      body.push_back(ParseFor(token.line));
    else if (tag == "set")
      body.push_back(ParseSet(token.line));
    else if (tag == "macro")
      body.push_back(ParseMacro(token.line));
    else if (tag == "call")
      body.push_back(ParseCallBlock(token.line));
    else if (tag == "filter")
      body.push_back(ParseFilterBlock(token.line));
    else if (tag == "with")
      body.push_back(ParseWith(token.line));
    else if (tag == "print")
      ParsePrint(body, token.line);
    else if (tag == "break" || tag == "continue")
      body.push_back(NewStmt(tag == "break" ? StmtKind::kBreak : StmtKind::kContinue, token.line));
    else if (tag == "generation")
      body.push_back(ParseGeneration(token.line));
    else
      UnknownTag(token, ends);
    tags_.pop_back();
  }

  void UnknownTag(const Token& token, Names ends) {
    static constexpr std::string_view kUnsupported[] = {"block", "extends", "include", "import", "from", "autoescape"};
    if (std::find(std::begin(kUnsupported), std::end(kUnsupported), token.text) != std::end(kUnsupported)) {
      return Fail(token.line, fmt::format("tag '{}' is not supported in chat templates", token.text));
    }
    if (ends.size() > 0) return Fail(token.line, fmt::format("expected {}, found '{}'", Join(ends), token.text));
    Fail(token.line, fmt::format("unknown tag '{}'", token.text));
  }

  Stmt* ParseIf(int line) {
    Stmt* s = NewStmt(StmtKind::kIf, line);
    while (!failed()) {
      Branch branch;
      branch.test = ParseTuple(false);
      ParseBlock(branch.body, {"elif", "else", "endif"});
      s->branches.push_back(std::move(branch));
      if (TakeName("elif")) continue;
      if (TakeName("else")) {
        ParseBlockToEnd(s->else_body, "endif");
      } else {
        Next();
      }
      break;
    }
    return s;
  }

  Stmt* ParseFor(int line) {
    Stmt* s = NewStmt(StmtKind::kFor, line);
    s->target = ParseTarget(false, "in");
    if (!TakeName("in")) Unexpected("in");
    s->expr = ParseTuple(false, "recursive");
    if (TakeName("if")) s->test = ParseExpression();
    s->recursive = TakeName("recursive");
    ParseBlock(s->body, {"endfor", "else"});
    if (TakeName("else")) {
      ParseBlockToEnd(s->else_body, "endfor");
    } else {
      Next();
    }
    return s;
  }

  Stmt* ParseSet(int line) {
    Stmt* s = NewStmt(StmtKind::kSet, line);
    s->target = ParseTarget(true);
    if (Take("=")) {
      s->expr = ParseTuple();
      return s;
    }
    s->kind = StmtKind::kSetBlock;
    s->expr = ParseFilters(nullptr);
    ParseBlockToEnd(s->body, "endset");
    return s;
  }

  void ParseSignature(Stmt* s) {
    Expect("(");
    while (!failed() && !Now().Is(")")) {
      if (!s->params.empty()) Expect(",");
      Expr* param = ParseTargetName();
      for (const Expr* other : s->params) {
        if (other->text == param->text) Fail(param->line, fmt::format("duplicate argument '{}'", param->text));
      }
      if (Take("=")) {
        s->defaults.push_back(ParseExpression());
      } else if (!s->defaults.empty()) {
        Fail(param->line, "non-default argument follows default argument");
      }
      s->params.push_back(param);
    }
    Expect(")");
  }

  Stmt* ParseMacro(int line) {
    Stmt* s = NewStmt(StmtKind::kMacro, line);
    s->text = ParseTargetName()->text;
    ParseSignature(s);
    ParseBlockToEnd(s->body, "endmacro");
    return s;
  }

  Stmt* ParseCallBlock(int line) {
    Stmt* s = NewStmt(StmtKind::kCallBlock, line);
    if (Now().Is("(")) ParseSignature(s);
    s->expr = ParseExpression();
    if (!failed() && s->expr->kind != ExprKind::kCall) Fail(line, "expected call");
    ParseBlockToEnd(s->body, "endcall");
    return s;
  }

  Stmt* ParseGeneration(int line) {
    Stmt* s = NewStmt(StmtKind::kCallBlock, line);
    s->generation = true;
    ParseBlockToEnd(s->body, "endgeneration");
    return s;
  }

  Stmt* ParseFilterBlock(int line) {
    Stmt* s = NewStmt(StmtKind::kFilterBlock, line);
    s->expr = ParseFilter(nullptr);
    s->expr = ParseFilters(s->expr);
    ParseBlockToEnd(s->body, "endfilter");
    return s;
  }

  Stmt* ParseWith(int line) {
    Stmt* s = NewStmt(StmtKind::kWith, line);
    while (!failed() && Now().kind != TokenKind::kBlockEnd) {
      if (!s->params.empty()) Expect(",");
      s->params.push_back(ParseTarget(false));
      Expect("=");
      s->defaults.push_back(ParseExpression());
    }
    ParseBlockToEnd(s->body, "endwith");
    return s;
  }

  void ParsePrint(Body& body, int line) {
    bool first = true;
    while (!failed() && Now().kind != TokenKind::kBlockEnd) {
      if (!first) Expect(",");
      first = false;
      Stmt* s = NewStmt(StmtKind::kPrint, line);
      s->expr = ParseExpression();
      body.push_back(s);
    }
  }

  // --- assignment targets
  static bool Reserved(std::string_view name) {
    return name == "true" || name == "false" || name == "none" || name == "True" || name == "False" || name == "None";
  }
  Expr* ParseTargetName() {
    const int line = Now().line;
    Expr* e = New(ExprKind::kName, line);
    e->text = ExpectName();
    if (Reserved(e->text)) Fail(line, fmt::format("can't assign to '{}'", e->text));
    return e;
  }
  Expr* ParseTarget(bool with_namespace, std::string_view end = "") {
    Expr* e = ParseTuple(true, end, false, with_namespace ? Simple::kNamespace : Simple::kNames);
    CheckTarget(e);
    return e;
  }
  void CheckTarget(Expr* e) {
    if (failed()) return;
    if (e->kind == ExprKind::kTuple) {
      for (Expr* item : e->items) CheckTarget(item);
    } else if ((e->kind != ExprKind::kName && e->kind != ExprKind::kNsRef) || Reserved(e->text)) {
      Fail(e->line, "can't assign to this expression");
    }
  }

  // --- expressions
  enum class Simple { kNo, kNames, kNamespace };

  bool TupleEnd(std::string_view end) const {
    return Now().kind == TokenKind::kVariableEnd || Now().kind == TokenKind::kBlockEnd || Now().Is(")") ||
           (!end.empty() && Now().IsName(end));
  }

  Expr* ParseTuple(bool with_cond = true, std::string_view end = "", bool parentheses = false, Simple simple = Simple::kNo) {
    const int line = Now().line;
    std::vector<Expr*> items;
    bool is_tuple = false;
    while (!failed()) {
      if (!items.empty()) Expect(",");
      if (TupleEnd(end)) break;
      items.push_back(simple != Simple::kNo ? ParsePrimary(simple) : ParseExpression(with_cond));
      if (!Now().Is(",")) break;
      is_tuple = true;
    }
    if (!is_tuple) {
      if (!items.empty()) return items[0];
      if (!parentheses) Fail(Now().line, fmt::format("Expected an expression, got '{}'", Describe(Now())));
    }
    Expr* tuple = New(ExprKind::kTuple, line);
    tuple->items = std::move(items);
    return Measure(tuple);
  }

  Expr* ParseExpression(bool with_cond = true) {
    const Deeper deeper(*this);
    if (failed()) return New(ExprKind::kNone, 0);
    return with_cond ? ParseCond() : ParseOr();
  }

  Expr* ParseCond() {
    const Deeper deeper(*this);
    Expr* value = ParseOr();
    while (TakeName("if")) {
      Expr* test = ParseOr();
      Expr* other = TakeName("else") ? ParseCond() : nullptr;
      value = New(ExprKind::kCond, value->line, value, test, other);
    }
    return value;
  }

  Expr* ParseOr() {
    Expr* left = ParseAnd();
    while (TakeName("or")) {
      Expr* right = ParseAnd();
      left = New(ExprKind::kOr, left->line, left, right);
    }
    return left;
  }

  Expr* ParseAnd() {
    Expr* left = ParseNot();
    while (TakeName("and")) {
      Expr* right = ParseNot();
      left = New(ExprKind::kAnd, left->line, left, right);
    }
    return left;
  }

  Expr* ParseNot() {
    const int line = Now().line;
    if (!TakeName("not")) return ParseCompare();
    const Deeper deeper(*this);
    Expr* value = ParseNot();
    return New(ExprKind::kNot, line, value);
  }

  bool TakeCompareOp(CompareOp* op) {
    static constexpr std::pair<std::string_view, CompareOp> kOps[] = {{"==", CompareOp::kEq}, {"!=", CompareOp::kNe},
                                                                      {"<", CompareOp::kLt},  {"<=", CompareOp::kLe},
                                                                      {">", CompareOp::kGt},  {">=", CompareOp::kGe}};
    for (const auto& [text, value] : kOps) {
      if (Take(text)) {
        *op = value;
        return true;
      }
    }
    if (TakeName("in")) {
      *op = CompareOp::kIn;
      return true;
    }
    if (Now().IsName("not") && Ahead().IsName("in")) {
      Next();
      Next();
      *op = CompareOp::kNotIn;
      return true;
    }
    return false;
  }

  Expr* ParseCompare() {
    Expr* first = ParseSum();
    CompareOp op;
    if (!TakeCompareOp(&op)) return first;
    Expr* compare = New(ExprKind::kCompare, first->line, first);
    do {
      compare->ops.push_back(op);
      compare->items.push_back(ParseSum());
    } while (TakeCompareOp(&op));
    return Measure(compare);
  }

  Expr* ParseSum() {
    Expr* left = ParseConcat();
    while (Now().Is("+") || Now().Is("-")) {
      const ExprKind kind = Now().Is("+") ? ExprKind::kAdd : ExprKind::kSub;
      Next();
      Expr* right = ParseConcat();
      left = New(kind, left->line, left, right);
    }
    return left;
  }

  Expr* ParseConcat() {
    Expr* first = ParseProduct();
    if (!Now().Is("~")) return first;
    Expr* concat = New(ExprKind::kConcat, first->line);
    concat->items.push_back(first);
    while (Take("~")) concat->items.push_back(ParseProduct());
    return Measure(concat);
  }

  Expr* ParseProduct() {
    Expr* left = ParsePower();
    while (true) {
      ExprKind kind;
      if (Take("*"))
        kind = ExprKind::kMul;
      else if (Take("/"))
        kind = ExprKind::kDiv;
      else if (Take("//"))
        kind = ExprKind::kFloorDiv;
      else if (Take("%"))
        kind = ExprKind::kMod;
      else
        return left;
      Expr* right = ParsePower();
      left = New(kind, left->line, left, right);
    }
  }

  Expr* ParsePower() {
    Expr* left = ParseUnary(true);
    while (Take("**")) {
      Expr* right = ParseUnary(true);
      left = New(ExprKind::kPow, left->line, left, right);
    }
    return left;
  }

  Expr* ParseUnary(bool with_filter) {
    const Deeper deeper(*this);
    const int line = Now().line;
    Expr* e;
    if (Take("-")) {
      e = ParseUnary(false);
      e = New(ExprKind::kNeg, line, e);
    } else if (Take("+")) {
      e = ParseUnary(false);
      e = New(ExprKind::kPos, line, e);
    } else {
      e = ParsePrimary(Simple::kNo);
    }
    e = ParsePostfix(e);
    return with_filter ? ParseFilterExpr(e) : e;
  }

  Expr* ParsePrimary(Simple simple) {
    const Deeper deeper(*this);
    const Token token = Now();
    switch (token.kind) {
      case TokenKind::kName: return ParseName(simple);
      case TokenKind::kString: {
        Expr* e = New(ExprKind::kStr, token.line);
        while (Now().kind == TokenKind::kString) {
          e->text += Now().text;
          Next();
        }
        return e;
      }
      case TokenKind::kInteger:
      case TokenKind::kFloat: {
        Next();
        Expr* e = New(token.kind == TokenKind::kInteger ? ExprKind::kInt : ExprKind::kFloat, token.line);
        e->integer = token.integer;
        e->number = token.number;
        return e;
      }
      default: break;
    }
    if (Take("(")) {
      Expr* e = ParseTuple(true, "", true);
      Expect(")");
      return e;
    }
    if (Now().Is("[")) return ParseList();
    if (Now().Is("{")) return ParseDict();
    Fail(token.line, fmt::format("unexpected '{}'", Describe(token)));
    return New(ExprKind::kNone, token.line);
  }

  Expr* ParseName(Simple simple) {
    const Token token = Now();
    Next();
    if (token.text == "true" || token.text == "True" || token.text == "false" || token.text == "False") {
      Expr* e = New(ExprKind::kBool, token.line);
      e->boolean = token.text == "true" || token.text == "True";
      return e;
    }
    if (token.text == "none" || token.text == "None") return New(ExprKind::kNone, token.line);
    Expr* e = New(ExprKind::kName, token.line);
    e->text = token.text;
    if (simple == Simple::kNamespace && Take(".")) {
      e->kind = ExprKind::kNsRef;
      e->attr = ExpectName();
    }
    return e;
  }

  Expr* ParseList() {
    Expr* list = New(ExprKind::kList, Now().line);
    Expect("[");
    while (!failed() && !Now().Is("]")) {
      if (!list->items.empty()) Expect(",");
      if (Now().Is("]")) break;
      list->items.push_back(ParseExpression());
    }
    Expect("]");
    return Measure(list);
  }

  Expr* ParseDict() {
    Expr* dict = New(ExprKind::kDict, Now().line);
    Expect("{");
    while (!failed() && !Now().Is("}")) {
      if (!dict->items.empty()) Expect(",");
      if (Now().Is("}")) break;
      dict->items.push_back(ParseExpression());
      Expect(":");
      dict->items.push_back(ParseExpression());
    }
    Expect("}");
    return Measure(dict);
  }

  Expr* ParsePostfix(Expr* e) {
    while (!failed()) {
      if (Now().Is(".") || Now().Is("["))
        e = ParseSubscript(e);
      else if (Now().Is("("))
        e = ParseCall(e);
      else
        break;
    }
    return e;
  }

  Expr* ParseFilterExpr(Expr* e) {
    while (!failed()) {
      if (Now().Is("|"))
        e = ParseFilters(e);
      else if (Now().IsName("is"))
        e = ParseTest(e);
      else if (Now().Is("("))
        e = ParseCall(e);
      else
        break;
    }
    return e;
  }

  Expr* ParseSubscript(Expr* e) {
    const int line = Now().line;
    if (Take(".")) {
      const Token token = Now();
      Next();
      if (token.kind == TokenKind::kName) {
        Expr* attr = New(ExprKind::kGetattr, line, e);
        attr->text = token.text;
        return attr;
      }
      if (token.kind != TokenKind::kInteger) {
        Fail(token.line, "expected name or number");
        return e;
      }
      Expr* index = New(ExprKind::kInt, token.line);
      index->integer = token.integer;
      return New(ExprKind::kGetitem, line, e, index);
    }
    Expect("[");
    std::vector<Expr*> args;
    while (!failed() && !Now().Is("]")) {
      if (!args.empty()) Expect(",");
      args.push_back(ParseSubscribed());
    }
    Expect("]");
    if (args.size() == 1) return New(ExprKind::kGetitem, line, e, args[0]);
    Expr* tuple = New(ExprKind::kTuple, line);
    tuple->items = std::move(args);
    return New(ExprKind::kGetitem, line, e, Measure(tuple));
  }

  Expr* ParseSubscribed() {
    const int line = Now().line;
    Expr* parts[3] = {nullptr, nullptr, nullptr};
    if (!Now().Is(":")) {
      parts[0] = ParseExpression();
      if (!Now().Is(":")) return parts[0];
    }
    Expect(":");
    const auto has_part = [&] { return !Now().Is(":") && !Now().Is("]") && !Now().Is(","); };
    if (has_part()) parts[1] = ParseExpression();
    if (Take(":") && has_part()) parts[2] = ParseExpression();
    Expr* slice = New(ExprKind::kSlice, line);
    slice->items.assign(parts, parts + 3);
    return Measure(slice);
  }

  void ParseCallArgs(Expr* call) {
    const int line = Now().line;
    const auto ensure = [&](bool good) {
      if (!good) Fail(line, "invalid syntax for function call expression");
    };
    Expect("(");
    bool first = true;
    while (!failed() && !Now().Is(")")) {
      if (!first) {
        Expect(",");
        if (Now().Is(")")) break;
      }
      first = false;
      if (Take("*")) {
        ensure(call->star_args == nullptr && call->star_kwargs == nullptr);
        call->star_args = ParseExpression();
      } else if (Take("**")) {
        ensure(call->star_kwargs == nullptr);
        call->star_kwargs = ParseExpression();
      } else if (Now().kind == TokenKind::kName && Ahead().Is("=")) {
        ensure(call->star_kwargs == nullptr);
        std::string name = Now().text;
        Next();
        Next();
        for (const auto& [other, value] : call->kwargs) {
          if (other == name) Fail(line, fmt::format("keyword argument repeated: {}", name));
        }
        Expr* value = ParseExpression();
        call->kwargs.emplace_back(std::move(name), value);
      } else {
        ensure(call->star_args == nullptr && call->star_kwargs == nullptr && call->kwargs.empty());
        call->items.push_back(ParseExpression());
      }
    }
    Expect(")");
    Measure(call);
  }

  Expr* ParseCall(Expr* e) {
    Expr* call = New(ExprKind::kCall, Now().line, e);
    ParseCallArgs(call);
    return call;
  }

  std::string ParseDottedName() {
    std::string name = ExpectName();
    while (Take(".")) name += "." + ExpectName();
    return name;
  }

  // One filter; the current token is its name.
  Expr* ParseFilter(Expr* e) {
    Expr* filter = New(ExprKind::kFilter, Now().line, e);
    filter->text = ParseDottedName();
    if (Now().Is("(")) ParseCallArgs(filter);
    return filter;
  }
  Expr* ParseFilters(Expr* e) {
    while (Take("|")) e = ParseFilter(e);
    return e;
  }

  Expr* ParseTest(Expr* e) {
    const int line = Now().line;
    Next();
    const bool negated = TakeName("not");
    Expr* test = New(ExprKind::kTest, line, e);
    test->text = ParseDottedName();
    const Token& token = Now();
    if (token.Is("(")) {
      ParseCallArgs(test);
    } else if (token.kind == TokenKind::kString || token.kind == TokenKind::kInteger || token.kind == TokenKind::kFloat || token.Is("[") ||
               token.Is("{") || (token.kind == TokenKind::kName && !AtAny({"else", "or", "and"}))) {
      if (token.IsName("is")) Fail(token.line, "You cannot chain multiple tests with is");
      Expr* arg = ParsePrimary(Simple::kNo);
      test->items.push_back(ParsePostfix(arg));
      Measure(test);
    }
    return negated ? New(ExprKind::kNot, line, test) : test;
  }

  std::vector<Token> tokens_;
  size_t pos_ = 0;
  int depth_ = 0;
  std::unique_ptr<Ast> ast_;
  std::vector<std::string> tags_;
  std::string error_;
};

}  // namespace

Result<std::unique_ptr<const Ast>> Parse(const std::string& source) {
  TRY(std::vector<Token> tokens, Tokenize(source));
  return Parser(std::move(tokens)).Run();
}

}  // namespace sgl::jinja
