// Word -> ids: what BPE, Unigram, WordPiece and WordLevel have in common.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

#include "text/vocab.h"

namespace sgl {

// Words already done: direct-mapped, 2 MB. Thread: one at a time.
class WordCache {
 public:
  WordCache() : entries_(kEntries) {}
  // The place of `word`, or null when it is too long to be kept.
  struct Entry {
    static constexpr size_t kKeyBytes = 22, kMaxIds = 10;
    uint8_t key_size = 0, id_count = 0;
    char key[kKeyBytes];
    TokenId ids[kMaxIds];
    bool Holds(std::string_view word) const { return key_size == word.size() && __builtin_memcmp(key, word.data(), word.size()) == 0; }
    void Keep(std::string_view word, const TokenId* first, size_t count) {
      if (count > kMaxIds) return;
      key_size = static_cast<uint8_t>(word.size());
      id_count = static_cast<uint8_t>(count);
      __builtin_memcpy(key, word.data(), word.size());
      for (size_t i = 0; i < count; ++i) ids[i] = first[i];
    }
  };
  Entry* At(std::string_view word) { return word.size() <= Entry::kKeyBytes ? &entries_[HashBytes(word) & (kEntries - 1)] : nullptr; }

 private:
  static constexpr size_t kEntries = 1 << 15;
  std::vector<Entry> entries_;
};

// What a caller keeps between words. Thread: one at a time.
struct WordScratch {
  struct Symbol {
    TokenId id;
    int32_t previous, next;  // -1: none
  };
  struct Candidate {  // a pair that BPE could merge
    uint32_t rank;
    int32_t at;
    TokenId left, right, result;
  };
  struct Best {  // the best way to cut a word up to some byte, for Unigram
    double score;
    uint32_t start;
    TokenId id;
  };
  WordCache cache;
  std::vector<TokenId> ids;
  std::vector<uint64_t> merged;
  std::vector<Symbol> symbols;
  std::vector<Candidate> queue;
  std::vector<Best> best;
};

// Thread: immutable; each caller brings its own scratch, which serves one model only.
class WordModel {
 public:
  virtual ~WordModel() = default;
  // Appends the word's tokens. Precondition: valid UTF-8. O(n log n) at worst.
  virtual void Encode(std::string_view word, WordScratch& scratch, std::vector<TokenId>* out) const = 0;
  // No token, and no decision, ever reaches over from a character that is not U+2581 to a U+2581.
  virtual bool breaks_at_metaspace() const { return false; }
};

}  // namespace sgl
