// What a request's tool_choice asks of the answer, as a constraint for the grammar.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "text/tools/tool_parser.h"

namespace sgl {

// At most one of the strings is not empty; both empty: nothing to enforce.
struct ToolConstraint {
  std::string structural_tag, json_schema;
  bool forced_list = false;       // calls come as a JSON list, not in the model's own format
  bool from_first_token = false;  // the grammar reads reasoning, too: it holds from the start of the answer
};

struct ToolDemand {
  enum class Choice { kAuto, kRequired, kNamed } choice = Choice::kAuto;
  std::string name = {};           // kNamed: one of the functions
  bool parallel = true;            // more than one call is fine
  int strict_level = 0;            // SGLANG_TOOL_STRICT_LEVEL: 1: names are enforced with auto as well; 2: parameters, too
  bool bounded_reasoning = false;  // reasoning has a budget, or --enable-strict-thinking's rules
  // Whether the model has a special token of that text: a grammar writes those as tokens.
  std::function<bool(std::string_view)> special = [](std::string_view) { return false; };
};

// kAuto: text with calls as the format writes them, whose strict functions (and with a level of 2 all) have the parameters of their
// schema; only if a function is strict or the level says so, and the format can be enforced. kRequired, kNamed: nothing but calls, each
// with the parameters of its schema; as the format writes them if that can be enforced, else as a JSON list. Errors: schemas whose $defs
// contradict one another.
Result<ToolConstraint> ConstrainTools(const ToolSet& tools, const ToolFormat* format, const ToolDemand& demand);

// The special tokens in what calls of this format, and nothing else in its answers, look like.
std::vector<std::string> SpecialTokensOf(const ToolFormat& format, const std::function<bool(std::string_view)>& special);

}  // namespace sgl
