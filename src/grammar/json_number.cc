// Numbers while they are read.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <string_view>

#include "grammar/json_detail.h"
#include "grammar/json_machine.h"

namespace sgl {

using json_detail::Mix;
using json_detail::Scratch;

namespace {

using Mode = JsonState::Mode;

// Equal numbers have equal hashes: integers by all their digits, others as the doubles that they will be read as.
uint64_t NumberHash(Decimal d) {
  if (!IsInteger(d) || d.exponent > kMaxDigits) d = Decimal::FromDouble(ToDouble(d));
  return Mix(static_cast<uint64_t>(d.mantissa) ^ Mix(static_cast<uint64_t>(d.mantissa >> 64) + static_cast<uint64_t>(d.exponent) * 77 + 3));
}

}  // namespace

bool JsonMachine::NumberPossible(const State& s) const {
  const ValuePlan& plan = *s.plan;
  const std::vector<Tri>& start = plan.start[TypeIndex(kNumberBit)];
  if (s.must)
    if (const NumberPlan& numbers = plans_.Number(plan); numbers.known) return numbers.Reachable(s.number);
  const bool simple = s.must && IsConjunction(plan, kNumberBit);
  std::vector<Tri>& locals = Scratch(3);
  locals = start;
  for (size_t i = 0; i < locals.size(); ++i) {
    if (locals[i] != kOpen) continue;
    if (!plans_.schema().nodes[static_cast<size_t>(plan.locals[i])].number->Reachable(s.number)) {
      if (simple) return false;
      locals[i] = kFalse;
    }
  }
  if (simple) return true;
  return ValuePossible(s, locals.data(), kNumberBit) && IntegerPossible(s);
}

// What all assertions say of a whole number.
void JsonMachine::JudgeNumber(const ValuePlan& plan, const NumberText& text, std::vector<Tri>& locals) const {
  locals = plan.start[TypeIndex(kNumberBit)];
  for (size_t i = 0; i < locals.size(); ++i)
    if (locals[i] == kOpen) locals[i] = plans_.schema().nodes[static_cast<size_t>(plan.locals[i])].number->Allows(text) ? kTrue : kFalse;
}

// Several integers are asked for, and the value is known but for an exponent: whether it can be what all of them together allow.
bool JsonMachine::IntegerPossible(const State& s) const {
  using At = NumberText::At;
  const NumberText& text = s.number;
  if (text.at < At::kZero || text.at == At::kInt) return true;
  const std::vector<Tri>& start = s.plan->start[TypeIndex(kNumberBit)];
  std::vector<Tri> locals;
  const auto good = [&](const NumberText& t) {
    JudgeNumber(*s.plan, t, locals);
    return ValuePossible(s, locals.data(), kNumberBit);
  };
  if (text.in_exponent()) return text.AnyExponent(good);
  for (size_t i = 0; i < start.size(); ++i)
    if (start[i] == kOpen && !plans_.schema().nodes[static_cast<size_t>(s.plan->locals[i])].number->integer) return true;
  // A number that is no integer may do as well.
  locals = start;
  for (Tri& l : locals) l = l == kOpen ? kFalse : l;
  if (ValuePossible(s, locals.data(), kNumberBit)) return true;
  if (good(text)) return true;
  return text.at != At::kZero && text.count - text.fraction == 1 && text.AnyExponent(good);
}

// Some number that begins like this is not in the array yet.
bool JsonMachine::NumberLeft(const State& s) const {
  const bool free = s.plan->open_numbers == 0;
  if (s.top->items == nullptr || (free && !s.number.in_exponent())) return true;
  static const NumberSpec anything;
  static const std::vector<const NumberSpec*> any{&anything};
  const NumberPlan& numbers = plans_.Number(*s.plan);
  if (!free && !numbers.known) return true;
  std::vector<Decimal> used;
  for (const SeenItem* k = s.top->items; k != nullptr; k = k->up)
    if (k->number) used.push_back(*k->number);
  if (used.empty()) return true;
  const auto& specs = free ? any : numbers.any_of;
  return std::any_of(specs.begin(), specs.end(), [&](const NumberSpec* n) {
    NumberSpec left = *n;
    left.not_values.insert(left.not_values.end(), used.begin(), used.end());
    return s.number.at == NumberText::At::kStart ? left.Satisfiable() : left.Reachable(s.number);
  });
}

bool JsonMachine::EndNumber(State& s, FrameArena& arena) const {
  if (!s.number.complete()) return false;
  const ValuePlan& plan = *s.plan;
  const Decimal value = s.number.value();
  const uint64_t hash = s.need_hash ? NumberHash(value) : 0;
  if (plan.open_numbers == 0 && s.must) return EndValue(s, nullptr, hash, arena);
  std::vector<Tri> locals;
  JudgeNumber(plan, s.number, locals);
  return EndValue(s, locals.data(), hash, arena);
}

bool JsonMachine::StepNumber(State& s, uint8_t b, FrameArena& arena) const {
  NumberText next = s.number;
  if (next.Step(b)) {
    s.number = next;
    // What no double holds is refused by most of those who read it, and becomes an infinity for the others.
    if ((!next.in_exponent() || next.at >= NumberText::At::kExp) && !next.finite()) return false;
    return (s.plan->open_numbers == 0 || NumberPossible(s)) && (!OnlyOnce(s) || NumberLeft(s));
  }
  if (!EndNumber(s, arena)) return false;
  return s.mode != Mode::kDone && Step(s, b, arena);
}

}  // namespace sgl
