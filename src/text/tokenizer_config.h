// tokenizer_config.json: what it adds to a tokenizer, whatever file that came from.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <memory>
#include <string>

#include "base/json.h"
#include "base/result.h"
#include "text/pipeline.h"

namespace sgl {

// Adds tokens to parts.added: those of `listed` (tokenizer.json's "added_tokens", or null), then those that only the configuration has.
Status AddListedTokens(const Json& listed, const Json& config, TokenizerParts* parts);

// "<s>" or {"content": "<s>"} under `key`; "" if there is none.
std::string ConfigToken(const Json& config, std::string_view key);

// The tokenizer, with the special tokens, BOS and EOS rules, names and limits of the configuration (or null).
std::unique_ptr<Tokenizer> MakeTokenizer(TokenizerParts parts, const Json& config);

}  // namespace sgl
