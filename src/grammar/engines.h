// What MatcherOf runs on: JSON Schemas and regular expressions.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <memory>
#include <shared_mutex>
#include <span>
#include <unordered_map>
#include <vector>

#include "grammar/json_mask.h"
#include "grammar/matcher.h"

namespace sgl {

// A token is its bytes; those that are not text lead nowhere.
template <class Engine>
bool AdvanceText(const Engine& engine, typename Engine::State& s, std::string_view bytes, FrameArena& arena) {
  for (const char c : bytes)
    if (!engine.Step(s, static_cast<uint8_t>(c), arena)) return false;
  return !bytes.empty();
}

// Thread: any; masks lock themselves.
class JsonEngine {
 public:
  using State = JsonState;
  JsonEngine(Schema schema, JsonSpacing spacing, std::shared_ptr<const Vocabulary> vocabulary)
      : machine_(std::move(schema), std::move(spacing)), vocabulary_(std::move(vocabulary)), masks_(kGrammarMaskBytes, kGrammarMemoBytes) {}
  const JsonMachine& machine() const { return machine_; }
  State Start() const { return machine_.Start(); }
  bool Step(State& s, uint8_t b, FrameArena& arena) const { return machine_.Step(s, b, arena); }
  bool Advance(State& s, TokenId, std::string_view bytes, FrameArena& arena) const { return AdvanceText(*this, s, bytes, arena); }
  bool complete(const State& s) const { return machine_.complete(s); }
  bool finished(const State& s) const { return machine_.finished(s); }
  void Fill(const State& s, FrameArena& arena, std::span<uint32_t> mask) const {
    if (machine_.finished(s)) return;
    JsonMasker(machine_, vocabulary_->trie(), masks_, vocabulary_->shared()).Fill(s, arena, mask);
  }
  const Vocabulary& vocabulary() const { return *vocabulary_; }
  size_t bytes() const { return machine_.bytes() + masks_.bytes() + 2000; }

 private:
  JsonMachine machine_;
  std::shared_ptr<const Vocabulary> vocabulary_;
  mutable JsonMasks masks_;
};

// Masks of one automaton over bytes: a bitset per state, made when it is first asked for. Thread: any.
class DfaMasks {
 public:
  DfaMasks(const Dfa& dfa, size_t limit_bytes) : dfa_(dfa), limit_(limit_bytes) {}
  // Tokens all of whose bytes the automaton takes, from `state`.
  void Fill(uint32_t state, const TokenTrie& trie, std::span<uint32_t> mask) const;
  size_t bytes() const { return bytes_.load(std::memory_order_relaxed); }

 private:
  const Dfa& dfa_;
  const size_t limit_;
  mutable std::atomic<size_t> bytes_{0};
  mutable std::shared_mutex mutex_;  // several matchers of one grammar
  mutable std::unordered_map<uint32_t, std::shared_ptr<const std::vector<uint32_t>>> masks_;
};

class RegexEngine {
 public:
  using State = uint32_t;
  RegexEngine(DfaPtr dfa, std::shared_ptr<const Vocabulary> vocabulary)
      : dfa_(std::move(dfa)), vocabulary_(std::move(vocabulary)), masks_(*dfa_, kGrammarMaskBytes) {
    for (uint32_t s = 0; s < dfa_->size(); ++s) {
      bool more = false;
      for (int b = 0; b < 256 && !more; ++b) more = dfa_->Step(s, static_cast<uint8_t>(b)) != kDeadState;
      finished_.push_back(more ? 0 : 1);
    }
  }
  State Start() const { return 0; }
  bool Step(State& s, uint8_t b, FrameArena&) const {
    s = dfa_->Step(s, b);
    return s != kDeadState;
  }
  bool Advance(State& s, TokenId, std::string_view bytes, FrameArena& arena) const { return AdvanceText(*this, s, bytes, arena); }
  bool complete(State s) const { return dfa_->accepts(s); }
  bool finished(State s) const { return finished_[s] != 0; }
  void Fill(State s, FrameArena&, std::span<uint32_t> mask) const { masks_.Fill(s, vocabulary_->trie(), mask); }
  const Vocabulary& vocabulary() const { return *vocabulary_; }
  size_t bytes() const { return dfa_->bytes() + masks_.bytes() + 1000; }

 private:
  DfaPtr dfa_;
  std::shared_ptr<const Vocabulary> vocabulary_;
  DfaMasks masks_;
  std::vector<uint8_t> finished_;
};

}  // namespace sgl
