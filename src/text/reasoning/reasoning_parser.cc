// SPDX-License-Identifier: Apache-2.0
#include "text/reasoning/reasoning_parser.h"

#include <optional>

#include "text/tools/harmony.h"
#include "text/tools/input.h"
#include "text/tools/value_relay.h"

namespace sgl {
namespace {

using tools::Input;
using tools::Match;

void Emit(bool reasoning, std::string_view text, std::vector<ReasoningEvent>& out) {
  if (text.empty()) return;
  if (out.empty() || out.back().reasoning != reasoning) out.push_back({reasoning, {}});
  out.back().text += text;
}

class TagParser final : public ReasoningParser {
 public:
  TagParser(const ReasoningFormat& format, bool inside) : format_(format), inside_(inside), tag_(format.start) { tag_ += format.label; }

  void Push(std::string_view text, std::vector<ReasoningEvent>& out) override {
    in_.Add(text);
    while (Step(out)) {
    }
  }
  void Finish(std::vector<ReasoningEvent>& out) override {
    in_.End();
    while (Step(out)) {
    }
  }
  bool in_reasoning() const override { return state_ == State::kReasoning || (state_ == State::kStart && (inside_ || !in_.empty())); }

 private:
  enum class State { kStart, kReasoning, kContent };

  bool Step(std::vector<ReasoningEvent>& out) {
    if (state_ == State::kStart) return Start();
    if (state_ == State::kContent) {
      Emit(false, in_.Take(in_.rest().size()), out);
      return false;
    }
    const std::string_view stops[] = {format_.end, format_.tool};
    int found = -1;
    Emit(true, in_.TakeUntil(std::span(stops).first(format_.tool.empty() ? 1 : 2), found), out);
    if (found < 0) return false;
    if (found == 0) in_.Take(format_.end.size());
    state_ = State::kContent;
    return true;
  }

  // White space and start tags, as often as they come.
  bool Start() {
    const std::string_view rest = in_.rest();
    size_t n = 0;
    while (n < rest.size() && tools::IsSpace(rest[n])) ++n;
    const std::string_view here = rest.substr(n);
    if (here.substr(0, tag_.size()) == tag_) {
      in_.Take(n + tag_.size());
      inside_ = true;
      return true;
    }
    const bool could_be = std::string_view(tag_).substr(0, here.size()) == here;
    if (could_be && !in_.ended()) return false;
    state_ = inside_ ? State::kReasoning : State::kContent;
    return true;
  }

  const ReasoningFormat& format_;
  bool inside_;
  State state_ = State::kStart;
  std::string tag_;
  Input in_;
};

class Prepend final : public ReasoningParser {
 public:
  explicit Prepend(std::string_view tag) : tag_(tag) {}
  void Push(std::string_view text, std::vector<ReasoningEvent>& out) override {
    Emit(false, tag_, out);
    tag_ = {};
    Emit(false, text, out);
  }
  void Finish(std::vector<ReasoningEvent>& out) override { Push("", out); }
  bool in_reasoning() const override { return false; }

 private:
  std::string_view tag_;
};

// <|channel|>analysis<|message|>..<|end|> is reasoning; a message to a function goes through as it is, for the tool parser; everything
// else (final, commentary) is content. Text before the first header is content, too.
class HarmonyChannels final : public ReasoningParser {
 public:
  void Push(std::string_view text, std::vector<ReasoningEvent>& out) override {
    in_.Add(text);
    while (Step(out)) {
    }
  }
  void Finish(std::vector<ReasoningEvent>& out) override {
    in_.End();
    while (Step(out)) {
    }
  }
  bool in_reasoning() const override { return body_ == Body::kReasoning && state_ != State::kBetween; }

 private:
  enum class State { kBetween, kHeader, kArguments, kBody };
  enum class Body { kReasoning, kContent, kCall };

  // A call's JSON, whose strings may have what else ends a message.
  bool Arguments(std::vector<ReasoningEvent>& out) {
    const std::string_view rest = in_.rest();
    std::string unused;
    tools::Relay step = tools::Relay::kMore;
    size_t n = 0;
    while (step == tools::Relay::kMore && n < rest.size()) {
      step = arguments_->Push(rest[n], unused);
      unused.clear();
      if (step == tools::Relay::kMore || step == tools::Relay::kDone) ++n;
    }
    Emit(false, in_.Take(n), out);
    if (step == tools::Relay::kMore) return false;
    state_ = State::kBody;
    return true;
  }

  bool Step(std::vector<ReasoningEvent>& out) {
    const std::string_view starts[] = {"<|start|>", "<|channel|>"};
    int found = -1;
    if (state_ == State::kBetween) {
      Emit(false, in_.TakeUntil(starts, found), out);
      if (found < 0) return false;
      header_ = in_.Take(starts[found].size());
      state_ = State::kHeader;
      return true;
    }
    if (state_ == State::kHeader) {
      const std::string_view message[] = {"<|message|>"};
      header_ += in_.TakeUntil(message, found);
      if (found < 0) return false;
      header_ += in_.Take(message[0].size());
      const bool call = !tools::HarmonyFunction(header_).empty();
      body_ = call ? Body::kCall : header_.find("analysis") != std::string::npos ? Body::kReasoning : Body::kContent;
      if (call) Emit(false, header_, out);
      state_ = call ? State::kArguments : State::kBody;
      arguments_.emplace(tools::ValueRelay::Dialect::kJson);
      return true;
    }
    if (state_ == State::kArguments) return Arguments(out);
    const std::string_view ends[] = {"<|end|>", "<|return|>", "<|call|>", "<|start|>", "<|channel|>"};
    Emit(body_ == Body::kReasoning, in_.TakeUntil(ends, found), out);
    if (found < 0) return false;
    if (found < 3) {
      const std::string_view end = in_.Take(ends[found].size());
      if (body_ == Body::kCall) Emit(false, end == "<|end|>" ? "<|call|>" : end, out);
    } else if (body_ == Body::kCall) {
      Emit(false, "<|call|>", out);
    }
    body_ = Body::kContent;
    state_ = State::kBetween;
    return true;
  }

