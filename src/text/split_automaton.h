// A pre-tokeniser pattern as a deterministic automaton: one table step per character, whatever the text looks like.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "text/char_set.h"
#include "text/regex.h"
#include "text/unicode.h"

namespace sgl {

struct SplitNode;  // split_pattern.h

// Finds what a backtracking engine finds (the first alternative that matches wins), without backtracking.
// Thread: immutable.
class SplitAutomaton {
 public:
  // Null when the pattern needs more than an automaton (look-behind, \b, long look-ahead, back references), could match nothing, has too
  // many states or is not a pattern at all. kRust: tiktoken's dialect, where $ is only the end of the text and {n,m}+ is possessive.
  static std::unique_ptr<const SplitAutomaton> Compile(std::string_view pattern, RegexSyntax syntax);

  static constexpr size_t kNone = SIZE_MAX;
  // The end of the match that starts at `pos`, or kNone. Precondition: valid UTF-8, pos < text.size() at a character boundary.
  size_t Match(std::string_view text, size_t pos) const {
    const uint16_t* row = &next_[stride_];  // the start state is 1; 0 has no way on
    size_t last = kNone;
    while (pos < text.size()) {
      const unsigned char lead = static_cast<unsigned char>(text[pos]);
      size_t length = 1;
      const size_t symbol = lead < 0x80 ? ascii_[lead] : ClassOf(CodePointAt(text, pos, &length));
      const uint16_t step = row[symbol];
      if ((step & kAccept) != 0) last = pos;
      const size_t state = step & ~kAccept;
      if (state == 0) return last;
      row = &next_[state * stride_];
      pos += length;
    }
    return (row[stride_ - 1] & kAccept) != 0 ? pos : last;
  }

  // Some match starts at every character, so that matches tile the text.
  bool tiles() const { return tiles_; }
  // No match, and no attempt at one, reaches from a character of `before` over to a neighbour of `after`, and it makes no difference to
  // what comes before whether that neighbour or the end of the text follows.
  bool NeverCrosses(const CharSet& before, const CharSet& after) const;
  // Each of these characters is a match by itself, whatever follows it: it is always in one.
  bool MatchesEach(const CharSet& set) const;
  // These characters are in no match.
  bool Ignores(const CharSet& set) const;
  size_t states() const { return next_.size() / stride_; }

 private:
  friend class SplitCompiler;
  SplitAutomaton() = default;
  static constexpr uint16_t kAccept = 0x8000;  // on a transition: a match ends before this character
  size_t ClassOf(uint32_t cp) const { return blocks_[index_[cp >> 8]][cp & 255]; }
  std::vector<bool> ClassesOf(const CharSet& set) const;

  size_t stride_ = 0;           // classes, and the end of the text as the last
  std::vector<uint16_t> next_;  // [states, stride]
  std::array<uint8_t, 128> ascii_;
  std::array<uint16_t, 0x1100> index_;
  std::vector<std::array<uint8_t, 256>> blocks_;
  bool tiles_ = false;
};

}  // namespace sgl
