// The steps of a tokenizer.json: normalizer, pre_tokenizer, decoder. Errors name the JSON path.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"
#include "text/token_decoder.h"

namespace sgl::tokenizer_json {

Error Bad(const std::string& path, std::string_view what);
Error Unsupported(const std::string& path, std::string_view kind);
std::string At(const std::string& path, size_t index);
// The member `key` of a Sequence-like object as an array.
Result<const Json::Array*> ArrayOf(const Json& json, std::string_view key, const std::string& path);
Result<std::string> StringOf(const Json& json, std::string_view key, const std::string& path);

Status ParseNormalizer(const Json& json, const std::string& path, Normalizer* out);
// byte_level: the last step is ByteLevel, and its stand-ins for bytes are left to the caller (ByteCharsStage).
Status ParsePreTokenizer(const Json& json, const std::string& path, PreTokenizer* out, bool* byte_level);
Status ParseDecoder(const Json& json, const std::string& path, TokenDecoder* out);

}  // namespace sgl::tokenizer_json
