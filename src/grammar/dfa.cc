// SPDX-License-Identifier: Apache-2.0
#include "grammar/dfa.h"

#include <fmt/core.h>

#include <algorithm>
#include <deque>
#include <unordered_map>

#include "base/check.h"

namespace sgl {
namespace {

constexpr size_t kMaxNfaStates = 400'000;
constexpr size_t kMaxDfaCells = 12'000'000;  // states times classes: 48 MB

struct NfaState {
  enum class Kind : uint8_t { kBytes, kSplit, kBegin, kNotBegin, kEnd, kMatch } kind = Kind::kMatch;
  uint8_t first = 0, last = 0;
  uint32_t out = 0, out2 = kDeadState;
};

// Thompson's construction, back to front: Build(node, next) returns the state that matches `node` and goes on at `next`.
class NfaBuilder {
 public:
  NfaBuilder(const RegexTree& tree, std::vector<NfaState>& states, CompileBudget& budget) : tree_(tree), states_(states), budget_(budget) {}

  uint32_t Add(NfaState s) {
    states_.push_back(s);
    if (states_.size() > kMaxNfaStates) full_ = true;
    return static_cast<uint32_t>(states_.size()) - 1;
  }
  uint32_t Split(uint32_t a, uint32_t b) { return Add({NfaState::Kind::kSplit, 0, 0, a, b}); }

  uint32_t Build(int index, uint32_t next) {
    if (full_ || !budget_.Spend(1)) {
      full_ = true;
      return next;
    }
    const RegexNode& node = tree_.nodes[static_cast<size_t>(index)];
    switch (node.op) {
      case RegexOp::kEmpty: return next;
      case RegexOp::kBegin: return Add({NfaState::Kind::kBegin, 0, 0, next, kDeadState});
      case RegexOp::kEnd: return Add({NfaState::Kind::kEnd, 0, 0, next, kDeadState});
      case RegexOp::kClass: return Class(node.set, next);
      case RegexOp::kConcat:
        for (size_t i = node.kids.size(); i-- > 0;) next = Build(node.kids[i], next);
        return next;
      case RegexOp::kAlternate: {
        uint32_t state = Build(node.kids.back(), next);
        for (size_t i = node.kids.size() - 1; i-- > 0;) state = Split(Build(node.kids[i], next), state);
        return state;
      }
      case RegexOp::kLook: return Look(node, next);
      case RegexOp::kRepeat: {
        const int kid = node.kids[0];
        if (node.max == kUnbounded) {
          const uint32_t loop = Split(0, next);
          ++loops_;
          const uint32_t body = Build(kid, loop);
          --loops_;
          states_[loop].out = body;
          next = loop;
        } else {
          const uint32_t end = next;
          for (int i = node.min; i < node.max && !full_; ++i) next = Split(Build(kid, next), end);
        }
        for (int i = 0; i < node.min && !full_; ++i) next = Build(kid, next);
        return next;
      }
    }
    return next;
  }
  bool full() const { return full_; }
  const std::string& error() const { return error_; }

 private:
  uint32_t Look(const RegexNode& node, uint32_t next);
  uint32_t Embed(const Dfa& dfa);
  uint32_t Class(const CodeSet& set, uint32_t next) {
    std::vector<ByteSequence> sequences;
    for (const CodeRange r : set) AppendUtf8Sequences(r, sequences);
    if (sequences.empty()) return Add({NfaState::Kind::kBytes, 1, 0, next, kDeadState});  // an empty range: nothing passes
    // Tails are shared inside the class: most multi-byte sequences end in the same continuation ranges.
    std::unordered_map<uint64_t, uint32_t> shared;
    uint32_t result = kDeadState;
    for (const ByteSequence& sequence : sequences) {
      uint32_t state = next;
      for (size_t i = sequence.size(); i-- > 0;) {
        const uint64_t key = uint64_t{state} << 16 | uint64_t{sequence[i].first} << 8 | sequence[i].last;
        const auto [it, fresh] = shared.try_emplace(key, 0);
        if (fresh) it->second = Add({NfaState::Kind::kBytes, sequence[i].first, sequence[i].last, state, kDeadState});
        state = it->second;
      }
      result = result == kDeadState ? state : Split(state, result);
    }
    return result;
  }

