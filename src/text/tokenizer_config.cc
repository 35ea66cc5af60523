// SPDX-License-Identifier: Apache-2.0
#include "text/tokenizer_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>

#include "text/json_steps.h"

namespace sgl {
namespace {

using tokenizer_json::At;
using tokenizer_json::Bad;

// Ids as Hugging Face gives them: the model's own for a token that it has, whatever the file says.
class AddedTokenReader {
 public:
  explicit AddedTokenReader(TokenizerParts* parts) : parts_(parts) {
    for (size_t id = 0; id < parts->vocab.size(); ++id)
      if (!parts->vocab[id].empty()) model_.Insert(parts->vocab[id], static_cast<TokenId>(id));
  }

  Status Add(const Json& json, int64_t id, const std::string& path) {
    if (!json["content"].is_string()) return Bad(path + ".content", "expected a string");
    AddedToken token;
    token.content = json["content"].as_string();
    if (token.content.empty() || !seen_.insert(token.content).second) return {};
    if (const std::optional<TokenId> known = model_.Find(token.content)) id = *known;
    if (id < 0 || id > kMaxTokenId) return Bad(path + ".id", "expected an id");
    if (static_cast<size_t>(id) > 64 * (parts_->vocab.size() + parts_->added.size()) + 65536)
      return Bad(path + ".id", "the id is far beyond the number of tokens");
    token.id = static_cast<TokenId>(id);
    token.special = json.get_bool("special", false);
    token.single_word = json.get_bool("single_word", false);
    token.lstrip = json.get_bool("lstrip", false);
    token.rstrip = json.get_bool("rstrip", false);
    token.normalized = json.get_bool("normalized", !token.special);
    parts_->added.push_back(std::move(token));
    return {};
  }

 private:
  TokenizerParts* parts_;
  TokenIndex model_;
  std::unordered_set<std::string> seen_;
};

std::optional<TokenId> FindToken(const TokenizerParts& parts, std::string_view token) {
  if (token.empty()) return std::nullopt;
  for (const AddedToken& added : parts.added)
    if (added.content == token) return added.id;
  const auto at = std::find(parts.vocab.begin(), parts.vocab.end(), token);
  if (at == parts.vocab.end()) return std::nullopt;
  return static_cast<TokenId>(at - parts.vocab.begin());
}

// transformers makes every token that the configuration names a special one, if the files have not added it already.
void AddNamedTokens(const Json& config, TokenizerParts* parts) {
  std::vector<std::string> names;
  for (const char* key : {"bos_token", "eos_token", "unk_token", "pad_token", "cls_token", "sep_token", "mask_token"})
    names.push_back(ConfigToken(config, key));
  const Json& more = config["additional_special_tokens"];
  if (more.is_array())
    for (const Json& token : more.as_array()) names.push_back(token.is_string() ? token.as_string() : token.get_string("content", ""));
  for (const std::string& name : names) {
    const std::optional<TokenId> id = FindToken(*parts, name);
    const bool added =
        std::any_of(parts->added.begin(), parts->added.end(), [&](const AddedToken& token) { return token.content == name; });
    if (!id || added) continue;
    AddedToken token;
    token.id = *id;
    token.content = name;
    token.special = true;
    parts->added.push_back(std::move(token));
  }
}

// What transformers' Llama and Gemma classes do on top of the file: BOS and EOS follow the configuration.
void ApplyBosConfig(const Json& config, std::optional<TokenId> bos, std::optional<TokenId> eos, TokenizerParts* parts) {
  const std::string type = config.get_string("tokenizer_class", "");
  const bool from_config =
      type.starts_with("LlamaTokenizer") || type.starts_with("CodeLlamaTokenizer") || type.starts_with("GemmaTokenizer");
  if (from_config) {
    parts->prefix.clear();
    parts->suffix.clear();
    if (config.get_bool("add_eos_token", false) && eos) parts->suffix.push_back(*eos);
  }
  const bool wanted = config.get_bool("add_bos_token", from_config);
  const bool there = !parts->prefix.empty() && parts->prefix[0] == bos;
  if (wanted && bos && !there) parts->prefix.insert(parts->prefix.begin(), *bos);
}

}  // namespace

Status AddListedTokens(const Json& json, const Json& config, TokenizerParts* parts) {
  AddedTokenReader reader(parts);
  if (json.is_array()) {
    for (size_t i = 0; i < json.as_array().size(); ++i) {
      const Json& item = json.as_array()[i];
      TRY_STATUS(reader.Add(item, item.get_int("id", -1), At("added_tokens", i)));
    }
  } else if (!json.is_null()) {
    return Bad("added_tokens", "expected an array");
  }
  // transformers also adds what only the configuration lists.
  const Json& more = config["added_tokens_decoder"];
  if (!more.is_object()) return {};
  for (const auto& [key, item] : more.as_object()) {
    const bool number = !key.empty() && key.size() < 10 && key.find_first_not_of("0123456789") == std::string::npos;
    TRY_STATUS(reader.Add(item, number ? std::stoll(key) : -1, "added_tokens_decoder." + key));
  }
  return {};
}

// "<s>" or {"content": "<s>"}.
std::string ConfigToken(const Json& config, std::string_view key) {
  const Json& token = config[key];
  return token.is_string() ? token.as_string() : token.get_string("content", "");
}

std::unique_ptr<Tokenizer> MakeTokenizer(TokenizerParts parts, const Json& config) {
  AddNamedTokens(config, &parts);
  const auto id = [&](const char* key) { return FindToken(parts, ConfigToken(config, key)); };
  const std::optional<TokenId> bos = id("bos_token"), eos = id("eos_token"), unk = id("unk_token"), pad = id("pad_token");
  ApplyBosConfig(config, bos, eos, &parts);
  auto tokenizer = std::make_unique<PipelineTokenizer>(std::move(parts));
  tokenizer->bos = bos, tokenizer->eos = eos, tokenizer->unk = unk, tokenizer->pad = pad;
  tokenizer->bos_text = ConfigToken(config, "bos_token"), tokenizer->eos_text = ConfigToken(config, "eos_token");
  tokenizer->unk_text = ConfigToken(config, "unk_token"), tokenizer->pad_text = ConfigToken(config, "pad_token");
  // Files without a limit say 1e30.
  const double length = config.get_double("model_max_length", 0);
  tokenizer->truncates_left = config.get_string("truncation_side", "right") == "left";
  if (length > 0 && length < 1e15) tokenizer->model_max_length = static_cast<int64_t>(length);
  FinishTokenizer(*tokenizer);
  return tokenizer;
}

}  // namespace sgl
