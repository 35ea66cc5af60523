// tokenizer.json and tokenizer_config.json -> Tokenizer.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>

#include "text/bpe_tokenizer.h"

namespace sgl {
namespace {

Error Bad(const std::string& path, std::string_view what) { return InvalidArgument(fmt::format("tokenizer.json: {}: {}", path, what)); }

Error Unsupported(const std::string& path, std::string_view kind) {
  return Unimplemented(fmt::format("tokenizer.json: {}: '{}' is not supported", path, kind));
}

std::string At(const std::string& path, size_t index) { return fmt::format("{}[{}]", path, index); }

// The member `key` of a Sequence-like object as an array.
Result<const Json::Array*> ArrayOf(const Json& json, std::string_view key, const std::string& path) {
  const Json& member = json[key];
  if (!member.is_array()) return Bad(fmt::format("{}.{}", path, key), "expected an array");
  return &member.as_array();
}

Result<std::string> StringOf(const Json& json, std::string_view key, const std::string& path) {
  const Json& member = json[key];
  if (!member.is_string()) return Bad(fmt::format("{}.{}", path, key), "expected a string");
  return member.as_string();
}

Result<TextPattern> ParsePattern(const Json& json, const std::string& path) {
  if (json["String"].is_string()) return TextPattern{json["String"].as_string(), nullptr};
  if (!json["Regex"].is_string()) return Bad(path, "expected {\"String\": ...} or {\"Regex\": ...}");
  Result<Regex> regex = Regex::Compile(json["Regex"].as_string(), RegexSyntax::kOniguruma);
  if (!regex.ok()) return Bad(path + ".Regex", regex.error().message);
  return TextPattern{"", std::make_shared<const Regex>(*std::move(regex))};
}

// ---- normalizer ----

Status ParseNormalizer(const Json& json, const std::string& path, Normalizer* out) {
  if (json.is_null()) return {};
  const std::string type = json.get_string("type", "");
  if (type == "Sequence") {
    TRY(const Json::Array* items, ArrayOf(json, "normalizers", path));
    for (size_t i = 0; i < items->size(); ++i) TRY_STATUS(ParseNormalizer((*items)[i], At(path + ".normalizers", i), out));
    return {};
  }
  if (type == "NFC") return out->Add(NormalForm::kNfc), Status();
  if (type == "NFD") return out->Add(NormalForm::kNfd), Status();
  if (type == "NFKC") return out->Add(NormalForm::kNfkc), Status();
  if (type == "NFKD") return out->Add(NormalForm::kNfkd), Status();
  if (type == "Lowercase") return out->Add(LowercaseStep{}), Status();
  if (type == "Strip") return out->Add(StripStep{json.get_bool("strip_left", true), json.get_bool("strip_right", true)}), Status();
  if (type == "Prepend") {
    TRY(std::string text, StringOf(json, "prepend", path));
    return out->Add(PrependStep{std::move(text)}), Status();
  }
  if (type == "Replace") {
    TRY(TextPattern pattern, ParsePattern(json["pattern"], path + ".pattern"));
    TRY(std::string content, StringOf(json, "content", path));
    return out->Add(ReplaceStep{std::move(pattern), std::move(content)}), Status();
  }
  return Unsupported(path, type);
}

// ---- pre_tokenizer ----

Result<SplitBehavior> ParseBehavior(const Json& json, const std::string& path) {
  if (json == Json("Isolated")) return SplitBehavior::kIsolated;
  if (json == Json("Removed")) return SplitBehavior::kRemoved;
  if (json == Json("MergedWithPrevious")) return SplitBehavior::kMergedWithPrevious;
  if (json == Json("MergedWithNext")) return SplitBehavior::kMergedWithNext;
  if (json == Json("Contiguous")) return SplitBehavior::kContiguous;
  return Bad(path, "expected Isolated, Removed, MergedWithPrevious, MergedWithNext or Contiguous");
}

// The replacement character and when it is put in front; also for the decoder of that name.
Status ParseMetaspace(const Json& json, const std::string& path, MetaspaceStage* out) {
  out->replacement = json.get_string("replacement", "\xE2\x96\x81");
  if (out->replacement.empty()) return Bad(path + ".replacement", "expected a character");
  out->split = json.get_bool("split", true);
  const bool legacy = json.get_bool("add_prefix_space", true);
  const std::string scheme = json.get_string("prepend_scheme", legacy ? "always" : "never");
  if (scheme != "always" && scheme != "first" && scheme != "never") return Bad(path + ".prepend_scheme", "expected always, first or never");
  out->prepend = scheme == "always"  ? MetaspaceStage::Prepend::kAlways
                 : scheme == "first" ? MetaspaceStage::Prepend::kFirst
                                     : MetaspaceStage::Prepend::kNever;
  return {};
}

Status ParsePreTokenizer(const Json& json, const std::string& path, PreTokenizer* out, bool* byte_level) {
  if (json.is_null()) return {};
  const std::string type = json.get_string("type", "");
  if (type == "Sequence") {
    TRY(const Json::Array* items, ArrayOf(json, "pretokenizers", path));
    for (size_t i = 0; i < items->size(); ++i) TRY_STATUS(ParsePreTokenizer((*items)[i], At(path + ".pretokenizers", i), out, byte_level));
    return {};
  }
  // ByteLevel turns text into stand-ins for bytes; we keep the bytes, which only works when nothing looks at them afterwards.
  if (*byte_level) return Unsupported(path, type + " after ByteLevel");
  if (type == "ByteLevel") {
    *byte_level = true;
    if (json.get_bool("add_prefix_space", true)) out->Add(PrefixSpaceStage{});
    if (json.get_bool("use_regex", true)) out->Add(KnownSplitStage(kGpt2Pattern));
    return {};
  }
  if (type == "Split") {
    SplitStage stage;
    TRY(stage.behavior, ParseBehavior(json["behavior"], path + ".behavior"));
    stage.invert = json.get_bool("invert", false);
    TRY(stage.pattern, ParsePattern(json["pattern"], path + ".pattern"));
    // Matches that tile the text: Isolated, and Removed with everything that is not a match, both give the matches.
    const bool gives_matches = stage.behavior == SplitBehavior::kIsolated || (stage.behavior == SplitBehavior::kRemoved && stage.invert);
    if (gives_matches && stage.pattern.regex != nullptr) stage.known = KnownSplitter(json["pattern"]["Regex"].as_string());
    return out->Add(std::move(stage)), Status();
  }
  if (type == "Digits") {
    const bool each = json.get_bool("individual_digits", false);
    return out->Add(CharStage{CharStage::Kind::kNumber, each ? SplitBehavior::kIsolated : SplitBehavior::kContiguous}), Status();
  }
  if (type == "Punctuation") {
    CharStage stage{CharStage::Kind::kPunctuation, SplitBehavior::kIsolated};
    if (json.find("behavior") != nullptr) {
      TRY(stage.behavior, ParseBehavior(json["behavior"], path + ".behavior"));
    }
    return out->Add(stage), Status();
  }
  if (type == "WhitespaceSplit") return out->Add(CharStage{CharStage::Kind::kWhiteSpace, SplitBehavior::kRemoved}), Status();
  if (type == "Whitespace") {
    SplitStage stage{{}, SplitBehavior::kRemoved, true, nullptr};
    TRY(Regex regex, Regex::Compile(R"(\w+|[^\w\s]+)", RegexSyntax::kOniguruma));
    stage.pattern.regex = std::make_shared<const Regex>(std::move(regex));
    return out->Add(std::move(stage)), Status();
  }
  if (type == "Metaspace") {
    MetaspaceStage stage;
    TRY_STATUS(ParseMetaspace(json, path, &stage));
    return out->Add(std::move(stage)), Status();
  }
  return Unsupported(path, type);
}

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

Status ParseMerges(const Json& json, const std::vector<std::string>& tokens, std::vector<BpeMerge>* out) {
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
    joined += right;
    const auto a = index.Find(left), b = index.Find(right), c = index.Find(joined);
    if (!a || !b || !c) return Bad(path, fmt::format("'{}' is not in the vocabulary", !a ? left : !b ? right : joined));
    out->push_back({*a, *b, *c, rank});
  }
  return {};
}

Status ParseModel(const Json& json, TokenizerParts* parts) {
  const std::string type = json.get_string("type", "BPE");
  if (!json.is_object()) return Bad("model", "expected an object");
  if (type != "BPE") return Unsupported("model.type", type);
  if (json.get_double("dropout", 0) != 0) return Unsupported("model.dropout", "a dropout");
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"})
    if (!json.get_string(key, "").empty()) return Unsupported(fmt::format("model.{}", key), json[key].as_string());
  TRY_STATUS(ParseVocab(json["vocab"], &parts->vocab));
  TRY_STATUS(ParseMerges(json["merges"], parts->vocab, &parts->merges));
  parts->bpe.ignore_merges = json.get_bool("ignore_merges", false);
  parts->bpe.byte_fallback = json.get_bool("byte_fallback", false);
  parts->bpe.fuse_unk = json.get_bool("fuse_unk", false);
  if (!json["unk_token"].is_string()) return {};
  const auto unk = std::find(parts->vocab.begin(), parts->vocab.end(), json["unk_token"].as_string());
  if (unk == parts->vocab.end() || unk->empty()) return Bad("model.unk_token", "is not in the vocabulary");
  parts->bpe.unk = static_cast<TokenId>(unk - parts->vocab.begin());
  return {};
}

// ---- added_tokens ----

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

Status ParseAddedTokens(const Json& json, const Json& config, TokenizerParts* parts) {
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

// ---- decoder ----

Status ParseDecoder(const Json& json, const std::string& path, TokenDecoder* out) {
  if (json.is_null()) return {};
  const std::string type = json.get_string("type", "");
  if (type == "Sequence") {
    TRY(const Json::Array* items, ArrayOf(json, "decoders", path));
    for (size_t i = 0; i < items->size(); ++i) TRY_STATUS(ParseDecoder((*items)[i], At(path + ".decoders", i), out));
    return {};
  }
  if (type == "ByteLevel") return out->Add(ByteLevelDecode{}), Status();
  if (type == "ByteFallback") return out->Add(ByteFallbackDecode{}), Status();
  if (type == "Fuse") return out->Add(FuseDecode{}), Status();
  if (type == "Replace") {
    TRY(TextPattern pattern, ParsePattern(json["pattern"], path + ".pattern"));
    TRY(std::string content, StringOf(json, "content", path));
    return out->Add(ReplaceDecode{std::move(pattern), std::move(content)}), Status();
  }
  if (type == "Strip") {
    TRY(std::string character, StringOf(json, "content", path));
    if (character.empty()) return Bad(path + ".content", "expected a character");
    const int64_t start = json.get_int("start", 0), stop = json.get_int("stop", 0);
    if (start < 0 || stop < 0) return Bad(path, "start and stop must not be negative");
    return out->Add(StripDecode{std::move(character), static_cast<size_t>(start), static_cast<size_t>(stop)}), Status();
  }
  if (type == "Metaspace") {
    MetaspaceStage stage;
    TRY_STATUS(ParseMetaspace(json, path, &stage));
    return out->Add(MetaspaceDecode{stage.replacement, stage.prepend != MetaspaceStage::Prepend::kNever}), Status();
  }
  return Unsupported(path, type);
}

// ---- tokenizer_config.json ----

// "<s>" or {"content": "<s>"}.
std::string ConfigToken(const Json& config, std::string_view key) {
  const Json& token = config[key];
  return token.is_string() ? token.as_string() : token.get_string("content", "");
}

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
  for (const char* key : {"bos_token", "eos_token", "unk_token", "pad_token"}) names.push_back(ConfigToken(config, key));
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

std::unique_ptr<Tokenizer> MakeTokenizer(TokenizerParts parts, const Json& config) {
  AddNamedTokens(config, &parts);
  const auto id = [&](const char* key) { return FindToken(parts, ConfigToken(config, key)); };
  const std::optional<TokenId> bos = id("bos_token"), eos = id("eos_token"), unk = id("unk_token"), pad = id("pad_token");
  ApplyBosConfig(config, bos, eos, &parts);
  auto tokenizer = std::make_unique<BpeTokenizer>(std::move(parts));
  tokenizer->bos = bos, tokenizer->eos = eos, tokenizer->unk = unk, tokenizer->pad = pad;
  tokenizer->bos_text = ConfigToken(config, "bos_token"), tokenizer->eos_text = ConfigToken(config, "eos_token");
  tokenizer->unk_text = ConfigToken(config, "unk_token"), tokenizer->pad_text = ConfigToken(config, "pad_token");
  // Files without a limit say 1e30.
  const double length = config.get_double("model_max_length", 0);
  if (length > 0 && length < 1e15) tokenizer->model_max_length = static_cast<int64_t>(length);
  FinishTokenizer(*tokenizer);
  return tokenizer;
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> LoadTokenizer(std::string_view tokenizer_json, const Json& config) {
  Result<Json> parsed = ParseJson(tokenizer_json);
  if (!parsed.ok()) return std::move(parsed).error().In("tokenizer.json");
  const Json& json = *parsed;
  if (!json.is_object()) return InvalidArgument("tokenizer.json: expected an object");
  TokenizerParts parts;
  TRY_STATUS(ParseModel(json["model"], &parts));
  TRY_STATUS(ParseAddedTokens(json["added_tokens"], config, &parts));
  TRY_STATUS(ParseNormalizer(json["normalizer"], "normalizer", &parts.normalizer));
  TRY_STATUS(ParsePreTokenizer(json["pre_tokenizer"], "pre_tokenizer", &parts.pre_tokenizer, &parts.bpe.byte_level));
  TRY_STATUS(PostProcessorReader(&parts).Read(json["post_processor"], "post_processor"));
  TRY_STATUS(ParseDecoder(json["decoder"], "decoder", &parts.decoder));
  return MakeTokenizer(std::move(parts), config);
}

}  // namespace sgl
