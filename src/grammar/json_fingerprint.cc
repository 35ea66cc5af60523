// What of a state decides which tokens may follow. Whatever Step reads on the way through one token has to be in here; what it does not
// read has to be left out, or masks would be kept that never come again.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "grammar/json_detail.h"
#include "grammar/json_machine.h"

namespace sgl {
namespace {

using json_detail::ContainsOf;
using json_detail::Mix;
using json_detail::SeenOf;
using json_detail::Words;
using Mode = JsonState::Mode;
using Print = JsonMachine::Print;

constexpr size_t kMaxListed = 256;  // keys and items of one container

void AddPointer(Print& print, const void* p) { print.Add(reinterpret_cast<uintptr_t>(p)); }

// How far away a count is from a bound; beyond `reach` all is far.
uint64_t Distance(uint32_t count, uint32_t bound, uint32_t reach) {
  return count > bound ? ~uint64_t{0} : std::min(bound - count, reach + 1);
}

// Which of the containers' keys or items there are, in any order.
template <class List>
bool AddAll(Print& print, const List* last) {
  uint64_t sum = 0;
  size_t n = 0;
  for (const List* k = last; k != nullptr; k = k->up) {
    if (++n > kMaxListed) return false;
    sum += Mix(k->hash);
  }
  print.Add(sum);
  print.Add(n);
  return true;
}

void AddCounts(Print& print, const JsonFrame& f, uint32_t reach) {
  if (f.object != nullptr) {
    for (size_t w = 0; w < Words(f); ++w) print.Add(SeenOf(f)[w]);
    for (const ObjectLocal& local : f.object->locals) {
      if (local.spec == nullptr) continue;
      if (local.spec->max != kEndless)
        print.Add(f.count);
      else if (local.spec->min > 0)
        print.Add(Distance(f.count, local.spec->min - 1, reach));
    }
    return;
  }
  const size_t n = f.plan->locals.size();
  if (f.array->counts_contains) {
    print.Add(f.count);
    for (size_t i = 0; i < n; ++i) print.Add(ContainsOf(f)[i]);
  }
  for (const ArraySpec* a : f.array->locals) {
    if (a == nullptr) continue;
    print.Add(std::min<size_t>(f.count, a->prefix.size()));
    if (a->min > 0) print.Add(Distance(f.count, a->min - 1, reach));
    if (a->max != kEndless) print.Add(Distance(f.count, a->max, reach));
  }
}

bool AddFrame(Print& print, const JsonFrame& f, uint32_t reach) {
  AddPointer(print, f.plan);
  AddPointer(print, f.member);
  print.Add(uint64_t{f.object != nullptr} | uint64_t{f.must} << 1 | uint64_t{f.need_hash} << 2 | uint64_t{f.item_hash} << 3);
  if (f.depth + reach >= JsonMachine::kMaxDepth) print.Add(f.depth);
  const size_t n = f.plan->locals.size();
  for (size_t i = 0; i < n; i += 32) {  // two bits each
    uint64_t verdicts = 0;
    for (size_t k = i; k < std::min(n, i + 32); ++k) verdicts = verdicts << 2 | LocalsOf(f)[k];
    print.Add(verdicts);
  }
  AddCounts(print, f, reach);
  if (f.need_hash) print.Add(f.hash), print.Add(f.key_hash);
  if (f.object != nullptr) return AddAll(print, f.keys);
  return !f.array->unique || AddAll(print, f.items);
}

}  // namespace

void JsonMachine::PrintNumber(const State& s, uint32_t digits, Print* print) const {
  const NumberText& t = s.number;
  const std::vector<Tri>& start = s.plan->start[TypeIndex(kNumberBit)];
  bool exact = s.need_hash || t.in_exponent() || t.count + t.extra + digits >= 300;
  print->Add(static_cast<uint64_t>(t.at) | uint64_t{t.negative} << 8);
  for (size_t i = 0; i < start.size() && !exact; ++i) {
    if (start[i] != kOpen) continue;
    const auto alike = plans_.schema().nodes[static_cast<size_t>(s.plan->locals[i])].number->Alike(t, digits);
    exact = !alike;
    if (alike) print->Add(*alike);
  }
  if (s.must && s.plan->open_numbers != 0)
    for (const NumberSpec* n : plans_.Number(*s.plan).any_of) {
      if (exact) break;
      const auto alike = n->Alike(t, digits);
      exact = !alike;
      if (alike) print->Add(*alike);
    }
  if (!exact) return;
  print->Add(static_cast<uint64_t>(t.digits));
  print->Add(static_cast<uint64_t>(t.digits >> 64));
  print->Add(uint64_t{t.count} | uint64_t{t.fraction} << 8 | uint64_t{t.extra} << 16 | uint64_t{t.past} << 32 |
             uint64_t{static_cast<uint16_t>(t.exponent)} << 48);
  print->Add(uint64_t{t.rounded} | uint64_t{t.point} << 1 | uint64_t{t.exp_negative} << 2);
}

bool JsonMachine::Fingerprint(const State& s, const Reach& most, Print* print) const {
  const uint32_t reach = most.bytes;
  *print = {};
  print->Add(static_cast<uint64_t>(s.mode));
  bool value = true;
  switch (s.mode) {
    case Mode::kDone: return false;
    case Mode::kFirstItem:
    case Mode::kFirstKey:
    case Mode::kNextKey:
    case Mode::kAfterValue: value = false; [[fallthrough]];
    case Mode::kValue:
    case Mode::kColon: print->Add(uint64_t{s.space} << 1 | uint64_t{s.separated}); break;
    case Mode::kKey:
      value = false;
      print->Add(uint64_t{s.s0} << 32 | s.s1);
      print->Add(uint64_t{s.escape} | uint64_t{s.pending} << 8 | uint64_t{s.hex} << 16 | uint64_t{s.high} << 32);
      // Keys that nobody named are told apart by their bytes.
      print->Add(s.hash);
      print->Add(s.size);
      break;
    case Mode::kString: {
      const StringPlan& p = *s.string;
      AddPointer(*print, &p);
      print->Add(s.s0);
      print->Add(uint64_t{s.escape} | uint64_t{s.pending} << 8 | uint64_t{s.hex} << 16 | uint64_t{s.high} << 32);
      if (!p.simple) {
        if (p.has_lengths) print->Add(s.size);
      } else if (p.has_finite) {
        print->Add(s.size);
      } else {
        if (p.max != kEndless) print->Add(std::min(p.max - s.size, reach + p.slack + 1));
        if (p.min > 0) print->Add(Distance(s.size, p.min - 1, reach));
      }
      if (s.need_hash || (!p.words.empty() && OnlyOnce(s))) print->Add(s.hash);
      break;
    }
    case Mode::kNumber: PrintNumber(s, most.digits, print); break;
    case Mode::kLiteral: print->Add(uint64_t{s.word} << 8 | s.literal); break;
  }
  if (value) {
    AddPointer(*print, s.plan);
    AddPointer(*print, s.member);
    print->Add(uint64_t{s.must} << 1 | uint64_t{s.need_hash});
    if (s.top != nullptr && s.top->object != nullptr && s.top->item_hash) print->Add(s.key_hash);
  }
  // As many containers as can be closed, and the one that goes on then; where a verdict is open it is for those around to say.
  uint32_t left = most.closers + 1;
  for (const JsonFrame* f = s.top; f != nullptr; f = f->up) {
    if (!AddFrame(*print, *f, reach)) return false;
    if (left > 0) --left;
    if (left == 0 && f->must) break;
    if (f->up == nullptr) print->Add(1);
  }
  return true;
}

}  // namespace sgl
