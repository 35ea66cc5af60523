// Pattern -> instructions with priorities -> states, each a list of instructions that wait for a character.
// SPDX-License-Identifier: Apache-2.0
#include "text/split_automaton.h"

#include <algorithm>
#include <bitset>
#include <map>
#include <optional>

#include "text/split_pattern.h"

namespace sgl {
namespace {

constexpr size_t kMaxInstructions = 8192;
constexpr size_t kMaxStates = 4096;
constexpr size_t kMaxSets = 64;
constexpr size_t kMaxClasses = 200;

struct Instruction {
  enum class Op : uint8_t { kSet, kAssert, kSplit, kJump, kMatch } op;
  bool at_end = false;    // kAssert
  uint32_t set = 0;       // kSet, kAssert: which set
  uint32_t x = 0, y = 0;  // kSplit: first choice, second choice; kJump: x
};
using Op = Instruction::Op;

}  // namespace

class SplitCompiler {
 public:
  std::unique_ptr<const SplitAutomaton> Run(const SplitNode& node) {
    Emit(node);
    Put({Op::kMatch});
    if (!ok_ || sets_.size() > kMaxSets || !MakeClasses() || !MakeStates()) return nullptr;
    return std::move(out_);
  }

 private:
  uint32_t Here() const { return static_cast<uint32_t>(code_.size()); }
  uint32_t Put(Instruction instruction) {
    if (code_.size() >= kMaxInstructions) ok_ = false;
    if (ok_) code_.push_back(instruction);
    return ok_ ? Here() - 1 : 0;
  }
  uint32_t SetIndex(const CharSet& set) {
    const auto at = std::find(sets_.begin(), sets_.end(), set);
    if (at != sets_.end()) return static_cast<uint32_t>(at - sets_.begin());
    sets_.push_back(set);
    return static_cast<uint32_t>(sets_.size() - 1);
  }
  // Where a choice goes: greedy ones prefer to go on.
  void Choice(uint32_t at, uint32_t inside, uint32_t outside, bool lazy) {
    if (!ok_) return;
    code_[at].x = lazy ? outside : inside;
    code_[at].y = lazy ? inside : outside;
  }

  void Emit(const SplitNode& node) {
    if (!ok_) return;
    switch (node.kind) {
      case SplitNode::Kind::kSet: Put({Op::kSet, false, SetIndex(node.set)}); return;
      case SplitNode::Kind::kAssert: Put({Op::kAssert, node.at_end, SetIndex(node.set)}); return;
      case SplitNode::Kind::kSequence:
        for (const SplitNode& kid : node.kids) Emit(kid);
        return;
      case SplitNode::Kind::kAlternatives: {
        std::vector<uint32_t> jumps;
        for (size_t i = 0; i < node.kids.size(); ++i) {
          const bool more = i + 1 < node.kids.size();
          const uint32_t split = more ? Put({Op::kSplit}) : 0;
          Emit(node.kids[i]);
          if (!more) break;
          jumps.push_back(Put({Op::kJump}));
          Choice(split, split + 1, Here(), false);
        }
        for (const uint32_t jump : jumps)
          if (ok_) code_[jump].x = Here();
        return;
      }
      case SplitNode::Kind::kRepeat: return EmitRepeat(node);
    }
  }

  void EmitRepeat(const SplitNode& node) {
    for (int i = 0; i < node.min; ++i) Emit(node.kids[0]);
    if (node.max < 0) {
      const uint32_t split = Put({Op::kSplit});
      Emit(node.kids[0]);
      const uint32_t jump = Put({Op::kJump});
      if (ok_) code_[jump].x = split;
      return Choice(split, split + 1, Here(), node.lazy);
    }
    std::vector<uint32_t> splits;
    for (int i = node.min; i < node.max && ok_; ++i) {
      splits.push_back(Put({Op::kSplit}));
      Emit(node.kids[0]);
    }
    for (const uint32_t split : splits) Choice(split, split + 1, Here(), node.lazy);
  }

