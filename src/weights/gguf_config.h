// The Hugging Face config.json that a GGUF file's metadata amounts to.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "base/json.h"
#include "base/result.h"
#include "weights/weights.h"

namespace sgl {

// Architectures: llama (also Mistral and SmolLM2 files), qwen2, qwen3. Errors: an unknown architecture (the known ones are listed), a
// missing or wrong key, and keys that change the arithmetic in a way these architectures do not have in Hugging Face form.
// Llama-3 rope factors are not in the metadata but in the tensor rope_freqs.weight; rope_scaling does not mention them.
Result<Json> HuggingFaceConfig(const GgufFile& file);

}  // namespace sgl
