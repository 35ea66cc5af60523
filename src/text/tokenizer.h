// Text <-> token ids, exactly as Hugging Face `tokenizers` does it.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/json.h"
#include "base/result.h"

namespace sgl {

// GGUF's tokenizer.ggml.* metadata.
struct GgufVocab {
  std::string model;                 // "gpt2": byte-level BPE; "llama": SentencePiece BPE by scores; "bert": WordPiece; "t5": Unigram
  std::string pre;                   // pre-tokeniser name: "smollm", "llama-bpe", "qwen2", "default"...
  std::vector<std::string> tokens;   // [V]
  std::vector<int32_t> token_types;  // [V] 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte
  std::vector<std::string> merges;   // "left right"; gpt2
  std::vector<float> scores;         // [V]; llama
  std::optional<TokenId> bos, eos, unk, pad, eot, eom;
  std::optional<bool> add_bos, add_eos;   // not given: as the model and `pre` have it
  bool add_space_prefix = true;           // llama, t5: text starts with a space that is not there
  std::optional<TokenId> cls, sep;        // bert: around the text; sep is [SEP]
  bool remove_extra_whitespaces = false;  // t5
  std::string precompiled_charsmap;       // t5; bytes
};

// Thread: immutable after construction; every method may be called from any thread.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // add_special_tokens: what the post-processor adds (BOS...). Special tokens written out in `text` are always recognised, as
  // Hugging Face does. Invalid UTF-8 is first replaced by U+FFFD. Never fails; O(n log n) at worst.
  virtual std::vector<TokenId> Encode(std::string_view text, bool add_special_tokens) const = 0;

  // A place in a text where encoding can be taken up again: Encode(text, false) is its first `tokens` ids and those of the text from
  // `bytes` on, whatever that is, as long as text[bytes] stays what it is.
  struct Cut {
    size_t bytes, tokens;
  };
  // Appends what Encode(text, false) has for text[from..); from is 0 or a cut of a text that begins in the same way, up to and with the
  // character at `from`. Reports the first cut at least `every` bytes on, the first one at least `every` bytes after that, and so on;
  // `tokens` counts from the size that `out` had. Precondition: valid UTF-8. A tokenizer that knows of no cuts reports none.
  virtual void EncodeFrom(std::string_view text, size_t from, size_t every, std::vector<Cut>* cuts, std::vector<TokenId>* out) const;
  virtual bool knows_cuts() const { return false; }
  // What Encode(text, true) puts around the text's own tokens; for tokenizers that know cuts.
  virtual std::span<const TokenId> prefix_tokens() const { return {}; }
  virtual std::span<const TokenId> suffix_tokens() const { return {}; }

  // The tokenizer's own decoder over the whole sequence; byte sequences that are not UTF-8 become U+FFFD. Ids outside the vocabulary give
  // "".
  virtual std::string Decode(std::span<const TokenId> ids, bool skip_special_tokens) const = 0;

  // The bytes that one token stands for in running text: for byte-level BPE the raw bytes (perhaps a part of a UTF-8 character), for an
  // added token its content. "" for ids outside the vocabulary.
  virtual std::string_view TokenBytes(TokenId id) const = 0;
  virtual bool IsSpecial(TokenId id) const = 0;  // dropped by skip_special_tokens

  virtual int64_t vocab_size() const = 0;                                      // largest id + 1
  virtual std::optional<TokenId> TokenToId(std::string_view token) const = 0;  // added tokens by content, others by vocabulary form
  virtual std::string IdToToken(TokenId id) const = 0;                         // vocabulary form ("Ġthe"); "" outside

  std::optional<TokenId> bos, eos, unk, pad;
  std::vector<TokenId> extra_eos;  // <|eot_id|>, <|eom_id|>, <|im_end|>... that end a turn (GGUF eot/eom; Llama 3's eom)
  std::string bos_text, eos_text, unk_text, pad_text;  // for chat templates; "" if none
  int64_t model_max_length = 0;                        // tokenizer_config.json; 0: not given
  // tokenizer.json's "truncation": what the file's author wants texts cut to, special tokens included. Encode does not do it, as in
  // transformers, where truncation is asked for per call (see Truncate).
  int64_t truncation_length = 0;  // 0: not given
  bool truncates_left = false;
  bool add_bos = false;        // Encode(.., true) starts with BOS
  bool byte_fallback = false;  // has <0xNN> tokens: each bad byte becomes a U+FFFD of its own (Hugging Face's ByteFallback)
};

