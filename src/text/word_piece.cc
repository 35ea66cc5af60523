// SPDX-License-Identifier: Apache-2.0
#include "text/word_piece.h"

#include <algorithm>

namespace sgl {

WordPiece::WordPiece(const Vocab& vocab, WordPieceOptions options) : options_(std::move(options)) {
  for (size_t id = 0; id < vocab.size(); ++id) trie_.Insert(vocab.Token(static_cast<TokenId>(id)), static_cast<TokenId>(id));
  continuing_ = trie_.Walk(options_.continuing_prefix);
}

void WordPiece::Encode(std::string_view word, WordScratch& scratch, std::vector<TokenId>* out) const {
  WordCache::Entry* const entry = scratch.cache.At(word);
  if (entry != nullptr && entry->Holds(word)) {
    out->insert(out->end(), entry->ids, entry->ids + entry->id_count);
    return;
  }
  const size_t first = out->size();
  const auto chars = std::count_if(word.begin(), word.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
  bool known = static_cast<size_t>(chars) <= options_.max_chars;
  for (size_t at = 0; known && at < word.size();) {
    int32_t node = at == 0 ? ByteTrie::kRoot : continuing_;
    TokenId best = -1;
    size_t best_end = at;
    for (size_t end = at; node != ByteTrie::kNone && end < word.size();) {
      node = trie_.Child(node, word[end++]);
      if (node == ByteTrie::kNone || trie_.Value(node) < 0) continue;
      best = trie_.Value(node);
      best_end = end;
    }
    known = best >= 0;
    if (known) out->push_back(best);
    at = best_end;
  }
  if (!known) {
    out->resize(first);
    out->push_back(options_.unk);
  }
  if (entry != nullptr) entry->Keep(word, out->data() + first, out->size() - first);
}

}  // namespace sgl
