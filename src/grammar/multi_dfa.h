// Several automata run side by side over one text, without merging what they say: which are alive, which accept.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "grammar/dfa.h"

namespace sgl {

using BitRow = std::vector<uint64_t>;
inline bool TestBit(const BitRow& row, size_t i) { return (row[i / 64] >> (i % 64) & 1) != 0; }
inline void SetBit(BitRow& row, size_t i) { row[i / 64] |= uint64_t{1} << (i % 64); }

// Thread: immutable once built. A text that is not UTF-8 has no state.
class MultiDfa {
 public:
  // Nothing: too large within `max_cells`.
  static std::optional<MultiDfa> Build(std::span<const DfaPtr> tracks, size_t max_cells);

  uint32_t Step(uint32_t state, uint8_t byte) const { return next_[size_t{state} * classes_ + class_of_[byte]]; }
  size_t size() const { return alive_of_.size(); }
  // Signatures: equal numbers mean equal sets of tracks.
  uint32_t alive_id(uint32_t state) const { return alive_of_[state]; }
  uint32_t accept_id(uint32_t state) const { return accept_of_[state]; }
  bool boundary(uint32_t state) const { return boundary_[state] != 0; }  // not inside a character
  const BitRow& alive(uint32_t state) const { return sets_[alive_of_[state]]; }
  const BitRow& accepting(uint32_t state) const { return sets_[accept_of_[state]]; }
  const BitRow& set(uint32_t id) const { return sets_[id]; }
  // One automaton out of it: accepts where `accepts` says so of a state between characters.
  template <class F>
  Dfa Merge(F&& accepts) const {
    std::vector<uint8_t> accept(size());
    for (uint32_t s = 0; s < size(); ++s) accept[s] = boundary(s) && accepts(s) ? 1 : 0;
    return Dfa::Make(class_of_, classes_, next_, std::move(accept));
  }
  template <class F>
  void ForEachMove(uint32_t state, F&& f) const {  // targets, perhaps more than once each
    for (size_t c = 0; c < classes_; ++c)
      if (const uint32_t t = next_[size_t{state} * classes_ + c]; t != kDeadState) f(t);
  }

 private:
  std::array<uint8_t, 256> class_of_{};
  size_t classes_ = 0;
  std::vector<uint32_t> next_, alive_of_, accept_of_;
  std::vector<uint8_t> boundary_;
  std::vector<BitRow> sets_;
};

}  // namespace sgl
