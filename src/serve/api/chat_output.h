// What a model answers in a chat, taken apart: reasoning, content, tool calls. As events while it streams, as a message at the end.
// Knows nothing of any API's JSON.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "engine/engine.h"

namespace sgl {

// How to read the answers to one request.
struct ChatFormat {};

struct ChatEvent {
  enum class Kind {
    kReasoning,      // more reasoning
    kContent,        // more content
    kToolCall,       // a call begins: call, id, and the function's name as text
    kToolArguments,  // more of the arguments of call `call`: a piece of JSON text
  };
  Kind kind = Kind::kContent;
  std::string text;
  int call = -1;   // 0, 1, 2...
  std::string id;  // kToolCall
};

struct ChatToolCall {
  std::string id, name, arguments;  // arguments: a JSON object as text
};

struct ChatMessage {
  std::string reasoning, content;
  std::vector<ChatToolCall> tool_calls;
};

// One sample's answer. Thread: whoever owns it (http).
class ChatOutput {
 public:
  explicit ChatOutput(const ChatFormat& format);

  // Deltas in order; the one with `finish` ends the answer.
  void Push(const TokenDelta& delta);

  // What has become certain since the last call.
  std::vector<ChatEvent> TakeEvents();

  // Everything so far; complete after the last delta.
  const ChatMessage& message() const { return message_; }

 private:
  void Add(ChatEvent::Kind kind, std::string_view text);

  std::vector<ChatEvent> events_;
  ChatMessage message_;
};

}  // namespace sgl
