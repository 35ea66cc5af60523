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

void JsonMasker::Fill(const JsonState& state, FrameArena& arena, std::span<uint32_t> mask) {
  arena_ = &arena;
  mask_ = mask;
  const FrameArena::Mark mark = arena.mark();
  Walk(trie_, TokenTrie::kRoot, state, 0);
  arena.Reset(mark);
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
  if (states_.size() <= level + 1) states_.resize(level + 2);
  const JsonState& before = states_[level];
  JsonState& next = states_[level + 1];
  const FrameArena::Mark mark = arena_->mark();
  next = before;
  if (!machine_.Step(next, trie.byte(child), *arena_)) {
    // A number at the top ends where it is not continued. At a token's start that has been looked at by whoever holds the state.
    if (on_end_ && (trie.depth(child) > 1 || &trie != &trie_) && before.top == nullptr && machine_.complete(before)) {
      arena_->Reset(mark);
      on_end_(trie, child, false);
    }
    arena_->Reset(mark);
    return;
  }
  Allow(trie.tokens(child));
  if (machine_.finished(next)) {
    if (on_end_) on_end_(trie, child, true);
  } else if (trie.end(child) > child + 1 &&
             !(&trie == &trie_ && trie.subtree(child).size() >= kWorthCaching && UseCache(child, next, level + 2))) {
    Children(trie, child, level + 1);
  }
  arena_->Reset(mark);
}

