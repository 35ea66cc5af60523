// Models from vocabularies with a score per token, as SentencePiece and GGUF have them.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "base/result.h"
#include "text/pipeline.h"
#include "text/tokenizer.h"

namespace sgl {

// Fill parts->model from tokens, token_types, scores and unk of `vocab`. Errors: scores that are missing or not numbers.
Status FillScoreBpe(const GgufVocab& vocab, TokenizerParts* parts);
Status FillUnigram(const GgufVocab& vocab, TokenizerParts* parts);

}  // namespace sgl
