// Which tokens may come next in a JSON text. The trie is walked with the machine; runs inside a scalar, where most of the vocabulary
// goes, come from a cache: which tokens stay inside, and, for those that leave, how they leave and what of them is left over.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <span>
#include <unordered_map>
#include <vector>

#include "grammar/json_machine.h"
#include "grammar/token_trie.h"

namespace sgl {

// One scalar key below one trie node.
struct ScalarMask {
  std::vector<TokenId> inside;        // tokens that stay, when few
  std::vector<uint32_t> inside_bits;  // or as a bitset
  // Or, where only their number counts, those of at most so many characters.
  std::vector<std::vector<uint32_t>> within;
  struct Exit {
    JsonMachine::Scalar how;            // kClose or kEndBefore
    uint32_t s0 = 0, s1 = 0, size = 0;  // of the state there; size is what was added
    NumberText::At at = NumberText::At::kStart;
    std::unique_ptr<const TokenTrie> tails;  // what is left of the tokens
  };
  std::vector<Exit> exits;
  struct Group {  // strings judged by tracks: tokens that stay and leave the same tracks alive
    uint32_t s0 = 0, size = 0;
    std::vector<TokenId> ids;
    std::vector<uint32_t> bits;  // instead of ids, when many
  };
  std::vector<Group> groups;
  std::unique_ptr<const TokenTrie> unsure;              // whole tokens that need the real state
  std::vector<std::pair<std::string, uint32_t>> later;  // numbers: what leads to a trie node that needs the real state
  struct Closer {
    uint64_t hash;
    uint32_t size;
    TokenId token;
    friend bool operator<(const Closer& a, const Closer& b) { return a.size != b.size ? a.size < b.size : a.hash < b.hash; }
  };
  std::vector<Closer> closers;  // keys only: what is inside before the closing quote; sorted
  size_t bytes = 0;
};

// Thread: any. Entries live as long as the cache; when it is full, masks are computed and thrown away.
class MaskCache {
 public:
  explicit MaskCache(size_t limit_bytes) : limit_(limit_bytes) {}
  struct Key {
    JsonMachine::ScalarKey scalar;
    uint32_t node = 0;
    friend bool operator==(const Key&, const Key&) = default;
  };
  std::shared_ptr<const ScalarMask> Find(const Key& key) const;
  void Put(const Key& key, std::shared_ptr<const ScalarMask> mask);
  size_t bytes() const { return bytes_.load(std::memory_order_relaxed); }

 private:
  struct Hash {
    size_t operator()(const Key& k) const {
      uint64_t h = reinterpret_cast<uintptr_t>(k.scalar.owner) * 0x9E3779B97F4A7C15u;
      h = (h ^ k.scalar.a) * 0xFF51AFD7ED558CCDu;
      h = (h ^ (h >> 31) ^ k.scalar.b) * 0xC4CEB9FE1A85EC53u;
      return static_cast<size_t>((h ^ (h >> 29) ^ k.node) * 0x9E3779B97F4A7C15u);
    }
  };
  const size_t limit_;
  std::atomic<size_t> bytes_{0};
  mutable std::shared_mutex mutex_;  // matchers of one grammar fill masks on several threads
  std::unordered_map<Key, std::shared_ptr<const ScalarMask>, Hash> masks_;
};

// Whole masks by JsonMachine::Fingerprint: what took long to find is kept, as long as it is asked for. Two generations: what the older one
// has and is asked for moves to the younger one; when that is full the older one goes.
// Thread: any.
class MaskMemo {
 public:
  explicit MaskMemo(size_t limit_bytes) : limit_(limit_bytes) {}
  using Key = JsonMachine::Print;
  // Sets the bits of the mask that was put; false: none is known.
  bool Find(const Key& key, std::span<uint32_t> mask) const;
  void Put(const Key& key, std::span<const uint32_t> mask);
  size_t bytes() const { return bytes_.load(std::memory_order_relaxed); }