bool JsonMasker::UseCache(uint32_t node, const JsonState& state, size_t level) {
  MaskCache::Key key{{}, node};
  if (!machine_.scalar_key(state, trie_.longest(), &key.scalar)) return false;
  MaskCache& cache = key.scalar.shared ? shared_ : own_;
  std::shared_ptr<const ScalarMask> found = cache.Find(key);
  if (!found) {
    found = Build(node, state, key.scalar);
    cache.Put(key, found);
  }
  const ScalarMask& m = *found;
  OrBits(m.inside_bits, mask_);
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
        on_end_(*exit.tails, TokenTrie::kRoot, true);
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

std::shared_ptr<const ScalarMask> JsonMasker::Build(uint32_t node, JsonState state, const JsonMachine::ScalarKey& key) {
  auto out = std::make_shared<ScalarMask>();
  const bool is_key = state.mode == JsonState::Mode::kKey;
  if (is_key && key.shared) state.s0 = kDeadState;
  state.hash = 0;
  if (is_key) state.size = 0;
  const uint32_t size_before = state.size;
  // Where nothing counts characters, exits that differ in their number are one.
  const bool tracks = state.mode == JsonState::Mode::kString && !state.string->simple;
  const bool sized = is_key ? !key.shared
                            : state.mode == JsonState::Mode::kString &&
                                  (tracks ? state.string->has_lengths : state.string->min > 0 || state.string->max != kEndless);
  struct At {
    JsonState state;
    bool escaped = false;
  };
  std::vector<At> stack{{state, state.escape != 0}};
  using ExitKey = std::tuple<int, uint32_t, uint32_t, uint32_t, int>;
  std::map<ExitKey, std::vector<std::pair<std::string, TokenId>>> exits;
  std::map<uint32_t, uint32_t> ends_like;                             // tracks: what accepts the same ends the same
  std::map<std::pair<uint32_t, uint32_t>, ScalarMask::Group> groups;  // tracks: by what is alive, and size
  std::vector<std::pair<std::string, TokenId>> unsure;
  std::string path;
  const uint16_t base = trie_.depth(node);
  const uint32_t end = trie_.end(node);
  const auto collect = [&](uint32_t from, std::string prefix, std::vector<std::pair<std::string, TokenId>>& to) {
    const size_t head = prefix.size();
    const uint16_t at = trie_.depth(from);
    for (const TokenId id : trie_.tokens(from)) to.emplace_back(prefix, id);
    for (uint32_t i = from + 1; i < trie_.end(from); ++i) {
      prefix.resize(head + static_cast<size_t>(trie_.depth(i) - at) - 1);
      prefix += static_cast<char>(trie_.byte(i));
      for (const TokenId id : trie_.tokens(i)) to.emplace_back(prefix, id);
    }
  };
  std::vector<TokenId> inside;
  for (uint32_t i = node + 1; i < end;) {
    const size_t depth = static_cast<size_t>(trie_.depth(i) - base);
    if (stack.size() <= depth) stack.resize(depth * 2);
    stack[depth] = stack[depth - 1];
    At& next = stack[depth];
    path.resize(depth - 1);
    path += static_cast<char>(trie_.byte(i));
    if (trie_.byte(i) == '\\') next.escaped = true;
    Scalar how = machine_.StepScalar(next.state, trie_.byte(i), key);
    if (how == Scalar::kClose && is_key && next.escaped) how = Scalar::kUnsure;
    switch (how) {
      case Scalar::kStay: {
        const auto ids = trie_.tokens(i);
        if (tracks && !ids.empty()) {
          const JsonState& s = next.state;
          const uint32_t size = sized ? s.size - size_before : 0;
          ScalarMask::Group& group = groups[{s.string->multi->alive_id(s.s0), size}];
          if (group.ids.empty()) group.s0 = s.s0, group.size = size;
          group.ids.insert(group.ids.end(), ids.begin(), ids.end());
        } else {
          inside.insert(inside.end(), ids.begin(), ids.end());
        }
        ++i;
        continue;
      }
      case Scalar::kDead: break;
      case Scalar::kUnsure:
        if (state.mode == JsonState::Mode::kNumber)
          out->later.emplace_back(path, i);
        else
          collect(i, path, unsure);
        break;
      case Scalar::kClose:
      case Scalar::kEndBefore: {
        const JsonState& s = next.state;
        const uint32_t size = sized ? s.size - size_before : 0;
        const uint32_t s0 = tracks ? ends_like.try_emplace(s.string->multi->accept_id(s.s0), s.s0).first->second : s.s0;
        auto& tails = exits[{static_cast<int>(how), s0, s.s1, size, static_cast<int>(s.number.at)}];
        collect(i, how == Scalar::kClose ? std::string() : std::string(1, static_cast<char>(trie_.byte(i))), tails);
        if (is_key)
          for (const TokenId id : trie_.subtree(i)) out->closers.push_back({s.hash, s.size, id});
        break;
      }
    }
    i = trie_.end(i);
  }
  out->bytes = sizeof(ScalarMask) + 200;
  for (auto& [k, tails] : exits) {
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
  if (!unsure.empty()) {
    out->unsure = std::make_unique<const TokenTrie>(std::move(unsure));
    out->bytes += out->unsure->bytes();
  }
  for (auto& [k, group] : groups) {
    if (group.ids.size() > mask_.size()) {
      group.bits.assign(mask_.size(), 0);
      for (const TokenId id : group.ids) group.bits[static_cast<size_t>(id) / 32] |= 1u << (id % 32);
      group.ids = {};
    }
    out->bytes += (group.ids.size() + group.bits.size()) * 4 + sizeof(group);
    out->groups.push_back(std::move(group));
  }
  std::sort(out->closers.begin(), out->closers.end());
  out->bytes += out->closers.size() * sizeof(ScalarMask::Closer) + out->later.size() * sizeof(out->later[0]);
  if (inside.size() > mask_.size() / 2) {
    out->inside_bits.assign(mask_.size(), 0);
    for (const TokenId id : inside) out->inside_bits[static_cast<size_t>(id) / 32] |= 1u << (id % 32);
    out->bytes += out->inside_bits.size() * 4;
  } else {
    out->inside = std::move(inside);
    out->bytes += out->inside.size() * 4;
  }
  return out;
}

}  // namespace sgl
