// tokenizer.json and tokenizer_config.json -> Tokenizer.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>

#include "text/json_steps.h"
#include "text/tokenizer_config.h"

namespace sgl {
namespace {

using tokenizer_json::ArrayOf;
using tokenizer_json::At;
using tokenizer_json::Bad;
using tokenizer_json::ParseDecoder;
using tokenizer_json::ParseNormalizer;
using tokenizer_json::ParsePreTokenizer;
using tokenizer_json::Unsupported;

// ---- model ----

Status ParseVocab(const Json& json, std::vector<std::string>* tokens) {
  if (!json.is_object()) return Bad("model.vocab", "expected an object");
  for (const auto& [token, id] : json.as_object()) {
    if (!id.is_int() || id.as_int() < 0 || id.as_int() > kMaxTokenId)
      return Bad("model.vocab." + token, "expected an id between 0 and " + std::to_string(kMaxTokenId));
    const size_t at = static_cast<size_t>(id.as_int());
    // A file of a few bytes must not ask for gigabytes: holes may not outnumber the tokens by much.
    if (at > 64 * json.as_object().size() + 65536) return Bad("model.vocab." + token, "the id is far beyond the number of tokens");
    if (at >= tokens->size()) tokens->resize(at + 1);
    (*tokens)[at] = token;
  }
  return {};
}

Status ParseMerges(const Json& json, const std::vector<std::string>& tokens, const std::string& prefix, std::vector<BpeMerge>* out) {
  if (!json.is_array()) return Bad("model.merges", "expected an array");
  TokenIndex index;
  index.Reserve(tokens.size());
  for (size_t id = 0; id < tokens.size(); ++id)
    if (!tokens[id].empty()) index.Insert(tokens[id], static_cast<TokenId>(id));
  out->reserve(json.as_array().size());
  std::string joined;
  for (const Json& item : json.as_array()) {
    const uint32_t rank = static_cast<uint32_t>(out->size());
    const std::string path = At("model.merges", rank);
    std::string_view left, right;
    if (item.is_string()) {
      const std::string_view text = item.as_string();
      const size_t space = text.find(' ');
      if (space == std::string_view::npos || text.find(' ', space + 1) != std::string_view::npos) return Bad(path, "expected two tokens");
      left = text.substr(0, space), right = text.substr(space + 1);
    } else if (item.is_array() && item.as_array().size() == 2 && item.as_array()[0].is_string() && item.as_array()[1].is_string()) {
      left = item.as_array()[0].as_string(), right = item.as_array()[1].as_string();
    } else {
      return Bad(path, "expected \"a b\" or [\"a\", \"b\"]");
    }
    joined.assign(left);
    if (right.size() >= prefix.size()) joined += right.substr(prefix.size());  // the second token's mark goes
    const auto a = index.Find(left), b = index.Find(right), c = index.Find(joined);
    if (!a || !b || !c) return Bad(path, fmt::format("'{}' is not in the vocabulary", !a ? left : !b ? right : joined));
    out->push_back({*a, *b, *c, rank});
  }
  return {};
}

// The id of unk_token; `needed`: it must be there.
Result<std::optional<TokenId>> ParseUnknown(const Json& json, bool needed, const std::vector<std::string>& vocab) {
  if (!json["unk_token"].is_string()) {
    if (needed) return Bad("model.unk_token", "expected a string");
    return std::optional<TokenId>();
  }
  const auto unk = std::find(vocab.begin(), vocab.end(), json["unk_token"].as_string());
  if (unk == vocab.end() || unk->empty()) return Bad("model.unk_token", "is not in the vocabulary");
  return std::optional<TokenId>(static_cast<TokenId>(unk - vocab.begin()));
}

Status ParseBpe(const Json& json, TokenizerParts* parts) {
  if (json.get_double("dropout", 0) != 0) return Unsupported("model.dropout", "a dropout");
  TRY_STATUS(ParseVocab(json["vocab"], &parts->vocab));
  BpeParts& bpe = parts->model.emplace<BpeParts>();
  bpe.options.continuing_prefix = json.get_string("continuing_subword_prefix", "");
  bpe.options.word_suffix = json.get_string("end_of_word_suffix", "");
  TRY_STATUS(ParseMerges(json["merges"], parts->vocab, bpe.options.continuing_prefix, &bpe.merges));
  bpe.options.ignore_merges = json.get_bool("ignore_merges", false);
  bpe.options.byte_fallback = json.get_bool("byte_fallback", false);
  bpe.options.fuse_unk = json.get_bool("fuse_unk", false);
  TRY(bpe.options.unk, ParseUnknown(json, false, parts->vocab));
  return {};
}

Status ParseUnigram(const Json& json, TokenizerParts* parts) {
  const Json& vocab = json["vocab"];
  if (!vocab.is_array() || vocab.as_array().size() > static_cast<size_t>(kMaxTokenId)) return Bad("model.vocab", "expected an array");
  UnigramParts& unigram = parts->model.emplace<UnigramParts>();
  for (const Json& item : vocab.as_array()) {
    const bool pair = item.is_array() && item.as_array().size() == 2 && item.as_array()[0].is_string() && item.as_array()[1].is_number();
    if (!pair) return Bad(At("model.vocab", parts->vocab.size()), "expected [token, score]");
    parts->vocab.push_back(item.as_array()[0].as_string());
    unigram.scores.push_back(item.as_array()[1].as_double());
  }
  unigram.options.byte_fallback = json.get_bool("byte_fallback", false);
  const Json& unk = json["unk_id"];
  if (unk.is_null()) return {};
  if (!unk.is_int() || unk.as_int() < 0 || static_cast<size_t>(unk.as_int()) >= parts->vocab.size())
    return Bad("model.unk_id", "is not in the vocabulary");
  unigram.options.unk = static_cast<TokenId>(unk.as_int());
  return {};
}

Status ParseWordPiece(const Json& json, TokenizerParts* parts) {
  TRY_STATUS(ParseVocab(json["vocab"], &parts->vocab));
  WordPieceOptions options;
  TRY(const std::optional<TokenId> unk, ParseUnknown(json, true, parts->vocab));
  options.unk = *unk;
  options.continuing_prefix = json.get_string("continuing_subword_prefix", "##");
  const int64_t longest = json.get_int("max_input_chars_per_word", 100);
  if (longest < 0) return Bad("model.max_input_chars_per_word", "expected a number that is not negative");
  options.max_chars = static_cast<size_t>(longest);
  parts->model = std::move(options);
  return {};
}

Status ParseModel(const Json& json, TokenizerParts* parts) {
  if (!json.is_object()) return Bad("model", "expected an object");
  // Old files do not say what their model is.
  const char* guess = json["vocab"].is_array()                            ? "Unigram"
                      : json.find("merges") != nullptr                    ? "BPE"
                      : json.find("continuing_subword_prefix") != nullptr ? "WordPiece"
                                                                          : "WordLevel";
  const std::string type = json.get_string("type", guess);
  if (type == "BPE") return ParseBpe(json, parts);
  if (type == "Unigram") return ParseUnigram(json, parts);
  if (type == "WordPiece") return ParseWordPiece(json, parts);
  if (type != "WordLevel") return Unsupported("model.type", type);
  TRY_STATUS(ParseVocab(json["vocab"], &parts->vocab));
  TRY(const std::optional<TokenId> unk, ParseUnknown(json, true, parts->vocab));
  parts->model = WordLevelParts{*unk};
  return {};
}

// ---- post_processor ----

class PostProcessorReader {
 public:
  explicit PostProcessorReader(TokenizerParts* parts) : parts_(parts) {}

