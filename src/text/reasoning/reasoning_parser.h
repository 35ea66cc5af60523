// Reasoning in what a model writes: from text, as it streams, to reasoning and the rest, tags left out.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sgl {

struct ReasoningEvent {
  bool reasoning = false;
  std::string text;
};

// When a request's answer starts as reasoning, without a tag, if the prompt does not say.
enum class ReasoningStart {
  kAlways,
  kUnlessEnableThinkingFalse,  // chat_template_kwargs.enable_thinking
  kUnlessThinkingFalse,        // chat_template_kwargs.thinking
  kIfEnableThinking,
  kIfThinking,
  kIfEffort,  // reasoning_effort is given and not none
  kNever,     // only a tag starts it
};

// One answer's parser. The events depend on the text alone, not on how it is cut. Reasoning begins at the start of the text: where it is
// known to (`inside`), or with a start tag; it ends with the end tag, or before a tag that starts tool calls; text without an end tag is
// reasoning to its end. Thread: whoever owns it.
class ReasoningParser {
 public:
  virtual ~ReasoningParser() = default;
  virtual void Push(std::string_view text, std::vector<ReasoningEvent>& out) = 0;
  virtual void Finish(std::vector<ReasoningEvent>& out) = 0;
  virtual bool in_reasoning() const = 0;  // what comes next belongs to the reasoning, as far as one can tell
};

// A reasoning format by its --reasoning-parser name.
struct ReasoningFormat {
  std::string_view name, start, end;
  std::string_view label;  // follows the start tag; part of it
  std::string_view tool;   // starts tool calls, and so ends reasoning; "": nothing does
  ReasoningStart starts = ReasoningStart::kAlways;
  bool prepend = false;  // no parsing: the start tag is put in front of the content
  bool harmony = false;  // gpt-oss' channels
};

// Every format, in the order of --help.
std::span<const ReasoningFormat> ReasoningFormats();
// Null if there is none of that name. "hunyuan:opensource" (the same tags with that suffix) is found, but not listed.
const ReasoningFormat* FindReasoningFormat(std::string_view name);
// The format that a chat template's model thinks in; "" if it does not seem to think.
std::string_view DetectReasoningFormat(std::string_view chat_template);

// inside: the answer starts as reasoning.
std::unique_ptr<ReasoningParser> MakeReasoningParser(const ReasoningFormat& format, bool inside);

// The whole of a text at once.
struct SplitReasoning {
  std::string reasoning, text;
};
SplitReasoning ParseReasoning(const ReasoningFormat& format, bool inside, std::string_view text);

}  // namespace sgl