  const RegexTree& tree_;
  std::vector<NfaState>& states_;
  CompileBudget& budget_;
  bool full_ = false;
  int loops_ = 0;  // repetitions without end that are open
  std::string error_;
};

struct VectorHash {
  size_t operator()(const std::vector<uint32_t>& v) const {
    uint64_t h = v.size() * 0x9E3779B97F4A7C15u;
    for (const uint32_t x : v) h = (h ^ x) * 0xFF51AFD7ED558CCDu, h ^= h >> 32;
    return h;
  }
};

class SubsetBuilder {
 public:
  SubsetBuilder(const std::vector<NfaState>& nfa, CompileBudget& budget) : nfa_(nfa), budget_(budget), mark_(nfa.size(), 0) {
    // Byte classes: bytes that no range of the automaton tells apart. Lead and continuation bytes are always apart (lengths count leads).
    std::array<bool, 257> cut{};
    cut[0x80] = cut[0xC0] = true;
    for (const NfaState& s : nfa)
      if (s.kind == NfaState::Kind::kBytes && s.first <= s.last) cut[s.first] = cut[size_t{s.last} + 1] = true;
    size_t cls = 0;
    for (size_t b = 0; b < 256; ++b) {
      if (b > 0 && cut[b]) ++cls;
      class_of_[b] = static_cast<uint8_t>(cls);
    }
    classes_ = cls + 1;
  }

  Result<Dfa> Run(uint32_t start, bool at_begin = true) {
    std::vector<uint32_t> seeds{start};
    at_begin_ = at_begin;
    Intern(Closure(seeds, at_begin));
    std::vector<std::vector<uint32_t>> targets(classes_);
    std::unordered_map<std::vector<uint32_t>, uint32_t, VectorHash> moves;  // of the state at hand: many classes move alike
    for (size_t at = 0; at < sets_.size(); ++at) {
      for (auto& t : targets) t.clear();
      const std::vector<uint32_t> set = *sets_[at];
      int64_t work = 0;
      for (const uint32_t n : set) {
        const NfaState& s = nfa_[n];
        if (s.kind != NfaState::Kind::kBytes || s.first > s.last) continue;
        for (size_t c = class_of_[s.first]; c <= class_of_[s.last]; ++c) targets[c].push_back(s.out);
        work += 1 + class_of_[s.last] - class_of_[s.first];
      }
      moves.clear();
      for (size_t c = 0; c < classes_; ++c) {
        if (targets[c].empty()) continue;
        const auto [it, fresh] = moves.try_emplace(targets[c], kDeadState);
        if (fresh) {
          std::vector<uint32_t> closed = Closure(targets[c], false);
          work += static_cast<int64_t>(closed.size() + targets[c].size());
          it->second = Intern(std::move(closed));
        }
        next_[at * classes_ + c] = it->second;
      }
      if (!budget_.Spend(work + static_cast<int64_t>(classes_))) return budget_.Exhausted();
      if (next_.size() > kMaxDfaCells) return InvalidArgument("the expression is too large for an automaton");
    }
    return Dfa::Make(class_of_, classes_, std::move(next_), std::move(accept_));
  }

