// The pre-tokeniser patterns of the big families, by hand: many times faster than a regex engine, and linear.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <string_view>

namespace sgl {

// The end of the match that starts at `pos`. These patterns match at every position, so matches tile the text.
// Precondition: valid UTF-8, pos < text.size() at a character boundary.
using Splitter = size_t (*)(std::string_view text, size_t pos);

extern const std::string_view kGpt2Pattern;    // GPT-2; the ByteLevel pre-tokeniser's own
extern const std::string_view kLlama3Pattern;  // numbers in groups of three
extern const std::string_view kQwen2Pattern;   // as Llama 3, numbers digit by digit

// Null when the pattern is none of these, character by character.
Splitter KnownSplitter(std::string_view pattern);

}  // namespace sgl
