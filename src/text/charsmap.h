// SentencePiece's precompiled normalisation rules: strings and what replaces them.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace sgl {

// Thread: immutable.
class Charsmap {
 public:
  // blob: u32 size of the trie in bytes, the trie (a double array of u32), then NUL-terminated replacements; all little-endian.
  static Result<Charsmap> Parse(std::string_view blob);

  // As SentencePiece: at each place the longest rule that applies.
  std::string ApplyLongest(std::string_view text) const;
  // As Hugging Face's Precompiled: a grapheme cluster of up to five bytes is replaced as a whole by the shortest rule that it begins with;
  // else each of its characters is.
  std::string ApplyGraphemes(std::string_view text) const;

 private:
  struct Rule {
    size_t length = 0;  // bytes of the text that matched; 0: none
    uint32_t at = 0;    // of the replacement
  };
  Rule Find(std::string_view text, bool longest) const;
  std::string_view Replacement(uint32_t at) const;
  void AppendPart(std::string_view part, std::string* out) const;

  std::vector<uint32_t> units_;
  std::string replacements_;
  std::array<std::optional<std::string>, 128> ascii_;  // what single ASCII characters become; nullopt: themselves
};

}  // namespace sgl
