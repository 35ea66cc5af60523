// SPDX-License-Identifier: Apache-2.0
#include "grammar/rule_set.h"

#include <algorithm>
#include <utility>

namespace sgl {
namespace {

constexpr size_t kMaxInlined = 20'000;  // tree nodes of a rule that is copied into its callers

// Appends `from` to `to`, returns where its root went.
int Graft(RegexTree& to, const RegexTree& from) {
  const auto shift = static_cast<int>(to.nodes.size());
  for (const RegexNode& n : from.nodes) {
    RegexNode copy = n;
    for (int& k : copy.kids) k += shift;
    to.nodes.push_back(std::move(copy));
  }
  return from.root + shift;
}

class Builder {
 public:
  Builder(RuleSource source, CompileBudget& budget) : source_(std::move(source)), budget_(budget) {}

  Result<RuleSet> Run() {
    FindRecursion();
    const size_t n = source_.rules.size();
    if (!Productive()) return InvalidArgument("rule '" + source_.names[static_cast<size_t>(source_.root)] + "' never comes to an end");
    // Rules are simplified bottom-up: those that do not recur and are regular become trees.
    simple_.resize(n);
    done_.assign(n, 0);
    for (size_t r = 0; r < n; ++r) Simplify(static_cast<int>(r));
    if (full_) return InvalidArgument("the grammar is too large");
    out_.schemas = std::move(source_.schemas);
    out_.token_sets = std::move(source_.token_sets);
    out_.root = source_.root;
    const RuleExpr& root = simple_[static_cast<size_t>(source_.root)];
    if (root.op == RuleExpr::Op::kText) {
      TRY(Dfa dfa, BuildDfa(root.text, MatchMode::kWhole, budget_));
      out_.whole = std::make_shared<const Dfa>(std::move(dfa));
      if (out_.whole->empty()) return InvalidArgument("no text matches this grammar");
      return std::move(out_);
    }
    out_.entry.assign(n, 0);
    for (size_t r = 0; r < n; ++r) {
      const uint32_t end = Add({RuleNode::Kind::kEnd, 0, 0, static_cast<int>(r)});
      TRY(out_.entry[r], Emit(simple_[r], end));
    }
    return std::move(out_);
  }

 private:
  uint32_t Add(RuleNode node) {
    out_.nodes.push_back(node);
    if (out_.nodes.size() > kMaxRuleNodes) full_ = true;
    return static_cast<uint32_t>(out_.nodes.size()) - 1;
  }

  template <class F>
  static void ForEachCall(const RuleExpr& e, F&& f) {
    if (e.op == RuleExpr::Op::kCall) f(e.index);
    for (const RuleExpr& k : e.kids) ForEachCall(k, f);
  }

  // A rule recurs when it can be reached from itself: Tarjan's components, without recursion of ours.
  void FindRecursion() {
    const size_t n = source_.rules.size();
    std::vector<std::vector<int>> calls(n);
    for (size_t r = 0; r < n; ++r) ForEachCall(source_.rules[r], [&](int to) { calls[r].push_back(to); });
    recurs_.assign(n, 0);
    std::vector<int> index(n, -1), low(n, 0);
    std::vector<uint8_t> on_stack(n, 0);
    std::vector<int> stack;
    std::vector<std::pair<int, size_t>> path;
    int next = 0;
    for (size_t root = 0; root < n; ++root) {
      if (index[root] >= 0) continue;
      path.emplace_back(static_cast<int>(root), 0);
      while (!path.empty()) {
        auto& [v, i] = path.back();
        const auto at = static_cast<size_t>(v);
        if (i == 0 && index[at] < 0) {
          index[at] = low[at] = next++;
          stack.push_back(v);
          on_stack[at] = 1;
        }
        if (i < calls[at].size()) {
          const int w = calls[at][i++];
          const auto to = static_cast<size_t>(w);
          if (w == v) recurs_[at] = 1;
          if (index[to] < 0)
            path.emplace_back(w, 0);
          else if (on_stack[to] != 0)
            low[at] = std::min(low[at], index[to]);
          continue;
        }
        if (low[at] == index[at]) {
          size_t members = 0;
          for (size_t k = stack.size(); k-- > 0;) {
            ++members;
            if (stack[k] == v) break;
          }
          for (size_t k = 0; k < members; ++k) {
            const auto w = static_cast<size_t>(stack.back());
            stack.pop_back();
            on_stack[w] = 0;
            if (members > 1) recurs_[w] = 1;
          }
        }
        const int child = v;
        path.pop_back();
        if (!path.empty()) {
          const auto up = static_cast<size_t>(path.back().first);
          low[up] = std::min(low[up], low[static_cast<size_t>(child)]);
        }
      }
    }
  }

