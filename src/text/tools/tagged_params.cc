// SPDX-License-Identifier: Apache-2.0
#include "text/tools/tagged_params.h"

#include <algorithm>

namespace sgl::tools {
namespace {

using Views = std::vector<std::string_view>;

void Append(Views& to, const Views& from) { to.insert(to.end(), from.begin(), from.end()); }

// HTML's five usual entities; mimo's template writes values that way.
std::string Unescaped(std::string_view text) {
  constexpr std::pair<std::string_view, char> kEntities[] = {{"&lt;", '<'},   {"&gt;", '>'},    {"&amp;", '&'},  {"&quot;", '"'},
                                                             {"&#39;", '\''}, {"&#x27;", '\''}, {"&apos;", '\''}};
  std::string out;
  while (!text.empty()) {
    size_t bytes = 1;
    char c = text[0];
    for (const auto& [name, value] : kEntities)
      if (text.substr(0, name.size()) == name) bytes = name.size(), c = value;
    out += c;
    text.remove_prefix(bytes);
  }
  return out;
}

}  // namespace

TaggedParams::TaggedParams(const TaggedParamsStyle& style, std::shared_ptr<const ToolSet> tools, ToolMode mode)
    : FormatParser(std::move(tools), mode), style_(style) {
  text_markers_ = style.section_begin.empty() ? style.call_begin : style.section_begin;
  name_markers_ = style.name_end;
  Append(name_markers_, style.param_begin);
  Append(name_markers_, style.call_end);
  for (const KeyEnd& end : style.key_end) key_markers_.push_back(end.text);
  Append(key_markers_, style.call_end);
  value_markers_ = style.value_end;
  if (style.value_ends_itself) {
    Append(value_markers_, style.param_begin);
    Append(value_markers_, style.call_end);
  }
}

int TaggedParams::EatOneOf(std::span<const std::string_view> literals) {
  int found = -1;
  for (size_t i = 0; i < literals.size(); ++i) {
    const Match match = in_.StartsWith(literals[i]);
    if (match == Match::kMore) return -2;  // perhaps one that is longer than what is found
    if (match == Match::kYes && (found < 0 || literals[i].size() > literals[static_cast<size_t>(found)].size()))
      found = static_cast<int>(i);
  }
  if (found >= 0) Eat(literals[static_cast<size_t>(found)].size());
  return found;
}

bool TaggedParams::Fail() {
  relay_.reset();
  sink_.Broken();
  state_ = State::kSkip;
  return true;
}

void TaggedParams::CallDone() {
  if (!keys_.empty()) sink_.Arguments("}");
  sink_.Done();
  state_ = style_.section_begin.empty() ? State::kText : State::kBetween;
}

bool TaggedParams::Step() {
  switch (state_) {
    case State::kText: {
      const int found = TextUntil(text_markers_);
      if (found < 0) return false;
      if (!style_.section_begin.empty()) Eat(text_markers_[static_cast<size_t>(found)].size());
      state_ = State::kBetween;
      return true;
    }
    case State::kBetween: return Between();
    case State::kName: return Name();
    case State::kParams: return Params();
    case State::kKey: return Key();
    case State::kValueBegin: {
      if (!EatSpace()) return false;
      const Match begin = EatLiteral(style_.value_begin);
      if (begin == Match::kMore) return false;
      if (begin == Match::kNo) return Fail();
      BeginValue();
      return true;
    }
    case State::kJsonValue: return JsonValue();
    case State::kValue: return Value();
    case State::kBody: return Then(RelayArguments(*relay_), state_, State::kParams);
    case State::kSkip: break;
  }
  Views stops = style_.call_end;
  Append(stops, style_.section_end);
  const int found = SkipUntil(stops);
  if (found < 0) return false;
  if (found < static_cast<int>(style_.call_end.size())) Eat(stops[static_cast<size_t>(found)].size());
  state_ = style_.section_begin.empty() ? State::kText : State::kBetween;
  return true;
}

bool TaggedParams::Between() {
  if (!EatSpace() || in_.empty()) return false;
  const int noise = EatOneOf(style_.noise);
  if (noise >= 0) return true;
  const int begin = EatOneOf(style_.call_begin);
  if (begin >= 0) {
    name_.clear();
    keys_.clear();
    body_done_ = false;
    state_ = State::kName;
    return true;
  }
  const int end = EatOneOf(style_.section_end);
  if (end < 0 && (noise == -2 || begin == -2 || end == -2)) return false;
  state_ = State::kText;
  return true;
}

bool TaggedParams::Name() {
  const int found = PartUntil(name_markers_, name_);
  if (found < 0) return false;
  const bool ended = static_cast<size_t>(found) < style_.name_end.size();
  if (!ended && !style_.name_ends_itself) return Fail();
  if (ended) Eat(name_markers_[static_cast<size_t>(found)].size());
  if (!sink_.Name(Trim(name_))) return Fail();
  state_ = State::kParams;
  return true;
}

bool TaggedParams::Params() {
  if (!EatSpace() || in_.empty()) return false;
  if (style_.json_body && keys_.empty() && !body_done_ && in_.front() == '{') {
    relay_.emplace(ValueRelay::Dialect::kJson);
    body_done_ = true;
    state_ = State::kBody;
    return true;
  }
  const int begin = body_done_ ? -1 : EatOneOf(style_.param_begin);
  if (begin >= 0) {
    key_.clear();
    state_ = State::kKey;
    return true;
  }
  const int end = EatOneOf(style_.call_end);
  if (end >= 0) {
    CallDone();
    return true;
  }
  return begin == -2 || end == -2 ? false : Fail();
}

bool TaggedParams::Key() {
  const int found = PartUntil(key_markers_, key_);
  if (found < 0) return false;
  const size_t place = static_cast<size_t>(found);
  if (place >= style_.key_end.size()) return Fail();
  Eat(key_markers_[place].size());
  says_ = style_.key_end[place].says;
  key_ = Trim(key_);
  if (style_.value_begin.empty())
    BeginValue();
  else
    state_ = State::kValueBegin;
  return true;
}

void TaggedParams::BeginValue() {
  state_ = State::kJsonValue;
  value_.clear();
  relay_.reset();
  seen_ = 0;
  begun_ = streams_ = false;
  skips_ = std::find(keys_.begin(), keys_.end(), key_) != keys_.end();  // a second value of the same name
  if (skips_) return;
  kinds_ = {};
  if (says_ == KeySays::kNothing)
    kinds_ = KindsOf(sink_.function(), key_);
  else if (says_ == KeySays::kString)
    kinds_.known = kinds_.string = true;
  const bool string = kinds_.known ? kinds_.only_string() : says_ == KeySays::kNothing && !style_.guess;
  streams_ = string && !style_.unescape && style_.cdata_begin.empty();
  std::string json = keys_.empty() ? "{\"" : ", \"";
  AppendEscaped(json, key_);
  json += "\": ";
  if (streams_) {
    json += '"';
    state_ = State::kValue;
  }
  sink_.Arguments(json);
  keys_.push_back(key_);
}

// Streams: what surely belongs to the value. White space that would be stripped waits in value_.
void TaggedParams::ValueText(std::string_view text, bool last) {
  if (skips_) return;
  value_ += text;
  if (!streams_) return;
  using Strip = TaggedParamsStyle::Strip;
  std::string_view ready = value_;
  if (!begun_ && style_.strip != Strip::kNothing) {
    if (ready.empty()) return;
    if (style_.strip == Strip::kNewline && ready[0] == '\n') ready.remove_prefix(1);
    if (style_.strip == Strip::kSpace)
      while (!ready.empty() && IsSpace(ready[0])) ready.remove_prefix(1);
  }
  if (style_.strip != Strip::kNewline && ready.empty() && !last) {
    value_.clear();
    return;
  }
  if (!ready.empty() || style_.strip == Strip::kNewline) begun_ = true;
  std::string_view tail;
  if (style_.strip == Strip::kNewline && !ready.empty() && ready.back() == '\n') tail = ready.substr(ready.size() - 1);
  if (style_.strip == Strip::kSpace) {
    size_t end = ready.size();
    while (end > 0 && IsSpace(ready[end - 1])) --end;
    tail = ready.substr(end);
  }
  ready.remove_suffix(tail.size());
  std::string json;
  AppendEscaped(json, ready);
  sink_.Arguments(json);
  value_ = last ? std::string() : std::string(tail);
}

void TaggedParams::EndValue() {
  state_ = State::kParams;
  begun_ = false;
  if (skips_) return;
  if (streams_) return sink_.Arguments("\"");
  using Strip = TaggedParamsStyle::Strip;
  std::string_view text = value_;
  if (style_.strip == Strip::kNewline) {
    if (!text.empty() && text.front() == '\n') text.remove_prefix(1);
    if (!text.empty() && text.back() == '\n') text.remove_suffix(1);
  } else if (style_.strip == Strip::kSpace) {
    text = Trim(text);
  }
  const bool guess = says_ == KeySays::kJson || style_.guess;
  std::string json = Coerce(style_.unescape ? Unescaped(text) : std::string(text), kinds_, guess);
  // Entities in JSON's own text may stand for themselves: &quot; would break it.
  if (style_.unescape && json[0] == '"' && kinds_.known && !kinds_.string) json = Coerce(text, kinds_, guess);
  sink_.Arguments(json);
  value_.clear();
}

// A list or object as JSON, whose strings may have what else ends a value. What turns out not to be JSON, or breaks off, is left to Value.
bool TaggedParams::JsonValue() {
  const std::string_view rest = in_.rest();
  std::string unused;
  Relay step = Relay::kMore;
  for (; step == Relay::kMore && seen_ < rest.size(); ++seen_) {
    if (!relay_ && IsSpace(rest[seen_])) continue;
    if (!relay_ && rest[seen_] != '{' && rest[seen_] != '[') break;
    if (!relay_) relay_.emplace(ValueRelay::Dialect::kJson);
    step = relay_->Push(rest[seen_], unused);
    unused.clear();
  }
  if (step == Relay::kMore && seen_ == rest.size() && !in_.ended()) return false;
  if (step == Relay::kDone) ValueText(Eat(seen_), false);
  state_ = State::kValue;
  return true;
}

bool TaggedParams::Value() {
  int found = -1;
  if (!style_.cdata_begin.empty() && !begun_) {
    if (!EatSpace() || in_.empty()) return false;
    const Match open = EatLiteral(style_.cdata_begin);
    if (open == Match::kMore) return false;
    in_cdata_ = open == Match::kYes;
    begun_ = true;
  }
  if (in_cdata_) {
    const std::string_view end[] = {style_.cdata_end};
    const std::string_view text = in_.TakeUntil(end, found);
    sink_.Markup(text);
    ValueText(text, false);
    if (found < 0) return false;
    Eat(style_.cdata_end.size());
    in_cdata_ = false;
  }
  const std::string_view text = in_.TakeUntil(value_markers_, found);
  sink_.Markup(text);
  ValueText(text, found >= 0);
  if (found < 0) return false;
  if (static_cast<size_t>(found) < style_.value_end.size()) Eat(value_markers_[static_cast<size_t>(found)].size());
  EndValue();
  return true;
}

}  // namespace sgl::tools
