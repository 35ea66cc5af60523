// WordPiece and WordLevel: words by the longest tokens that they begin with, or as a whole.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>

#include "text/byte_trie.h"
#include "text/word_model.h"

namespace sgl {

struct WordPieceOptions {
  TokenId unk = 0;
  std::string continuing_prefix = "##";
  size_t max_chars = 100;  // of a word; longer ones are unknown
};

// Thread: immutable.
class WordPiece final : public WordModel {
 public:
  WordPiece(const Vocab& vocab, WordPieceOptions options);
  // The longest token first, then the longest continuation, and so on; when that fails anywhere the whole word is unknown.
  void Encode(std::string_view word, WordScratch& scratch, std::vector<TokenId>* out) const override;

 private:
  WordPieceOptions options_;
  ByteTrie trie_;
  int32_t continuing_;  // the trie's node behind the prefix, or kNone
};

// Thread: immutable. `vocab` must outlive it.
class WordLevel final : public WordModel {
 public:
  WordLevel(const Vocab& vocab, TokenId unk) : vocab_(vocab), unk_(unk) {}
  void Encode(std::string_view word, WordScratch&, std::vector<TokenId>* out) const override {
    out->push_back(vocab_.Find(word).value_or(unk_));
  }

 private:
  const Vocab& vocab_;
  TokenId unk_;
};

}  // namespace sgl