  bool Ends(const RuleExpr& e, const std::vector<uint8_t>& good) const {
    switch (e.op) {
      case RuleExpr::Op::kCall: return good[static_cast<size_t>(e.index)] != 0;
      case RuleExpr::Op::kConcat: return std::all_of(e.kids.begin(), e.kids.end(), [&](const RuleExpr& k) { return Ends(k, good); });
      case RuleExpr::Op::kAlternate: return std::any_of(e.kids.begin(), e.kids.end(), [&](const RuleExpr& k) { return Ends(k, good); });
      case RuleExpr::Op::kRepeat: return e.min == 0 || Ends(e.kids[0], good);
      default: return true;
    }
  }

  // Ways that can never come to an end are cut off, so that everything the machine keeps open can be finished.
  bool Productive() {
    std::vector<uint8_t> good(source_.rules.size(), 0);
    for (bool changed = true; changed;) {
      changed = false;
      for (size_t r = 0; r < good.size(); ++r)
        if (good[r] == 0 && Ends(source_.rules[r], good)) good[r] = 1, changed = true;
    }
    for (size_t r = 0; r < good.size(); ++r) {
      if (good[r] != 0)
        Cut(source_.rules[r], good);
      else
        source_.rules[r] = RuleExpr::Concat({});
    }
    return good[static_cast<size_t>(source_.root)] != 0;
  }

  void Cut(RuleExpr& e, const std::vector<uint8_t>& good) const {
    if (e.op == RuleExpr::Op::kAlternate) std::erase_if(e.kids, [&](const RuleExpr& k) { return !Ends(k, good); });
    if (e.op == RuleExpr::Op::kRepeat && !Ends(e.kids[0], good)) {
      e = RuleExpr::Concat({});
      return;
    }
    for (RuleExpr& k : e.kids) Cut(k, good);
  }

  void Simplify(int rule) {
    const auto r = static_cast<size_t>(rule);
    if (done_[r] != 0) return;
    done_[r] = 1;
    simple_[r] = Reduce(source_.rules[r]);
  }

  // Regular parts become one tree each.
  RuleExpr Reduce(const RuleExpr& e) {
    if (full_ || !budget_.Spend(1)) {
      full_ = true;
      return {};
    }
    switch (e.op) {
      case RuleExpr::Op::kCall: {
        const auto to = static_cast<size_t>(e.index);
        if (recurs_[to] != 0) return e;
        Simplify(e.index);
        const RuleExpr& body = simple_[to];
        if (body.op == RuleExpr::Op::kText && body.text.nodes.size() <= kMaxInlined) {
          if (!budget_.Spend(static_cast<int64_t>(body.text.nodes.size()))) full_ = true;
          return body;
        }
        return e;
      }
      case RuleExpr::Op::kConcat:
      case RuleExpr::Op::kAlternate: {
        const bool concat = e.op == RuleExpr::Op::kConcat;
        std::vector<RuleExpr> kids;
        std::vector<RuleExpr> run;  // neighbouring regular parts
        const auto flush = [&] {
          if (run.size() == 1) {
            kids.push_back(std::move(run[0]));
          } else if (!run.empty()) {
            RuleExpr merged;
            merged.op = RuleExpr::Op::kText;
            std::vector<int> roots;
            for (const RuleExpr& part : run) roots.push_back(Graft(merged.text, part.text));
            merged.text.root = concat ? merged.text.Concat(std::move(roots)) : merged.text.Alternate(std::move(roots));
            if (merged.text.nodes.size() > kMaxRuleNodes) full_ = true;
            kids.push_back(std::move(merged));
          }
          run.clear();
        };
        for (const RuleExpr& k : e.kids) {
          RuleExpr kid = Reduce(k);
          if (kid.op == RuleExpr::Op::kText) {
            run.push_back(std::move(kid));
          } else {
            if (concat) flush();
            kids.push_back(std::move(kid));
          }
        }
        flush();
        if (kids.empty()) {
          if (!concat) return RuleExpr::Alternate({});
          RuleExpr empty;
          empty.op = RuleExpr::Op::kText;
          empty.text.root = empty.text.Empty();
          return empty;
        }
        if (kids.size() == 1) return std::move(kids[0]);
        return concat ? RuleExpr::Concat(std::move(kids)) : RuleExpr::Alternate(std::move(kids));
      }
      case RuleExpr::Op::kRepeat: {
        RuleExpr kid = Reduce(e.kids[0]);
        if (kid.op != RuleExpr::Op::kText) return RuleExpr::Repeat(std::move(kid), e.min, e.max);
        kid.text.root = kid.text.Repeat(kid.text.root, e.min, e.max);
        return kid;
      }
      default: return e;
    }
  }

  Result<DfaPtr> Searching(const std::vector<std::string>& words) {
    RegexTree tree;
    std::vector<int> arms;
    for (const std::string& w : words) arms.push_back(tree.Text(w));
    tree.root = tree.Alternate(std::move(arms));
    TRY(Dfa dfa, BuildDfa(tree, MatchMode::kSearch, budget_));
    return std::make_shared<const Dfa>(std::move(dfa));
  }