 private:
  // States reachable without a byte: those that wait for one, and kMatch; kEnd stays as itself.
  std::vector<uint32_t> Closure(std::vector<uint32_t> seeds, bool at_begin) {
    ++epoch_;
    std::vector<uint32_t> out;
    while (!seeds.empty()) {
      const uint32_t n = seeds.back();
      seeds.pop_back();
      if (mark_[n] == epoch_) continue;
      mark_[n] = epoch_;
      const NfaState& s = nfa_[n];
      switch (s.kind) {
        case NfaState::Kind::kSplit: seeds.push_back(s.out), seeds.push_back(s.out2); break;
        case NfaState::Kind::kBegin:
          if (at_begin) seeds.push_back(s.out);
          break;
        case NfaState::Kind::kNotBegin:
          if (!at_begin) seeds.push_back(s.out);
          break;
        default: out.push_back(n);
      }
    }
    std::sort(out.begin(), out.end());
    return out;
  }

  // A text may end in this set: kMatch is in it, or behind end anchors (and, for the empty text, begin anchors).
  bool Accepts(const std::vector<uint32_t>& set, bool at_begin) {
    ++epoch_;
    std::vector<uint32_t> todo = set;
    while (!todo.empty()) {
      const uint32_t n = todo.back();
      todo.pop_back();
      if (mark_[n] == epoch_) continue;
      mark_[n] = epoch_;
      const NfaState& s = nfa_[n];
      if (s.kind == NfaState::Kind::kMatch) return true;
      if (s.kind == NfaState::Kind::kSplit) todo.push_back(s.out), todo.push_back(s.out2);
      if (s.kind == NfaState::Kind::kEnd || s.kind == (at_begin ? NfaState::Kind::kBegin : NfaState::Kind::kNotBegin))
        todo.push_back(s.out);
    }
    return false;
  }

  uint32_t Intern(std::vector<uint32_t> set) {
    const bool begin = at_begin_ && sets_.empty();
    // The start state is its own: its acceptance may differ from that of an equal set met later.
    const auto [it, fresh] = ids_.try_emplace(std::move(set), static_cast<uint32_t>(sets_.size()));
    if (!fresh && !(it->second == 0 && begin_differs_)) return it->second;
    if (!fresh && again_ != kDeadState) return again_;
    const auto id = static_cast<uint32_t>(sets_.size());
    if (!fresh) again_ = id;
    sets_.push_back(&it->first);
    accept_.push_back(Accepts(it->first, begin) ? 1 : 0);
    if (begin) begin_differs_ = accept_[0] != (Accepts(it->first, false) ? 1 : 0);
    next_.resize(sets_.size() * classes_, kDeadState);
    return id;
  }

