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
  const bool simple = s.must && plan.conjunction;
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

// Several integers are asked for, and the value is known but for an exponent: whether it can be what all of them together allow.
bool JsonMachine::IntegerPossible(const State& s) const {
  using At = NumberText::At;
  const NumberText& text = s.number;
  if (text.at < At::kZero || text.at == At::kInt) return true;
  const std::vector<Tri>& start = s.plan->start[TypeIndex(kNumberBit)];
  std::vector<Tri> locals(start.size());
  const auto good = [&](const NumberText& t) {
    for (size_t i = 0; i < start.size(); ++i)
      locals[i] = start[i] != kOpen                                                                 ? start[i]
                  : plans_.schema().nodes[static_cast<size_t>(s.plan->locals[i])].number->Allows(t) ? kTrue
                                                                                                    : kFalse;
    return ValuePossible(s, locals.data(), kNumberBit);
  };
  if (text.in_exponent()) return text.AnyExponent(good);
  for (size_t i = 0; i < start.size(); ++i)
    if (start[i] == kOpen && !plans_.schema().nodes[static_cast<size_t>(s.plan->locals[i])].number->integer) return true;
  // A number that is no integer may do as well.
  for (size_t i = 0; i < start.size(); ++i) locals[i] = start[i] == kOpen ? kFalse : start[i];
  if (ValuePossible(s, locals.data(), kNumberBit)) return true;
  if (good(text)) return true;
  return text.at != At::kZero && text.count - text.fraction == 1 && text.AnyExponent(good);
}

// Some number that begins like this is not in the array yet. The shortest are looked at first; where they are many there are more.
bool JsonMachine::NumberLeft(const State& s) const {
  using At = NumberText::At;
  constexpr size_t kMany = 400;
  const bool free = s.plan->open_numbers == 0;
  if (s.top->items == nullptr || (free && !s.number.in_exponent())) return true;
  const NumberPlan& numbers = plans_.Number(*s.plan);
  if (!free && !numbers.known) return true;
  if (s.number.in_exponent() && s.number.digits == 0) return !Used(*s.top, NumberHash({}));
  std::vector<NumberText> texts{s.number};
  for (size_t i = 0; i < texts.size(); ++i) {
    const NumberText text = texts[i];
    if (text.complete() && (free || numbers.Allows(text)) && !Used(*s.top, NumberHash(text.value()))) return true;
    for (const char c : std::string_view("0123456789.e-")) {
      if (c == '0' && text.at >= At::kExp && text.exponent == 0) continue;  // says nothing
      NumberText next = text;
      if (!next.Step(static_cast<uint8_t>(c)) || ((!next.in_exponent() || next.at >= At::kExp) && !next.finite())) continue;
      if (free || numbers.Reachable(next)) texts.push_back(next);
    }
    if (texts.size() > kMany) return true;
  }
  return false;
}

bool JsonMachine::EndNumber(State& s, FrameArena& arena) const {
  if (!s.number.complete()) return false;
  const ValuePlan& plan = *s.plan;
  const Decimal value = s.number.value();
  const uint64_t hash = s.need_hash ? NumberHash(value) : 0;
  if (plan.open_numbers == 0 && s.must) return EndValue(s, nullptr, hash, arena);
  std::vector<Tri> locals = plan.start[TypeIndex(kNumberBit)];
  for (size_t i = 0; i < locals.size(); ++i)
    if (locals[i] == kOpen)
      locals[i] = plans_.schema().nodes[static_cast<size_t>(plan.locals[i])].number->Allows(s.number) ? kTrue : kFalse;
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
