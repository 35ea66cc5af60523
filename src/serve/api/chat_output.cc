// SPDX-License-Identifier: Apache-2.0
#include "serve/api/chat_output.h"

#include <algorithm>
#include <utility>

namespace sgl {

ChatOutput::ChatOutput(const ChatFormat& format) : format_(format) {
  if (format.reasoning != nullptr) reasoning_ = MakeReasoningParser(*format.reasoning, format.reasoning_inside);
  if (format.tools != nullptr) tools_ = format.tools->make(format.functions, format.mode);
}

void ChatOutput::Push(const TokenDelta& delta) {
  const bool last = delta.finish.has_value();
  std::vector<ReasoningEvent> parts;
  if (reasoning_ != nullptr) {
    const bool before = reasoning_->in_reasoning();
    reasoning_->Push(delta.text, parts);
    CountReasoning(delta, before, reasoning_->in_reasoning());
    if (last) reasoning_->Finish(parts);
  }
  if (reasoning_ != nullptr && format_.separate_reasoning)
    Add(parts);
  else
    AddContent(delta.text);
  if (!last) return;
  if (!held_reasoning_.empty()) {  // it never ended
    const bool instead = format_.content_never_empty && message_.content.empty() && message_.tool_calls.empty();
    const std::string text = std::exchange(held_reasoning_, {});
    if (instead)
      AddContent(text);
    else
      Emit(ChatEvent::Kind::kReasoning, text);
  }
  if (tools_ != nullptr) {
    std::vector<ToolEvent> events;
    tools_->Finish(events);
    Add(events);
  }
}

// Every token from the start of the answer to the one that ends the reasoning.
void ChatOutput::CountReasoning(const TokenDelta& delta, bool before, bool after) {
  if (!before && !after) return;
  int64_t count = static_cast<int64_t>(delta.tokens.size());
  if (!after && format_.think_end) {
    const auto end = std::find(delta.tokens.begin(), delta.tokens.end(), *format_.think_end);
    if (end != delta.tokens.end()) count = end - delta.tokens.begin() + 1;
  }
  reasoning_tokens_ += count;
}

void ChatOutput::Add(const std::vector<ReasoningEvent>& events) {
  for (const ReasoningEvent& event : events) {
    if (event.reasoning)
      AddReasoning(event.text);
    else
      AddContent(event.text);
  }
}

void ChatOutput::AddReasoning(std::string_view text) {
  if (format_.stream_reasoning && !format_.content_never_empty)
    Emit(ChatEvent::Kind::kReasoning, text);
  else
    held_reasoning_ += text;
}

void ChatOutput::AddContent(std::string_view text) {
  if (text.empty()) return;
  if (!held_reasoning_.empty()) Emit(ChatEvent::Kind::kReasoning, std::exchange(held_reasoning_, {}));
  if (tools_ == nullptr) return Emit(ChatEvent::Kind::kContent, text);
  std::vector<ToolEvent> events;
  tools_->Push(text, events);
  Add(events);
}

void ChatOutput::Add(const std::vector<ToolEvent>& events) {
  for (const ToolEvent& event : events) {
    if (event.kind == ToolEvent::Kind::kText) {
      Emit(ChatEvent::Kind::kContent, event.text);
    } else if (event.kind == ToolEvent::Kind::kArguments) {
      message_.tool_calls.back().arguments += event.text;
      Emit(ChatEvent::Kind::kToolArguments, event.text, event.call);
    } else {
      ChatToolCall& call = message_.tool_calls.emplace_back();
      call.name = event.text;
      call.tool = format_.functions->Find(event.text);
      call.id = format_.kimi_ids ? "functions." + event.text + ":" + std::to_string(format_.earlier_calls + event.call)
                                 : "call_" + format_.ids->Next().substr(0, 24);
      Emit(ChatEvent::Kind::kToolCall, event.text, event.call);
      events_.back().id = call.id;
    }
  }
}

void ChatOutput::Emit(ChatEvent::Kind kind, std::string_view text, int call) {
  if (text.empty()) return;
  if (kind == ChatEvent::Kind::kReasoning) message_.reasoning += text;
  if (kind == ChatEvent::Kind::kContent) message_.content += text;
  const bool joins = kind != ChatEvent::Kind::kToolCall && !events_.empty() && events_.back().kind == kind && events_.back().call == call;
  if (!joins) events_.push_back({kind, {}, call, {}});
  events_.back().text += text;
}

std::vector<ChatEvent> ChatOutput::TakeEvents() { return std::exchange(events_, {}); }

}  // namespace sgl
