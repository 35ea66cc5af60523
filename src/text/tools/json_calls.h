// Formats whose calls are JSON objects between markers: hermes, qwen, llama3, mistral, interns1, trinity, gigachat3, and forced calls
// without any marker ("json_array").
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/tools/call_object.h"
#include "text/tools/format_parser.h"

namespace sgl::tools {

struct JsonCallsStyle {
  std::vector<std::string_view> begins = {};             // what a call, or a list of calls, comes after
  std::string_view end = {};                             // what comes after them; "": nothing
  std::vector<std::string_view> drop = {};               // tags that are left out of the text around calls
  bool bare_object = false;                              // a { at the start of the text, or after a call, begins one as well
  bool bare_list = false;                                // so does a [
  char separator = 0;                                    // between calls behind one marker
  std::string_view arguments_begin = {}, id_begin = {};  // calls may be NAME id_begin ID arguments_begin {..}; "": they are not
};

class JsonCalls final : public FormatParser {
 public:
  JsonCalls(const JsonCallsStyle& style, std::shared_ptr<const ToolSet> tools, ToolMode mode);

 private:
  enum class State { kStart, kText, kOpen, kObject, kName, kId, kArguments, kAfter, kSkip };
  bool Step() override;
  bool Start();
  bool Text();
  bool Open();
  bool Name();
  bool Id();
  bool Arguments();
  bool After();
  bool Skip();
  bool Fail() override;

  const JsonCallsStyle& style_;
  std::vector<std::string_view> markers_, stops_;
  State state_ = State::kStart;
  std::optional<CallObject> object_;
  std::optional<ValueRelay> relay_;
  std::string name_;
  bool in_list_ = false, bare_ = false;
};

}  // namespace sgl::tools
