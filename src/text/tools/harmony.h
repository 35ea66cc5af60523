// gpt-oss: calls are messages to a function on the commentary channel:
// <|start|>assistant<|channel|>commentary to=functions.NAME <|constrain|>json<|message|>{..}<|call|>. Other messages stay as they are: they
// are the reasoning parser's.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <optional>
#include <string>

#include "text/tools/format_parser.h"

namespace sgl::tools {

// The function that a message's header ("assistant<|channel|>commentary to=functions.f <|constrain|>json") is for; "" if for none.
std::string HarmonyFunction(std::string_view header);

class Harmony final : public FormatParser {
 public:
  using FormatParser::FormatParser;

 private:
  enum class State { kText, kHeader, kArguments, kAfter, kSkip };
  bool Step() override;
  bool Fail() override;

  State state_ = State::kText;
  std::string header_;
  std::optional<ValueRelay> relay_;
};

}  // namespace sgl::tools
