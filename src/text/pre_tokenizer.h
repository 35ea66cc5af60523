// Text -> words: the pieces that BPE works on.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <deque>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "text/normalizer.h"
#include "text/splitter.h"

namespace sgl {

enum class SplitBehavior { kIsolated, kRemoved, kMergedWithPrevious, kMergedWithNext, kContiguous };

struct SplitStage {
  TextPattern pattern;
  SplitBehavior behavior = SplitBehavior::kIsolated;
  bool invert = false;
  Splitter known = nullptr;  // instead of `pattern`; its matches tile the text
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
using PreTokenizerStage = std::variant<SplitStage, CharStage, PrefixSpaceStage, MetaspaceStage>;

struct Piece {
  std::string_view text;
  bool at_start;  // begins where the whole input begins
};

// Isolated matches of a known pattern (splitter.h). Precondition: KnownSplitter(pattern).
SplitStage KnownSplitStage(std::string_view pattern);
// Isolated matches of any pattern in tokenizer.json's dialect.
Result<SplitStage> PatternStage(std::string_view pattern);

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
  // Fills work.pieces; they point into `text` and into work.texts. No piece is empty.
  void Run(std::string_view text, bool at_start, Work& work) const;

 private:
  std::vector<PreTokenizerStage> stages_;
};

}  // namespace sgl
