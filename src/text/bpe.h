// Byte pair encoding of one word at a time.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/word_model.h"

namespace sgl {

struct BpeOptions {
  bool byte_level = false;     // words are raw bytes, the vocabulary is written in ByteChars
  bool ignore_merges = false;  // a word that is a token is that token
  bool byte_fallback = false;  // unknown characters become <0xNN>
  bool fuse_unk = false;
  std::optional<TokenId> unk;
  std::string continuing_prefix;  // in front of every symbol but a word's first, in the vocabulary
  std::string word_suffix;        // behind a word's last
};

struct BpeMerge {
  TokenId left, right, result;
  uint32_t rank;  // low ranks go first; equal ranks from left to right
};

// Thread: immutable.
class Bpe final : public WordModel {
 public:
  // `vocab` must outlive it. A later merge of the same pair replaces an earlier one.
  Bpe(const Vocab& vocab, const std::vector<BpeMerge>& merges, BpeOptions options);

  void Encode(std::string_view word, WordScratch& scratch, std::vector<TokenId>* out) const override;
  bool breaks_at_metaspace() const override;

 private:
  struct MergeSlot {
    uint64_t pair = UINT64_MAX;
    uint32_t rank = 0;
    TokenId result = 0;
  };
  static uint64_t Pair(TokenId left, TokenId right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }
  const MergeSlot* FindMerge(TokenId left, TokenId right) const;
  void FindSeams(const std::vector<BpeMerge>& merges);
  bool CanBreak(uint32_t before, uint32_t after) const;
  void EncodeLongChunk(std::string_view chunk, WordScratch& scratch, std::vector<TokenId>* out) const;
  void EncodeChunk(std::string_view chunk, WordScratch& scratch, std::vector<TokenId>* out) const;
  void Symbols(std::string_view word, std::vector<TokenId>* out) const;
  void MarkedSymbols(std::string_view word, std::vector<TokenId>* out) const;
  void Unknown(std::string_view character, std::optional<TokenId>* open_unk, std::vector<TokenId>* out) const;
  void MergeShort(std::vector<TokenId>& ids, std::vector<uint64_t>& merged) const;
  void MergeLong(WordScratch& scratch) const;

  const Vocab& vocab_;
  BpeOptions options_;
  std::vector<MergeSlot> merges_;  // open addressing, a power of two, at most half full
  int shift_ = 0;
  std::array<TokenId, 256> byte_ids_;  // byte_level: first symbols; otherwise <0xNN>; -1 absent
  std::vector<TokenId> char_ids_;      // not byte_level: first symbols by code point; -1 absent
  // Not byte_level: "words" may be whole texts with U+2581 for spaces. No merge joins two tokens whose characters at the seam are not a
  // pair in here, so between such characters a text falls into chunks, which the cache can hold.
  bool may_break_ = false;
  std::vector<uint64_t> seams_;  // open addressing, a power of two, at most half full; first << 32 | second, 0 free
  int seam_shift_ = 64;
  std::vector<std::string> raw_words_;  // byte_level and ignore_merges: tokens as bytes
  TokenIndex raw_index_;
};

}  // namespace sgl
