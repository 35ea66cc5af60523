// One function per family: what its config says beyond ReadDecoderConfig. registry.cc lists them.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "base/json.h"
#include "base/result.h"
#include "models/decoder.h"

namespace sgl {

Result<DecoderConfig> LlamaConfig(const Json& config);    // Llama 2, 3, 3.x, SmolLM2
Result<DecoderConfig> MistralConfig(const Json& config);  // Mistral 7B, Nemo, Small
Result<DecoderConfig> Qwen2Config(const Json& config);    // Qwen2, Qwen2.5
Result<DecoderConfig> Qwen3Config(const Json& config);    // Qwen3 (dense)

}  // namespace sgl
