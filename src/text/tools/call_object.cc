// SPDX-License-Identifier: Apache-2.0
#include "text/tools/call_object.h"

#include "base/json.h"
#include "text/tools/input.h"

namespace sgl::tools {

bool CallObject::KnowKey() {
  const Result<Json> key = ParseJson(value_);
  value_.clear();
  if (!key.ok() || !key->is_string()) return false;
  const std::string& name = key->as_string();
  member_ = name == "name" ? Member::kName : name == "arguments" || name == "parameters" ? Member::kArguments : Member::kOther;
  const bool usual = member_ != Member::kOther || name == "type" || name == "id" || name == "function";
  const bool fine = usual || !bare_ || !first_;
  first_ = false;
  if (member_ == Member::kName && named_) return false;
  if (member_ == Member::kArguments && has_arguments_) member_ = Member::kOther;
  return fine;
}

bool CallObject::BeginValue(char c) {
  relay_.emplace(ValueRelay::Dialect::kJson);
  streaming_ = member_ == Member::kArguments && c == '{';
  if (member_ == Member::kArguments) has_arguments_ = true;
  if (member_ == Member::kName) return c == '"';
  return member_ == Member::kOther || c == '{' || c == '"' || c == 'n';
}

bool CallObject::EndValue(CallSink& sink) {
  state_ = State::kAfter;
  streaming_ = false;
  const std::string value = std::move(value_);
  value_.clear();
  if (member_ == Member::kOther || value.empty()) return true;
  if (member_ == Member::kName) {
    const Result<Json> name = ParseJson(value);
    if (!name.ok()) return false;
    named_ = true;
    unknown_ = !sink.Name(name->as_string());
    if (!unknown_) sink.Arguments(early_);
    early_.clear();
    return true;
  }
  std::string arguments;
  if (value[0] == '{') {
    arguments = value;
  } else if (value[0] == '"') {
    const Result<Json> text = ParseJson(value);
    if (!text.ok()) return false;
    const std::string_view inner = Trim(text->as_string());
    if (!inner.empty() && (inner[0] != '{' || !RelayAll(ValueRelay::Dialect::kJson, inner, arguments))) return false;
  } else if (value != "null") {
    return false;
  }
  if (!named_)
    early_ = arguments;
  else if (!unknown_)
    sink.Arguments(arguments);
  return true;
}

Relay CallObject::Push(char c, CallSink& sink) {
  if (relay_) {
    const Relay step = relay_->Push(c, value_);
    if (step == Relay::kBad) return step;
    if (streaming_ && named_) {
      if (!unknown_) sink.Arguments(value_);
      value_.clear();
    }
    if (step == Relay::kMore) return step;
    relay_.reset();
    if (state_ == State::kKeyText) {
      state_ = State::kColon;
      return KnowKey() ? Relay::kMore : Relay::kBad;
    }
    if (!EndValue(sink)) return Relay::kBad;
    if (step == Relay::kDone) return Relay::kMore;
  }
  if (IsSpace(c)) return Relay::kMore;
  switch (state_) {
    case State::kOpen: state_ = State::kFirstKey; return c == '{' ? Relay::kMore : Relay::kBad;
    case State::kFirstKey:
    case State::kKey:
      if (c != '"') return Relay::kBad;
      relay_.emplace(ValueRelay::Dialect::kJson);
      state_ = State::kKeyText;
      return relay_->Push(c, value_);
    case State::kColon: state_ = State::kValue; return c == ':' ? Relay::kMore : Relay::kBad;
    case State::kValue:
      if (!BeginValue(c)) return Relay::kBad;
      return Push(c, sink);
    default: break;
  }
  if (c == ',') {
    state_ = State::kKey;
    return Relay::kMore;
  }
  if (c != '}' || !named_) return Relay::kBad;
  if (!unknown_) sink.Done();
  return Relay::kDone;
}

}  // namespace sgl::tools