  // Characters that no set tells apart share a class.
  bool MakeClasses() {
    std::vector<std::pair<uint32_t, uint64_t>> changes;  // where, which sets begin or end
    for (size_t i = 0; i < sets_.size(); ++i) {
      for (const CharSet::Range& range : sets_[i].ranges()) {
        changes.push_back({range.first, uint64_t{1} << i});
        changes.push_back({range.last + 1, uint64_t{1} << i});
      }
    }
    std::sort(changes.begin(), changes.end());
    std::map<uint64_t, uint8_t> classes;
    size_t next = 0;
    uint64_t members = 0;
    SplitAutomaton& out = *out_;
    std::map<uint8_t, uint16_t> uniform;  // class -> block of nothing else
    for (uint32_t block = 0; block < out.index_.size(); ++block) {
      const bool changes_here = block == 0 || (next < changes.size() && changes[next].first >> 8 == block);
      if (const auto known = uniform.find(current_); !changes_here && known != uniform.end()) {
        out.index_[block] = known->second;
        continue;
      }
      std::array<uint8_t, 256> entries;
      for (uint32_t i = 0; i < 256; ++i) {
        const uint32_t cp = block << 8 | i;
        bool changed = cp == 0;
        for (; next < changes.size() && changes[next].first == cp; ++next) members ^= changes[next].second, changed = true;
        if (changed) {
          const auto [at, is_new] = classes.try_emplace(members, static_cast<uint8_t>(classes.size()));
          if (is_new) class_sets_.push_back(members);
          if (classes.size() > kMaxClasses) return false;
          current_ = at->second;
        }
        entries[i] = current_;
      }
      const auto same = std::find(out.blocks_.begin(), out.blocks_.end(), entries);
      out.index_[block] = static_cast<uint16_t>(same - out.blocks_.begin());
      if (!changes_here) uniform[current_] = out.index_[block];
      if (same == out.blocks_.end()) out.blocks_.push_back(entries);
    }
    for (uint32_t cp = 0; cp < out.ascii_.size(); ++cp) out.ascii_[cp] = static_cast<uint8_t>(out.ClassOf(cp));
    out.stride_ = classes.size() + 1;
    return true;
  }

  bool Holds(const Instruction& in, size_t symbol) const {
    if (symbol == class_sets_.size()) return in.op == Op::kAssert && in.at_end;
    return (class_sets_[symbol] >> in.set & 1) != 0;
  }

  // What the state does on `symbol`: where each thread goes, in order of priority; true if a match ends here.
  bool Step(const std::vector<uint32_t>& state, size_t symbol, std::vector<uint32_t>* next) {
    next->clear();
    std::fill(seen_.begin(), seen_.end(), false);
    std::fill(queued_.begin(), queued_.end(), false);
    for (const uint32_t start : state) {
      stack_.assign(1, start);
      while (!stack_.empty()) {
        const uint32_t at = stack_.back();
        stack_.pop_back();
        if (seen_[at]) continue;
        seen_[at] = true;
        const Instruction& in = code_[at];
        switch (in.op) {
          case Op::kMatch: return true;  // threads of lower priority have lost
          case Op::kJump: stack_.push_back(in.x); break;
          case Op::kSplit: stack_.push_back(in.y), stack_.push_back(in.x); break;
          case Op::kAssert:
            if (Holds(in, symbol)) stack_.push_back(at + 1);
            break;
          case Op::kSet:
            if (Holds(in, symbol) && !queued_[at + 1]) queued_[at + 1] = true, next->push_back(at + 1);
            break;
        }
      }
    }
    return false;
  }