  Result<DfaPtr> FreeText(const RuleExpr& e) {
    if (e.stops.empty()) return AnyTextDfa();
    TRY(const DfaPtr found, Searching(e.stops));
    if (!e.has_until) {
      TRY(Dfa none, Complement(*found, budget_));
      return std::make_shared<const Dfa>(std::move(none));
    }
    RegexTree tail;
    tail.root = tail.Concat({tail.Repeat(tail.Class(Complement(CodeSet{})), 0, kUnbounded), tail.Text(e.until)});
    TRY(Dfa ends, BuildDfa(tail, MatchMode::kWhole, budget_));
    return std::make_shared<const Dfa>(FirstMatch(*found, ends));
  }

  Result<uint32_t> Emit(const RuleExpr& e, uint32_t next) {
    if (full_ || !budget_.Spend(1)) return InvalidArgument("the grammar is too large");
    switch (e.op) {
      case RuleExpr::Op::kText: {
        auto dfa = BuildDfa(e.text, MatchMode::kWhole, budget_);
        if (!dfa.ok()) return std::move(dfa).error();
        out_.texts.push_back(std::make_shared<const Dfa>(*std::move(dfa)));
        return Add({RuleNode::Kind::kText, next, 0, static_cast<int>(out_.texts.size()) - 1});
      }
      case RuleExpr::Op::kFree: {
        TRY(DfaPtr dfa, FreeText(e));
        if (dfa->empty()) return InvalidArgument("an end mark '" + e.until + "' can never appear first");
        out_.texts.push_back(std::move(dfa));
        return Add({RuleNode::Kind::kText, next, 0, static_cast<int>(out_.texts.size()) - 1});
      }
      case RuleExpr::Op::kCall: return Add({RuleNode::Kind::kCall, next, 0, e.index});
      case RuleExpr::Op::kJson: return Add({RuleNode::Kind::kJson, next, 0, e.index});
      case RuleExpr::Op::kTokens: return Add({RuleNode::Kind::kTokens, next, 0, e.index});
      case RuleExpr::Op::kConcat:
        for (size_t i = e.kids.size(); i-- > 0;) {
          TRY(next, Emit(e.kids[i], next));
        }
        return next;
      case RuleExpr::Op::kAlternate: {
        if (e.kids.empty()) return InvalidArgument("an empty choice");
        TRY(uint32_t state, Emit(e.kids.back(), next));
        for (size_t i = e.kids.size() - 1; i-- > 0;) {
          TRY(const uint32_t arm, Emit(e.kids[i], next));
          state = Add({RuleNode::Kind::kSplit, arm, state, 0});
        }
        return state;
      }
      case RuleExpr::Op::kRepeat: {
        // One body for all rounds where there is no upper bound and no count.
        if (e.max == kUnbounded) {
          const uint32_t loop = Add({RuleNode::Kind::kSplit, 0, next, 0});
          TRY(const uint32_t body, Emit(e.kids[0], loop));
          out_.nodes[loop].next = body;
          next = loop;
        } else {
          const uint32_t end = next;
          for (int i = e.min; i < e.max; ++i) {
            TRY(const uint32_t body, Emit(e.kids[0], next));
            next = Add({RuleNode::Kind::kSplit, body, end, 0});
          }
        }
        for (int i = 0; i < e.min; ++i) {
          TRY(next, Emit(e.kids[0], next));
        }
        return next;
      }
    }
    return next;
  }

  RuleSource source_;
  CompileBudget& budget_;
  RuleSet out_;
  std::vector<uint8_t> recurs_, done_;
  std::vector<RuleExpr> simple_;
  bool full_ = false;
};

}  // namespace

RuleExpr RuleExpr::Text(std::string_view bytes) {
  RuleExpr e;
  e.op = Op::kText;
  e.text.root = e.text.Text(bytes);
  return e;
}
RuleExpr RuleExpr::Call(int rule) {
  RuleExpr e;
  e.op = Op::kCall;
  e.index = rule;
  return e;
}
RuleExpr RuleExpr::Concat(std::vector<RuleExpr> kids) {
  RuleExpr e;
  e.kids = std::move(kids);
  return e;
}
RuleExpr RuleExpr::Alternate(std::vector<RuleExpr> kids) {
  RuleExpr e;
  e.op = Op::kAlternate;
  e.kids = std::move(kids);
  return e;
}
RuleExpr RuleExpr::Repeat(RuleExpr kid, int min, int max) {
  RuleExpr e;
  e.op = Op::kRepeat;
  e.min = min;
  e.max = max;
  e.kids.push_back(std::move(kid));
  return e;
}

bool TokenSet::Has(TokenId id) const { return std::binary_search(ids.begin(), ids.end(), id) != except; }

Result<RuleSet> BuildRules(RuleSource source, CompileBudget& budget) { return Builder(std::move(source), budget).Run(); }

}  // namespace sgl
