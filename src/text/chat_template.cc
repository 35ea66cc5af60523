// SPDX-License-Identifier: Apache-2.0
#include "text/chat_template.h"

#include <algorithm>
#include <ctime>
#include <iterator>
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

constexpr std::pair<std::string_view, std::string_view> kBuiltins[] = {
    {"chatml",
     "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + (message['content'] or '') + '<|im_end|>' + '\\n' }}"
     "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"},
    {"llama-2",
     "{% if messages and messages[0]['role'] == 'system' %}{% set system = '<<SYS>>\\n' + messages[0]['content'] + '\\n<</SYS>>\\n\\n' %}"
     "{% set turns = messages[1:] %}{% else %}{% set system = '' %}{% set turns = messages %}{% endif %}"
     "{% for message in turns %}{% set text = (system if loop.first else '') + (message['content'] or '') %}"
     "{% if message['role'] == 'assistant' %}{{ ' ' + text | trim + ' ' + (eos_token or '</s>') }}"
     "{% else %}{{ (bos_token or '<s>') + '[INST] ' + text | trim + ' [/INST]' }}{% endif %}{% endfor %}"},
    {"vicuna",
     "{% if messages and messages[0]['role'] == 'system' %}{{ messages[0]['content'] + ' ' }}{% set turns = messages[1:] %}{% else %}"
     "{{ \"A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, and polite "
     "answers "
     "to the user's questions. \" }}{% set turns = messages %}{% endif %}{% for message in turns %}{% if message['role'] == 'assistant' %}"
     "{{ 'ASSISTANT: ' + (message['content'] or '') + (eos_token or '</s>') }}{% else %}{{ 'USER: ' + (message['content'] or '') + ' ' }}"
     "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"},
};

}  // namespace

Result<std::unique_ptr<ChatTemplate>> ChatTemplate::Parse(std::string source) {
  source = jinja::ReplaceInvalidUtf8(std::move(source));
  TRY(std::unique_ptr<const jinja::Ast> ast, jinja::Parse(source));
  const bool parts = WantsContentParts(source, *ast);
  return std::unique_ptr<ChatTemplate>(std::make_unique<JinjaTemplate>(std::move(ast), parts));
}

std::string_view BuiltinChatTemplate(std::string_view name) {
  const auto* found = std::find_if(std::begin(kBuiltins), std::end(kBuiltins), [&](const auto& entry) { return entry.first == name; });
  return found != std::end(kBuiltins) ? found->second : std::string_view();
}

}  // namespace sgl
