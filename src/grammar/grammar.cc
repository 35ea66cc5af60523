// SPDX-License-Identifier: Apache-2.0
#include "grammar/grammar.h"

#include <fmt/core.h>

#include <mutex>

#include "base/json.h"
#include "grammar/engines.h"
#include "grammar/rule_machine.h"
#include "grammar/structural_tag.h"

namespace sgl {

const char* GrammarKindName(GrammarKind kind) {
  switch (kind) {
    case GrammarKind::kJsonSchema: return "json_schema";
    case GrammarKind::kRegex: return "regex";
    case GrammarKind::kEbnf: return "ebnf";
    case GrammarKind::kStructuralTag: return "structural_tag";
  }
  return "";
}

void DfaMasks::Fill(uint32_t state, const TokenTrie& trie, std::span<uint32_t> mask) const {
  {
    std::shared_lock lock(mutex_);
    const auto it = masks_.find(state);
    if (it != masks_.end()) {
      for (size_t w = 0; w < mask.size(); ++w) mask[w] |= (*it->second)[w];
      return;
    }
  }
  auto made = std::make_shared<std::vector<uint32_t>>(mask.size(), 0);
  std::vector<uint32_t> stack(trie.longest() + 1);
  stack[0] = state;
  for (uint32_t i = 1; i < trie.size();) {
    const size_t depth = trie.depth(i);
    const uint32_t next = dfa_.Step(stack[depth - 1], trie.byte(i));
    if (next == kDeadState) {
      i = trie.end(i);
      continue;
    }
    stack[depth] = next;
    for (const TokenId id : trie.tokens(i)) (*made)[static_cast<size_t>(id) / 32] |= 1u << (id % 32);
    ++i;
  }
  for (size_t w = 0; w < mask.size(); ++w) mask[w] |= (*made)[w];
  if (bytes() + mask.size() * 4 > limit_) return;
  std::unique_lock lock(mutex_);
  if (masks_.emplace(state, std::move(made)).second) bytes_ += mask.size() * 4 + 64;
}

namespace {

Result<JsonSpacing> Spacing(const GrammarOptions& options) {
  if (options.whitespace_pattern) {
    auto spacing = JsonSpacing::Pattern(*options.whitespace_pattern);
    if (!spacing.ok()) return std::move(spacing).error().In("constrained_json_whitespace_pattern");
    return spacing;
  }
  return options.disable_any_whitespace ? JsonSpacing::Compact() : JsonSpacing::Any();
}

// Masks that every JSON grammar of a vocabulary shares, made on the thread that compiles and not at the first token of somebody's answer.
void WarmFreeText(const std::shared_ptr<const Vocabulary>& vocabulary) {
  CompileBudget budget;
  for (const char* schema : {"{}", R"({"items":{"maxLength":1000}})"}) {
    auto spacing = JsonSpacing::Any();
    auto compiled = CompileSchema(*ParseJson(schema), budget);
    if (!spacing.ok() || !compiled.ok()) return;
    const JsonEngine engine(*std::move(compiled), *std::move(spacing), vocabulary);
    FrameArena arena;
    std::vector<uint32_t> mask(vocabulary->words());
    JsonState state = engine.Start();
    for (const char c : std::string_view(R"([{"a":"b\u00e9","c":-12.5},"a)")) {
      engine.Fill(state, arena, mask);
      if (!engine.Step(state, static_cast<uint8_t>(c), arena)) return;
    }
    engine.Fill(state, arena, mask);
  }
}

Result<std::shared_ptr<const Grammar>> CompileJson(const std::string& text, const GrammarOptions& options,
                                                   std::shared_ptr<const Vocabulary> vocabulary, CompileBudget& budget) {
  Json any(true);
  if (text != "$$ANY$$") {
    auto parsed = ParseJson(MarkExactNumbers(text));
    if (!parsed.ok()) return std::move(parsed).error().In("the schema is not JSON");
    any = *std::move(parsed);
  }
  TRY(Schema schema, CompileSchema(any, budget));
  TRY(JsonSpacing spacing, Spacing(options));
  std::call_once(vocabulary->warm(), WarmFreeText, vocabulary);
  auto engine = std::make_shared<const JsonEngine>(std::move(schema), std::move(spacing), std::move(vocabulary));
  if (!engine->machine().satisfiable()) return InvalidArgument("#: no value satisfies this schema");
  return std::shared_ptr<const Grammar>(std::make_shared<GrammarOf<JsonEngine>>(std::move(engine)));
}

Result<std::shared_ptr<const Grammar>> CompileRegex(const std::string& text, std::shared_ptr<const Vocabulary> vocabulary,
                                                    CompileBudget& budget) {
  TRY(DfaPtr dfa, RegexDfa(text, MatchMode::kWhole, budget));
  if (dfa->empty()) return InvalidArgument("no text matches this expression");
  return std::shared_ptr<const Grammar>(
      std::make_shared<GrammarOf<RegexEngine>>(std::make_shared<const RegexEngine>(std::move(dfa), std::move(vocabulary))));
}

Result<std::shared_ptr<const Grammar>> FromRules(RuleSource source, std::shared_ptr<const Vocabulary> vocabulary, CompileBudget& budget) {
  TRY(RuleSet rules, BuildRules(std::move(source), budget));
  if (rules.whole)
    return std::shared_ptr<const Grammar>(
        std::make_shared<GrammarOf<RegexEngine>>(std::make_shared<const RegexEngine>(rules.whole, std::move(vocabulary))));
  auto engine = std::make_shared<const RuleEngine>(std::move(rules), std::move(vocabulary));
  if (!engine->alive()) return InvalidArgument("no text matches this grammar");
  return std::shared_ptr<const Grammar>(std::make_shared<GrammarOf<RuleEngine>>(std::move(engine)));
}

Result<std::shared_ptr<const Grammar>> CompileTag(const std::string& text, const GrammarOptions& options,
                                                  std::shared_ptr<const Vocabulary> vocabulary, CompileBudget& budget) {
  auto parsed = ParseJson(text);
  if (!parsed.ok()) return std::move(parsed).error().In("the structural tag is not JSON");
  const SchemaTerminal terminal = [&](const Json& schema) -> Result<std::shared_ptr<const JsonMachine>> {
    TRY(Schema compiled, CompileSchema(schema, budget));
    TRY(JsonSpacing spacing, Spacing(options));
    auto machine = std::make_shared<const JsonMachine>(std::move(compiled), std::move(spacing));
    if (!machine->satisfiable()) return InvalidArgument("no value satisfies this schema");
    return machine;
  };
  TRY(RuleSource source, ParseStructuralTag(*parsed, terminal, *vocabulary));
  return FromRules(std::move(source), std::move(vocabulary), budget);
}

}  // namespace

Result<std::shared_ptr<const Grammar>> Grammar::Compile(const GrammarKey& key, const GrammarOptions& options,
                                                        std::shared_ptr<const Vocabulary> vocabulary, const std::atomic<bool>* stop) {
  if (key.text.size() > kMaxGrammarText) return InvalidArgument(fmt::format("longer than {} bytes", kMaxGrammarText));
  CompileBudget budget;
  budget.stop = stop;
  switch (key.kind) {
    case GrammarKind::kJsonSchema: return CompileJson(key.text, options, std::move(vocabulary), budget);
    case GrammarKind::kRegex: return CompileRegex(key.text, std::move(vocabulary), budget);
    case GrammarKind::kEbnf: {
      TRY(RuleSource source, ParseEbnf(key.text));
      return FromRules(std::move(source), std::move(vocabulary), budget);
    }
    case GrammarKind::kStructuralTag: return CompileTag(key.text, options, std::move(vocabulary), budget);
  }
  return Internal("unknown kind of grammar");
}

}  // namespace sgl
