// The parse tree of a pre-tokeniser pattern (split_automaton.h).
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "text/char_set.h"
#include "text/regex.h"

namespace sgl {

struct SplitNode {
  enum class Kind { kSet, kSequence, kAlternatives, kRepeat, kAssert } kind = Kind::kSequence;
  CharSet set;            // kSet; kAssert: what the next character must be in
  bool at_end = false;    // kAssert: also holds at the end of the text
  int min = 0, max = -1;  // kRepeat of kids[0]; -1: without end
  bool lazy = false, possessive = false;
  std::vector<SplitNode> kids;

  bool Nullable() const;
};

// nullopt: not a pattern of the kind that SplitAutomaton can run.
std::optional<SplitNode> ParseSplitPattern(std::string_view pattern, RegexSyntax syntax);

}  // namespace sgl
