// SPDX-License-Identifier: Apache-2.0
#include "grammar/json_mask.h"

#include <algorithm>
#include <map>
#include <tuple>

namespace sgl {
namespace {

constexpr size_t kWorthCaching = 24;  // tokens below a node

using Scalar = JsonMachine::Scalar;

// Sixteen bytes at a time.
void OrBits(std::span<const uint32_t> from, std::span<uint32_t> to) {
  using Wide = uint32_t __attribute__((vector_size(16), aligned(4), may_alias));
  size_t w = 0;
  for (; w + 4 <= from.size(); w += 4) *reinterpret_cast<Wide*>(&to[w]) |= *reinterpret_cast<const Wide*>(&from[w]);
  for (; w < from.size(); ++w) to[w] |= from[w];
}

}  // namespace

std::shared_ptr<const ScalarMask> MaskCache::Find(const Key& key) const {
  std::shared_lock lock(mutex_);
  const auto it = masks_.find(key);
  return it == masks_.end() ? nullptr : it->second;
}

void MaskCache::Put(const Key& key, std::shared_ptr<const ScalarMask> mask) {
  if (bytes() + mask->bytes > limit_) return;
  std::unique_lock lock(mutex_);
  const size_t size = mask->bytes;
  if (masks_.emplace(key, std::move(mask)).second) bytes_ += size;
}

bool MaskMemo::Find(const Key& key, std::span<uint32_t> mask) const {
  std::shared_ptr<const Entry> found;
  bool old = false;
  {
    std::shared_lock lock(mutex_);
    auto it = young_.find(key);
    if (it == young_.end()) {
      it = old_.find(key);
      if (it == old_.end()) return false;
      old = true;
    }
    found = it->second;
  }
  if (old) {
    std::unique_lock lock(mutex_);
    Add(key, found);
  }
  for (const TokenId id : found->few) mask[static_cast<size_t>(id) / 32] |= 1u << (id % 32);
  OrBits(found->bits, mask);
  return true;
}

void MaskMemo::Put(const Key& key, std::span<const uint32_t> mask) {
  auto entry = std::make_shared<Entry>();
  size_t count = 0;
  for (const uint32_t w : mask) count += static_cast<size_t>(__builtin_popcount(w));
  if (count > mask.size()) {
    entry->bits.assign(mask.begin(), mask.end());
  } else {
    entry->few.reserve(count);
    for (size_t w = 0; w < mask.size(); ++w)
      for (uint32_t bits = mask[w]; bits != 0; bits &= bits - 1)
        entry->few.push_back(static_cast<TokenId>(w * 32 + static_cast<size_t>(__builtin_ctz(bits))));
  }
  entry->bytes = sizeof(Entry) + 100 + (entry->few.size() + entry->bits.size()) * 4;
  std::unique_lock lock(mutex_);
  Add(key, std::move(entry));
}

void MaskMemo::Add(const Key& key, std::shared_ptr<const Entry> entry) const {
  const size_t size = entry->bytes;
  if (young_bytes_ + size > limit_ / 2) {
    old_ = std::move(young_);
    old_bytes_ = young_bytes_;
    young_.clear();
    young_bytes_ = 0;
  }
  if (young_.emplace(key, std::move(entry)).second) young_bytes_ += size;
  bytes_ = young_bytes_ + old_bytes_;
}

void JsonMasker::Fill(const JsonState& state, FrameArena& arena, std::span<uint32_t> mask) {
  MaskMemo::Key print;
  const bool known = machine_.Fingerprint(state, {trie_.longest(), trie_.closers(), trie_.digits()}, &print);
  if (known && own_.whole.Find(print, mask)) return;
  static thread_local std::vector<uint32_t> found;
  found.assign(mask.size(), 0);
  arena_ = &arena;
  mask_ = found;
  work_ = 0;
  ended_ = false;
  const FrameArena::Mark mark = arena.mark();
  Walk(trie_, TokenTrie::kRoot, state, 0);
  arena.Reset(mark);
  OrBits(found, mask);
  if (known && !ended_ && work_ >= kWorthKeeping) own_.whole.Put(print, found);
}

std::deque<JsonState>& JsonMasker::States() {
  static thread_local std::deque<JsonState> states;
  return states;
}

// Everything below `node`, which `state` has just read. level: states_ below it are in use.
void JsonMasker::Walk(const TokenTrie& trie, uint32_t node, const JsonState& state, size_t level) {
  if (&trie == &trie_ && trie.subtree(node).size() >= kWorthCaching && UseCache(node, state, level)) return;
  if (states_.size() <= level) states_.resize(level + 1);
  states_[level] = state;
  Children(trie, node, level);
}

void JsonMasker::Children(const TokenTrie& trie, uint32_t node, size_t level) {
  const JsonState& state = states_[level];
  std::string_view few;
  std::string buffer;
  const bool open_end = on_end_ && state.mode == JsonState::Mode::kNumber;
  const bool only_few = !open_end && JsonMachine::FewMayFollow(state, &few, &buffer);
  if (only_few && trie.wide(node)) {
    for (const char c : few)
      if (const uint32_t child = trie.Child(node, static_cast<uint8_t>(c)); child != TokenTrie::kNone) Visit(trie, child, level);
    return;
  }
  const uint32_t end = trie.end(node);
  for (uint32_t i = node + 1; i < end; i = trie.end(i))
    if (!only_few || few.find(static_cast<char>(trie.byte(i))) != std::string_view::npos) Visit(trie, i, level);
}

// A child of the node that states_[level] has read.
void JsonMasker::Visit(const TokenTrie& trie, uint32_t child, size_t level) {
  ++work_;
  if (states_.size() <= level + 1) states_.resize(level + 2);
  const JsonState& before = states_[level];
  JsonState& next = states_[level + 1];
  const FrameArena::Mark mark = arena_->mark();
  next = before;
  if (!machine_.Step(next, trie.byte(child), *arena_)) {
    // A number at the top ends where it is not continued. At a token's start that has been looked at by whoever holds the state.
    if (on_end_ && (trie.depth(child) > 1 || &trie != &trie_) && before.top == nullptr && machine_.complete(before)) {
      arena_->Reset(mark);
      Ended(trie, child, false);
    }
    arena_->Reset(mark);
    return;
  }
  Allow(trie.tokens(child));
  if (machine_.finished(next)) {
    if (on_end_) Ended(trie, child, true);
  } else if (trie.end(child) > child + 1 &&
             !(&trie == &trie_ && trie.subtree(child).size() >= kWorthCaching && UseCache(child, next, level + 2))) {
    Children(trie, child, level + 1);
  }
  arena_->Reset(mark);
}

bool JsonMasker::UseCache(uint32_t node, const JsonState& state, size_t level) {
  MaskCache::Key key{{}, node};
  if (!machine_.scalar_key(state, trie_.longest(), &key.scalar)) return false;
  MaskCache& cache = key.scalar.shared ? shared_ : own_.scalars;
  std::shared_ptr<const ScalarMask> found = cache.Find(key);
  if (!found) {
    found = Build(node, state, key.scalar);
    cache.Put(key, found);
  }
  work_ += found->exits.size() + found->groups.size();
  const ScalarMask& m = *found;
  OrBits(m.inside_bits, mask_);
  if (key.scalar.any_room) OrBits(m.within[std::min<size_t>(state.string->max - state.size, m.within.size() - 1)], mask_);
  Allow(m.inside);
  for (const ScalarMask::Group& group : m.groups) {
    JsonState at = state;
    at.s0 = group.s0;
    at.size = state.size + group.size;
    if (!machine_.StringPossible(at)) continue;
    Allow(group.ids);
    OrBits(group.bits, mask_);
  }
  const FrameArena::Mark mark = arena_->mark();
  const bool named = state.mode == JsonState::Mode::kKey && key.scalar.shared;
  for (const ScalarMask::Exit& exit : m.exits) {
    JsonState at = state;
    at.s0 = named ? kDeadState : exit.s0;
    at.s1 = exit.s1;
    at.size = state.size + exit.size;
    at.escape = at.pending = 0;
    at.high = 0;
    if (named) at.hash = ~uint64_t{0};  // of no key: those that are there are taken out below
    const bool good = exit.how == Scalar::kClose ? machine_.Close(at, *arena_) : (at.number.at = exit.at, machine_.EndNumber(at, *arena_));
    if (good) {
      Allow(exit.tails->tokens(TokenTrie::kRoot));
      if (at.mode != JsonState::Mode::kDone)
        Walk(*exit.tails, TokenTrie::kRoot, at, level);
      else if (on_end_)
        Ended(*exit.tails, TokenTrie::kRoot, true);
    }
    arena_->Reset(mark);
  }
  if (state.mode == JsonState::Mode::kKey) {
    for (const SeenKey* k = state.top->keys; k != nullptr; k = k->up) {
      if (k->size < state.size) continue;
      const uint32_t rest = k->size - state.size;
      const ScalarMask::Closer want{JsonMachine::TailHash(k->hash, state.hash, rest), rest, 0};
      for (auto it = std::lower_bound(m.closers.begin(), m.closers.end(), want); it != m.closers.end() && !(want < *it); ++it)
        mask_[static_cast<size_t>(it->token) / 32] &= ~(1u << (it->token % 32));
    }
    if (named && state.s0 != kDeadState && state.escape == 0) NamedKeys(state.s0, node, state, level);
  }
  if (m.unsure) Walk(*m.unsure, TokenTrie::kRoot, state, level);
  arena_->Reset(mark);
  for (const auto& [path, to] : m.later) {
    JsonState at = state;
    bool good = true;
    for (size_t i = 0; i < path.size() && good; ++i) good = machine_.Step(at, static_cast<uint8_t>(path[i]), *arena_);
    if (good) {
      Allow(trie_.tokens(to));
      Walk(trie_, to, at, level);
    }
    arena_->Reset(mark);
  }
  return true;
}

// Tokens that close a key with a known name were taken for keys nobody named: they are looked at again.
void JsonMasker::NamedKeys(uint32_t name, uint32_t node, const JsonState& state, size_t level) {
  const NameTrie& names = *state.top->object->trie;
  if (names.nodes[name].name >= 0) {
    const uint32_t quote = trie_.Child(node, '"');
    if (quote != TokenTrie::kNone) {
      for (const TokenId id : trie_.subtree(quote)) mask_[static_cast<size_t>(id) / 32] &= ~(1u << (id % 32));
      JsonState at = state;
      at.s0 = name;
      at.s1 = 0;  // between characters
      at.escape = at.pending = 0;
      at.hash = state.hash;
      const FrameArena::Mark mark = arena_->mark();
      // The true hash of the whole key, which its value's frame keeps.
      for (const char c : std::string_view(state.top->object->names[static_cast<size_t>(names.nodes[name].name)]).substr(state.size))
        at.hash = JsonMachine::AppendHash(at.hash, static_cast<uint8_t>(c));
      if (machine_.Close(at, *arena_)) {
        Allow(trie_.tokens(quote));
        Walk(trie_, quote, at, level);
      }
      arena_->Reset(mark);
    }
  }
  const NameTrie::Node& n = names.nodes[name];
  for (uint32_t i = n.first_kid; i < n.first_kid + n.kids; ++i) {
    const uint32_t child = trie_.Child(node, names.kid_byte[i]);
    if (child != TokenTrie::kNone) NamedKeys(names.kid_node[i], child, state, level);
  }
}

// What a build has found so far.
struct JsonMasker::Found {
  using Token = std::pair<std::string, TokenId>;  // with what is left of it
  bool is_key = false, tracks = false;
  bool sized = false;  // exits that differ in their number of characters differ
  uint32_t size_before = 0;
  std::vector<TokenId> inside;
  std::vector<uint32_t> sizes;  // of `inside`, where they are asked for
  std::map<std::tuple<int, uint32_t, uint32_t, uint32_t, int>, std::vector<Token>> exits;
  std::map<uint32_t, uint32_t> ends_like;                             // tracks: what accepts the same ends the same
  std::map<std::pair<uint32_t, uint32_t>, ScalarMask::Group> groups;  // tracks: by what is alive, and size
  std::vector<Token> unsure;
};

// Every token below a node, with what is in front of it.
void JsonMasker::Leftovers(uint32_t from, std::string prefix, std::vector<std::pair<std::string, TokenId>>& to) const {
  const size_t head = prefix.size();
  const uint16_t at = trie_.depth(from);
  for (const TokenId id : trie_.tokens(from)) to.emplace_back(prefix, id);
  for (uint32_t i = from + 1; i < trie_.end(from); ++i) {
    prefix.resize(head + static_cast<size_t>(trie_.depth(i) - at) - 1);
    prefix += static_cast<char>(trie_.byte(i));
    for (const TokenId id : trie_.tokens(i)) to.emplace_back(prefix, id);
  }
}

// The scalar ends at node i.
void JsonMasker::AddExit(Found& found, Scalar how, const JsonState& s, uint32_t i, ScalarMask& out) const {
  const uint32_t size = found.sized ? s.size - found.size_before : 0;
  const uint32_t s0 = found.tracks ? found.ends_like.try_emplace(s.string->multi->accept_id(s.s0), s.s0).first->second : s.s0;
  auto& tails = found.exits[{static_cast<int>(how), s0, s.s1, size, static_cast<int>(s.number.at)}];
  Leftovers(i, how == Scalar::kClose ? std::string() : std::string(1, static_cast<char>(trie_.byte(i))), tails);
  if (found.is_key)
    for (const TokenId id : trie_.subtree(i)) out.closers.push_back({s.hash, s.size, id});
}

// Nodes [i, end), all below the node of depth `base`; those one deeper than `path` are read in `state`.
void JsonMasker::Explore(uint32_t i, uint32_t end, uint16_t base, std::string path, const JsonState& state,
                         const JsonMachine::ScalarKey& key, Found& found, ScalarMask& out) const {
  struct At {
    JsonState state;
    bool escaped = false;
  };
  const size_t head = path.size();
  std::vector<At> stack{{state, state.escape != 0}};
  while (i < end) {
    const size_t depth = static_cast<size_t>(trie_.depth(i) - base) - head;
    if (stack.size() <= depth) stack.resize(depth * 2);
    stack[depth] = stack[depth - 1];
    At& next = stack[depth];
    path.resize(head + depth - 1);
    path += static_cast<char>(trie_.byte(i));
    if (trie_.byte(i) == '\\') next.escaped = true;
    const bool in_code = next.state.escape >= 2;
    Scalar how = machine_.StepScalar(next.state, trie_.byte(i), key);
    if (how == Scalar::kClose && found.is_key && next.escaped) how = Scalar::kUnsure;
    // Which characters of a name may be written by their numbers is for the names to say.
    if (how == Scalar::kStay && found.is_key && in_code && next.state.escape == 0) how = Scalar::kUnsure;
    switch (how) {
      case Scalar::kStay: {
        const auto ids = trie_.tokens(i);
        if (found.tracks && !ids.empty()) {
          const JsonState& s = next.state;
          const uint32_t size = found.sized ? s.size - found.size_before : 0;
          ScalarMask::Group& group = found.groups[{s.string->multi->alive_id(s.s0), size}];
          if (group.ids.empty()) group.s0 = s.s0, group.size = size;
          group.ids.insert(group.ids.end(), ids.begin(), ids.end());
        } else {
          found.inside.insert(found.inside.end(), ids.begin(), ids.end());
          // An escape that has begun needs room for its character.
          found.sizes.insert(found.sizes.end(), ids.size(), next.state.size - found.size_before + (next.state.escape != 0 ? 1 : 0));
        }
        ++i;
        continue;
      }
      case Scalar::kDead: break;
      case Scalar::kUnsure:
        if (state.mode == JsonState::Mode::kNumber)
          out.later.emplace_back(path, i);
        else
          Leftovers(i, path, found.unsure);
        break;
      case Scalar::kClose:
      case Scalar::kEndBefore: AddExit(found, how, next.state, i, out); break;
    }
    i = trie_.end(i);
  }
}

// Strings that one automaton judges: nearly every token is a walk through it and nothing else.
void JsonMasker::ExploreText(uint32_t node, const JsonState& state, const JsonMachine::ScalarKey& key, Found& found,
                             ScalarMask& out) const {
  struct At {
    uint32_t s0, size;
    uint8_t pending;
  };
  const StringPlan& p = *state.string;
  const Dfa& dfa = *p.dfa;
  const uint16_t base = trie_.depth(node);
  const uint32_t end = trie_.end(node);
  std::vector<At> stack(trie_.longest() + 2);
  stack[0] = {state.s0, state.size, state.pending};
  JsonState real = state;
  for (uint32_t i = node + 1; i < end;) {
    const size_t depth = static_cast<size_t>(trie_.depth(i) - base);
    const uint8_t b = trie_.byte(i);
    const At& before = stack[depth - 1];
    At& next = stack[depth];
    const uint32_t after = trie_.end(i);
    if (b == '"' || b == '\\') {
      real.s0 = before.s0, real.size = before.size, real.pending = before.pending;
      if (before.pending == 0 && b == '"') AddExit(found, Scalar::kClose, real, i, out);
      if (before.pending == 0 && b == '\\') Explore(i, after, base, std::string(depth - 1, '\0'), real, key, found, out);
      i = after;
      continue;
    }
    const bool more = (b & 0xC0) == 0x80;
    next.s0 = b < 0x20 ? kDeadState : dfa.Step(before.s0, b);
    next.size = before.size + (more ? 0 : 1);
    if (next.s0 == kDeadState || (p.max != kEndless && next.size + dfa.shortest(next.s0) > p.max) ||
        (p.has_finite && dfa.longest(next.s0) != kEndless && next.size + dfa.longest(next.s0) < p.min)) {
      i = after;
      continue;
    }
    next.pending = more ? static_cast<uint8_t>(before.pending - 1) : b >= 0xF0 ? 3 : b >= 0xE0 ? 2 : b >= 0xC0 ? 1 : 0;
    for (const TokenId id : trie_.tokens(i)) {
      found.inside.push_back(id);
      found.sizes.push_back(next.size - found.size_before);
    }
    ++i;
  }
}

std::shared_ptr<const ScalarMask> JsonMasker::Build(uint32_t node, JsonState state, const JsonMachine::ScalarKey& key) const {
  auto out = std::make_shared<ScalarMask>();
  Found found;
  found.is_key = state.mode == JsonState::Mode::kKey;
  if (found.is_key && key.shared) state.s0 = kDeadState;
  state.hash = 0;
  if (found.is_key) state.size = 0;
  const bool text = state.mode == JsonState::Mode::kString;
  found.tracks = text && !state.string->simple;
  found.sized = found.is_key ? !key.shared
                             : text && (found.tracks ? state.string->has_lengths : state.string->min > 0 || state.string->max != kEndless);
  if (key.any_room) state.string = &JsonMachine::FreeText(), state.size = 0;
  found.size_before = state.size;
  if (text && state.string->simple && state.escape == 0 && !state.need_hash)
    ExploreText(node, state, key, found, *out);
  else
    Explore(node + 1, trie_.end(node), trie_.depth(node), "", state, key, found, *out);

  out->bytes = sizeof(ScalarMask) + 200;
  for (auto& [k, tails] : found.exits) {
    ScalarMask::Exit exit;
    exit.how = static_cast<Scalar>(std::get<0>(k));
    exit.s0 = std::get<1>(k);
    exit.s1 = std::get<2>(k);
    exit.size = std::get<3>(k);
    exit.at = static_cast<NumberText::At>(std::get<4>(k));
    exit.tails = std::make_unique<const TokenTrie>(std::move(tails));
    out->bytes += exit.tails->bytes() + sizeof(exit);
    out->exits.push_back(std::move(exit));
  }
  if (!found.unsure.empty()) {
    out->unsure = std::make_unique<const TokenTrie>(std::move(found.unsure));
    out->bytes += out->unsure->bytes();
  }
  for (auto& [k, group] : found.groups) {
    if (group.ids.size() > mask_.size()) {
      group.bits = BitsOf(group.ids);
      group.ids = {};
    }
    out->bytes += (group.ids.size() + group.bits.size()) * 4 + sizeof(group);
    out->groups.push_back(std::move(group));
  }
  std::sort(out->closers.begin(), out->closers.end());
  out->bytes += out->closers.size() * sizeof(ScalarMask::Closer) + out->later.size() * sizeof(out->later[0]);
  if (key.any_room) {
    const uint32_t most = found.sizes.empty() ? 0 : *std::max_element(found.sizes.begin(), found.sizes.end());
    out->within.assign(size_t{most} + 1, std::vector<uint32_t>(mask_.size()));
    for (size_t i = 0; i < found.inside.size(); ++i) {
      const auto id = static_cast<size_t>(found.inside[i]);
      out->within[found.sizes[i]][id / 32] |= 1u << (id % 32);
    }
    for (size_t r = 1; r <= most; ++r) OrBits(out->within[r - 1], out->within[r]);
    out->bytes += (size_t{most} + 1) * (mask_.size() * 4 + sizeof(out->within[0]));
  } else if (found.inside.size() > mask_.size() / 2) {
    out->inside_bits = BitsOf(found.inside);
    out->bytes += out->inside_bits.size() * 4;
  } else {
    out->inside = std::move(found.inside);
    out->bytes += out->inside.size() * 4;
  }
  return out;
}

std::vector<uint32_t> JsonMasker::BitsOf(std::span<const TokenId> ids) const {
  std::vector<uint32_t> bits(mask_.size());
  for (const TokenId id : ids) bits[static_cast<size_t>(id) / 32] |= 1u << (id % 32);
  return bits;
}

}  // namespace sgl
