// SPDX-License-Identifier: Apache-2.0
#include "grammar/rule_machine.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace sgl {
namespace {

uint64_t Mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

}  // namespace

// Collects the items of one new set.
class RuleEngine::SetBuilder {
 public:
  SetBuilder(const RuleEngine& engine, FrameArena& arena) : e_(engine), arena_(arena) {
    set_ = new (arena.Allocate(sizeof(RuleItemSet))) RuleItemSet;
    items_.clear();
    calls_.clear();
    seen_.clear();
    empty_.clear();
  }
  const RuleItemSet* self() const { return set_; }

  void Item(const RuleItem& item) {
    if (items_.size() >= kMaxItems) {
      overflow_ = true;
      return;
    }
    items_.push_back(item);
  }

  // Arrives before `node` of a rule that began at `origin`.
  void Arrive(uint32_t first, const RuleItemSet* first_origin) {
    std::vector<std::pair<uint32_t, const RuleItemSet*>> todo{{first, first_origin}};
    while (!todo.empty() && !overflow_) {
      const auto [at, origin] = todo.back();
      todo.pop_back();
      if (!seen_.insert(Mix(reinterpret_cast<uintptr_t>(origin)) ^ uint64_t{at} * 0x9E3779B97F4A7C15u).second) continue;
      const RuleNode& n = e_.node(at);
      switch (n.kind) {
        case RuleNode::Kind::kSplit:
          todo.emplace_back(n.other, origin);
          todo.emplace_back(n.next, origin);
          break;
        case RuleNode::Kind::kText: {
          const Dfa& dfa = *e_.rules_.texts[static_cast<size_t>(n.index)];
          if (dfa.empty()) break;
          Item({at, 0, nullptr, origin});
          if (dfa.accepts(0)) todo.emplace_back(n.next, origin);
          break;
        }
        case RuleNode::Kind::kJson: {
          auto* state = new (arena_.Allocate(sizeof(JsonState))) JsonState(e_.rules_.schemas[static_cast<size_t>(n.index)]->Start());
          Item({at, 0, state, origin});
          break;
        }
        case RuleNode::Kind::kTokens: Item({at, 0, nullptr, origin}); break;
        case RuleNode::Kind::kCall: {
          if (calls_.size() >= kMaxItems) {
            overflow_ = true;
            break;
          }
          calls_.push_back({at, origin});
          todo.emplace_back(e_.rules_.entry[static_cast<size_t>(n.index)], set_);
          // The rule may have been through already without reading anything.
          if (std::find(empty_.begin(), empty_.end(), n.index) != empty_.end()) todo.emplace_back(n.next, origin);
          break;
        }
        case RuleNode::Kind::kEnd:
          if (origin == set_) {
            if (std::find(empty_.begin(), empty_.end(), n.index) == empty_.end()) empty_.push_back(n.index);
            for (size_t i = 0; i < calls_.size(); ++i)
              if (e_.node(calls_[i].node).index == n.index) todo.emplace_back(e_.node(calls_[i].node).next, calls_[i].origin);
            if (n.index == e_.rules_.root && e_.start_ == nullptr) set_->accepting = true;
          } else {
            for (uint32_t i = 0; i < origin->call_count; ++i) {
              const RuleCall& c = origin->calls[i];
              if (e_.node(c.node).index == n.index) todo.emplace_back(e_.node(c.node).next, c.origin == origin ? origin : c.origin);
            }
            if (n.index == e_.rules_.root && origin == e_.start_) set_->accepting = true;
          }
          break;
      }
    }
  }

