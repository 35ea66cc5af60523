// Chat templates: Jinja2 as transformers' apply_chat_template runs it.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace sgl {

// Thread: immutable after Parse; Render may run on several threads at once.
class ChatTemplate {
 public:
  // Errors: "line 12: expected 'endif', found 'endfor'".
  static Result<std::unique_ptr<ChatTemplate>> Parse(std::string source);
  virtual ~ChatTemplate() = default;

  // variables: an object: messages, tools, add_generation_prompt, bos_token, eos_token, chat_template_kwargs' members...
  // Errors (kInvalidArgument): raise_exception's message; undefined attribute; step, depth, output or time limit.
  virtual Result<std::string> Render(const Json& variables) const = 0;
  // The same at a given time, for strftime_now.
  virtual Result<std::string> RenderAt(const Json& variables, int64_t unix_seconds) const = 0;

  // True when the template walks over message.content as a list of parts ("openai" format); false: content must be a string.
  virtual bool wants_content_parts() const = 0;
};

// Templates by name, for --chat-template NAME and for models that bring none (builtin_templates.cc). "" for names that are not known.
// They take contents that are strings.
std::string_view BuiltinChatTemplate(std::string_view name);
std::vector<std::string_view> BuiltinChatTemplates();  // the names, sorted

}  // namespace sgl
