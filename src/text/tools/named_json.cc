// SPDX-License-Identifier: Apache-2.0
#include "text/tools/named_json.h"

namespace sgl::tools {
namespace {

// functions.NAME:INDEX -> NAME; names may have dots and colons of their own.
std::string_view Unnumbered(std::string_view id) {
  constexpr std::string_view kPrefix = "functions.";
  if (id.substr(0, kPrefix.size()) == kPrefix) id.remove_prefix(kPrefix.size());
  size_t digits = id.size();
  while (digits > 0 && id[digits - 1] >= '0' && id[digits - 1] <= '9') --digits;
  if (digits < id.size() && digits > 0 && id[digits - 1] == ':') id = id.substr(0, digits - 1);
  return id;
}

}  // namespace

bool NamedJson::Fail() {
  sink_.Broken();
  state_ = State::kSkip;
  return true;
}

bool NamedJson::Step() {
  switch (state_) {
    case State::kText: {
      const std::string_view markers[] = {style_.section_begin, style_.call_begin};
      const int found = TextUntil(markers);
      if (found < 0) return false;
      if (found == 0) Eat(style_.section_begin.size());
      state_ = State::kSection;
      return true;
    }
    case State::kSection: return Section();
    case State::kKind:
    case State::kName: return Name();
    case State::kOpen: return Open();
    case State::kArguments: {
      const Relay step = RelayArguments(*relay_);
      if (step == Relay::kMore) return false;
      if (step == Relay::kBad) return Fail();
      sink_.Done();
      state_ = State::kAfter;
      return true;
    }
    case State::kAfter: return After();
    case State::kSkip: break;
  }
  const std::string_view stops[] = {style_.call_end, style_.section_end, style_.call_begin};
  const int found = SkipUntil(stops);
  if (found < 0) return false;
  if (found == 0) Eat(style_.call_end.size());
  state_ = State::kSection;
  return true;
}

bool NamedJson::Section() {
  if (!EatSpace() || in_.empty()) return false;
  const Match begin = EatLiteral(style_.call_begin);
  if (begin == Match::kYes) {
    name_.clear();
    state_ = style_.kind_end.empty() ? State::kName : State::kKind;
    return true;
  }
  const Match end = EatLiteral(style_.section_end);
  if (end != Match::kYes && (begin == Match::kMore || end == Match::kMore)) return false;
  state_ = State::kText;
  return true;
}

bool NamedJson::Name() {
  const bool kind = state_ == State::kKind;
  std::vector<std::string_view> stops = {style_.call_end, style_.section_end};
  if (kind) {
    stops.push_back(style_.kind_end);
  } else {
    for (const std::string_view end : style_.name_end)
      if (!end.empty()) stops.push_back(end);
  }
  const int found = PartUntil(stops, name_);
  if (found < 0) return false;
  if (found < 2) return Fail();
  Eat(stops[static_cast<size_t>(found)].size());
  if (kind) {
    name_.clear();
    state_ = State::kName;
    return true;
  }
  const std::string_view name = Trim(name_);
  if (!sink_.Name(style_.numbered ? Unnumbered(name) : name)) return Fail();
  state_ = State::kOpen;
  return true;
}

bool NamedJson::Open() {
  if (!EatSpace() || in_.empty()) return false;
  if (!style_.fence_begin.empty()) {
    const Match fence = EatLiteral(style_.fence_begin);
    if (fence == Match::kMore) return false;
    if (fence == Match::kYes) return true;
  }
  const Match end = EatLiteral(style_.call_end);
  if (end == Match::kMore) return false;
  if (end == Match::kYes) {  // no arguments at all
    sink_.Done();
    state_ = State::kSection;
    return true;
  }
  if (in_.front() != '{') return Fail();
  relay_.emplace(ValueRelay::Dialect::kJson);
  state_ = State::kArguments;
  return true;
}

bool NamedJson::After() {
  if (!EatSpace() || in_.empty()) return false;
  if (!style_.fence_end.empty()) {
    const Match fence = EatLiteral(style_.fence_end);
    if (fence == Match::kMore) return false;
    if (fence == Match::kYes) return true;
  }
  const Match end = EatLiteral(style_.call_end);
  if (end == Match::kMore) return false;
  state_ = State::kSection;
  return true;
}

}  // namespace sgl::tools