  // Null when the set is dead or too large.
  const RuleItemSet* Finish() {
    if (overflow_ || (items_.empty() && !set_->accepting)) return nullptr;
    // Different ways to the same place count once.
    std::sort(items_.begin(), items_.end(), [](const RuleItem& a, const RuleItem& b) {
      return a.node != b.node               ? a.node < b.node
             : a.text_state != b.text_state ? a.text_state < b.text_state
                                            : std::less<>()(a.origin, b.origin);
    });
    items_.erase(std::unique(items_.begin(), items_.end(),
                             [](const RuleItem& a, const RuleItem& b) {
                               return a.node == b.node && a.text_state == b.text_state && a.origin == b.origin && a.json == nullptr &&
                                      b.json == nullptr;
                             }),
                 items_.end());
    set_->items = Keep(items_);
    set_->item_count = static_cast<uint32_t>(items_.size());
    set_->calls = Keep(calls_);
    set_->call_count = static_cast<uint32_t>(calls_.size());
    uint64_t hash = set_->accepting ? 7 : 3, check = 1;
    const auto add = [&](uint64_t a, uint64_t b, const RuleItemSet* origin) {
      const uint64_t h = origin == set_ ? 5 : origin->hash, c = origin == set_ ? 5 : origin->check;
      hash += Mix(Mix(a * 0x9E3779B97F4A7C15u + b) ^ h);
      check += Mix(Mix(b * 0xC2B2AE3D27D4EB4Fu + a + 99) + c);
    };
    for (const RuleItem& i : items_) {
      add(i.node, i.text_state, i.origin);
      const RuleNode::Kind kind = e_.node(i.node).kind;
      set_->has_json = set_->has_json || kind == RuleNode::Kind::kJson;
      set_->has_tokens = set_->has_tokens || kind == RuleNode::Kind::kTokens;
    }
    for (const RuleCall& c : calls_) add(c.node, ~uint64_t{0}, c.origin);
    set_->hash = hash;
    set_->check = check;
    return set_;
  }

 private:
  template <class T>
  const T* Keep(const std::vector<T>& from) {
    if (from.empty()) return nullptr;
    void* to = arena_.Allocate(from.size() * sizeof(T));
    std::memcpy(to, from.data(), from.size() * sizeof(T));
    return static_cast<const T*>(to);
  }

  // A flat set of 64-bit keys; two places that collide in all of them are 2^-64.
  class Keys {
   public:
    void clear() {
      ++epoch_;
      count_ = 0;
    }
    std::pair<bool, bool> insert(uint64_t key) {
      if ((count_ + 1) * 2 > slots_.size()) Grow();
      for (size_t i = key & (slots_.size() - 1);; i = (i + 1) & (slots_.size() - 1)) {
        if (slots_[i].epoch != epoch_) {
          slots_[i] = {key, epoch_};
          ++count_;
          return {true, true};
        }
        if (slots_[i].key == key) return {true, false};
      }
    }

   private:
    struct Slot {
      uint64_t key = 0;
      uint64_t epoch = 0;
    };
    void Grow() {
      std::vector<Slot> old = std::move(slots_);
      slots_.assign(std::max<size_t>(64, old.size() * 2), Slot{});
      count_ = 0;
      for (const Slot& s : old)
        if (s.epoch == epoch_) insert(s.key);
    }
    std::vector<Slot> slots_;
    uint64_t epoch_ = 1;
    size_t count_ = 0;
  };

  const RuleEngine& e_;
  FrameArena& arena_;
  RuleItemSet* set_;
  bool overflow_ = false;
  // Reused by every set that this thread builds.
  static thread_local std::vector<RuleItem> items_;
  static thread_local std::vector<RuleCall> calls_;
  static thread_local std::vector<int> empty_;
  static thread_local Keys seen_;
};

thread_local std::vector<RuleItem> RuleEngine::SetBuilder::items_;
thread_local std::vector<RuleCall> RuleEngine::SetBuilder::calls_;
thread_local std::vector<int> RuleEngine::SetBuilder::empty_;
thread_local RuleEngine::SetBuilder::Keys RuleEngine::SetBuilder::seen_;

