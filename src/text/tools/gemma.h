// gemma4: <|tool_call>call:NAME{key:<|"|>text<|"|>,other:5,list:[..],object:{..}}<tool_call|>. A call comes out when it is complete.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>

#include "text/tools/format_parser.h"

namespace sgl::tools {

class Gemma final : public FormatParser {
 public:
  using FormatParser::FormatParser;

 private:
  bool Step() override;
  void Call();

  bool in_call_ = false, in_text_ = false;
  std::string body_;
};

}  // namespace sgl::tools
