// Text -> text, before anything is split.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "text/charsmap.h"
#include "text/regex.h"
#include "text/unicode.h"

namespace sgl {

// A literal or a regex, as in {"String": ...} / {"Regex": ...}.
struct TextPattern {
  std::string literal;  // used when regex is null; empty matches nothing
  std::shared_ptr<const Regex> regex;

  // Calls found(begin, end) for each match from left to right; empty matches included (regex). False: gave up at the work limit.
  template <class F>
  bool ForEach(std::string_view text, F&& found) const;
};

struct PrependStep {
  std::string text;  // not in front of an empty text
};
struct ReplaceStep {
  TextPattern pattern;
  std::string content;
};
struct StripStep {
  bool left, right;
};
struct LowercaseStep {};
struct StripAccentsStep {};  // combining marks vanish
struct NmtStep {};           // SentencePiece's rules for machine translation: control characters vanish, odd spaces become spaces
struct ByteCharsStep {};     // bytes become their stand-ins (ByteChars)
struct BertStep {
  bool clean_text, chinese_chars, strip_accents, lowercase;
};
struct CharsmapStep {
  std::shared_ptr<const Charsmap> map;
  bool longest = false;  // as SentencePiece; else as Hugging Face
};
// SentencePiece's white space rules.
struct SpacesStep {
  bool remove_extra;  // at both ends, and all but one of a run
  bool prefix;        // a space in front of what is not empty
};
using NormalizerStep = std::variant<NormalForm, LowercaseStep, PrependStep, ReplaceStep, StripStep, StripAccentsStep, NmtStep,
                                    ByteCharsStep, BertStep, CharsmapStep, SpacesStep>;

// Thread: immutable.
class Normalizer {
 public:
  template <class S>
  void Add(S step) {
    steps_.emplace_back(std::in_place_type<S>, std::move(step));
  }
  bool empty() const { return steps_.empty(); }
  // Valid UTF-8 in and out. continues: plain text stands before it (see LocalAtCuts), so nothing is put in front.
  std::string Apply(std::string_view text, bool continues = false) const;
  // Text may be cut between an ASCII letter or newline and a space, a newline, an ASCII letter or a CJK ideograph, and the parts normalised
  // each by itself, with the same result; the letters stay letters.
  bool LocalAtCuts() const;

 private:
  std::vector<NormalizerStep> steps_;
};

std::string ReplaceAll(std::string_view text, const TextPattern& pattern, std::string_view content);

template <class F>
bool TextPattern::ForEach(std::string_view text, F&& found) const {
  if (regex == nullptr) {
    if (literal.empty()) return true;
    for (size_t at = text.find(literal); at != std::string_view::npos; at = text.find(literal, at + literal.size()))
      found(at, at + literal.size());
    return true;
  }
  Regex::Searcher searcher(*regex);
  size_t at = 0, last_end = std::string_view::npos;
  while (at <= text.size()) {
    RegexMatch match;
    const RegexOutcome outcome = searcher.Find(text, at, &match);
    if (outcome == RegexOutcome::kNone) return true;
    if (outcome == RegexOutcome::kLimit || match.begin < at) return false;
    const bool empty = match.begin == match.end;
    if (!(empty && match.end == last_end)) {
      found(match.begin, match.end);
      last_end = match.end;
    }
    at = match.end;
    if (empty) {  // step over one character
      if (at >= text.size()) return true;
      size_t length = 0;
      CodePointAt(text, at, &length);
      at += length;
    }
  }
  return true;
}

}  // namespace sgl
