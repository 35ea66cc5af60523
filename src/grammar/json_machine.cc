// SPDX-License-Identifier: Apache-2.0
#include "grammar/json_machine.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "grammar/json_detail.h"

namespace sgl {

using json_detail::ContainsOf;
using json_detail::Copy;
using json_detail::FrameBytes;
using json_detail::kHashStart;
using json_detail::Missing;
using json_detail::Mix;
using json_detail::Owed;
using json_detail::Scratch;
using json_detail::Seen;
using json_detail::SeenOf;

namespace {

using Mode = JsonState::Mode;
constexpr const char* kWords[] = {"null", "true", "false"};
constexpr JsonTypeBit kWordBits[] = {kNullBit, kTrueBit, kFalseBit};

}  // namespace

Result<JsonSpacing> JsonSpacing::Pattern(std::string_view regex) {
  CompileBudget budget{1'000'000, nullptr};
  TRY(DfaPtr dfa, RegexDfa(regex, MatchMode::kWhole, budget));
  for (int c = 0; c < 256; ++c)
    if (c != ' ' && c != '\n' && c != '\t' && c != '\r')
      for (uint32_t s = 0; s < dfa->size(); ++s)
        if (dfa->Step(s, static_cast<uint8_t>(c)) != kDeadState) return InvalidArgument("the white space pattern matches other characters");
  if (dfa->empty()) return InvalidArgument("the white space pattern matches nothing");
  return JsonSpacing{dfa, dfa};
}
Result<JsonSpacing> JsonSpacing::Any() { return Pattern("[ \\n\\t\\r]*"); }
Result<JsonSpacing> JsonSpacing::Compact() {
  TRY(JsonSpacing one, Pattern(" "));
  TRY(JsonSpacing none, Pattern(""));
  return JsonSpacing{one.after_separator, none.elsewhere};
}

JsonState JsonMachine::Start() const {
  JsonState s;
  s.plan = &plans_.root();
  return s;
}

bool JsonMachine::complete(const State& s) const {
  if (s.mode == Mode::kDone) return true;
  if (s.top != nullptr || s.mode != Mode::kNumber || !s.number.complete()) return false;
  State end = s;
  FrameArena scratch;
  return EndNumber(end, scratch);
}

// ---- what is still possible ----

// Verdicts of the value that `member` puts into `up`: may they be so?
bool JsonMachine::VerdictsPossible(const JsonFrame* up, const MemberPlan* member, const Tri* verdicts) const {
  if (up == nullptr) return (verdicts[0] & kTrue) != 0;
  std::vector<Tri> locals(LocalsOf(*up), LocalsOf(*up) + up->plan->locals.size());
  bool changed = false;
  for (size_t i = 0; i < locals.size(); ++i) {
    if (locals[i] == kFalse) continue;
    for (const int r : member->needs[i])
      if ((verdicts[r] & kTrue) == 0) locals[i] = kFalse, changed = true;
    if (member->never[i] != 0) locals[i] = kFalse, changed = true;
    if (up->array == nullptr || !up->array->counts_contains || member->contains[i] < 0) continue;
    // As many items as `contains` still misses may be all that there is room for.
    const ArraySpec& a = *up->array->locals[i];
    const Tri found = verdicts[member->contains[i]];
    uint32_t room = a.max == kEndless || a.max <= up->count ? kEndless : a.max - up->count - 1;
    if (up->must) room = std::min(room, up->array->ChancesFrom(i, size_t{up->count} + 1));
    const uint32_t seen = ContainsOf(*up)[i];
    if ((found == kFalse && room != kEndless && seen + room < a.min_contains) || (found == kTrue && seen >= a.max_contains))
      locals[i] = kFalse, changed = true;
  }
  return !changed || FramePossible(*up, locals.data());
}

bool JsonMachine::FramePossible(const JsonFrame& f, const Tri* locals) const {
  const ValuePlan& plan = *f.plan;
  if (Simple(f)) return std::none_of(locals, locals + plan.locals.size(), [](Tri t) { return t == kFalse; });
  std::vector<Tri> values;
  Evaluate(
      plan, locals,
      [&](int i) {
        return f.object == nullptr ? kFalse : Seen(f, static_cast<size_t>(f.object->seen_name[static_cast<size_t>(i)])) ? kTrue : kOpen;
      },
      values);
  std::vector<Tri> verdicts;
  for (const int r : plan.roots) verdicts.push_back(values[static_cast<size_t>(r)]);
  if (f.must) return std::all_of(verdicts.begin(), verdicts.end(), [](Tri t) { return (t & kTrue) != 0; });
  return VerdictsPossible(f.up, f.member, verdicts.data());
}

bool JsonMachine::ValuePossible(const State& s, const Tri* locals, JsonTypeBit type) const {
  const ValuePlan& plan = *s.plan;
  std::vector<Tri> values;
  Evaluate(
      plan, locals, [&](int) { return type == kObjectBit ? kOpen : kFalse; }, values);
  std::vector<Tri> verdicts;
  for (const int r : plan.roots) verdicts.push_back(values[static_cast<size_t>(r)]);
  if (s.must) return std::all_of(verdicts.begin(), verdicts.end(), [](Tri t) { return (t & kTrue) != 0; });
  return VerdictsPossible(s.top, s.member, verdicts.data());
}

// ---- beginning a value ----

bool JsonMachine::BeginValue(State& s, const MemberPlan& full) const {
  const JsonFrame& f = *s.top;
  const bool simple = Simple(f);
  const MemberPlan& member = simple ? full : plans_.Reduce(full, LocalsOf(f));
  s.plan = member.child;
  s.member = &member;
  s.mode = Mode::kValue;
  s.space = 0;
  s.need_hash = f.item_hash;
  if (member.any_never) {
    std::vector<Tri> locals(LocalsOf(f), LocalsOf(f) + f.plan->locals.size());
    for (size_t i = 0; i < locals.size(); ++i)
      if (member.never[i] != 0) locals[i] = kFalse;
    if (!FramePossible(f, locals.data())) return false;
  }
  if ((simple && member.all_needed) || (s.plan->wanted.size() == 1 && s.plan->wanted[0] == kAnyNode)) {
    s.must = true;
    return plans_.Types(*s.plan) != 0;
  }
  // Needed: without any one verdict the rest cannot hold.
  s.must = true;
  std::vector<Tri> verdicts(s.plan->roots.size(), kOpen);
  for (size_t r = 0; r < verdicts.size() && s.must; ++r) {
    verdicts[r] = kFalse;
    s.must = !VerdictsPossible(&f, &member, verdicts.data());
    verdicts[r] = kOpen;
  }
  if (s.must) return plans_.Types(*s.plan) != 0;
  for (size_t t = 0; t < 7; ++t)
    if (ValuePossible(s, s.plan->start[t].data(), static_cast<JsonTypeBit>(1 << t))) return true;
  return false;
}

bool JsonMachine::Enter(State& s, JsonTypeBit type, FrameArena& arena) const {
  const ValuePlan& plan = *s.plan;
  const std::vector<Tri>& start = plan.start[TypeIndex(type)];
  if (s.must) {
    if ((plans_.Types(plan) & type) == 0) return false;
  } else if (!ValuePossible(s, start.data(), type)) {
    return false;
  }
  s.hash = kHashStart;
  if ((type & (kNullBit | kTrueBit | kFalseBit)) != 0 && OnlyOnce(s) && Used(*s.top, Mix(1000u + TypeIndex(type)))) return false;
  if (type == kStringBit) {
    s.mode = Mode::kString;
    s.string = &plans_.String(plan, s.must);
    s.s0 = s.size = 0;
    s.escape = s.pending = 0;
    s.high = 0;
    if (s.string->too_large) return false;
    if (!s.string->words.empty() && OnlyOnce(s) && !WordLeft(s)) return false;
    return s.string->simple || StringPossible(s);
  }
  if (type != kArrayBit && type != kObjectBit) return true;
  if (s.top != nullptr && s.top->depth >= kMaxDepth) return false;
  JsonFrame head;
  head.up = s.top;
  head.plan = &plan;
  head.member = s.member;
  if (type == kObjectBit)
    head.object = &plans_.Object(plan);
  else
    head.array = &plans_.Array(plan);
  if (head.object != nullptr && head.object->too_large) return false;
  head.hash = kHashStart;
  head.key_hash = s.key_hash;
  head.depth = s.top != nullptr ? s.top->depth + 1 : 0;
  head.must = s.must;
  head.need_hash = s.need_hash;
  head.item_hash = s.need_hash || (head.array != nullptr && head.array->unique);
  const size_t size = FrameBytes(head);
  auto* f = static_cast<JsonFrame*>(arena.Allocate(size));
  std::memcpy(static_cast<void*>(f), &head, sizeof(JsonFrame));
  std::memset(reinterpret_cast<std::byte*>(f) + sizeof(JsonFrame), 0, size - sizeof(JsonFrame));
  std::copy(start.begin(), start.end(), LocalsOf(*f));
  if (Simple(*f)) std::replace(LocalsOf(*f), LocalsOf(*f) + start.size(), kFalse, kTrue);  // of other types: nothing to fail
  s.top = f;
  s.mode = type == kObjectBit ? Mode::kFirstKey : Mode::kFirstItem;
  s.space = 0;
  s.separated = false;
  Refresh(*f);
  return true;
}

// What follows from a frame's counts; called whenever it is made.
void JsonMachine::Refresh(JsonFrame& f) const {
  Tri* locals = LocalsOf(f);
  const size_t n = f.plan->locals.size();
  const bool simple = Simple(f);
  if (f.object != nullptr) {
    f.full = false;
    for (size_t i = 0; i < n; ++i) {
      if (locals[i] == kFalse || f.object->locals[i].spec == nullptr) continue;
      const ObjectSpec& o = *f.object->locals[i].spec;
      if (o.max != kEndless && f.count + Owed(f, f.object->locals[i]) >= o.max && simple) f.full = true;
      if (!simple || o.max != kEndless) locals[i] = ObjectTri(f, i, false);
    }
    if (!simple && f.object->bounded) {
      std::vector<Tri> with_one_more(locals, locals + n);
      for (size_t i = 0; i < n; ++i) {
        const ObjectLocal& local = f.object->locals[i];
        if (local.spec != nullptr && local.spec->max != kEndless && f.count + 1 + Owed(f, local) > local.spec->max)
          with_one_more[i] = kFalse;
      }
      f.full = !std::equal(with_one_more.begin(), with_one_more.end(), locals) && !FramePossible(f, with_one_more.data());
    }
    f.view = &plans_.View(*f.plan, *f.object, locals, f.must);
  } else {
    for (size_t i = 0; i < n; ++i)
      if (locals[i] != kFalse && f.array->locals[i] != nullptr) locals[i] = ArrayTri(f, i, false);
  }
}

Tri JsonMachine::ObjectTri(const JsonFrame& f, size_t i, bool at_end) const {
  const Tri now = LocalsOf(f)[i];
  const ObjectLocal& local = f.object->locals[i];
  if (now == kFalse || local.spec == nullptr) return now;
  const ObjectSpec& o = *local.spec;
  const uint32_t missing = Missing(f, local.required);
  bool dependents = true;
  for (const auto& [name, needed] : local.dependent) dependents = dependents && (!Seen(f, name) || Missing(f, needed) == 0);
  if (at_end) return missing == 0 && f.count >= o.min && f.count <= o.max && dependents ? kTrue : kFalse;
  if (o.max != kEndless && f.count + Owed(f, local) > o.max) return kFalse;
  if (missing == 0 && f.count >= o.min && o.max == kEndless && local.dependent.empty() && local.closed && Missing(f, local.open) == 0)
    return kTrue;
  return kOpen;
}

Tri JsonMachine::ArrayTri(const JsonFrame& f, size_t i, bool at_end) const {
  const Tri now = LocalsOf(f)[i];
  const ArraySpec* a = f.array->locals[i];
  if (now == kFalse || a == nullptr) return now;
  const uint32_t found = a->contains >= 0 ? ContainsOf(f)[i] : 0;
  const uint32_t wanted = a->contains >= 0 && found < a->min_contains ? a->min_contains - found : 0;
  if (f.count > a->max || found > a->max_contains) return kFalse;
  if (at_end) return f.count >= a->min && wanted == 0 ? kTrue : kFalse;
  if (a->max != kEndless && a->max - f.count < wanted) return kFalse;
  if (wanted > 0 && f.must && f.array->ChancesFrom(i, f.count) < wanted) return kFalse;
  if (f.count >= a->min && wanted == 0 && a->max == kEndless && a->max_contains == kEndless && !a->unique && a->items == kAnyNode &&
      f.count >= a->prefix.size())
    return kTrue;
  return kOpen;
}

// ---- ending a value ----

// locals: the value's, decided; null: all true.
bool JsonMachine::EndValue(State& s, const Tri* locals, uint64_t hash, FrameArena& arena, const JsonFrame* self) const {
  const ValuePlan& plan = *s.plan;
  const Tri* verdicts = nullptr;  // all true
  if (locals != nullptr) {
    std::vector<Tri>& values = Scratch(0);
    std::vector<Tri>& out = Scratch(1);
    const auto seen = [&](int i) {
      return self != nullptr && self->object != nullptr && Seen(*self, static_cast<size_t>(self->object->seen_name[static_cast<size_t>(i)]))
                 ? kTrue
                 : kFalse;
    };
    Evaluate(plan, locals, seen, values);
    out.clear();
    for (const int r : plan.roots) out.push_back(values[static_cast<size_t>(r)]);
    verdicts = out.data();
    if (s.must)
      for (const Tri t : out)
        if (t == kFalse) return false;
  }
  if (s.top == nullptr) {
    if (verdicts != nullptr && verdicts[0] == kFalse) return false;
    s.mode = Mode::kDone;
    return true;
  }
  const JsonFrame& old = *s.top;
  const MemberPlan& member = *s.member;
  const size_t n = old.plan->locals.size();
  JsonFrame* f = Copy(old, arena);
  Tri* now = LocalsOf(*f);
  bool failed = false;
  for (size_t i = 0; i < n; ++i) {
    if (now[i] == kFalse) continue;
    bool bad = member.never[i] != 0;
    if (verdicts != nullptr)
      for (const int r : member.needs[i]) bad = bad || verdicts[r] == kFalse;
    if (f->array != nullptr && f->array->counts_contains && member.contains[i] >= 0 &&
        (verdicts == nullptr || verdicts[member.contains[i]] == kTrue))
      ++ContainsOf(*f)[i];
    if (bad) now[i] = kFalse, failed = true;
  }
  if (f->array != nullptr) {
    ++f->count;
    if (f->array->unique) {
      bool twice = false;
      for (const SeenItem* k = f->items; k != nullptr && !twice; k = k->up) twice = k->hash == hash;
      if (twice)
        for (size_t i = 0; i < n; ++i)
          if (now[i] != kFalse && f->array->locals[i] != nullptr && f->array->locals[i]->unique) now[i] = kFalse, failed = true;
      auto* item = static_cast<SeenItem*>(arena.Allocate(sizeof(SeenItem)));
      *item = {f->items, hash, s.mode == Mode::kNumber ? std::optional(s.number.value()) : std::nullopt};
      f->items = item;
    }
    f->hash = Mix(f->hash * 31 + hash);
  } else {
    f->hash += Mix(hash ^ Mix(s.key_hash));
  }
  Refresh(*f);
  const bool simple = Simple(*f);
  if (simple ? failed || std::any_of(now, now + n, [](Tri t) { return t == kFalse; }) : !FramePossible(*f, now)) return false;
  s.top = f;
  s.mode = Mode::kAfterValue;
  s.space = 0;
  s.separated = false;
  return true;
}

bool JsonMachine::EndContainer(State& s, FrameArena& arena) const {
  const JsonFrame& f = *s.top;
  const size_t n = f.plan->locals.size();
  const bool simple = Simple(f);
  std::vector<Tri>& locals = Scratch(2);
  locals.resize(n);
  for (size_t i = 0; i < n; ++i) {
    locals[i] = f.object != nullptr ? ObjectTri(f, i, true) : ArrayTri(f, i, true);
    if (locals[i] == kOpen) locals[i] = kTrue;  // nothing is left that could fail
    if (simple && locals[i] == kFalse) return false;
  }
  s.plan = f.plan;
  s.member = f.member;
  s.must = f.must;
  s.top = f.up;
  s.key_hash = f.key_hash;
  return EndValue(s, simple ? nullptr : locals.data(), Mix(f.hash + (f.object != nullptr ? 11 : 12)), arena, &f);
}

// ---- items ----

bool JsonMachine::Used(const JsonFrame& f, uint64_t hash) {
  for (const SeenItem* k = f.items; k != nullptr; k = k->up)
    if (k->hash == hash) return true;
  return false;
}

// Of the few values that an item can have one is not in the array yet.
bool JsonMachine::ItemLeft(const State& s) const {
  const uint8_t types = plans_.Types(*s.plan);
  if ((types & (kArrayBit | kObjectBit)) != 0 || !s.must) return true;
  if ((types & kNumberBit) != 0) {
    State number = s;
    number.number = {};
    if (NumberLeft(number)) return true;
  }
  for (const JsonTypeBit type : kWordBits)
    if ((types & type) != 0 && !Used(*s.top, Mix(1000u + TypeIndex(type)))) return true;
  if ((types & kStringBit) == 0) return false;
  State probe = s;
  probe.string = &plans_.String(*s.plan, true);
  probe.hash = kHashStart;
  return probe.string->words.empty() || WordLeft(probe);
}

bool JsonMachine::MoreItems(const JsonFrame& f) const {
  const bool simple = Simple(f);
  if (simple)
    for (const ArraySpec* a : f.array->locals)
      if (a != nullptr && f.count >= a->max) return false;
  State probe;
  probe.top = &f;
  if (!BeginValue(probe, plans_.Item(*f.plan, *f.array, f.count))) return false;
  if (simple) return !f.array->unique || ItemLeft(probe);
  std::vector<Tri> locals(LocalsOf(f), LocalsOf(f) + f.plan->locals.size());
  for (size_t i = 0; i < locals.size(); ++i)
    if (f.array->locals[i] != nullptr && f.count >= f.array->locals[i]->max) locals[i] = kFalse;
  return FramePossible(f, locals.data());
}

// ---- words ----

bool JsonMachine::StepLiteral(State& s, uint8_t b, FrameArena& arena) const {
  const char* word = kWords[s.word];
  if (static_cast<uint8_t>(word[s.literal]) != b) return false;
  ++s.literal;
  if (word[s.literal] != '\0') return true;
  const uint64_t hash = Mix(1000u + s.word);
  if (s.must) return EndValue(s, nullptr, hash, arena);
  return EndValue(s, s.plan->start[TypeIndex(kWordBits[s.word])].data(), hash, arena);
}

// ---- structure ----

bool JsonMachine::StepValue(State& s, uint8_t b, FrameArena& arena) const {
  switch (b) {
    case '{': return Enter(s, kObjectBit, arena);
    case '[': return Enter(s, kArrayBit, arena);
    case '"': return Enter(s, kStringBit, arena);
    case 'n':
    case 't':
    case 'f':
      s.word = b == 'n' ? 0 : b == 't' ? 1 : 2;
      if (!Enter(s, kWordBits[s.word], arena)) return false;
      s.mode = Mode::kLiteral;
      s.literal = 1;
      return true;
    default:
      if (b != '-' && (b < '0' || b > '9')) return false;
      if (!Enter(s, kNumberBit, arena)) return false;
      s.mode = Mode::kNumber;
      s.number = {};
      return StepNumber(s, b, arena);
  }
}

bool JsonMachine::StepContainer(State& s, uint8_t b, FrameArena& arena) const {
  const JsonFrame& f = *s.top;
  const auto begin_key = [&] {
    s.mode = Mode::kKey;
    s.escape = s.pending = 0;
    s.high = 0;
    s.s0 = s.s1 = s.size = 0;
    s.hash = kHashStart;
    return KeyAlive(s);
  };
  switch (s.mode) {
    case Mode::kFirstItem:
      if (b == ']') return EndContainer(s, arena);
      return MoreItems(f) && BeginValue(s, plans_.Item(*f.plan, *f.array, 0)) && StepValue(s, b, arena);
    case Mode::kFirstKey:
      if (b == '}') return EndContainer(s, arena);
      return b == '"' && begin_key();
    case Mode::kNextKey: return b == '"' && begin_key();
    case Mode::kColon:
      if (b != ':') return false;
      s.mode = Mode::kValue;
      s.separated = true;
      s.space = 0;
      return true;
    case Mode::kAfterValue:
      if (b == ',') {
        s.separated = true;
        s.space = 0;
        if (f.array != nullptr) {
          if (!MoreItems(f) || !BeginValue(s, plans_.Item(*f.plan, *f.array, f.count))) return false;
          return true;
        }
        s.mode = Mode::kNextKey;
        return MoreKeys(f);
      }
      return b == (f.array != nullptr ? ']' : '}') && EndContainer(s, arena);
    default: return false;
  }
}

bool JsonMachine::FewMayFollow(const State& s, std::string_view* bytes, std::string* buffer) {
  switch (s.mode) {
    case Mode::kValue: *bytes = " \n\t\r\"{[-0123456789tfn"; return true;
    case Mode::kFirstItem: *bytes = " \n\t\r]\"{[-0123456789tfn"; return true;
    case Mode::kFirstKey: *bytes = " \n\t\r\"}"; return true;
    case Mode::kNextKey: *bytes = " \n\t\r\""; return true;
    case Mode::kColon: *bytes = " \n\t\r:"; return true;
    case Mode::kAfterValue: *bytes = s.top->array != nullptr ? " \n\t\r,]" : " \n\t\r,}"; return true;
    case Mode::kLiteral: *bytes = std::string_view(kWords[s.word] + s.literal, 1); return true;
    case Mode::kNumber: *bytes = "0123456789.eE+- \n\t\r,]}"; return true;
    case Mode::kKey:
    case Mode::kString: break;
    default: return false;
  }
  if (s.escape != 0) {
    *bytes = s.escape == 1 ? "\"\\/bfnrtu" : s.escape == 6 ? "\\" : s.escape == 7 ? "u" : "0123456789abcdefABCDEF";
    return true;
  }
  if (s.mode == Mode::kString || (s.top->view->live[s.s1] != 0 && !s.top->full)) return false;
  // Only names that are known.
  buffer->clear();
  if (s.s0 != kDeadState) {
    const NameTrie& names = *s.top->object->trie;
    const NameTrie::Node& n = names.nodes[s.s0];
    for (uint32_t i = n.first_kid; i < n.first_kid + n.kids; ++i) buffer->push_back(static_cast<char>(names.kid_byte[i]));
    *buffer += n.name >= 0 ? "\\\"" : "\\";
  }
  *bytes = *buffer;
  return true;
}

bool JsonMachine::Step(State& s, uint8_t b, FrameArena& arena) const {
  switch (s.mode) {
    case Mode::kKey:
    case Mode::kString: return StepText(s, b, arena);
    case Mode::kNumber: return StepNumber(s, b, arena);
    case Mode::kLiteral: return StepLiteral(s, b, arena);
    case Mode::kDone: return false;
    default: break;
  }
  const Dfa& space = space_of(s);
  if (b <= ' ') {
    const uint32_t next = space.Step(s.space, b);
    if (next == kDeadState) return false;
    s.space = next;
    return true;
  }
  if (!space.accepts(s.space)) return false;
  return s.mode == Mode::kValue ? StepValue(s, b, arena) : StepContainer(s, b, arena);
}

}  // namespace sgl
