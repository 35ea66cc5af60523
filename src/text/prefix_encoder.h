// Encoding of long prompts that begin like earlier ones: only what is new is tokenised.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/thread_role.h"
#include "text/tokenizer.h"

namespace sgl {

// Keeps texts in blocks that end at the tokenizer's cuts (Tokenizer::Cut), each with its tokens. A block is found by what precedes it and
// by its own bytes, which are compared in full, so a result never depends on a hash. Thread: any; a mutex is held while blocks are compared
// and copied, not while text is tokenised. The tokenizer must outlive it.
class PrefixEncoder {
 public:
  // cache_bytes: texts, tokens and what it takes to find them. block_bytes: about the size of a block; shorter texts are not kept.
  PrefixEncoder(const Tokenizer& tokenizer, size_t cache_bytes, size_t block_bytes = 1024);

  // Exactly tokenizer.Encode(text, add_special_tokens).
  std::vector<TokenId> Encode(std::string_view text, bool add_special_tokens);

  struct Stats {
    uint64_t reused_bytes = 0, encoded_bytes = 0;
    size_t cache_bytes = 0, blocks = 0;
  };
  Stats stats() const;

 private:
  // Blocks with the same beginning and the same predecessor have the same key; the last one stays.
  struct Key {
    uint64_t parent, hash;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    size_t operator()(const Key& key) const { return static_cast<size_t>(key.parent * 0x9E3779B97F4A7C15u ^ key.hash); }
  };
  struct Block {
    Key key;
    uint64_t id;
    std::string text;  // up to the cut, and the character behind it
    size_t size;       // up to the cut
    std::vector<TokenId> tokens;
  };
  using Blocks = std::list<Block>;  // the least recently used first

  Key KeyOf(uint64_t parent, std::string_view rest) const;
  static size_t Cost(const Block& block) { return sizeof(Block) + 64 + block.text.size() + block.tokens.size() * sizeof(TokenId); }
  // What is known of the beginning of `text`: its tokens are appended. Returns where it ends, and the last block's id.
  size_t Find(std::string_view text, uint64_t* parent, std::vector<TokenId>* out);
  void Keep(std::string_view text, size_t from, uint64_t parent, const std::vector<Tokenizer::Cut>& cuts, const TokenId* tokens);
  void Drop(Blocks::iterator block) REQUIRES(mutex_);

  const Tokenizer& tokenizer_;
  const size_t limit_, block_bytes_;
  mutable Mutex mutex_;
  Blocks blocks_ GUARDED_BY(mutex_);
  std::unordered_map<Key, Blocks::iterator, KeyHash> index_ GUARDED_BY(mutex_);
  uint64_t next_id_ GUARDED_BY(mutex_) = 1;  // 0 is the beginning of all texts
  Stats stats_ GUARDED_BY(mutex_);
};

}  // namespace sgl
