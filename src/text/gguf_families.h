// What tokenizer.ggml.pre stands for: GGUF keeps a vocabulary, but only a name for the rest of a byte-level tokenizer.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <string_view>

#include "base/result.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"

namespace sgl {

struct GgufFamily {
  std::string_view names;     // separated by spaces
  std::string_view steps[7];  // patterns, or "@..." for what is not one; "" ends them
  bool nfc = false;
  bool ignore_merges = false;
  bool add_bos = false;  // when the file does not say
};

// Errors: a name that is not known; the message lists those that are.
Result<const GgufFamily*> FindGgufFamily(std::string_view name);
Status AddFamilySteps(const GgufFamily& family, Normalizer* normalizer, PreTokenizer* pre_tokenizer);

// Patterns that tiktoken files need too.
extern const std::string_view kO200kPattern;
extern const std::string_view kKimiPattern;

}  // namespace sgl
