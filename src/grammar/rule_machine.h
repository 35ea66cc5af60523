// Follows a RuleSet byte by byte: Earley's algorithm over the rules' nodes, with automata and JSON machines as terminals. A state is an
// immutable set of items; older sets are kept alive by the arena.
// Source: Earley, "An efficient context-free parsing algorithm", 1970.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <atomic>
#include <memory>
#include <shared_mutex>
#include <span>
#include <unordered_map>
#include <vector>

#include "grammar/engines.h"
#include "grammar/rule_set.h"

namespace sgl {

struct RuleItemSet;

// A terminal that is being read.
struct RuleItem {
  uint32_t node = 0, text_state = 0;
  const JsonState* json = nullptr;
  const RuleItemSet* origin = nullptr;  // where its rule began
};
// A call that began here: goes on behind `node` when the rule is through.
struct RuleCall {
  uint32_t node = 0;
  const RuleItemSet* origin = nullptr;
};
struct RuleItemSet {
  const RuleItem* items = nullptr;
  const RuleCall* calls = nullptr;
  uint32_t item_count = 0, call_count = 0;
  bool accepting = false;
  bool has_json = false, has_tokens = false;
  uint64_t hash = 0, check = 0;  // equal for sets that allow the same from here on; without has_json
};

// Thread: any; masks lock themselves.
class RuleEngine {
 public:
  using State = const RuleItemSet*;
  static constexpr size_t kMaxItems = 50'000;  // of one set: what goes beyond is refused

  RuleEngine(RuleSet rules, std::shared_ptr<const Vocabulary> vocabulary);
  State Start() const { return start_; }
  bool Step(State& s, uint8_t byte, FrameArena& arena) const;
  bool StepToken(State& s, TokenId token, FrameArena& arena) const;
  // Both ways of a token that is text and may be named by its id.
  bool Advance(State& s, TokenId token, std::string_view bytes, FrameArena& arena) const;
  bool complete(State s) const;
  bool finished(State s) const { return complete(s) && s->item_count == 0; }
  void Fill(State s, FrameArena& arena, std::span<uint32_t> mask) const;
  const Vocabulary& vocabulary() const { return *vocabulary_; }
  size_t bytes() const;
  bool alive() const { return start_->item_count > 0 || start_->accepting; }

 private:
  class SetBuilder;
  class Masker;
  const RuleNode& node(uint32_t id) const { return rules_.nodes[id]; }
  State Merge(State a, State b, FrameArena& arena) const;
  // What may follow when a terminal that waits at `node` is over.
  State After(uint32_t node, const RuleItemSet* origin, FrameArena& arena) const;
  std::shared_ptr<const std::vector<uint32_t>> ExitPoints(int text, uint32_t state, const std::array<uint64_t, 4>& first) const;

  RuleSet rules_;
  std::shared_ptr<const Vocabulary> vocabulary_;
  FrameArena start_arena_;
  const RuleItemSet* start_ = nullptr;
  std::vector<std::unique_ptr<DfaMasks>> text_masks_;
  std::vector<std::unique_ptr<JsonMasks>> json_masks_;

  struct ExitKey {
    int text;
    uint32_t state;
    std::array<uint64_t, 4> first;
    friend bool operator==(const ExitKey&, const ExitKey&) = default;
  };
  struct ExitHash {
    size_t operator()(const ExitKey& k) const {
      uint64_t h = static_cast<uint64_t>(k.text) << 32 | k.state;
      for (const uint64_t w : k.first) h = (h ^ w) * 0x9E3779B97F4A7C15u, h ^= h >> 29;
      return static_cast<size_t>(h);
    }
  };
  mutable std::shared_mutex mutex_;  // caches of all matchers of the grammar
  mutable std::unordered_map<uint64_t, std::pair<uint64_t, std::shared_ptr<const std::vector<uint32_t>>>> set_masks_;
  mutable std::unordered_map<ExitKey, std::shared_ptr<const std::vector<uint32_t>>, ExitHash> exits_;
  mutable std::atomic<size_t> cache_bytes_{0};
};

}  // namespace sgl
