// How a server reads its model's answers (--tool-call-parser, --reasoning-parser), and how one request's answers are read.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "serve/api/chat_output.h"
#include "serve/api/chat_prompt.h"

namespace sgl {

// The names given, or with "auto" what the chat template tells; "none" and "" stand for no parser. Errors: an unknown name.
Result<std::string> ResolveToolFormat(const std::string& name, std::string_view chat_template);
Result<std::string> ResolveReasoningFormat(const std::string& name, std::string_view chat_template);

// The name of the same format in the spelling of this model: hunyuan's tags may have a suffix.
std::string SpellingOf(std::string format, const Tokenizer& tokenizer);

// Functions out of a request's tools, schemas' types by JSON's names.
std::shared_ptr<const ToolSet> FunctionsOf(const Json& tools, bool forward_unknown);

// For answers to `prompt`, rendered as `rendered`.
ChatFormat MakeChatFormat(const ChatPrompt& prompt, const RenderedChat& rendered, ApiContext& context);

// For answers to a prompt that is taken as it is: only the client knows how they begin.
ChatFormat MakeRawFormat(bool begins_as_reasoning, const ApiContext& context);
// Tells the engine where the answer's reasoning ends, how long it may be and what it may not hold.
void SetThinking(const ChatFormat& format, const ApiContext& context, GenerateRequest& request);

// Whether a text is one special token.
std::function<bool(std::string_view)> SpecialsOf(std::shared_ptr<const Tokenizer> tokenizer);

// True if tags of the format are special tokens: the answer's text must have them.
bool WritesSpecialTokens(const ReasoningFormat& format, const Tokenizer& tokenizer);

}  // namespace sgl
