// What a model answers in a chat, taken apart: reasoning, content, tool calls. As events while it streams, as a message at the end.
// Knows nothing of any API's JSON.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "serve/id_source.h"
#include "text/reasoning/reasoning_parser.h"
#include "text/tools/tool_parser.h"

namespace sgl {

// How to read the answers to one request.
struct ChatFormat {
  const ReasoningFormat* reasoning = nullptr;  // null: the model does not think, or is not known to
  bool reasoning_inside = false;               // answers start as reasoning, without a tag
  bool separate_reasoning = true;              // false: reasoning stays in the content, tags and all
  bool stream_reasoning = true;                // false: reasoning comes out in one piece, at its end
  bool content_never_empty = false;            // an answer that is reasoning only is content instead
  bool grammar_reads_reasoning = false;        // the answer's grammar holds from its first token on

  const ToolFormat* tools = nullptr;  // null: no calls are looked for
  std::shared_ptr<const ToolSet> functions;
  ToolMode mode = ToolMode::kStream;
  IdSource* ids = nullptr;  // for ids of calls; outlives the answers
  bool kimi_ids = false;    // ids are functions.NAME:NUMBER, and number counts on from the calls of the conversation
  int64_t earlier_calls = 0;

  std::optional<TokenId> think_end;  // when it is one token
};

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
  int tool = -1;                    // place of its function among the request's tools
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

  int64_t reasoning_tokens() const { return reasoning_tokens_; }

 private:
  void CountReasoning(const TokenDelta& delta, bool before, bool after);
  void Add(const std::vector<ReasoningEvent>& events);
  void AddReasoning(std::string_view text);
  void AddContent(std::string_view text);
  void Add(const std::vector<ToolEvent>& events);
  void Emit(ChatEvent::Kind kind, std::string_view text, int call = -1);

  const ChatFormat format_;
  std::unique_ptr<ReasoningParser> reasoning_;
  std::unique_ptr<ToolParser> tools_;
  std::vector<ChatEvent> events_;
  ChatMessage message_;
  std::string held_reasoning_;  // until it ends
  int64_t reasoning_tokens_ = 0;
};

}  // namespace sgl
