// Formats that write the function's name, a separator, and its arguments as JSON: deepseekv3, deepseekv31, kimi_k2.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "text/tools/format_parser.h"

namespace sgl::tools {

struct NamedJsonStyle {
  std::string_view section_begin = {}, section_end = {};  // around all calls
  std::string_view call_begin = {}, call_end = {};        // around one
  std::string_view kind_end = {};                         // what ends the word before the name ("function"); "": there is none
  std::string_view name_end[2] = {};                      // either ends the name; "" if there is one only
  std::string_view fence_begin = {}, fence_end = {};      // around the arguments, both optional; "" if there are none
  bool numbered = false;                                  // the name is functions.NAME:INDEX
};

class NamedJson final : public FormatParser {
 public:
  NamedJson(const NamedJsonStyle& style, std::shared_ptr<const ToolSet> tools, ToolMode mode)
      : FormatParser(std::move(tools), mode), style_(style) {}

 private:
  enum class State { kText, kSection, kKind, kName, kOpen, kArguments, kAfter, kSkip };
  bool Step() override;
  bool Section();
  bool Name();
  bool Open();
  bool After();
  bool Fail() override;

  const NamedJsonStyle& style_;
  State state_ = State::kText;
  std::string name_;
  std::optional<ValueRelay> relay_;
};

}  // namespace sgl::tools