 private:
  struct Entry {
    std::vector<TokenId> few;
    std::vector<uint32_t> bits;  // instead, where there are many
    size_t bytes = 0;
  };
  struct Hash {
    size_t operator()(const Key& k) const { return static_cast<size_t>(k.a); }
  };
  using Table = std::unordered_map<Key, std::shared_ptr<const Entry>, Hash>;
  void Add(const Key& key, std::shared_ptr<const Entry> entry) const;

  const size_t limit_;
  mutable std::atomic<size_t> bytes_{0};
  mutable std::shared_mutex mutex_;  // as MaskCache's
  mutable Table young_, old_;
  mutable size_t young_bytes_ = 0, old_bytes_ = 0;
};

// What one schema keeps. Thread: any.
struct JsonMasks {
  JsonMasks(size_t scalar_bytes, size_t whole_bytes) : scalars(scalar_bytes), whole(whole_bytes) {}
  size_t bytes() const { return scalars.bytes() + whole.bytes(); }
  MaskCache scalars;
  MaskMemo whole;
};

// Thread: one at a time; scratch of a matcher.
class JsonMasker {
 public:
  // `own` keeps what belongs to this grammar, `shared` what every grammar of the vocabulary can use.
  JsonMasker(const JsonMachine& machine, const TokenTrie& trie, JsonMasks& own, MaskCache& shared)
      : machine_(machine), trie_(trie), own_(own), shared_(shared), states_(States()) {}
  // Sets the bits of the tokens that may follow; others are left alone.
  void Fill(const JsonState& state, FrameArena& arena, std::span<uint32_t> mask);
  // Called where a token goes on behind the end of the document: `node` of `trie` has been read (or, with read false, its byte is the
  // first one behind). What may follow there is the caller's.
  void OnEnd(std::function<void(const TokenTrie& trie, uint32_t node, bool read)> on_end) { on_end_ = std::move(on_end); }

 private:
  static constexpr size_t kWorthKeeping = 24;  // work_ of a mask
  void Ended(const TokenTrie& trie, uint32_t node, bool read) {
    ended_ = true;
    on_end_(trie, node, read);
  }
  void Walk(const TokenTrie& trie, uint32_t node, const JsonState& state, size_t level);
  void Visit(const TokenTrie& trie, uint32_t child, size_t level);
  void Children(const TokenTrie& trie, uint32_t node, size_t level);
  bool UseCache(uint32_t node, const JsonState& state, size_t level);
  void NamedKeys(uint32_t name, uint32_t node, const JsonState& state, size_t level);
  struct Found;
  void Leftovers(uint32_t from, std::string prefix, std::vector<std::pair<std::string, TokenId>>& to) const;
  void AddExit(Found& found, JsonMachine::Scalar how, const JsonState& s, uint32_t i, ScalarMask& out) const;
  void Explore(uint32_t i, uint32_t end, uint16_t base, std::string path, const JsonState& state, const JsonMachine::ScalarKey& key,
               Found& found, ScalarMask& out) const;
  void ExploreText(uint32_t node, const JsonState& state, const JsonMachine::ScalarKey& key, Found& found, ScalarMask& out) const;
  std::shared_ptr<const ScalarMask> Build(uint32_t node, JsonState state, const JsonMachine::ScalarKey& key) const;
  std::vector<uint32_t> BitsOf(std::span<const TokenId> ids) const;
  static std::deque<JsonState>& States();  // of this thread
  void Allow(std::span<const TokenId> ids) {
    for (const TokenId id : ids) mask_[static_cast<size_t>(id) / 32] |= 1u << (id % 32);
  }

  const JsonMachine& machine_;
  const TokenTrie& trie_;
  JsonMasks& own_;
  MaskCache& shared_;
  std::function<void(const TokenTrie&, uint32_t, bool)> on_end_;
  FrameArena* arena_ = nullptr;
  std::span<uint32_t> mask_;
  size_t work_ = 0;                // trie nodes and leftovers that were looked at
  bool ended_ = false;             // the mask is not the schema's alone
  std::deque<JsonState>& states_;  // by depth of the walk
};

}  // namespace sgl