  bool MakeStates() {
    SplitAutomaton& out = *out_;
    seen_.assign(code_.size() + 1, false);
    queued_.assign(code_.size() + 1, false);
    std::map<std::vector<uint32_t>, uint16_t> numbers;
    std::vector<std::vector<uint32_t>> states{{}, {0}};
    numbers[{}] = 0, numbers[{0}] = 1;
    std::vector<uint32_t> next;
    for (size_t i = 0; i < states.size(); ++i) {
      out.next_.resize((i + 1) * out.stride_, 0);
      for (size_t symbol = 0; i > 0 && symbol < out.stride_; ++symbol) {
        const std::vector<uint32_t> from = states[i];
        const bool accept = Step(from, symbol, &next);
        if (i == 1 && accept) return false;  // matches nothing at all
        const auto [at, is_new] = numbers.try_emplace(next, static_cast<uint16_t>(states.size()));
        if (is_new) states.push_back(next);
        if (states.size() > kMaxStates) return false;
        out.next_[i * out.stride_ + symbol] = static_cast<uint16_t>(at->second | (accept ? SplitAutomaton::kAccept : 0));
      }
    }
    // Each single character must be a match by itself, whatever follows it.
    out.tiles_ = true;
    for (size_t symbol = 0; symbol + 1 < out.stride_; ++symbol) {
      const size_t state = out.next_[out.stride_ + symbol];
      for (size_t after = 0; after < out.stride_; ++after)
        out.tiles_ = out.tiles_ && (out.next_[state * out.stride_ + after] & SplitAutomaton::kAccept) != 0;
    }
    return true;
  }

  bool ok_ = true;
  std::vector<Instruction> code_;
  std::vector<CharSet> sets_;
  std::vector<uint64_t> class_sets_;  // class -> the sets it is in
  uint8_t current_ = 0;
  std::vector<bool> seen_, queued_;
  std::vector<uint32_t> stack_;
  std::unique_ptr<SplitAutomaton> out_{new SplitAutomaton()};
};

std::unique_ptr<const SplitAutomaton> SplitAutomaton::Compile(std::string_view pattern, RegexSyntax syntax) {
  const std::optional<SplitNode> node = ParseSplitPattern(pattern, syntax);
  if (!node || node->Nullable()) return nullptr;
  return SplitCompiler().Run(*node);
}

bool SplitAutomaton::MatchesEach(const CharSet& set) const {
  const std::vector<bool> classes = ClassesOf(set);
  for (size_t symbol = 0; symbol + 1 < stride_; ++symbol) {
    if (!classes[symbol]) continue;
    const size_t state = next_[stride_ + symbol];
    for (size_t after = 0; after < stride_; ++after)
      if ((next_[state * stride_ + after] & kAccept) == 0) return false;
  }
  return true;
}

std::vector<bool> SplitAutomaton::ClassesOf(const CharSet& set) const {
  std::vector<bool> out(stride_, false);
  for (const CharSet::Range& range : set.ranges())
    for (uint32_t cp = range.first; cp <= range.last; ++cp) out[ClassOf(cp)] = true;
  return out;
}

bool SplitAutomaton::NeverCrosses(const CharSet& before, const CharSet& after) const {
  const std::vector<bool> first = ClassesOf(before), second = ClassesOf(after);
  for (size_t state = 1; state < states(); ++state) {
    for (size_t a = 0; a + 1 < stride_; ++a) {
      if (!first[a]) continue;
      const uint16_t* middle = &next_[(next_[state * stride_ + a] & ~kAccept) * stride_];
      for (size_t b = 0; b + 1 < stride_; ++b) {
        if (!second[b]) continue;
        if ((middle[b] & ~kAccept) != 0 || middle[b] != middle[stride_ - 1]) return false;
      }
    }
  }
  return true;
}

bool SplitAutomaton::Ignores(const CharSet& set) const {
  const std::vector<bool> classes = ClassesOf(set);
  for (size_t state = 1; state < states(); ++state)
    for (size_t c = 0; c + 1 < stride_; ++c)
      if (classes[c] && (next_[state * stride_ + c] & ~kAccept) != 0) return false;
  return true;
}

}  // namespace sgl
