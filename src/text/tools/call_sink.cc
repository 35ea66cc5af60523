// SPDX-License-Identifier: Apache-2.0
#include "text/tools/call_sink.h"

#include "obs/log.h"
#include "text/tools/input.h"

namespace sgl::tools {

void CallSink::Emit(ToolEvent::Kind kind, std::string_view text) {
  if (text.empty() && kind != ToolEvent::Kind::kCall) return;
  const int call = kind == ToolEvent::Kind::kText ? -1 : calls_ - 1;
  const bool joins = !out_->empty() && kind != ToolEvent::Kind::kCall && out_->back().kind == kind && out_->back().call == call;
  if (!joins) out_->push_back({kind, call, {}});
  out_->back().text += text;
}

void CallSink::Text(std::string_view text) {
  if (text.empty()) return;
  if (!markup_.empty()) {  // a frame around nothing is text, one around calls is not
    if (calls_ == 0) {
      if (Trim(text).empty()) {  // another frame may follow
        markup_ += text;
        return;
      }
      NoCall();
    }
    markup_.clear();
  }
  if (!text_running_) {
    size_t i = 0;
    while (i < text.size() && IsSpace(text[i])) ++i;
    space_ += text.substr(0, i);
    text.remove_prefix(i);
    if (text.empty()) return;
    Emit(ToolEvent::Kind::kText, space_);
    space_.clear();
    text_running_ = true;
  }
  Emit(ToolEvent::Kind::kText, text);
}

void CallSink::Markup(std::string_view text) {
  if (announced_) return;
  if (markup_.empty()) markup_ = std::move(space_);
  space_.clear();
  markup_ += text;
}

bool CallSink::Name(std::string_view name) {
  const int place = tools_->Find(name);
  function_ = place >= 0 ? &tools_->functions[static_cast<size_t>(place)] : nullptr;
  if (name.empty() || (function_ == nullptr && !tools_->forward_unknown)) {
    LOG_WARNING("The model called '{}', which is not among the tools of the request", name);
    return false;
  }
  name_ = name;
  named_ = true;
  return true;
}

void CallSink::Announce() {
  announced_ = true;
  markup_.clear();
  space_.clear();
  text_running_ = false;
  ++calls_;
  Emit(ToolEvent::Kind::kCall, name_);
}

void CallSink::Arguments(std::string_view json) {
  if (json.empty()) return;
  any_arguments_ = true;
  if (mode_ == ToolMode::kWhole) {
    arguments_ += json;
    return;
  }
  if (!announced_) Announce();
  Emit(ToolEvent::Kind::kArguments, json);
}

void CallSink::Done() {
  if (!any_arguments_) Arguments("{}");
  if (!announced_) {
    Announce();
    Emit(ToolEvent::Kind::kArguments, arguments_);
  }
  named_ = announced_ = any_arguments_ = false;
  arguments_.clear();
}

void CallSink::Broken() {
  named_ = announced_ = any_arguments_ = false;
  arguments_.clear();
}

void CallSink::NoCall() {
  named_ = any_arguments_ = false;
  arguments_.clear();
  Emit(ToolEvent::Kind::kText, markup_);
  text_running_ = text_running_ || Trim(markup_).size() > 0;
  markup_.clear();
}

void CallSink::Finish() {
  Broken();
  if (calls_ == 0) {
    if (!markup_.empty()) NoCall();
    Emit(ToolEvent::Kind::kText, space_);
  }
  markup_.clear();
  space_.clear();
}

}  // namespace sgl::tools
