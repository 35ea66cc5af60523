// SPDX-License-Identifier: Apache-2.0
#include "text/chat_template.h"

#include <algorithm>
#include <ctime>
#include <new>
#include <utility>

#include "text/jinja/ast.h"
#include "text/jinja/parser.h"
#include "text/jinja/render.h"
#include "text/jinja/text_util.h"

namespace sgl {
namespace {

using jinja::Expr;
using jinja::ExprKind;

// message.content, message['content'], perhaps behind filters, tests or a slice.
bool IsMessageContent(const Expr* e) {
  while (e != nullptr && (e->kind == ExprKind::kFilter || e->kind == ExprKind::kTest ||
                          (e->kind == ExprKind::kGetitem && e->b->kind == ExprKind::kSlice))) {
    e = e->a;
  }
  if (e == nullptr || e->a == nullptr || e->a->kind != ExprKind::kName) return false;
  const std::string& name = e->a->text;
  if (name != "message" && name != "msg" && name != "m") return false;
  if (e->kind == ExprKind::kGetattr) return e->text == "content";
  return e->kind == ExprKind::kGetitem && e->b->kind == ExprKind::kStr && e->b->text == "content";
}

// SGLang's rule: a template that speaks of media, or loops over the parts of a message's content.
bool WantsContentParts(const std::string& source, const jinja::Ast& ast) {
  for (const char* word : {"image", "audio", "video", "vision"}) {
    if (source.find(word) != source.npos) return true;
  }
  return std::any_of(ast.stmts.begin(), ast.stmts.end(),
                     [](const jinja::Stmt& s) { return s.kind == jinja::StmtKind::kFor && IsMessageContent(s.expr); });
}

class JinjaTemplate final : public ChatTemplate {
 public:
  JinjaTemplate(std::unique_ptr<const jinja::Ast> ast, bool parts) : ast_(std::move(ast)), parts_(parts) {}

  Result<std::string> Render(const Json& variables) const override { return RenderAt(variables, static_cast<int64_t>(std::time(nullptr))); }

  Result<std::string> RenderAt(const Json& variables, int64_t unix_seconds) const override {
    try {
      return jinja::Renderer(*ast_, variables, unix_seconds).Run();
    } catch (const std::bad_alloc&) {
      return Error{Code::kExhausted, "out of memory while rendering the chat template"};
    }
  }

  bool wants_content_parts() const override { return parts_; }

 private:
  const std::unique_ptr<const jinja::Ast> ast_;
  const bool parts_;
};

}  // namespace

Result<std::unique_ptr<ChatTemplate>> ChatTemplate::Parse(std::string source) {
  source = jinja::ReplaceInvalidUtf8(std::move(source));
  TRY(std::unique_ptr<const jinja::Ast> ast, jinja::Parse(source));
  const bool parts = WantsContentParts(source, *ast);
  return std::unique_ptr<ChatTemplate>(std::make_unique<JinjaTemplate>(std::move(ast), parts));
}

}  // namespace sgl
