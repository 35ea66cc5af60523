// Regular expressions as a tree: what the parser makes and the automaton builder reads.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace sgl {

// Code points [first, last].
struct CodeRange {
  uint32_t first = 0, last = 0;
  friend bool operator==(const CodeRange&, const CodeRange&) = default;
};
using CodeSet = std::vector<CodeRange>;  // ascending, disjoint, not adjacent once normalised

constexpr uint32_t kMaxCodePoint = 0x10FFFF;
void Normalise(CodeSet& set);
CodeSet Complement(CodeSet set);  // within Unicode scalar values

enum class RegexOp : uint8_t { kEmpty, kClass, kConcat, kAlternate, kRepeat, kBegin, kEnd, kLook };

constexpr int kUnbounded = -1;

// Nodes refer to each other by index; children come before their parents.
struct RegexNode {
  RegexOp op = RegexOp::kEmpty;
  int min = 0, max = 0;   // kRepeat; max kUnbounded: no limit. kLook: max 0: the kid must not follow, 1: it has to
  std::vector<int> kids;  // kConcat, kAlternate: any number; kRepeat, kLook: one
  CodeSet set;            // kClass; may be empty: matches nothing
};

struct RegexTree {
  std::vector<RegexNode> nodes;
  int root = 0;

  int Add(RegexNode node) {
    nodes.push_back(std::move(node));
    return static_cast<int>(nodes.size()) - 1;
  }
  int Empty() { return Add({}); }
  int Class(CodeSet set);
  int Text(std::string_view utf8);
  int Concat(std::vector<int> kids) { return Add({.op = RegexOp::kConcat, .min = 0, .max = 0, .kids = std::move(kids), .set = {}}); }
  int Alternate(std::vector<int> kids) { return Add({.op = RegexOp::kAlternate, .min = 0, .max = 0, .kids = std::move(kids), .set = {}}); }
  int Repeat(int kid, int min, int max) { return Add({.op = RegexOp::kRepeat, .min = min, .max = max, .kids = {kid}, .set = {}}); }
};

// kUser: what JSON Schemas and Python users share: ECMA-262 without look-around, back-references, \b, \p and flags, which are refused
// by name. \d and \w are ASCII, as in ECMA-262; lazy marks are read and mean nothing for a language. kSchema, for `pattern` and
// `patternProperties`: look-ahead and \p{category} as well.
// Errors: "at character 3: ...".
enum class RegexDialect { kUser, kSchema };
Result<RegexTree> ParseRegex(std::string_view pattern, RegexDialect dialect = RegexDialect::kUser);

// One code point of valid UTF-8 at text[*at], which moves behind it; bad bytes read as U+FFFD.
uint32_t ReadCodePoint(std::string_view text, size_t* at);
void SpellCodePoint(std::string& out, uint32_t code);

// \d, \w, \s as the parser above reads them; 'd', 'w', 's'.
CodeSet NamedClass(char name);

}  // namespace sgl