  Status Read(const Json& json, const std::string& path) {
    if (json.is_null()) return {};
    const std::string type = json.get_string("type", "");
    if (type == "ByteLevel") return {};  // offsets only
    if (type == "Sequence") {
      TRY(const Json::Array* items, ArrayOf(json, "processors", path));
      for (size_t i = 0; i < items->size(); ++i) TRY_STATUS(Read((*items)[i], At(path + ".processors", i)));
      return {};
    }
    if (type == "TemplateProcessing") return Template(json, path);
    if (type != "BertProcessing" && type != "RobertaProcessing") return Unsupported(path, type);
    for (const char* key : {"cls", "sep"}) {
      const Json& pair = json[key];
      if (!pair.is_array() || pair.as_array().size() != 2 || !pair.as_array()[1].is_int())
        return Bad(fmt::format("{}.{}", path, key), "expected [token, id]");
      TRY_STATUS(Put(pair.as_array()[1], fmt::format("{}.{}[1]", path, key), key[0] == 'c' ? &before_ : &after_));
    }
    return Done();
  }

 private:
  Status Put(const Json& id, const std::string& path, std::vector<TokenId>* out) {
    if (!id.is_int() || id.as_int() < 0 || id.as_int() > kMaxTokenId) return Bad(path, "expected an id");
    out->push_back(static_cast<TokenId>(id.as_int()));
    return {};
  }

