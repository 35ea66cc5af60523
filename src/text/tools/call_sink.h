// What all formats share: from a parser's findings to events. Keeps the text of a call until it certainly is one; markup that no call
// came of becomes text again when text follows or everything ends, unless there have been calls.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/tools/tool_parser.h"

namespace sgl::tools {

class CallSink {
 public:
  CallSink(std::shared_ptr<const ToolSet> tools, ToolMode mode) : tools_(std::move(tools)), mode_(mode) {}
  void SetOutput(std::vector<ToolEvent>* out) { out_ = out; }

  void Text(std::string_view text);
  // Part of a call or of the frame around calls, as it stands in the text. Comes before what is found in it.
  void Markup(std::string_view text);

  // False: there is no such function. The call is to be read to its end as markup, and nothing said about it.
  [[nodiscard]] bool Name(std::string_view name);
  void Arguments(std::string_view json);
  void Done();  // the call is complete; it has {} if there were no arguments
  // The open call breaks the rules, or off. What comes up to where it would end is markup.
  void Broken();
  void NoCall();  // it looked like the start of a call and is not: markup is text, at once
  void Finish();  // the text has ended; an open call is broken

  // Of the function named last; null if it is not known.
  const ToolFunction* function() const { return function_; }
  bool open() const { return named_; }

 private:
  void Emit(ToolEvent::Kind kind, std::string_view text);
  void Announce();

  const std::shared_ptr<const ToolSet> tools_;
  const ToolMode mode_;
  std::vector<ToolEvent>* out_ = nullptr;

  int calls_ = 0;              // certain so far
  std::string markup_;         // since the last text or certain call
  std::string space_;          // white space at the start of a stretch of text
  bool text_running_ = false;  // the present stretch of text has more than white space

  const ToolFunction* function_ = nullptr;
  std::string name_, arguments_;  // of the open call, not said yet
  bool named_ = false, announced_ = false, any_arguments_ = false;
};

}  // namespace sgl::tools
