// The text side of a model: its tokenizer, from whatever form the files have.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <memory>

#include "base/result.h"
#include "text/tokenizer.h"
#include "weights/weights.h"

namespace sgl {

// From tokenizer.json, a SentencePiece, tiktoken or tekken file, or GGUF metadata. Errors name the file and what is missing.
Result<std::shared_ptr<const Tokenizer>> LoadModelTokenizer(const ModelFiles& files);

}  // namespace sgl
