// Unigram: the most probable way to cut a word into tokens.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <optional>

#include "text/byte_trie.h"
#include "text/word_model.h"

namespace sgl {

struct UnigramOptions {
  std::optional<TokenId> unk;
  bool byte_fallback = false;  // unknown characters become <0xNN>
};

// Thread: immutable. The scores are added in the order of the text, as doubles, so that ties and rounding are those of the reference.
class Unigram final : public WordModel {
 public:
  // scores: [V], log probabilities; higher is better.
  Unigram(const Vocab& vocab, std::vector<double> scores, UnigramOptions options);
  // O(n * longest token). Neighbouring unknown characters become one unknown token.
  void Encode(std::string_view word, WordScratch& scratch, std::vector<TokenId>* out) const override;

 private:
  void Cut(std::string_view word, std::vector<WordScratch::Best>& best) const;
  void Unknown(std::string_view text, std::vector<TokenId>* out) const;  // appends in reverse order

  std::vector<double> scores_;
  UnigramOptions options_;
  double unknown_score_ = 0;
  ByteTrie trie_;
  std::array<TokenId, 256> byte_ids_;  // <0xNN>; -1: absent
};

}  // namespace sgl
