// Context-free grammars as the machine reads them: rules over bytes, with automata, JSON Schemas and token sets as terminals. EBNF and
// structural tags compile to it.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "grammar/dfa.h"
#include "grammar/json_machine.h"

namespace sgl {

// A rule's body before it is flattened. Text that needs no recursion is a RegexTree (kText) and becomes one automaton.
struct RuleExpr {
  enum class Op : uint8_t { kText, kFree, kCall, kJson, kTokens, kConcat, kAlternate, kRepeat } op = Op::kConcat;
  int index = 0;   // kCall: rule; kJson: of RuleSet::schemas; kTokens: of token_sets
  RegexTree text;  // kText
  // kFree: text in which none of `stops` occurs; has_until: up to and with the first occurrence of any of them, which is `until`.
  std::vector<std::string> stops;
  std::string until;
  bool has_until = false;
  int min = 0, max = 0;  // kRepeat, as RegexNode
  std::vector<RuleExpr> kids;

  static RuleExpr Text(std::string_view bytes);
  static RuleExpr Call(int rule);
  static RuleExpr Concat(std::vector<RuleExpr> kids);
  static RuleExpr Alternate(std::vector<RuleExpr> kids);
  static RuleExpr Repeat(RuleExpr kid, int min, int max);
};

struct TokenSet {
  std::vector<TokenId> ids;  // ascending
  bool except = false;       // all others
  bool Has(TokenId id) const;
};

// Nodes of all rules in one array.
struct RuleNode {
  enum class Kind : uint8_t { kSplit, kText, kJson, kTokens, kCall, kEnd } kind = Kind::kEnd;
  uint32_t next = 0, other = 0;  // other: kSplit's second way
  int index = 0;                 // automaton, schema, token set, rule; kEnd: of which rule
};

// Thread: immutable once built.
struct RuleSet {
  std::vector<RuleNode> nodes;
  std::vector<uint32_t> entry;  // [rule]
  std::vector<DfaPtr> texts;
  std::vector<std::shared_ptr<const JsonMachine>> schemas;
  std::vector<TokenSet> token_sets;
  int root = 0;
  DfaPtr whole;  // the language is regular: this is all of it
};

struct RuleSource {
  std::vector<RuleExpr> rules;
  std::vector<std::string> names;  // of rules, for errors
  std::vector<std::shared_ptr<const JsonMachine>> schemas;
  std::vector<TokenSet> token_sets;
  int root = 0;
};

constexpr size_t kMaxRuleNodes = 200'000;

// Rules that do not recur are put into their callers; what is regular becomes automata. Errors: too large; a language without a word.
Result<RuleSet> BuildRules(RuleSource source, CompileBudget& budget);

// `name ::= expression` per rule; the first is `root`. Dialects of xgrammar and of llama.cpp's GBNF. Errors: "line 2, column 5: ...".
Result<RuleSource> ParseEbnf(std::string_view text);

}  // namespace sgl
