// Keys of objects: which may be begun, go on and end, and what that means for the object.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "grammar/json_detail.h"
#include "grammar/json_machine.h"

namespace sgl {

using json_detail::Copy;
using json_detail::kHashStart;
using json_detail::Owed;
using json_detail::Seen;
using json_detail::SeenOf;

namespace {
using Mode = JsonState::Mode;
}

bool JsonMachine::NamePossible(const JsonFrame& f, uint32_t name) const {
  if (Seen(f, name)) return false;
  const MemberPlan& member = plans_.Named(*f.plan, *f.object, static_cast<int>(name));
  if (!Simple(f)) {
    static thread_local FrameArena scratch;
    const FrameArena::Mark mark = scratch.mark();
    State after;
    const bool good = AddKey(f, static_cast<int>(name), member, scratch, after) != nullptr;
    scratch.Reset(mark);
    return good;
  }
  for (const ObjectLocal& local : f.object->locals) {
    if (local.spec == nullptr) continue;
    if (local.spec->max != kEndless && f.count + 1 + Owed(f, local, static_cast<int>(name)) > local.spec->max) return false;
    for (const auto& [cause, needed] : local.dependent) {  // what it asks for has to be possible as well
      if (cause != name) continue;
      for (size_t i = 0; i < f.object->names.size(); ++i) {
        if (!TestBit(needed, i) || Seen(f, i) || i == name) continue;
        const MemberPlan& other = plans_.Named(*f.plan, *f.object, static_cast<int>(i));
        if (other.any_never || (other.all_needed && plans_.Types(*other.child) == 0)) return false;
      }
    }
  }
  if (member.all_needed) return !member.any_never && plans_.Types(*member.child) != 0;
  State probe;
  probe.top = &f;
  return BeginValue(probe, member);
}

bool JsonMachine::NamesBelow(const JsonFrame& f, uint32_t node) const {
  const NameTrie::Node& n = f.object->trie->nodes[node];
  for (uint32_t i = n.low; i < n.high; ++i)
    if (NamePossible(f, i)) return true;
  return false;
}

bool JsonMachine::UnnamedLeft(const JsonFrame& f, const State& s) const {
  const KeyView& view = *f.view;
  if (view.live[s.s1] == 0 || f.full) return false;
  if (view.words.empty() || view.words[s.s1] == kEndless) return true;
  // More than all that can have been taken?
  const NameTrie& names = *f.object->trie;
  const auto named = [&](uint32_t node) { return node == kDeadState ? 0 : names.nodes[node].high - names.nodes[node].low; };
  uint64_t taken = named(s.s0);
  for (const SeenKey* k = f.keys; k != nullptr; k = k->up) taken += k->size >= s.size ? 1 : 0;
  if (view.words[s.s1] > taken) return true;
  // Then there are few enough to look at each.
  const MultiDfa& keys = *f.object->keys;
  const auto left = [&](auto&& self, uint32_t s0, uint32_t s1, uint64_t hash, uint32_t size) -> bool {
    if (view.ends[s1] != 0 && (s0 == kDeadState || names.nodes[s0].name < 0)) {
      bool used = false;
      for (const SeenKey* k = f.keys; k != nullptr && !used; k = k->up) used = k->hash == hash && k->size == size;
      if (!used) return true;
    }
    for (int b = 0; b < 256; ++b) {
      const auto byte = static_cast<uint8_t>(b);
      const uint32_t next = keys.Step(s1, byte);
      if (next != kDeadState && view.live[next] != 0 &&
          self(self, s0 == kDeadState ? s0 : names.Step(s0, byte), next, AppendHash(hash, byte), size + 1))
        return true;
    }
    return false;
  };
  return left(left, s.s0, s.s1, s.hash, s.size);
}

bool JsonMachine::KeyAlive(const State& s) const {
  const JsonFrame& f = *s.top;
  return UnnamedLeft(f, s) || (s.s0 != kDeadState && NamesBelow(f, s.s0));
}

bool JsonMachine::MoreKeys(const JsonFrame& f) const {
  State begin;
  begin.hash = kHashStart;
  return UnnamedLeft(f, begin) || NamesBelow(f, 0);
}

// The frame with one key more, whose value is still to come; `after` begins that value. Null: the key is not possible. name: -1 where
// nobody named it.
JsonFrame* JsonMachine::AddKey(const JsonFrame& f, int name, const MemberPlan& member, FrameArena& arena, State& after) const {
  after.top = &f;
  if (!BeginValue(after, member)) return nullptr;
  JsonFrame* next = Copy(f, arena);
  ++next->count;
  if (name >= 0) SeenOf(*next)[static_cast<size_t>(name) / 64] |= uint64_t{1} << (name % 64);
  const size_t n = next->plan->locals.size();
  if (Simple(*next)) {
    if (next->object->bounded)
      for (size_t i = 0; i < n; ++i)
        if (next->object->locals[i].spec != nullptr && ObjectTri(*next, i, false) == kFalse) return nullptr;
  } else {
    Tri* locals = LocalsOf(*next);
    for (size_t i = 0; i < n; ++i)
      if (member.never[i] != 0) locals[i] = kFalse;
    // The value is still to come: a local that it could break stays open until then.
    for (size_t i = 0; i < n; ++i) {
      const Tri tri = ObjectTri(*next, i, false);
      const bool harmless = std::all_of(member.needs[i].begin(), member.needs[i].end(),
                                        [&](int r) { return member.child->wanted[static_cast<size_t>(r)] == kAnyNode; });
      if (tri == kFalse || (tri == kTrue && harmless)) locals[i] = tri;
    }
    if (!FramePossible(*next, locals)) return nullptr;
    after.top = next;
    if (!BeginValue(after, member)) return nullptr;
  }
  after.top = next;
  return next;
}

bool JsonMachine::CloseKey(State& s, FrameArena& arena) const {
  const JsonFrame& f = *s.top;
  if (!f.object->keys->boundary(s.s1)) return false;
  const int32_t name = s.s0 != kDeadState ? f.object->trie->nodes[s.s0].name : -1;
  const MemberPlan* member = nullptr;
  if (name >= 0) {
    if (Simple(f) ? !NamePossible(f, static_cast<uint32_t>(name)) : Seen(f, static_cast<size_t>(name))) return false;
    member = &plans_.Named(*f.plan, *f.object, name);
  } else {
    if (f.full) return false;
    for (const SeenKey* k = f.keys; k != nullptr; k = k->up)
      if (k->hash == s.hash && k->size == s.size) return false;
    member = &plans_.Member(*f.plan, *f.object, -1, f.object->keys->accept_id(s.s1));
  }
  State after = s;
  JsonFrame* next = AddKey(f, name, *member, arena, after);
  if (next == nullptr) return false;
  if (name < 0) {
    auto* key = static_cast<SeenKey*>(arena.Allocate(sizeof(SeenKey)));
    *key = {f.keys, s.hash, s.size};
    next->keys = key;
  }
  after.key_hash = s.hash;
  after.mode = Mode::kColon;
  after.space = 0;
  after.separated = false;
  s = after;
  return true;
}

}  // namespace sgl
