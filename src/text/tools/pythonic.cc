// SPDX-License-Identifier: Apache-2.0
#include "text/tools/pythonic.h"

namespace sgl::tools {
namespace {

bool IsWord(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-';
}
bool StartsWord(char c) { return IsWord(c) && !(c >= '0' && c <= '9') && c != '.' && c != '-'; }

}  // namespace

Pythonic::Pythonic(const PythonicStyle& style, std::shared_ptr<const ToolSet> tools, ToolMode mode)
    : FormatParser(std::move(tools), mode), style_(style), markers_{style.begin.empty() ? "[" : style.begin} {
  markers_.insert(markers_.end(), style.drop.begin(), style.drop.end());
}

bool Pythonic::Fail() {
  relay_.reset();
  object_.reset();
  if (style_.begin.empty() && !certain_) {  // brackets are common
    sink_.NoCall();
    state_ = State::kText;
  } else {
    sink_.Broken();
    state_ = State::kSkip;
  }
  return true;
}

bool Pythonic::Step() {
  switch (state_) {
    case State::kText: {
      const int found = TextUntil(markers_);
      if (found < 0) return false;
      const std::string_view marker = markers_[static_cast<size_t>(found)];
      if (found > 0) {
        in_.Take(marker.size());
        return true;
      }
      Eat(marker.size());
      certain_ = false;
      state_ = style_.begin.empty() ? State::kCall : State::kOpen;
      return true;
    }
    case State::kOpen:
      if (!EatSpace() || in_.empty()) return false;
      if (in_.front() == '[') Eat(1);
      state_ = State::kCall;
      return true;
    case State::kCall:
      if (!EatSpace() || in_.empty()) return false;
      word_.clear();
      if (in_.front() == '{' && !style_.begin.empty()) {
        object_.emplace(false);
        state_ = State::kObject;
        return true;
      }
      if (!StartsWord(in_.front())) return Fail();
      state_ = State::kName;
      return true;
    case State::kName: return Name();
    case State::kParam: return Param();
    case State::kParamName: return ParamName();
    case State::kEquals: return Equals();
    case State::kValue: return Then(RelayArguments(*relay_), state_, State::kAfterValue);
    case State::kAfterValue:
      if (!EatSpace() || in_.empty()) return false;
      if (in_.front() != ',' && in_.front() != ')') return Fail();
      if (Eat(1)[0] == ',')
        state_ = State::kParam;
      else
        CallDone();
      return true;
    case State::kObject: return Then(RelayCall(object_), state_, State::kAfter);
    case State::kAfter: return After();
    case State::kEnd: {
      if (!EatSpace()) return false;
      const Match end = EatLiteral(style_.end);
      if (end == Match::kMore) return false;
      state_ = State::kText;
      return true;
    }
    case State::kSkip: break;
  }
  const std::string_view stops[] = {style_.end.empty() ? std::string_view(")]") : style_.end};
  if (SkipUntil(stops) < 0) return false;
  Eat(stops[0].size());
  state_ = State::kText;
  return true;
}

bool Pythonic::Name() {
  while (!in_.empty() && IsWord(in_.front())) word_ += Eat(1)[0];
  if (in_.empty()) return false;
  if (in_.front() != '(') return Fail();
  if (sink_.Name(word_)) certain_ = true;
  Eat(1);
  any_ = false;
  state_ = State::kParam;
  return true;
}

bool Pythonic::Param() {
  if (!EatSpace() || in_.empty()) return false;
  if (in_.front() == ')') {
    Eat(1);
    CallDone();
    return true;
  }
  if (!StartsWord(in_.front())) return Fail();
  word_.clear();
  state_ = State::kParamName;
  return true;
}

bool Pythonic::ParamName() {
  while (!in_.empty() && IsWord(in_.front())) word_ += Eat(1)[0];
  if (in_.empty()) return false;
  state_ = State::kEquals;
  return true;
}

bool Pythonic::Equals() {
  if (!EatSpace() || in_.empty()) return false;
  if (in_.front() != '=') return Fail();
  Eat(1);
  std::string json = any_ ? ", \"" : "{\"";
  any_ = true;
  AppendEscaped(json, word_);
  if (sink_.open()) sink_.Arguments(json + "\": ");
  relay_.emplace(ValueRelay::Dialect::kPython);
  state_ = State::kValue;
  return true;
}

void Pythonic::CallDone() {
  state_ = State::kAfter;
  if (!sink_.open()) return;
  if (any_) sink_.Arguments("}");
  sink_.Done();
}

bool Pythonic::After() {
  if (!EatSpace() || in_.empty()) return false;
  if (in_.front() == ',' || in_.front() == ']') {
    state_ = Eat(1)[0] == ',' ? State::kCall : style_.end.empty() ? State::kText : State::kEnd;
    return true;
  }
  if (style_.end.empty()) return Fail();
  state_ = State::kEnd;  // calls without brackets around them
  return true;
}

}  // namespace sgl::tools