  Status Template(const Json& json, const std::string& path) {
    TRY(const Json::Array* items, ArrayOf(json, "single", path));
    bool past_text = false;
    for (size_t i = 0; i < items->size(); ++i) {
      const std::string here = At(path + ".single", i);
      const Json& special = (*items)[i]["SpecialToken"];
      if (special.is_null()) {
        if (!(*items)[i]["Sequence"].is_object() || past_text) return Bad(here, "expected SpecialToken, or Sequence once");
        past_text = true;
        continue;
      }
      const std::string name = special.get_string("id", "");
      const Json& ids = json["special_tokens"][name]["ids"];
      if (!ids.is_array()) return Bad(fmt::format("{}.special_tokens.{}.ids", path, name), "expected an array");
      for (const Json& id : ids.as_array())
        TRY_STATUS(Put(id, fmt::format("{}.special_tokens.{}.ids", path, name), past_text ? &after_ : &before_));
    }
    if (!past_text) return Bad(path + ".single", "has no Sequence");
    return Done();
  }

  // A later processor wraps what the earlier ones made.
  Status Done() {
    parts_->prefix.insert(parts_->prefix.begin(), before_.begin(), before_.end());
    parts_->suffix.insert(parts_->suffix.end(), after_.begin(), after_.end());
    before_.clear();
    after_.clear();
    return {};
  }

  TokenizerParts* parts_;
  std::vector<TokenId> before_, after_;
};

}  // namespace

Result<std::unique_ptr<Tokenizer>> LoadTokenizer(std::string_view tokenizer_json, const Json& config) {
  Result<Json> parsed = ParseJson(tokenizer_json);
  if (!parsed.ok()) return std::move(parsed).error().In("tokenizer.json");
  const Json& json = *parsed;
  if (!json.is_object()) return InvalidArgument("tokenizer.json: expected an object");
  TokenizerParts parts;
  TRY_STATUS(ParseModel(json["model"], &parts));
  TRY_STATUS(AddListedTokens(json["added_tokens"], config, &parts));
  TRY_STATUS(ParseNormalizer(json["normalizer"], "normalizer", &parts.normalizer));
  bool byte_level = false;
  TRY_STATUS(ParsePreTokenizer(json["pre_tokenizer"], "pre_tokenizer", &parts.pre_tokenizer, &byte_level));
  // BPE works on the bytes themselves; other models, and byte fallback, want to see the stand-ins.
  BpeParts* bpe = std::get_if<BpeParts>(&parts.model);
  if (byte_level && bpe != nullptr && !bpe->options.byte_fallback) {
    bpe->options.byte_level = true;
  } else if (byte_level) {
    parts.pre_tokenizer.Add(ByteCharsStage{});
  }
  TRY_STATUS(PostProcessorReader(&parts).Read(json["post_processor"], "post_processor"));
  TRY_STATUS(ParseDecoder(json["decoder"], "decoder", &parts.decoder));
  std::unique_ptr<Tokenizer> tokenizer = MakeTokenizer(std::move(parts), config);
  if (const Json& truncation = json["truncation"]; !truncation.is_null()) {
    const int64_t length = truncation.get_int("max_length", -1);
    const std::string direction = truncation.get_string("direction", "Right");
    if (length < 0) return Bad("truncation.max_length", "expected a number that is not negative");
    if (direction != "Right" && direction != "Left") return Bad("truncation.direction", "expected Left or Right");
    tokenizer->truncation_length = length;
    tokenizer->truncates_left = direction == "Left";
  }
  return tokenizer;
}

}  // namespace sgl
