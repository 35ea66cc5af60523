// The frame of every format's parser: input, sink, and a loop of steps. A format says what a step is.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "text/tools/call_object.h"
#include "text/tools/call_sink.h"
#include "text/tools/input.h"
#include "text/tools/tool_parser.h"
#include "text/tools/value_relay.h"

namespace sgl::tools {

class FormatParser : public ToolParser {
 public:
  FormatParser(std::shared_ptr<const ToolSet> tools, ToolMode mode) : sink_(std::move(tools), mode) {}

  void Push(std::string_view text, std::vector<ToolEvent>& out) final {
    sink_.SetOutput(&out);
    in_.Add(text);
    while (Step()) {
    }
  }
  void Finish(std::vector<ToolEvent>& out) final {
    sink_.SetOutput(&out);
    in_.End();
    while (Step()) {
    }
    sink_.Finish();
  }

 protected:
  // Goes on by one state or some text; false: more text is needed (or, once the input has ended, nothing is left to do).
  virtual bool Step() = 0;
  // The open call breaks the rules. True: the parser goes on behind it.
  virtual bool Fail() {
    sink_.Broken();
    return true;
  }
  // Where a relay's step leads: to `next` when its value is complete. False: text is needed.
  template <class State>
  bool Then(Relay step, State& state, State next) {
    if (step == Relay::kMore) return false;
    if (step == Relay::kBad) return Fail();
    state = next;
    return true;
  }
  // Takes text that belongs to a call or its frame.
  std::string_view Eat(size_t bytes) {
    const std::string_view text = in_.Take(bytes);
    sink_.Markup(text);
    return text;
  }
  // Takes white space; false if more may come.
  bool EatSpace() {
    size_t n = 0;
    const std::string_view rest = in_.rest();
    while (n < rest.size() && IsSpace(rest[n])) ++n;
    Eat(n);
    return !in_.empty() || in_.ended();
  }
  // Takes `literal` if it comes next.
  Match EatLiteral(std::string_view literal) {
    const Match match = in_.StartsWith(literal);
    if (match == Match::kYes) Eat(literal.size());
    return match;
  }
  // Text up to a marker: content. Gives the marker that comes next, -1 if none does yet.
  int TextUntil(std::span<const std::string_view> markers) {
    int found = -1;
    sink_.Text(in_.TakeUntil(markers, found));
    return found;
  }
  // The same inside a call: what comes before the marker is appended to `part`.
  int PartUntil(std::span<const std::string_view> markers, std::string& part) {
    int found = -1;
    const std::string_view text = in_.TakeUntil(markers, found);
    sink_.Markup(text);
    part += text;
    return found;
  }
  int SkipUntil(std::span<const std::string_view> markers) {
    std::string part;
    return PartUntil(markers, part);
  }
  // A value of the arguments through a relay. kMore: text is needed.
  Relay RelayArguments(ValueRelay& relay) {
    std::string json;
    Relay step = Relay::kMore;
    while (step == Relay::kMore && !in_.empty()) {
      step = relay.Push(in_.front(), json);
      if (step != Relay::kDoneBefore) Eat(1);
    }
    if (sink_.open()) sink_.Arguments(json);
    return step;
  }

  // A call that is a JSON object. kMore: text is needed; otherwise the object is reset.
  Relay RelayCall(std::optional<CallObject>& object) {
    Relay step = Relay::kMore;
    while (step == Relay::kMore && !in_.empty()) step = object->Push(Eat(1)[0], sink_);
    if (step != Relay::kMore) object.reset();
    return step;
  }

  Input in_;
  CallSink sink_;
};

}  // namespace sgl::tools
