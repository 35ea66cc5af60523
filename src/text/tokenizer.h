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
  std::string model;                 // "gpt2": byte-level BPE; "llama": SentencePiece BPE by scores
  std::string pre;                   // pre-tokeniser name: "smollm", "llama-bpe", "qwen2", "default"...
  std::vector<std::string> tokens;   // [V]
  std::vector<int32_t> token_types;  // [V] 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte
  std::vector<std::string> merges;   // "left right"; gpt2
  std::vector<float> scores;         // [V]; llama
  std::optional<TokenId> bos, eos, unk, pad, eot, eom;
  bool add_bos = false, add_eos = false;
  bool add_space_prefix = true;  // llama: text starts with a space that is not there
};

// Thread: immutable after construction; every method may be called from any thread.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // add_special_tokens: what the post-processor adds (BOS...). Special tokens written out in `text` are always recognised, as
  // Hugging Face does. Invalid UTF-8 is first replaced by U+FFFD. Never fails; O(n log n) at worst.
  virtual std::vector<TokenId> Encode(std::string_view text, bool add_special_tokens) const = 0;

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
  bool add_bos = false;                                // Encode(.., true) starts with BOS
  bool byte_fallback = false;  // has <0xNN> tokens: each bad byte becomes a U+FFFD of its own (Hugging Face's ByteFallback)
};

// tokenizer_json: text of tokenizer.json. config: tokenizer_config.json or null. Errors name the JSON path of what is unsupported or wrong.
Result<std::unique_ptr<Tokenizer>> LoadTokenizer(std::string_view tokenizer_json, const Json& config);
Result<std::unique_ptr<Tokenizer>> LoadTokenizer(const GgufVocab& vocab);

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
