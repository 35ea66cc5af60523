// A chat request on its way from JSON to the engine: what /v1/chat/completions does with a body. Endpoints of other APIs build a body in
// that form and go the same way; what comes back is read with ChatOutput (chat_output.h).
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "serve/api/chat_output.h"
#include "serve/api/chat_prompt.h"
#include "serve/api/openai.h"

namespace sgl {

struct ChatRequest : OpenAiBody {
  ChatPrompt prompt;
  std::optional<int64_t> max_tokens;
  bool logprobs = false;
  int top_logprobs = 0;
};

// Ready for Engine::Submit: one request per sample.
struct ChatPlan {
  ChatRequest request;
  std::string id;  // of the reply: the client's rid, or a new one
  std::vector<GenerateRequest> samples;
  ChatFormat format;  // how to read what the model answers
};

void DescribeChatFields(JsonReader& field);  // the body's fields, for a describing reader

// What was wrong: SGLang reports the three in different error bodies. kSchema: the body itself (SchemaErrorReply); kValue: a value
// ("BadRequestError"); kConversion: messages that could not become a prompt ("BadRequest").
enum class ChatFault { kSchema, kValue, kConversion };

// From body to plan: reads, checks, renders and tokenizes. `fault` is set with an error. Thread: text.
Result<ChatPlan> PrepareChat(const Json& body, ApiContext& context, const HttpRequest& http, ChatFault& fault);

}  // namespace sgl
