// What a tokenizer's tokens are to a grammar, and masks that are the same in every grammar.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "grammar/json_mask.h"
#include "grammar/token_trie.h"
#include "text/tokenizer.h"

namespace sgl {

// Thread: immutable but for its cache, which locks itself. One per tokenizer.
class Vocabulary {
 public:
  // Special tokens are not text: only `stop_ids` (where a grammar may end) and ids that a structural tag names are ever allowed.
  // size: of the logits rows.
  Vocabulary(const Tokenizer& tokenizer, int64_t size, std::vector<TokenId> stop_ids);
  // For tests: tokens[i] are the bytes of token i, "" for special ones.
  Vocabulary(std::vector<std::string> tokens, std::vector<TokenId> stop_ids);

  const TokenTrie& trie() const { return *trie_; }
  size_t size() const { return size_; }
  size_t words() const { return (size_ + 31) / 32; }
  std::string_view bytes(TokenId id) const {  // "" for special tokens and ids outside
    return id >= 0 && static_cast<size_t>(id) < bytes_.size() ? std::string_view(bytes_[static_cast<size_t>(id)]) : std::string_view();
  }
  bool is_stop(TokenId id) const;
  std::optional<TokenId> Find(const std::string& content) const;  // the token written like this, special ones too
  std::span<const TokenId> stop_ids() const { return stop_ids_; }
  MaskCache& shared() const { return *shared_; }
  std::once_flag& warm() const { return *warm_; }  // the masks of free text have been made, see Grammar::Compile

 private:
  void Build();
  size_t size_ = 0;
  std::vector<std::string> bytes_;
  std::unordered_map<std::string, TokenId> special_;
  std::vector<TokenId> stop_ids_;
  std::unique_ptr<const TokenTrie> trie_;
  std::unique_ptr<MaskCache> shared_;
  std::unique_ptr<std::once_flag> warm_ = std::make_unique<std::once_flag>();
};

}  // namespace sgl
