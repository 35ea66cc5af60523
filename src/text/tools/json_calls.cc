// SPDX-License-Identifier: Apache-2.0
#include "text/tools/json_calls.h"

namespace sgl::tools {

JsonCalls::JsonCalls(const JsonCallsStyle& style, std::shared_ptr<const ToolSet> tools, ToolMode mode)
    : FormatParser(std::move(tools), mode), style_(style), markers_(style.begins), stops_(style.begins) {
  markers_.insert(markers_.end(), style.drop.begin(), style.drop.end());
  if (!style.end.empty()) stops_.push_back(style.end);
}

bool JsonCalls::Fail() {
  object_.reset();
  relay_.reset();
  in_list_ = false;
  if (bare_ && !sink_.open()) {
    sink_.NoCall();
    state_ = State::kText;
  } else {
    sink_.Broken();
    state_ = State::kSkip;
  }
  return true;
}

bool JsonCalls::Step() {
  switch (state_) {
    case State::kStart: return Start();
    case State::kText: return Text();
    case State::kOpen: return Open();
    case State::kObject: return Then(RelayCall(object_), state_, State::kAfter);
    case State::kName: return Name();
    case State::kId: return Id();
    case State::kArguments: return Arguments();
    case State::kAfter: return After();
    case State::kSkip: break;
  }
  return Skip();
}

// The start of the text, where a bare call may stand.
bool JsonCalls::Start() {
  const std::string_view rest = in_.rest();
  size_t n = 0;
  while (n < rest.size() && IsSpace(rest[n])) ++n;
  if (n == rest.size() && !in_.ended()) return false;
  bare_ = n < rest.size() && ((rest[n] == '{' && style_.bare_object) || (rest[n] == '[' && style_.bare_list));
  state_ = bare_ ? State::kOpen : State::kText;
  return true;
}

bool JsonCalls::Text() {
  if (markers_.empty()) {
    sink_.Text(in_.Take(in_.rest().size()));
    return false;
  }
  const int found = TextUntil(markers_);
  if (found < 0) return false;
  const size_t place = static_cast<size_t>(found);
  if (place >= style_.begins.size()) {
    in_.Take(markers_[place].size());
    return true;
  }
  Eat(markers_[place].size());
  bare_ = false;
  state_ = State::kOpen;
  return true;
}

bool JsonCalls::Open() {
  if (!EatSpace() || in_.empty()) return false;
  if (in_.front() == '[' && !in_list_) {
    in_list_ = true;
    Eat(1);
    return true;
  }
  if (in_.front() == '{') {
    object_.emplace(bare_);
    state_ = State::kObject;
    return true;
  }
  if (style_.arguments_begin.empty() || in_list_) return Fail();
  name_.clear();
  state_ = State::kName;
  return true;
}

bool JsonCalls::Name() {
  const std::string_view stops[] = {style_.arguments_begin, style_.id_begin, "{", style_.begins[0]};
  const int found = PartUntil(stops, name_);
  if (found < 0) return false;
  if (found == 3 || !sink_.Name(Trim(name_))) return Fail();
  if (found < 2) Eat(stops[found].size());
  state_ = found == 1 ? State::kId : State::kArguments;
  return true;
}

bool JsonCalls::Id() {
  const std::string_view stops[] = {style_.arguments_begin, "{", style_.begins[0]};
  const int found = SkipUntil(stops);
  if (found < 0) return false;
  if (found == 2) return Fail();
  if (found == 0) Eat(style_.arguments_begin.size());
  state_ = State::kArguments;
  return true;
}

bool JsonCalls::Arguments() {
  if (!relay_) {
    if (!EatSpace() || in_.empty()) return false;
    if (in_.front() != '{') return Fail();
    relay_.emplace(ValueRelay::Dialect::kJson);
  }
  const Relay step = RelayArguments(*relay_);
  if (step == Relay::kMore) return false;
  if (step == Relay::kBad) return Fail();
  relay_.reset();
  sink_.Done();
  state_ = State::kText;
  return true;
}

bool JsonCalls::After() {
  if (!EatSpace() || in_.empty()) return false;
  const char c = in_.front();
  if (in_list_) {
    if (c != ',' && c != ']') return Fail();
    Eat(1);
    in_list_ = c == ',';
    state_ = c == ',' ? State::kOpen : State::kAfter;
    return true;
  }
  if (!style_.end.empty()) {
    const Match end = EatLiteral(style_.end);
    if (end == Match::kMore) return false;
    if (end == Match::kYes) {
      state_ = State::kText;
      return true;
    }
  }
  if (style_.separator != 0 && c == style_.separator) {
    Eat(1);
    return true;
  }
  // Another call without a marker of its own; a bracket too many; text.
  if (c == '{' || (c == '[' && style_.bare_list)) {
    bare_ = true;
    state_ = State::kOpen;
    return true;
  }
  state_ = !style_.end.empty() && (c == '}' || c == ']') ? State::kSkip : State::kText;
  return true;
}

// What follows a broken call, up to where it would have ended.
bool JsonCalls::Skip() {
  if (stops_.empty()) {
    Eat(in_.rest().size());
    return false;
  }
  const int found = SkipUntil(stops_);
  if (found < 0) return false;
  if (static_cast<size_t>(found) >= style_.begins.size()) Eat(style_.end.size());
  state_ = State::kText;
  return true;
}

}  // namespace sgl::tools
