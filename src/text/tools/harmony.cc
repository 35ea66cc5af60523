// SPDX-License-Identifier: Apache-2.0
#include "text/tools/harmony.h"

namespace sgl::tools {

std::string HarmonyFunction(std::string_view header) {
  constexpr std::string_view kTo = "to=functions.";
  const size_t at = header.find(kTo);
  if (at == header.npos) return "";
  header.remove_prefix(at + kTo.size());
  size_t end = 0;
  while (end < header.size() && !IsSpace(header[end]) && header[end] != '<') ++end;
  return std::string(header.substr(0, end));
}

bool Harmony::Fail() {
  sink_.Broken();
  state_ = State::kSkip;
  return true;
}

bool Harmony::Step() {
  constexpr std::string_view kStart = "<|start|>", kChannel = "<|channel|>", kMessage = "<|message|>", kCall = "<|call|>", kEnd = "<|end|>";
  switch (state_) {
    case State::kText: {
      const std::string_view markers[] = {kStart, kChannel};
      const int found = TextUntil(markers);
      if (found < 0) return false;
      Eat(markers[found].size());
      header_.clear();
      state_ = State::kHeader;
      return true;
    }
    case State::kHeader: {
      const std::string_view stops[] = {kMessage, kStart, kCall, kEnd};
      const int found = PartUntil(stops, header_);
      if (found < 0) return false;
      const std::string name = found == 0 ? HarmonyFunction(header_) : "";
      if (name.empty()) {
        if (found == 0) Eat(kMessage.size());
        sink_.NoCall();
        state_ = State::kText;
        return true;
      }
      Eat(kMessage.size());
      const bool known = sink_.Name(name);
      relay_.reset();
      state_ = known ? State::kArguments : State::kSkip;
      return true;
    }
    case State::kArguments: {
      if (!relay_) {
        if (!EatSpace() || in_.empty()) return false;
        const Match call = EatLiteral(kCall);
        if (call == Match::kMore) return false;
        if (call == Match::kYes) {  // no arguments
          sink_.Done();
          state_ = State::kText;
          return true;
        }
        if (in_.front() != '{') return Fail();
        relay_.emplace(ValueRelay::Dialect::kJson);
      }
      const Relay step = RelayArguments(*relay_);
      if (step == Relay::kDone) sink_.Done();
      return Then(step, state_, State::kAfter);
    }
    case State::kAfter: {
      if (!EatSpace() || in_.empty()) return false;
      const Match call = EatLiteral(kCall);
      if (call == Match::kMore) return false;
      state_ = State::kText;
      return true;
    }
    case State::kSkip: break;
  }
  const std::string_view stops[] = {kCall, kEnd, kStart};
  const int found = SkipUntil(stops);
  if (found < 0) return false;
  if (found < 2) Eat(stops[found].size());
  state_ = State::kText;
  return true;
}

}  // namespace sgl::tools