RuleEngine::RuleEngine(RuleSet rules, std::shared_ptr<const Vocabulary> vocabulary)
    : rules_(std::move(rules)), vocabulary_(std::move(vocabulary)) {
  for (const DfaPtr& dfa : rules_.texts) text_masks_.push_back(std::make_unique<DfaMasks>(*dfa, kGrammarMaskBytes / 2));
  for (size_t i = 0; i < rules_.schemas.size(); ++i)
    json_masks_.push_back(std::make_unique<JsonMasks>(kGrammarMaskBytes / 2, kGrammarMemoBytes / 2));
  SetBuilder builder(*this, start_arena_);
  const RuleItemSet* self = builder.self();
  builder.Arrive(rules_.entry[static_cast<size_t>(rules_.root)], self);
  const RuleItemSet* made = builder.Finish();
  static const RuleItemSet dead;
  start_ = made != nullptr ? made : &dead;
}

bool RuleEngine::Step(State& s, uint8_t byte, FrameArena& arena) const {
  const FrameArena::Mark mark = arena.mark();
  SetBuilder next(*this, arena);
  for (uint32_t i = 0; i < s->item_count; ++i) {
    const RuleItem& item = s->items[i];
    const RuleNode& n = node(item.node);
    if (n.kind == RuleNode::Kind::kText) {
      const Dfa& dfa = *rules_.texts[static_cast<size_t>(n.index)];
      const uint32_t to = dfa.Step(item.text_state, byte);
      if (to == kDeadState) continue;
      next.Item({item.node, to, nullptr, item.origin});
      if (dfa.accepts(to)) next.Arrive(n.next, item.origin);
    } else if (n.kind == RuleNode::Kind::kJson) {
      const JsonMachine& json = *rules_.schemas[static_cast<size_t>(n.index)];
      JsonState state = *item.json;
      if (!json.Step(state, byte, arena)) continue;
      if (!json.finished(state)) next.Item({item.node, 0, new (arena.Allocate(sizeof(JsonState))) JsonState(state), item.origin});
      if (json.complete(state)) next.Arrive(n.next, item.origin);
    }
  }
  const RuleItemSet* made = next.Finish();
  if (made == nullptr) {
    arena.Reset(mark);
    return false;
  }
  s = made;
  return true;
}

bool RuleEngine::StepToken(State& s, TokenId token, FrameArena& arena) const {
  if (!s->has_tokens) return false;
  const FrameArena::Mark mark = arena.mark();
  SetBuilder next(*this, arena);
  for (uint32_t i = 0; i < s->item_count; ++i) {
    const RuleItem& item = s->items[i];
    const RuleNode& n = node(item.node);
    if (n.kind == RuleNode::Kind::kTokens && rules_.token_sets[static_cast<size_t>(n.index)].Has(token)) next.Arrive(n.next, item.origin);
  }
  const RuleItemSet* made = next.Finish();
  if (made == nullptr) {
    arena.Reset(mark);
    return false;
  }
  s = made;
  return true;
}

bool RuleEngine::Advance(State& s, TokenId token, std::string_view bytes, FrameArena& arena) const {
  State by_text = bytes.empty() ? nullptr : s;
  for (size_t i = 0; i < bytes.size() && by_text != nullptr; ++i)
    if (!Step(by_text, static_cast<uint8_t>(bytes[i]), arena)) by_text = nullptr;
  State by_id = s;
  if (!StepToken(by_id, token, arena)) by_id = nullptr;
  if (by_text == nullptr && by_id == nullptr) return false;
  s = by_text == nullptr ? by_id : by_id == nullptr ? by_text : Merge(by_text, by_id, arena);
  return true;
}

RuleEngine::State RuleEngine::Merge(State a, State b, FrameArena& arena) const {
  // Items keep their origins: calls of both sets stay where they are and are reached through those.
  auto* set = new (arena.Allocate(sizeof(RuleItemSet))) RuleItemSet(*a);
  auto* items = static_cast<RuleItem*>(arena.Allocate((a->item_count + b->item_count) * sizeof(RuleItem)));
  std::copy(a->items, a->items + a->item_count, items);
  std::copy(b->items, b->items + b->item_count, items + a->item_count);
  set->items = items;
  set->item_count = a->item_count + b->item_count;
  set->calls = nullptr;
  set->call_count = 0;
  set->accepting = a->accepting || b->accepting;
  set->has_json = a->has_json || b->has_json;
  set->has_tokens = a->has_tokens || b->has_tokens;
  set->hash = Mix(a->hash + Mix(b->hash));
  set->check = Mix(a->check + Mix(b->check + 1));
  return set;
}

