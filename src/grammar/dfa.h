// Deterministic automata over the bytes of UTF-8 text. Every language here consists of valid UTF-8; states from which no word can be
// finished do not exist, so "alive" means "can be completed".
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "grammar/regex_syntax_tree.h"

namespace sgl {

constexpr uint32_t kDeadState = 0xFFFFFFFFu;
constexpr uint32_t kEndless = 0xFFFFFFFFu;

// What one compilation may spend; checked inside its loops. Thread: one compile job; `stop` may be set from any thread.
struct CompileBudget {
  int64_t work = 40'000'000;                // elementary steps, about 10 s at worst
  const std::atomic<bool>* stop = nullptr;  // cancelled
  bool Spend(int64_t steps) {
    work -= steps;
    return work >= 0 && (stop == nullptr || !stop->load(std::memory_order_relaxed));
  }
  Error Exhausted() const;
};

// Thread: immutable once built.
class Dfa {
 public:
  uint32_t Step(uint32_t state, uint8_t byte) const { return next_[size_t{state} * classes_ + class_of_[byte]]; }
  uint32_t Walk(uint32_t state, std::string_view bytes) const {
    for (size_t i = 0; i < bytes.size() && state != kDeadState; ++i) state = Step(state, static_cast<uint8_t>(bytes[i]));
    return state;
  }
  bool accepts(uint32_t state) const { return accept_[state] != 0; }
  bool Matches(std::string_view text) const {
    const uint32_t end = empty() ? kDeadState : Walk(0, text);
    return end != kDeadState && accepts(end);
  }
  bool empty() const { return accept_.empty(); }  // no word at all; then there is no state 0
  size_t size() const { return accept_.size(); }
  // Code points of the shortest and longest way from a state to acceptance; kEndless: no bound.
  uint32_t shortest(uint32_t state) const { return shortest_[state]; }
  uint32_t longest(uint32_t state) const { return longest_[state]; }
  // Bytes that lead from `state` to an identical row may share work: the class of a byte.
  uint8_t class_of(uint8_t byte) const { return class_of_[byte]; }
  size_t bytes() const { return next_.size() * 4 + accept_.size() * 9 + sizeof(*this); }

  // ---- construction ----
  // `next` uses kDeadState for "no move"; unreachable and dead states are removed. State 0 is the start.
  static Dfa Make(std::array<uint8_t, 256> class_of, size_t classes, std::vector<uint32_t> next, std::vector<uint8_t> accept);

 private:
  void Prune();
  void Measure();
  std::array<uint8_t, 256> class_of_{};
  size_t classes_ = 0;
  std::vector<uint32_t> next_;  // [states * classes]
  std::vector<uint8_t> accept_;
  std::vector<uint32_t> shortest_, longest_;
};
using DfaPtr = std::shared_ptr<const Dfa>;

// kWhole: the text has to match from end to end. kSearch: somewhere (JSON Schema's pattern).
enum class MatchMode { kWhole, kSearch };
Result<Dfa> BuildDfa(const RegexTree& tree, MatchMode mode, CompileBudget& budget);
// Errors of ParseRegex, or "too large".
Result<DfaPtr> RegexDfa(std::string_view pattern, MatchMode mode, CompileBudget& budget, RegexDialect dialect = RegexDialect::kUser);
// Exactly these byte strings (valid UTF-8).
Result<Dfa> WordsDfa(std::vector<std::string> words, CompileBudget& budget);
const DfaPtr& AnyTextDfa();  // all valid UTF-8

// Words of all of them; `accepts` may combine differently: called with one bit per operand (bit i: operand i accepts). Operands beyond
// 64 are refused by the budget. Dead operands count as not accepting for good.
Result<Dfa> Product(std::span<const Dfa* const> operands, bool (*accepts)(uint64_t bits, uint64_t all), CompileBudget& budget);
Result<DfaPtr> Intersect(std::vector<DfaPtr> operands, CompileBudget& budget);
// Words of `ends` no proper prefix of which is a word of `found`.
Dfa FirstMatch(const Dfa& found, const Dfa& ends);
// All words, sorted; false when there are more than `limit`.
bool ListWords(const Dfa& dfa, size_t limit, std::vector<std::string>* words);
Result<Dfa> Complement(const Dfa& dfa, CompileBudget& budget);

// Byte sequences that spell the code points of a range: each a list of byte ranges. Surrogates are left out.
struct ByteRange {
  uint8_t first = 0, last = 0;
};
using ByteSequence = std::vector<ByteRange>;
void AppendUtf8Sequences(CodeRange range, std::vector<ByteSequence>& out);

}  // namespace sgl
