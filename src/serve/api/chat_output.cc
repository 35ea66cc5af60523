// SPDX-License-Identifier: Apache-2.0
#include "serve/api/chat_output.h"

#include <utility>

namespace sgl {

ChatOutput::ChatOutput(const ChatFormat&) {}

void ChatOutput::Push(const TokenDelta& delta) { Add(ChatEvent::Kind::kContent, delta.text); }

std::vector<ChatEvent> ChatOutput::TakeEvents() { return std::exchange(events_, {}); }

void ChatOutput::Add(ChatEvent::Kind kind, std::string_view text) {
  if (text.empty()) return;
  (kind == ChatEvent::Kind::kReasoning ? message_.reasoning : message_.content) += text;
  if (events_.empty() || events_.back().kind != kind) events_.push_back({kind, {}, -1, {}});
  events_.back().text += text;
}

}  // namespace sgl
