// From chat messages to prompt tokens: message forms, content format, tools, the template, the assistant's prefix.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/json.h"
#include "base/result.h"
#include "serve/context.h"
#include "serve/json_reader.h"

namespace sgl {

// As read: types are right.
struct ChatPrompt {
  Json messages, tools, tool_choice;  // arrays; a string or an object
  Json template_kwargs;               // null or an object
  std::string reasoning_effort;       // "": not given
  bool continue_final_message = false;
  bool separate_reasoning = true, stream_reasoning = true, parallel_tool_calls = true;

  bool uses_tools() const;  // tools that the model is to see
};

// What a body's fields are, but for what is inside messages and tools.
void ReadChatPromptFields(JsonReader& field, ChatPrompt& prompt, std::vector<Json>& messages, std::vector<Json>& tools);

// The types of a request's tools. Errors name the field: "tools[0].function.name: field required".
Status ReadTools(const std::vector<Json>& tools);

// Errors name the field: "messages[1].role: ...".
Status ReadChatPrompt(const Json& body, ChatPrompt& prompt);

// Values: messages there, tools consistent, nothing that this build cannot do.
Status CheckChatPrompt(const ChatPrompt& prompt);

// Messages as templates want them: keys without value left out, arguments of tool calls as objects, content as parts or as one string.
// Errors: content that this build cannot read (images...), arguments that are not JSON.
Result<Json> TemplateMessages(const Json& messages, bool wants_parts);

struct RenderedChat {
  std::vector<TokenId> tokens;
  std::string text_end;  // the last bytes of the template's text
  std::string prefix;    // what the assistant is to continue
};

// Errors (kInvalidArgument): everything above, and whatever the template raises.
Result<RenderedChat> RenderChat(const ChatPrompt& prompt, const ApiContext& context);

}  // namespace sgl
