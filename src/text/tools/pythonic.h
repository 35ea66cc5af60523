// Formats that write calls as Python: pythonic (Llama 4), lfm2. [f(a=1, b="x"), g()]
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/tools/call_object.h"
#include "text/tools/format_parser.h"

namespace sgl::tools {

struct PythonicStyle {
  std::string_view begin = {}, end = {};    // around the list; "": it stands in the text as it is
  std::vector<std::string_view> drop = {};  // tags that are left out of the text around calls
};

class Pythonic final : public FormatParser {
 public:
  Pythonic(const PythonicStyle& style, std::shared_ptr<const ToolSet> tools, ToolMode mode);

 private:
  enum class State { kText, kOpen, kCall, kName, kParam, kParamName, kEquals, kValue, kAfterValue, kObject, kAfter, kEnd, kSkip };
  bool Step() override;
  bool Name();
  bool Param();
  bool ParamName();
  bool Equals();
  bool After();
  bool Fail() override;
  void CallDone();

  const PythonicStyle& style_;
  std::vector<std::string_view> markers_;
  State state_ = State::kText;
  std::string word_;
  bool any_ = false;      // the call has a parameter
  bool certain_ = false;  // this list has had a function of ours and its bracket
  std::optional<ValueRelay> relay_;
  std::optional<CallObject> object_;
};

}  // namespace sgl::tools
