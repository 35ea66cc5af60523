// SPDX-License-Identifier: Apache-2.0
#include "grammar/vocabulary.h"

#include <algorithm>

namespace sgl {

constexpr size_t kSharedCacheBytes = size_t{64} << 20;

Vocabulary::Vocabulary(const Tokenizer& tokenizer, int64_t size, std::vector<TokenId> stop_ids)
    : size_(static_cast<size_t>(size)), stop_ids_(std::move(stop_ids)) {
  bytes_.resize(size_);
  for (size_t i = 0; i < size_; ++i) {
    const auto id = static_cast<TokenId>(i);
    if (!tokenizer.IsSpecial(id) && !is_stop(id)) bytes_[i] = std::string(tokenizer.TokenBytes(id));
  }
  Build();
}

Vocabulary::Vocabulary(std::vector<std::string> tokens, std::vector<TokenId> stop_ids)
    : size_(tokens.size()), bytes_(std::move(tokens)), stop_ids_(std::move(stop_ids)) {
  Build();
}

void Vocabulary::Build() {
  std::erase_if(stop_ids_, [&](TokenId id) { return id < 0 || static_cast<size_t>(id) >= size_; });
  std::sort(stop_ids_.begin(), stop_ids_.end());
  stop_ids_.erase(std::unique(stop_ids_.begin(), stop_ids_.end()), stop_ids_.end());
  std::vector<std::pair<std::string, TokenId>> tokens;
  for (size_t i = 0; i < size_; ++i)
    if (!bytes_[i].empty() && !is_stop(static_cast<TokenId>(i))) tokens.emplace_back(bytes_[i], static_cast<TokenId>(i));
  trie_ = std::make_unique<const TokenTrie>(std::move(tokens));
  shared_ = std::make_unique<MaskCache>(kSharedCacheBytes);
}

bool Vocabulary::is_stop(TokenId id) const { return std::find(stop_ids_.begin(), stop_ids_.end(), id) != stop_ids_.end(); }

}  // namespace sgl
