// Text -> words: the pieces that BPE works on.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "text/normalizer.h"
#include "text/split_automaton.h"
#include "text/splitter.h"

namespace sgl {

enum class SplitBehavior { kIsolated, kRemoved, kMergedWithPrevious, kMergedWithNext, kContiguous };

struct SplitStage {
  TextPattern pattern;
  SplitBehavior behavior = SplitBehavior::kIsolated;
  bool invert = false;
  // Instead of `pattern`, each if it is there:
  Splitter known = nullptr;  // its matches tile the text
  std::shared_ptr<const SplitAutomaton> automaton;
};
// Each character of the kind is a match.
struct CharStage {
  enum class Kind { kNumber, kPunctuation, kWhiteSpace } kind;
  SplitBehavior behavior;
};
struct PrefixSpaceStage {};  // ByteLevel's add_prefix_space
struct MetaspaceStage {
  std::string replacement;
  enum class Prepend { kAlways, kFirst, kNever } prepend;
  bool split;
};
struct ByteCharsStage {};  // bytes become their stand-ins (ByteChars)
struct ScriptStage {};     // between characters of different scripts
struct LengthStage {
  size_t chars;
};
// Numbers are cut into groups of three digits, counted from their end.
struct DigitGroupStage {
  enum class Kind { kDigits, kNumbers, kDigitsAtWordEnd } kind;  // \d; \p{N}; \d of numbers that no word character follows
};
using PreTokenizerStage =
    std::variant<SplitStage, CharStage, PrefixSpaceStage, MetaspaceStage, ByteCharsStage, ScriptStage, LengthStage, DigitGroupStage>;

struct Piece {
  std::string_view text;
  bool at_start;  // begins where the whole input begins
};

// Isolated matches of a known pattern (splitter.h). Precondition: KnownSplitter(pattern).
SplitStage KnownSplitStage(std::string_view pattern);
// The fastest way to run a pattern: by hand, as an automaton, or with the regex engine. Errors: not a pattern that any of them knows.
Result<SplitStage> PatternStage(std::string_view pattern, RegexSyntax syntax = RegexSyntax::kOniguruma,
                                SplitBehavior behavior = SplitBehavior::kIsolated, bool invert = false);

// A literal; what PatternStage makes of it when its characters are escaped.
SplitStage LiteralStage(const std::string& text, SplitBehavior behavior, bool invert);

// Thread: immutable; each caller brings its own Work.
class PreTokenizer {
 public:
  // Buffers between calls. Thread: one at a time.
  struct Work {
    std::vector<Piece> pieces, next;
    std::deque<std::string> texts;  // what stages rewrote; the pieces point into it
  };
  template <class S>
  void Add(S stage) {
    stages_.emplace_back(std::in_place_type<S>, std::move(stage));
  }
  // What a cut of the text between a character of `before` and one of `after` would do to the pieces: kHarmful: perhaps change them;
  // kHarmless: cut one in two, and leave all others as they are; kAlways: nothing, there is an end of a piece anyway.
  enum class CutKind { kHarmful, kHarmless, kAlways };
  CutKind CutBetween(const CharSet& before, const CharSet& after) const;
  bool MakesMetaspace() const;  // spaces become U+2581
  bool TellsTheStart() const;   // does something else where the whole input begins
  bool MakesByteChars() const;  // bytes become their stand-ins
  // Fills work.pieces; they point into `text` and into work.texts. No piece is empty.
  void Run(std::string_view text, bool at_start, Work& work) const;

 private:
  std::vector<PreTokenizerStage> stages_;
};

// Adds PatternStage's stage, or one of our own for patterns that would take a regex engine quadratic time.
Status AddPattern(std::string_view pattern, RegexSyntax syntax, SplitBehavior behavior, bool invert, PreTokenizer* out);

}  // namespace sgl
