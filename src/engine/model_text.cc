// SPDX-License-Identifier: Apache-2.0
#include "engine/model_text.h"

#include <fmt/core.h>

namespace sgl {
namespace {

std::vector<std::string> Strings(const Json* array) {
  std::vector<std::string> out;
  if (array == nullptr || !array->is_array()) return out;
  out.reserve(array->as_array().size());
  for (const Json& item : array->as_array()) out.push_back(item.is_string() ? item.as_string() : std::string());
  return out;
}

std::optional<TokenId> Id(const GgufMetadata& metadata, std::string_view key) {
  const Json* value = metadata.find(key);
  if (value == nullptr || !value->is_int()) return std::nullopt;
  return static_cast<TokenId>(value->as_int());
}

bool Flag(const GgufMetadata& metadata, std::string_view key, bool fallback) {
  const Json* value = metadata.find(key);
  return value != nullptr && value->is_bool() ? value->as_bool() : fallback;
}

std::string Text(const GgufMetadata& metadata, std::string_view key) {
  const Json* value = metadata.find(key);
  return value != nullptr && value->is_string() ? value->as_string() : std::string();
}

Result<std::unique_ptr<Tokenizer>> FromGguf(const GgufMetadata& metadata) {
  GgufVocab vocab;
  vocab.model = Text(metadata, "tokenizer.ggml.model");
  if (vocab.model.empty()) return InvalidArgument("metadata key 'tokenizer.ggml.model' is missing");
  vocab.pre = Text(metadata, "tokenizer.ggml.pre");
  vocab.tokens = Strings(metadata.find("tokenizer.ggml.tokens"));
  vocab.merges = Strings(metadata.find("tokenizer.ggml.merges"));
  if (const Json* types = metadata.find("tokenizer.ggml.token_type"); types != nullptr && types->is_array())
    for (const Json& type : types->as_array()) vocab.token_types.push_back(type.is_int() ? static_cast<int32_t>(type.as_int()) : 1);
  if (const Json* scores = metadata.find("tokenizer.ggml.scores"); scores != nullptr && scores->is_array())
    for (const Json& score : scores->as_array()) vocab.scores.push_back(score.is_number() ? static_cast<float>(score.as_double()) : 0.0f);
  vocab.bos = Id(metadata, "tokenizer.ggml.bos_token_id");
  vocab.eos = Id(metadata, "tokenizer.ggml.eos_token_id");
  vocab.unk = Id(metadata, "tokenizer.ggml.unknown_token_id");
  vocab.pad = Id(metadata, "tokenizer.ggml.padding_token_id");
  vocab.eot = Id(metadata, "tokenizer.ggml.eot_token_id");
  vocab.eom = Id(metadata, "tokenizer.ggml.eom_token_id");
  vocab.cls = Id(metadata, "tokenizer.ggml.cls_token_id");
  vocab.sep = Id(metadata, "tokenizer.ggml.seperator_token_id");
  if (metadata.find("tokenizer.ggml.add_bos_token") != nullptr) vocab.add_bos = Flag(metadata, "tokenizer.ggml.add_bos_token", false);
  if (metadata.find("tokenizer.ggml.add_eos_token") != nullptr) vocab.add_eos = Flag(metadata, "tokenizer.ggml.add_eos_token", false);
  vocab.remove_extra_whitespaces = Flag(metadata, "tokenizer.ggml.remove_extra_whitespaces", false);
  if (const Json* map = metadata.find("tokenizer.ggml.precompiled_charsmap"); map != nullptr && map->is_array())
    for (const Json& byte : map->as_array()) vocab.precompiled_charsmap.push_back(static_cast<char>(byte.is_int() ? byte.as_int() : 0));
  vocab.add_space_prefix = Flag(metadata, "tokenizer.ggml.add_space_prefix", true);
  return LoadTokenizer(vocab);
}

}  // namespace

Result<std::shared_ptr<const Tokenizer>> LoadModelTokenizer(const ModelFiles& files) {
  if (files.is_gguf) {
    auto tokenizer = FromGguf(*files.gguf);
    if (!tokenizer.ok()) return std::move(tokenizer).error().In(files.path.string());
    return std::shared_ptr<const Tokenizer>(*std::move(tokenizer));
  }
  if (!files.tokenizer_model_name.empty()) {
    auto tokenizer = LoadTokenizerModel(files.tokenizer_model, files.tokenizer_model_name, files.tokenizer_config);
    if (!tokenizer.ok()) return std::move(tokenizer).error().In((files.path / files.tokenizer_model_name).string());
    return std::shared_ptr<const Tokenizer>(*std::move(tokenizer));
  }
  if (files.tokenizer_json.empty())
    return NotFound(
        fmt::format("{}: tokenizer.json is missing (and there is no tokenizer.model, *.tiktoken or tekken.json); name the folder that has "
                    "it with --tokenizer-path",
                    files.path.string()));
  auto tokenizer = LoadTokenizer(files.tokenizer_json, files.tokenizer_config);
  if (!tokenizer.ok()) return std::move(tokenizer).error().In((files.path / "tokenizer.json").string());
  return std::shared_ptr<const Tokenizer>(*std::move(tokenizer));
}

}  // namespace sgl
