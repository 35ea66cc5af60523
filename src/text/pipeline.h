// The one Tokenizer: added tokens, normaliser, pre-tokeniser, word model, decoder. Its makers (tokenizer_json.cc, tokenizer_gguf.cc,
// sentencepiece.cc, tiktoken.cc) fill the parts.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "base/thread_role.h"
#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"
#include "text/token_decoder.h"
#include "text/tokenizer.h"
#include "text/unigram.h"
#include "text/word_piece.h"

namespace sgl {

struct BpeParts {
  std::vector<BpeMerge> merges;
  BpeOptions options;
};
struct UnigramParts {
  std::vector<double> scores;  // [V]
  UnigramOptions options;
};
struct WordLevelParts {
  TokenId unk = 0;
};

struct TokenizerParts {
  std::vector<std::string> vocab;  // the model's, without tokens that are only added
  std::variant<BpeParts, UnigramParts, WordPieceOptions, WordLevelParts> model;
  std::vector<AddedToken> added;  // later ones win over earlier ones with the same content
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  TokenDecoder decoder;
  std::vector<TokenId> prefix, suffix;  // what add_special_tokens puts around the text
};

// Largest id a file may use: enough for every known vocabulary, small enough for a table.
constexpr TokenId kMaxTokenId = 1 << 24;

class PipelineTokenizer final : public Tokenizer {
 public:
  // Every id in `parts` is valid: merges and unknown tokens within vocab, added ids in [0, kMaxTokenId], all strings valid UTF-8.
  explicit PipelineTokenizer(TokenizerParts parts);

  std::vector<TokenId> Encode(std::string_view text, bool add_special_tokens) const override;
  void EncodeFrom(std::string_view text, size_t from, size_t every, std::vector<Cut>* cuts, std::vector<TokenId>* out) const override;
  bool knows_cuts() const override { return true; }
  std::span<const TokenId> prefix_tokens() const override { return prefix_; }
  std::span<const TokenId> suffix_tokens() const override { return suffix_; }
  std::string Decode(std::span<const TokenId> ids, bool skip_special_tokens) const override;
  std::string_view TokenBytes(TokenId id) const override;
  bool IsSpecial(TokenId id) const override;
  int64_t vocab_size() const override { return static_cast<int64_t>(forms_.size()); }
  std::optional<TokenId> TokenToId(std::string_view token) const override;
  std::string IdToToken(TokenId id) const override;

 private:
  struct Context {
    WordScratch words;
    PreTokenizer::Work work;
    std::vector<Segment> outer, inner;
  };
  // Where a stretch of plain text stands.
  struct Place {
    bool at_start;   // of the whole text
    bool continues;  // plain text before it: a cut
  };
  struct CutRequest;
  bool Known(TokenId id) const { return id >= 0 && static_cast<size_t>(id) < forms_.size(); }
  std::unique_ptr<Context> TakeContext() const;
  void GiveContext(std::unique_ptr<Context> context) const;
  void FindCutRules();
  bool CanCut(std::string_view text, size_t at) const;
  void EncodeSegments(std::string_view text, size_t from, CutRequest* request, std::vector<TokenId>* out) const;
  void EncodeWithCuts(std::string_view text, size_t begin, size_t end, Place place, CutRequest& request, Context& context,
                      std::vector<TokenId>* out) const;
  bool LosesItsStart(std::string_view text) const;
  void EncodePlain(std::string_view text, Place place, Context& context, std::vector<TokenId>* out) const;
  void EncodeWords(std::string_view text, bool at_start, Context& context, std::vector<TokenId>* out) const;

  Vocab vocab_;
  Normalizer normalizer_;
  PreTokenizer pre_tokenizer_;
  TokenDecoder decoder_;
  std::unique_ptr<const WordModel> model_;
  AddedTokenFinder raw_finder_, normalized_finder_;
  std::vector<TokenId> prefix_, suffix_;

  // Where plain text may be cut: before a space or newline after an ASCII letter, or before a letter after a newline.
  bool cuts_letter_space_ = false, cuts_letter_newline_ = false, cuts_newline_letter_ = false;

  std::vector<AddedToken> added_;
  TokenIndex added_index_;               // content -> id
  std::vector<std::string_view> forms_;  // id -> vocabulary form, added tokens first
  std::vector<bool> special_;            // id -> dropped by skip_special_tokens
  std::string bytes_;                    // all TokenBytes, one after another
  std::vector<size_t> bytes_end_;

  // Word caches and buffers. A mutex, held for a pointer swap, because Encode is const and comes from many threads.
  mutable Mutex contexts_mutex_;
  mutable std::vector<std::unique_ptr<Context>> contexts_ GUARDED_BY(contexts_mutex_);
};

// Fills bos/eos/unk/pad, their texts, add_bos and extra_eos from ids that are already set. Thread: before anyone else sees it.
void FinishTokenizer(Tokenizer& tokenizer);

}  // namespace sgl