RuleEngine::State RuleEngine::After(uint32_t at, const RuleItemSet* origin, FrameArena& arena) const {
  SetBuilder next(*this, arena);
  next.Arrive(node(at).next, origin);
  return next.Finish();
}

bool RuleEngine::complete(State s) const { return s->accepting; }

// Trie nodes whose byte is in `first` and before which the automaton, read from `state`, may be over.
std::shared_ptr<const std::vector<uint32_t>> RuleEngine::ExitPoints(int text, uint32_t state, const std::array<uint64_t, 4>& first) const {
  const ExitKey key{text, state, first};
  {
    std::shared_lock lock(mutex_);
    const auto it = exits_.find(key);
    if (it != exits_.end()) return it->second;
  }
  const Dfa& dfa = *rules_.texts[static_cast<size_t>(text)];
  const TokenTrie& trie = vocabulary_->trie();
  auto points = std::make_shared<std::vector<uint32_t>>();
  std::vector<uint32_t> stack(trie.longest() + 1);
  stack[0] = state;
  for (uint32_t i = 1; i < trie.size();) {
    const size_t depth = trie.depth(i);
    const uint8_t b = trie.byte(i);
    // Before the first byte of a token the terminal's end has already been followed when the set was made.
    if (depth > 1 && dfa.accepts(stack[depth - 1]) && (first[b / 64] >> (b % 64) & 1) != 0) points->push_back(i);
    const uint32_t next = dfa.Step(stack[depth - 1], b);
    if (next == kDeadState) {
      i = trie.end(i);
      continue;
    }
    stack[depth] = next;
    ++i;
  }
  if (cache_bytes_.load() + points->size() * 4 < kGrammarMaskBytes) {
    std::unique_lock lock(mutex_);
    if (exits_.emplace(key, points).second) cache_bytes_ += points->size() * 4 + 120;
  }
  return points;
}

class RuleEngine::Masker {
 public:
  Masker(const RuleEngine& engine, FrameArena& arena, std::span<uint32_t> mask)
      : e_(engine), arena_(arena), mask_(mask), trie_(engine.vocabulary_->trie()) {}

  void Fill(State s) {
    for (uint32_t i = 0; i < s->item_count; ++i) {
      const RuleItem& item = s->items[i];
      const RuleNode& n = e_.node(item.node);
      switch (n.kind) {
        case RuleNode::Kind::kText: Text(item, n); break;
        case RuleNode::Kind::kJson: Json(item, n); break;
        case RuleNode::Kind::kTokens: Tokens(e_.rules_.token_sets[static_cast<size_t>(n.index)]); break;
        default: break;
      }
    }
  }

 private:
  void Allow(std::span<const TokenId> ids) {
    for (const TokenId id : ids) mask_[static_cast<size_t>(id) / 32] |= 1u << (id % 32);
  }

  void Tokens(const TokenSet& set) {
    if (!set.except) return Allow(set.ids);
    for (size_t id = 0; id < e_.vocabulary_->size(); ++id) {
      const auto token = static_cast<TokenId>(id);
      if (set.Has(token) && !e_.vocabulary_->is_stop(token)) mask_[id / 32] |= 1u << (id % 32);
    }
  }

  // Everything below `node`, read from `state`.
  void Walk(const TokenTrie& trie, uint32_t node, State state) {
    std::vector<State> stack{state};
    std::vector<FrameArena::Mark> marks{arena_.mark()};
    const uint16_t base = trie.depth(node);
    for (uint32_t i = node + 1; i < trie.end(node);) {
      const size_t depth = static_cast<size_t>(trie.depth(i) - base);
      if (stack.size() <= depth) stack.resize(depth + 1), marks.resize(depth + 1);
      arena_.Reset(marks[depth - 1]);
      State next = stack[depth - 1];
      if (!e_.Step(next, trie.byte(i), arena_)) {
        i = trie.end(i);
        continue;
      }
      stack[depth] = next;
      marks[depth] = arena_.mark();
      Allow(trie.tokens(i));
      ++i;
    }
    arena_.Reset(marks[0]);
  }

