// Tokens -> text.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "text/normalizer.h"

namespace sgl {

struct ByteLevelDecode {};
struct ReplaceDecode {
  TextPattern pattern;
  std::string content;
};
struct ByteFallbackDecode {};
struct FuseDecode {};
struct StripDecode {
  std::string character;
  size_t start, stop;  // at most so many at each end of each token
};
struct MetaspaceDecode {
  std::string replacement;
  bool drop_in_first;  // the first token loses its replacement characters instead of getting spaces
};
struct WordPieceDecode {
  std::string prefix;  // tokens without it begin a word
  bool cleanup;        // no spaces before punctuation and English contractions
};
struct BpeDecode {
  std::string suffix;  // ends a word
};
struct CtcDecode {
  std::string pad, delimiter;  // repeated tokens are one; pads vanish; delimiters become spaces (when cleanup)
  bool cleanup;
};
using DecoderStep = std::variant<ByteLevelDecode, ReplaceDecode, ByteFallbackDecode, FuseDecode, StripDecode, MetaspaceDecode,
                                 WordPieceDecode, BpeDecode, CtcDecode>;

// Thread: immutable.
class TokenDecoder {
 public:
  template <class S>
  void Add(S step) {
    steps_.emplace_back(std::in_place_type<S>, std::move(step));
  }
  // The whole sequence, as Hugging Face does it: every step over all tokens, in order. Without steps tokens are joined by spaces.
  std::string Decode(std::vector<std::string> tokens) const;
  // What one token adds to text that already has something before it; perhaps a part of a character.
  std::string RunningBytes(std::string_view token) const;

  bool bytes_only() const { return steps_.size() == 1 && std::holds_alternative<ByteLevelDecode>(steps_[0]); }
  bool byte_fallback() const;

 private:
  std::vector<DecoderStep> steps_;
};

}  // namespace sgl