  const std::vector<NfaState>& nfa_;
  CompileBudget& budget_;
  std::vector<uint32_t> mark_;
  uint32_t epoch_ = 0;
  bool at_begin_ = true, begin_differs_ = false;
  uint32_t again_ = kDeadState;
  std::array<uint8_t, 256> class_of_{};
  size_t classes_ = 0;
  std::unordered_map<std::vector<uint32_t>, uint32_t, VectorHash> ids_;
  std::deque<const std::vector<uint32_t>*> sets_;
  std::vector<uint32_t> next_;
  std::vector<uint8_t> accept_;
};

// What may follow has to begin with the node's language, or must not. What follows is an automaton by now: the two are combined, and the
// rest of the text is read by that.
uint32_t NfaBuilder::Look(const RegexNode& node, uint32_t next) {
  const auto fail = [&](const std::string& why) {
    if (error_.empty()) error_ = why;
    full_ = true;
    return next;
  };
  if (loops_ > 0) return fail("look-ahead inside a repetition without end is not supported");
  std::vector<NfaState> ahead;
  NfaBuilder builder(tree_, ahead, budget_);
  const uint32_t end = builder.Add({});
  RegexTree any;
  any.root = any.Class(Complement(CodeSet{}));
  NfaBuilder anything(any, ahead, budget_);
  const uint32_t loop = anything.Split(0, end);
  const uint32_t body = anything.Build(any.root, loop);
  ahead[loop].out = body;
  const uint32_t entry = builder.Build(node.kids[0], loop);
  if (builder.full()) return fail(builder.error().empty() ? "the expression is too large for an automaton" : builder.error());
  const auto anchored = [](const std::vector<NfaState>& states) {
    return std::any_of(states.begin(), states.end(), [](const NfaState& s) { return s.kind == NfaState::Kind::kBegin; });
  };
  const bool both = anchored(ahead) || anchored(states_);
  uint32_t starts[2] = {0, 0};
  for (const bool at_begin : {false, true}) {
    if (at_begin && !both) break;
    auto follows = SubsetBuilder(states_, budget_).Run(next, at_begin);
    if (!follows.ok()) return fail(follows.error().message);
    auto wanted = SubsetBuilder(ahead, budget_).Run(entry, at_begin);
    if (!wanted.ok()) return fail(wanted.error().message);
    const Dfa* operands[] = {&*follows, &*wanted};
    auto combined = node.max == 1 ? Product(
                                        operands, [](uint64_t bits, uint64_t) { return bits == 3; }, budget_)
                                  : Product(
                                        operands, [](uint64_t bits, uint64_t) { return bits == 1; }, budget_);
    if (!combined.ok()) return fail(combined.error().message);
    starts[at_begin ? 1 : 0] = Embed(*combined);
  }
  if (!both) return starts[0];
  return Split(Add({NfaState::Kind::kNotBegin, 0, 0, starts[0], kDeadState}), Add({NfaState::Kind::kBegin, 0, 0, starts[1], kDeadState}));
}

// The automaton's states as states here; where it accepts, the text may end.
uint32_t NfaBuilder::Embed(const Dfa& dfa) {
  const uint32_t nothing = Add({NfaState::Kind::kBytes, 1, 0, 0, kDeadState});
  if (dfa.empty()) return nothing;
  const uint32_t match = Add({});
  const auto first = static_cast<uint32_t>(states_.size());
  for (size_t s = 0; s < dfa.size(); ++s) Add({NfaState::Kind::kSplit, 0, 0, nothing, nothing});
  for (uint32_t s = 0; s < dfa.size() && !full_; ++s) {
    uint32_t ways = dfa.accepts(s) ? match : nothing;
    for (unsigned b = 0; b < 256;) {
      const uint32_t to = dfa.Step(s, static_cast<uint8_t>(b));
      unsigned last = b;
      while (last < 255 && dfa.Step(s, static_cast<uint8_t>(last + 1)) == to) ++last;
      if (to != kDeadState)
        ways = Split(Add({NfaState::Kind::kBytes, static_cast<uint8_t>(b), static_cast<uint8_t>(last), first + to, kDeadState}), ways);
      b = last + 1;
    }
    states_[first + s].out = ways;
    if (!budget_.Spend(256)) full_ = true;
  }
  return first;
}

}  // namespace

Error CompileBudget::Exhausted() const {
  if (stop != nullptr && stop->load()) return InvalidArgument("compilation was cancelled");
  return InvalidArgument("the grammar is too complex: it needs more work than one request may cost");
}

void AppendUtf8Sequences(CodeRange range, std::vector<ByteSequence>& out) {
  if (range.first <= 0xDFFF && range.last >= 0xD800) {
    if (range.first < 0xD800) AppendUtf8Sequences({range.first, 0xD7FF}, out);
    if (range.last > 0xDFFF) AppendUtf8Sequences({0xE000, range.last}, out);
    return;
  }
  for (const uint32_t limit : {0x7Fu, 0x7FFu, 0xFFFFu})
    if (range.first <= limit && range.last > limit) {
      AppendUtf8Sequences({range.first, limit}, out);
      AppendUtf8Sequences({limit + 1, range.last}, out);
      return;
    }
  // Split until the trailing bytes are either fixed or cover all of 80..BF.
  if (range.last > 0x7F)
    for (const uint32_t mask : {0x3Fu, 0xFFFu, 0x3FFFFu}) {
      if ((range.first & ~mask) == (range.last & ~mask)) break;
      if ((range.first & mask) != 0) {
        AppendUtf8Sequences({range.first, range.first | mask}, out);
        AppendUtf8Sequences({(range.first | mask) + 1, range.last}, out);
        return;
      }
      if ((range.last & mask) != mask) {
        AppendUtf8Sequences({range.first, (range.last & ~mask) - 1}, out);
        AppendUtf8Sequences({range.last & ~mask, range.last}, out);
        return;
      }
    }
  std::string low, high;
  SpellCodePoint(low, range.first);
  SpellCodePoint(high, range.last);
  ByteSequence sequence;
  for (size_t i = 0; i < low.size(); ++i) sequence.push_back({static_cast<uint8_t>(low[i]), static_cast<uint8_t>(high[i])});
  out.push_back(std::move(sequence));
}

Dfa Dfa::Make(std::array<uint8_t, 256> class_of, size_t classes, std::vector<uint32_t> next, std::vector<uint8_t> accept) {
  Dfa dfa;
  dfa.class_of_ = class_of;
  dfa.classes_ = classes;
  dfa.next_ = std::move(next);
  dfa.accept_ = std::move(accept);
  dfa.Prune();
  dfa.Measure();
  return dfa;
}

void Dfa::Prune() {
  const size_t n = accept_.size();
  // Backwards from acceptance.
  std::vector<uint32_t> degree(n + 1, 0);
  for (const uint32_t t : next_)
    if (t != kDeadState) ++degree[t + 1];
  for (size_t i = 0; i < n; ++i) degree[i + 1] += degree[i];
  std::vector<uint32_t> sources(degree[n]), fill(degree.begin(), degree.end());
  for (size_t s = 0; s < n; ++s)
    for (size_t c = 0; c < classes_; ++c)
      if (const uint32_t t = next_[s * classes_ + c]; t != kDeadState) sources[fill[t]++] = static_cast<uint32_t>(s);
  std::vector<uint8_t> live(accept_.begin(), accept_.end());
  std::vector<uint32_t> todo;
  for (size_t s = 0; s < n; ++s)
    if (live[s]) todo.push_back(static_cast<uint32_t>(s));
  while (!todo.empty()) {
    const uint32_t t = todo.back();
    todo.pop_back();
    for (uint32_t i = degree[t]; i < degree[t + 1]; ++i)
      if (!live[sources[i]]) live[sources[i]] = 1, todo.push_back(sources[i]);
  }
  // Forwards from the start, live states only; they are numbered as they are met.
  std::vector<uint32_t> id(n, kDeadState), order;
  if (n > 0 && live[0]) id[0] = 0, order.push_back(0);
  for (size_t i = 0; i < order.size(); ++i)
    for (size_t c = 0; c < classes_; ++c) {
      const uint32_t t = next_[order[i] * classes_ + c];
      if (t == kDeadState || !live[t] || id[t] != kDeadState) continue;
      id[t] = static_cast<uint32_t>(order.size());
      order.push_back(t);
    }
  std::vector<uint32_t> next(order.size() * classes_, kDeadState);
  std::vector<uint8_t> accept(order.size());
  for (size_t i = 0; i < order.size(); ++i) {
    accept[i] = accept_[order[i]];
    for (size_t c = 0; c < classes_; ++c)
      if (const uint32_t t = next_[order[i] * classes_ + c]; t != kDeadState) next[i * classes_ + c] = id[t];
  }
  next_ = std::move(next);
  accept_ = std::move(accept);
}

void Dfa::Measure() {
  const size_t n = accept_.size();
  std::vector<uint8_t> lead(classes_, 1);  // a byte of this class begins a code point
  for (size_t b = 0x80; b < 0xC0; ++b) lead[class_of_[b]] = 0;
  // Shortest: relax until nothing changes, from the back; automata of patterns are nearly in order, so few rounds are needed.
  shortest_.assign(n, kEndless);
  for (size_t s = 0; s < n; ++s)
    if (accept_[s]) shortest_[s] = 0;
  for (bool changed = true; changed;) {
    changed = false;
    for (size_t s = n; s-- > 0;)
      for (size_t c = 0; c < classes_; ++c) {
        const uint32_t t = next_[s * classes_ + c];
        if (t == kDeadState || shortest_[t] == kEndless || shortest_[t] + lead[c] >= shortest_[s]) continue;
        shortest_[s] = shortest_[t] + lead[c];
        changed = true;
      }
  }
  // Longest: endless where a cycle can be reached. Depth first, without recursion.
  longest_.assign(n, 0);
  std::vector<uint8_t> color(n, 0);  // 1: on the path, 2: done
  std::vector<std::pair<uint32_t, size_t>> path;
  for (size_t root = 0; root < n; ++root) {
    if (color[root] != 0) continue;
    path.emplace_back(static_cast<uint32_t>(root), 0);
    color[root] = 1;
    while (!path.empty()) {
      auto& [s, c] = path.back();
      if (c == classes_) {
        color[s] = 2;
        path.pop_back();
        continue;
      }
      const uint32_t t = next_[s * classes_ + c];
      if (t == kDeadState) {
        ++c;
      } else if (color[t] == 0) {
        color[t] = 1;
        path.emplace_back(t, 0);
      } else {
        const uint32_t tail = color[t] == 1 ? kEndless : longest_[t];
        longest_[s] = std::max(longest_[s], tail == kEndless ? kEndless : tail + lead[c]);
        ++c;
      }
    }
  }
}

Result<Dfa> BuildDfa(const RegexTree& tree, MatchMode mode, CompileBudget& budget) {
  std::vector<NfaState> nfa;
  NfaBuilder build(tree, nfa, budget);
  uint32_t end = build.Add({});
  RegexTree any;
  const int all = any.Class(Complement({}));
  any.root = all;
  const auto any_loop = [&](uint32_t next) {
    NfaBuilder anything(any, nfa, budget);
    const uint32_t loop = anything.Split(0, next);
    const uint32_t body = anything.Build(all, loop);
    nfa[loop].out = body;
    return loop;
  };
  if (mode == MatchMode::kSearch) end = any_loop(end);
  uint32_t start = build.Build(tree.root, end);
  if (mode == MatchMode::kSearch) start = any_loop(start);
  if (build.full()) return InvalidArgument(build.error().empty() ? "the expression is too large for an automaton" : build.error());
  return SubsetBuilder(nfa, budget).Run(start);
}

Result<DfaPtr> RegexDfa(std::string_view pattern, MatchMode mode, CompileBudget& budget, RegexDialect dialect) {
  TRY(RegexTree tree, ParseRegex(pattern, dialect));
  TRY(Dfa dfa, BuildDfa(tree, mode, budget));
  return std::make_shared<const Dfa>(std::move(dfa));
}

Result<Dfa> WordsDfa(std::vector<std::string> words, CompileBudget& budget) {
  std::sort(words.begin(), words.end());
  words.erase(std::unique(words.begin(), words.end()), words.end());
  std::array<bool, 256> used{};
  for (const std::string& w : words)
    for (const char c : w) used[static_cast<uint8_t>(c)] = true;
  std::array<uint8_t, 256> class_of{};
  size_t classes = 1;  // class 0: no word has it... unless all 256 are used, which UTF-8 forbids
  for (size_t b = 0; b < 256; ++b) class_of[b] = used[b] ? static_cast<uint8_t>(classes++) : 0;
  // Continuation bytes must not share a class with lead bytes; unused ones lead nowhere, so class 0 does no harm.
  std::vector<uint32_t> next(classes, kDeadState);
  std::vector<uint8_t> accept(1, 0);
  for (const std::string& w : words) {
    uint32_t state = 0;
    for (const char c : w) {
      uint32_t& to = next[state * classes + class_of[static_cast<uint8_t>(c)]];
      if (to == kDeadState) {
        to = static_cast<uint32_t>(accept.size());
        state = to;  // before `next` moves
        accept.push_back(0);
        next.resize(accept.size() * classes, kDeadState);
      } else {
        state = to;
      }
    }
    accept[state] = 1;
    if (!budget.Spend(static_cast<int64_t>(w.size() + 1))) return budget.Exhausted();
    if (next.size() > kMaxDfaCells) return InvalidArgument("too many values for an automaton");
  }
  return Dfa::Make(class_of, classes, std::move(next), std::move(accept));
}

const DfaPtr& AnyTextDfa() {
  static const DfaPtr any = [] {
    RegexTree tree;
    tree.root = tree.Repeat(tree.Class(Complement(CodeSet{})), 0, kUnbounded);
    CompileBudget budget;
    auto dfa = BuildDfa(tree, MatchMode::kWhole, budget);
    CHECK(dfa.ok());
    return std::make_shared<const Dfa>(*std::move(dfa));
  }();
  return any;
}

Result<Dfa> Product(std::span<const Dfa* const> operands, bool (*accepts)(uint64_t bits, uint64_t all), CompileBudget& budget) {
  const size_t k = operands.size();
  if (k > 64) return InvalidArgument("too many string constraints for one value");
  // Classes of the product: bytes that every operand treats alike.
  std::array<uint8_t, 256> class_of{};
  std::vector<uint8_t> sample;  // a byte of each class
  for (size_t b = 0; b < 256; ++b) {
    size_t c = 0;
    for (; c < sample.size(); ++c) {
      bool same = (b >= 0x80 && b < 0xC0) == (sample[c] >= 0x80 && sample[c] < 0xC0);
      for (size_t i = 0; i < k && same; ++i) same = operands[i]->class_of(static_cast<uint8_t>(b)) == operands[i]->class_of(sample[c]);
      if (same) break;
    }
    if (c == sample.size()) sample.push_back(static_cast<uint8_t>(b));
    class_of[b] = static_cast<uint8_t>(c);
  }
  const size_t classes = sample.size();
  const uint64_t all = k == 64 ? ~uint64_t{0} : (uint64_t{1} << k) - 1;
  std::unordered_map<std::vector<uint32_t>, uint32_t, VectorHash> ids;
  std::deque<const std::vector<uint32_t>*> order;
  std::vector<uint32_t> next;
  std::vector<uint8_t> accept;
  const auto intern = [&](std::vector<uint32_t> tuple) {
    const auto [it, fresh] = ids.try_emplace(std::move(tuple), static_cast<uint32_t>(order.size()));
    if (!fresh) return it->second;
    uint64_t bits = 0;
    for (size_t i = 0; i < k; ++i)
      if (it->first[i] != kDeadState && operands[i]->accepts(it->first[i])) bits |= uint64_t{1} << i;
    order.push_back(&it->first);
    accept.push_back(accepts(bits, all) ? 1 : 0);
    next.resize(order.size() * classes, kDeadState);
    return it->second;
  };
  std::vector<uint32_t> start(k);
  for (size_t i = 0; i < k; ++i) start[i] = operands[i]->empty() ? kDeadState : 0;
  intern(start);
  const bool need_all = accepts(all, all) && (k == 0 || !accepts(all & ~uint64_t{1}, all));
  for (size_t at = 0; at < order.size(); ++at) {
    for (size_t c = 0; c < classes; ++c) {
      std::vector<uint32_t> tuple(k);
      bool dead = false, all_dead = true;
      for (size_t i = 0; i < k; ++i) {
        const uint32_t s = (*order[at])[i];
        tuple[i] = s == kDeadState ? kDeadState : operands[i]->Step(s, sample[c]);
        dead = dead || tuple[i] == kDeadState;
        all_dead = all_dead && tuple[i] == kDeadState;
      }
      if ((need_all && dead) || all_dead) continue;
      next[at * classes + c] = 0;  // may be resized by intern: written again below
      const uint32_t to = intern(std::move(tuple));
      next[at * classes + c] = to;
    }
    if (!budget.Spend(static_cast<int64_t>(classes * k))) return budget.Exhausted();
    if (next.size() > kMaxDfaCells) return InvalidArgument("the combination of string constraints is too large for an automaton");
  }
  return Dfa::Make(class_of, classes, std::move(next), std::move(accept));
}

Result<DfaPtr> Intersect(std::vector<DfaPtr> operands, CompileBudget& budget) {
  if (operands.empty()) return AnyTextDfa();
  if (operands.size() == 1) return operands[0];
  std::vector<const Dfa*> raw;
  for (const DfaPtr& d : operands) raw.push_back(d.get());
  TRY(Dfa dfa, Product(
                   raw, [](uint64_t bits, uint64_t all) { return bits == all; }, budget));
  return std::make_shared<const Dfa>(std::move(dfa));
}

Dfa FirstMatch(const Dfa& found, const Dfa& ends) {
  std::array<uint8_t, 256> class_of{};
  for (size_t b = 0; b < 256; ++b) class_of[b] = static_cast<uint8_t>(b);
  std::unordered_map<uint64_t, uint32_t> ids;
  std::vector<std::pair<uint32_t, uint32_t>> order;
  std::vector<uint32_t> next;
  std::vector<uint8_t> accept;
  const auto intern = [&](uint32_t f, uint32_t e) {
    const auto [it, fresh] = ids.try_emplace(uint64_t{f} << 32 | e, static_cast<uint32_t>(order.size()));
    if (fresh) {
      order.emplace_back(f, e);
      accept.push_back(ends.accepts(e) ? 1 : 0);
      next.resize(order.size() * 256, kDeadState);
    }
    return it->second;
  };
  if (!ends.empty()) intern(found.empty() ? kDeadState : 0, 0);
  for (size_t at = 0; at < order.size(); ++at) {
    const auto [f, e] = order[at];
    if (f != kDeadState && found.accepts(f)) continue;  // it is over here
    for (size_t b = 0; b < 256; ++b) {
      const uint32_t e2 = ends.Step(e, static_cast<uint8_t>(b));
      if (e2 == kDeadState) continue;
      const uint32_t to = intern(f == kDeadState ? kDeadState : found.Step(f, static_cast<uint8_t>(b)), e2);
      next[at * 256 + b] = to;
    }
  }
  return Dfa::Make(class_of, 256, std::move(next), std::move(accept));
}

bool ListWords(const Dfa& dfa, size_t limit, std::vector<std::string>* words) {
  words->clear();
  if (dfa.empty()) return true;
  if (dfa.longest(0) == kEndless || dfa.longest(0) > 200 || dfa.size() > 4000) return false;
  std::string word;
  const auto from = [&](auto&& self, uint32_t state) -> bool {
    if (dfa.accepts(state)) {
      if (words->size() >= limit) return false;
      words->push_back(word);
    }
    for (unsigned b = 0; b < 256; ++b) {
      const uint32_t to = dfa.Step(state, static_cast<uint8_t>(b));
      if (to == kDeadState) continue;
      word.push_back(static_cast<char>(b));
      if (!self(self, to)) return false;
      word.pop_back();
    }
    return true;
  };
  return from(from, 0);
}

Result<Dfa> Complement(const Dfa& dfa, CompileBudget& budget) {
  const Dfa* operands[] = {AnyTextDfa().get(), &dfa};
  return Product(
      operands, [](uint64_t bits, uint64_t) { return bits == 1; }, budget);
}

}  // namespace sgl