  // `node` and everything below, `state` standing before it.
  void WalkFrom(const TokenTrie& trie, uint32_t node, State state) {
    const FrameArena::Mark mark = arena_.mark();
    if (e_.Step(state, trie.byte(node), arena_)) {
      Allow(trie.tokens(node));
      Walk(trie, node, state);
    }
    arena_.Reset(mark);
  }

  std::array<uint64_t, 4> FirstBytes(State s) {
    std::array<uint64_t, 4> out{};
    const FrameArena::Mark mark = arena_.mark();
    for (unsigned b = 0; b < 256; ++b) {
      State next = s;
      if (e_.Step(next, static_cast<uint8_t>(b), arena_)) out[b / 64] |= uint64_t{1} << (b % 64);
      arena_.Reset(mark);
    }
    return out;
  }

  void Text(const RuleItem& item, const RuleNode& n) {
    e_.text_masks_[static_cast<size_t>(n.index)]->Fill(item.text_state, trie_, mask_);
    const FrameArena::Mark mark = arena_.mark();
    const State after = e_.After(item.node, item.origin, arena_);
    if (after != nullptr && after->item_count > 0) {
      const auto points = e_.ExitPoints(n.index, item.text_state, FirstBytes(after));
      for (const uint32_t point : *points) WalkFrom(trie_, point, after);
    }
    arena_.Reset(mark);
  }

  void Json(const RuleItem& item, const RuleNode& n) {
    const auto index = static_cast<size_t>(n.index);
    const FrameArena::Mark mark = arena_.mark();
    const State after = e_.After(item.node, item.origin, arena_);
    JsonMasker masker(*e_.rules_.schemas[index], trie_, *e_.json_masks_[index], e_.vocabulary_->shared());
    masker.OnEnd([&](const TokenTrie& trie, uint32_t node, bool read) {
      if (after == nullptr || after->item_count == 0) return;
      if (read)
        Walk(trie, node, after);
      else
        WalkFrom(trie, node, after);
    });
    masker.Fill(*item.json, arena_, mask_);
    arena_.Reset(mark);
  }

  const RuleEngine& e_;
  FrameArena& arena_;
  std::span<uint32_t> mask_;
  const TokenTrie& trie_;
};

void RuleEngine::Fill(State s, FrameArena& arena, std::span<uint32_t> mask) const {
  const bool cached = !s->has_json;
  if (cached) {
    std::shared_lock lock(mutex_);
    const auto it = set_masks_.find(s->hash);
    if (it != set_masks_.end() && it->second.first == s->check) {
      for (size_t w = 0; w < mask.size(); ++w) mask[w] |= (*it->second.second)[w];
      return;
    }
  }
  std::vector<uint32_t> made(mask.size(), 0);
  const FrameArena::Mark mark = arena.mark();
  Masker(*this, arena, made).Fill(s);
  arena.Reset(mark);
  for (size_t w = 0; w < mask.size(); ++w) mask[w] |= made[w];
  if (!cached || cache_bytes_.load() + made.size() * 4 > kGrammarMaskBytes) return;
  std::unique_lock lock(mutex_);
  const size_t size = made.size() * 4 + 100;
  if (set_masks_.emplace(s->hash, std::pair{s->check, std::make_shared<const std::vector<uint32_t>>(std::move(made))}).second)
    cache_bytes_ += size;
}

size_t RuleEngine::bytes() const {
  size_t sum = rules_.nodes.size() * sizeof(RuleNode) + cache_bytes_.load() + 4000;
  for (const DfaPtr& d : rules_.texts) sum += d->bytes();
  for (const auto& m : text_masks_) sum += m->bytes();
  for (const auto& s : rules_.schemas) sum += s->bytes();
  for (const auto& m : json_masks_) sum += m->bytes();
  return sum;
}

}  // namespace sgl