  State state_ = State::kBetween;
  Body body_ = Body::kContent;
  std::string header_;
  std::optional<tools::ValueRelay> arguments_;
  Input in_;
};

constexpr std::string_view kThink = "<think>", kEndThink = "</think>", kToolCall = "<tool_call>";
using enum ReasoningStart;

constexpr ReasoningFormat kFormats[] = {
    {"deepseek-r1", kThink, kEndThink, "", "", kAlways},
    {"deepseek-v3", kThink, kEndThink, "", "", kIfThinking},
    {"deepseek-v4", kThink, kEndThink, "", "", kIfThinking},
    {"gemma4", "<|channel>", "<channel|>", "thought\n", "", kNever},
    {"glm45", kThink, kEndThink, "", kToolCall, kUnlessEnableThinkingFalse},
    {"gpt-oss", "<|channel|>analysis<|message|>", "<|end|>", "", "", kNever, false, true},
    {"hunyuan", kThink, kEndThink, "", "<tool_calls>", kNever},
    {"interns1", kThink, kEndThink, "", "", kUnlessEnableThinkingFalse},
    {"kimi", "◁think▷", "◁/think▷", "", "", kNever},
    {"kimi_k2", kThink, kEndThink, "", "<|tool_calls_section_begin|>", kUnlessThinkingFalse},
    {"mimo", kThink, kEndThink, "", "", kIfEnableThinking},
    {"minimax", kThink, kEndThink, "", "", kAlways},
    {"minimax-append-think", kThink, kEndThink, "", "", kNever, true},
    {"mistral", "[THINK]", "[/THINK]", "", "", kIfEffort},
    {"nano_v3", kThink, kEndThink, "", kToolCall, kUnlessEnableThinkingFalse},
    {"nemotron_3", kThink, kEndThink, "", kToolCall, kUnlessEnableThinkingFalse},
    {"poolside_v1", kThink, kEndThink, "", kToolCall, kIfEnableThinking},
    {"qwen3", kThink, kEndThink, "", kToolCall, kUnlessEnableThinkingFalse},
    {"qwen3-thinking", kThink, kEndThink, "", kToolCall, kAlways},
    {"step3", kThink, kEndThink, "", "", kAlways},
    {"step3p5", kThink, kEndThink, "", "", kAlways},
};

// Not to be asked for by name.
constexpr ReasoningFormat kUnlisted[] = {
    {"hunyuan:opensource", "<think:opensource>", "</think:opensource>", "", "<tool_calls:opensource>", kNever},
};

// The first line whose every word stands in the template decides.
struct Sign {
  std::string_view format, word, and_word;
};
constexpr Sign kSigns[] = {
    {"gpt-oss", "<|channel|>analysis", ""},
    {"kimi", "◁think▷", ""},
    {"mistral", "[THINK]", ""},
    {"gemma4", "<|channel>thought", ""},
    {"kimi_k2", "<|tool_calls_section_begin|>", "<think>"},
    {"hunyuan", "<tool_calls>", "<think>"},
    {"hunyuan", "<tool_calls{}>", "<think{}>"},
    {"step3", "steptml:", "<think>"},
    {"minimax", "minimax:tool_call", "<think>"},
    {"glm45", "<arg_key>", "<think>"},
    {"deepseek-v3", "<｜Assistant｜>", "thinking"},
    {"deepseek-r1", "<｜Assistant｜>", "</think>"},
    {"qwen3", "enable_thinking", "<think>"},
    {"qwen3-thinking", "<|im_start|>assistant\\n<think>", ""},
    {"deepseek-r1", "<think>", "</think>"},
};

}  // namespace

std::span<const ReasoningFormat> ReasoningFormats() { return kFormats; }

const ReasoningFormat* FindReasoningFormat(std::string_view name) {
  for (const ReasoningFormat& format : kFormats)
    if (format.name == name) return &format;
  for (const ReasoningFormat& format : kUnlisted)
    if (format.name == name) return &format;
  return nullptr;
}

std::string_view DetectReasoningFormat(std::string_view chat_template) {
  for (const Sign& sign : kSigns)
    if (chat_template.find(sign.word) != chat_template.npos && chat_template.find(sign.and_word) != chat_template.npos) return sign.format;
  return "";
}

std::unique_ptr<ReasoningParser> MakeReasoningParser(const ReasoningFormat& format, bool inside) {
  if (format.prepend) return std::make_unique<Prepend>(format.start);
  if (format.harmony) return std::make_unique<HarmonyChannels>();
  return std::make_unique<TagParser>(format, inside);
}

SplitReasoning ParseReasoning(const ReasoningFormat& format, bool inside, std::string_view text) {
  const std::unique_ptr<ReasoningParser> parser = MakeReasoningParser(format, inside);
  std::vector<ReasoningEvent> events;
  parser->Push(text, events);
  parser->Finish(events);
  SplitReasoning out;
  for (const ReasoningEvent& event : events) (event.reasoning ? out.reasoning : out.text) += event.text;
  return out;
}

}  // namespace sgl