// tokenizer_json: text of tokenizer.json. config: tokenizer_config.json or null. Errors name the JSON path of what is unsupported or wrong.
Result<std::unique_ptr<Tokenizer>> LoadTokenizer(std::string_view tokenizer_json, const Json& config);
Result<std::unique_ptr<Tokenizer>> LoadTokenizer(const GgufVocab& vocab);
// model: the bytes of a SentencePiece tokenizer.model (unigram or bpe).
Result<std::unique_ptr<Tokenizer>> LoadSentencePiece(std::string_view model, const Json& config);
// ranks: the text of a *.tiktoken file, lines of "base64 rank". name: of the file, without folders; with config it tells the pattern.
Result<std::unique_ptr<Tokenizer>> LoadTiktoken(std::string_view ranks, const std::string& name, const Json& config);
// tekken_json: text of Mistral's tekken.json.
Result<std::unique_ptr<Tokenizer>> LoadTekken(std::string_view tekken_json, const Json& config);
// Any of the three: files called tokenizer.model are of either of the first two kinds.
Result<std::unique_ptr<Tokenizer>> LoadTokenizerModel(std::string_view bytes, const std::string& name, const Json& config);

// Cuts ids = tokenizer.Encode(text, true) to at most max_tokens, at the side that the tokenizer truncates; the special tokens around the
// text stay. As Hugging Face's truncation with stride 0. Returns the number of tokens that were dropped.
size_t Truncate(const Tokenizer& tokenizer, size_t max_tokens, std::vector<TokenId>* ids);

// Turns a token stream into text: one per request. Never emits part of a UTF-8 character, never holds back a complete one, and never
// waits for bytes that can no longer become one. All pieces together equal Decode(ids), but for two things that Decode alone can know:
// - The tokens continue a prompt, so a leading space stays that Llama 2's decoder strips from the start of a text.
// - With byte_fallback, Decode replaces a whole run of byte tokens when any of it is not UTF-8; here the good characters have been sent.
// Thread: whoever owns it. The tokenizer must outlive it.
class StreamDecoder {
 public:
  StreamDecoder(const Tokenizer& tokenizer, bool skip_special_tokens) : tokenizer_(&tokenizer), skip_special_(skip_special_tokens) {}
  // The text that becomes certain with this token; may be "".
  std::string Push(TokenId id);
  // The rest, at the end: an unfinished character becomes U+FFFD.
  std::string Flush();

 private:
  std::string TakeReady(bool at_end);

  const Tokenizer* tokenizer_;
  bool skip_special_;
  std::string pending_;  // at most 3 bytes of an unfinished character
};

// Watches a stream for stop strings. Holds text back only as long as its end could still be the start of a stop string.
// O(bytes * stop strings), whatever they look like. Empty stop strings are ignored. Thread: whoever owns it.
class StopMatcher {
 public:
  explicit StopMatcher(std::vector<std::string> stops);
  struct Step {
    std::string emit;                    // safe to send now; ends before the stop string (or with it, when keep_stop)
    std::optional<std::string> matched;  // the stop string that was hit; the stream is over then
  };
  // The match that is complete first wins; of those that end together the one that begins first. So the result does not depend on how
  // the text is cut into pushes, and no complete match ever waits for more text. After a match nothing more is emitted.
  Step Push(std::string_view text, bool keep_stop = false);
  std::string Flush();  // what was held back

 private:
  struct Stop {
    std::string text;
    std::vector<uint32_t> border;  // [size]: longest proper prefix of text[0..i] that is also its suffix
    uint32_t matched = 0;          // bytes of `text` that the stream ends with
  };
  std::vector<Stop> stops_;
  std::string held_;  // what the longest `matched` covers
  bool over_ = false;
};

}  // namespace sgl
