// Which numbers make a formula over several assertions true.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "grammar/json_plan.h"

namespace sgl {
namespace {

constexpr size_t kMaxLocals = 6;  // 3^6 ways to say true, false or nothing of each
constexpr size_t kMaxSpecs = 48;

}  // namespace

// Every smallest set of verdicts that makes the formula true, whatever the other locals say, is a conjunction of specs and negated ones.
// Smallest, because what need not be ruled out is not: a text may be judged by how it is written, and never too strictly.
std::unique_ptr<NumberPlan> PlanTable::BuildNumber(const ValuePlan& plan) const {
  auto out = std::make_unique<NumberPlan>();
  const std::vector<Tri>& start = plan.start[TypeIndex(kNumberBit)];
  std::vector<size_t> open;
  for (size_t i = 0; i < start.size(); ++i)
    if (start[i] == kOpen) open.push_back(i);
  const auto spec = [&](size_t i) -> const NumberSpec& { return *node(plan.locals[open[i]]).number; };
  if (open.empty() || open.size() > kMaxLocals) return out;
  if (open.size() == 1 && IsConjunction(plan, kNumberBit)) {
    out->known = true;
    out->any_of.push_back(&spec(0));
    return out;
  }
  std::vector<Tri> locals = start, values;
  const auto holds = [&](const std::vector<Tri>& said) {
    for (size_t i = 0; i < open.size(); ++i) locals[open[i]] = said[i];
    Evaluate(
        plan, locals.data(), [](int) { return kFalse; }, values);
    return std::all_of(plan.roots.begin(), plan.roots.end(), [&](int r) { return values[static_cast<size_t>(r)] == kTrue; });
  };
  std::vector<std::vector<Tri>> ways, smallest;
  std::vector<Tri> said(open.size(), kOpen);
  const auto list = [&](auto&& self, size_t i) -> void {
    if (i == open.size()) return ways.push_back(said);
    for (const Tri t : {kOpen, kTrue, kFalse}) {
      said[i] = t;
      self(self, i + 1);
    }
  };
  list(list, 0);
  const auto count = [](const std::vector<Tri>& way) { return std::count(way.begin(), way.end(), kOpen); };
  std::stable_sort(ways.begin(), ways.end(), [&](const auto& a, const auto& b) { return count(a) > count(b); });
  for (const std::vector<Tri>& way : ways) {
    const bool more_than_needed = std::any_of(smallest.begin(), smallest.end(), [&](const std::vector<Tri>& less) {
      for (size_t i = 0; i < way.size(); ++i)
        if (less[i] != kOpen && less[i] != way[i]) return false;
      return true;
    });
    if (!more_than_needed && holds(way)) smallest.push_back(way);
  }
  std::vector<NumberSpec> all;
  for (const std::vector<Tri>& way : smallest) {
    std::vector<NumberSpec> specs(1);
    for (size_t i = 0; i < way.size(); ++i) {
      if (way[i] == kOpen) continue;
      std::vector<NumberSpec> factors;
      if (way[i] == kTrue) {
        factors.push_back(spec(i));
      } else {
        auto negated = spec(i).Not();
        if (!negated) return out;
        factors = *std::move(negated);
      }
      std::vector<NumberSpec> narrowed;
      for (const NumberSpec& a : specs)
        for (const NumberSpec& b : factors)
          if (NumberSpec both = a; both.And(b)) narrowed.push_back(std::move(both));
      specs = std::move(narrowed);
      if (all.size() + specs.size() > kMaxSpecs) return out;
    }
    all.insert(all.end(), specs.begin(), specs.end());
  }
  out->known = true;
  for (NumberSpec& n : all) {
    out->own.push_back(std::make_unique<const NumberSpec>(std::move(n)));
    out->any_of.push_back(out->own.back().get());
  }
  return out;
}

}  // namespace sgl
