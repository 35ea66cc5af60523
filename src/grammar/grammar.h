// Structured output: what a request's text has to match, compiled once and followed token by token.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <atomic>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "grammar/vocabulary.h"

namespace sgl {

enum class GrammarKind { kJsonSchema, kRegex, kEbnf, kStructuralTag };
const char* GrammarKindName(GrammarKind kind);  // "json_schema"...

struct GrammarKey {
  GrammarKind kind = GrammarKind::kJsonSchema;
  std::string text;
  friend bool operator==(const GrammarKey&, const GrammarKey&) = default;
};

struct GrammarOptions {
  bool disable_any_whitespace = false;            // exactly ", " and ": "
  std::optional<std::string> whitespace_pattern;  // a regular expression for white space between JSON tokens
};

// One request's way through a grammar. Thread: one at a time.
class Matcher {
 public:
  virtual ~Matcher() = default;
  // The token became output. False: the grammar does not allow it here; nothing has changed.
  virtual bool Accept(TokenId token) = 0;
  // Takes back the last accepted tokens; at most kMaxRollback of those that there are.
  virtual void Rollback(size_t tokens) = 0;
  static constexpr size_t kMaxRollback = 256;
  // One bit per token, bit t % 32 of word t / 32: 1 = may come next. mask: [vocabulary words]. Stop tokens are among them where the text
  // may end.
  virtual void Fill(std::span<uint32_t> mask) = 0;
  virtual bool can_end() const = 0;     // the text so far is complete
  virtual bool must_end() const = 0;    // and nothing may follow
  virtual bool terminated() const = 0;  // a stop token was accepted
  // Independent of this one from now on. Costs no copy of what was read.
  virtual std::unique_ptr<Matcher> Fork() = 0;
  // The bytes that have to follow whatever is chosen; "" if there is a choice. At most 4096.
  virtual std::string JumpForward() = 0;
};

// Thread: immutable; its mask cache locks itself. Shared by all requests that ask for the same.
class Grammar {
 public:
  virtual ~Grammar() = default;
  // Errors: kInvalidArgument, with the place in the grammar. `stop` cancels.
  static Result<std::shared_ptr<const Grammar>> Compile(const GrammarKey& key, const GrammarOptions& options,
                                                        std::shared_ptr<const Vocabulary> vocabulary,
                                                        const std::atomic<bool>* stop = nullptr);
  virtual std::unique_ptr<Matcher> NewMatcher() const = 0;
  virtual size_t bytes() const = 0;
};

constexpr size_t kMaxGrammarText = size_t{1} << 20;
constexpr size_t kGrammarMaskBytes = size_t{24} << 20;  // masks that one grammar may keep
constexpr size_t kGrammarMemoBytes = size_t{8} << 20;   // and whole ones, see MaskMemo

}  // namespace sgl
