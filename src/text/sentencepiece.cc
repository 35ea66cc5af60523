// SentencePiece's tokenizer.model -> Tokenizer. The file is a protocol buffer: pieces with scores and types, and what to do with the text.
// Source of the field numbers: sentencepiece_model.proto of SentencePiece 0.2.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>

#include "text/protobuf.h"
#include "text/score_vocab.h"
#include "text/tokenizer_config.h"
#include "text/unicode.h"

namespace sgl {
namespace {

constexpr std::string_view kMetaspace = "\xE2\x96\x81";
enum PieceType : int32_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

struct SpmModel {
  GgufVocab vocab;  // tokens, scores, types
  int64_t model_type = 1;
  bool whitespace_suffix = false;
  std::string charsmap;
  bool dummy_prefix = true, remove_extra = true, escape = true;
};

Error Bad(std::string_view what) { return InvalidArgument(fmt::format("tokenizer.model: {}", what)); }

Status ReadPiece(std::string_view bytes, GgufVocab* out) {
  std::string text;
  float score = 0;
  int32_t type = kNormal;
  ProtobufReader reader(bytes);
  for (ProtobufReader::Field field; reader.Next(&field);) {
    if (field.number == 1 && field.is_bytes) text = field.bytes;
    if (field.number == 2) score = field.as_float();
    if (field.number == 3) type = static_cast<int32_t>(field.value);
  }
  const size_t index = out->tokens.size();
  if (reader.failed()) return Bad(fmt::format("piece {} is damaged", index));
  if (!IsValidUtf8(text)) return Bad(fmt::format("piece {} is not valid UTF-8", index));
  if (index >= static_cast<size_t>(kMaxTokenId)) return Bad("has too many pieces");
  if (type == kUnknown && !out->unk) out->unk = static_cast<TokenId>(index);
  out->tokens.push_back(std::move(text));
  out->scores.push_back(score);
  out->token_types.push_back(type);
  return {};
}

Status ReadTrainer(std::string_view bytes, SpmModel* out) {
  ProtobufReader reader(bytes);
  for (ProtobufReader::Field field; reader.Next(&field);) {
    if (field.number == 3) out->model_type = static_cast<int64_t>(field.value);
    if (field.number == 24) out->whitespace_suffix = field.value != 0;
    std::optional<TokenId>* const ids[] = {&out->vocab.unk, &out->vocab.bos, &out->vocab.eos, &out->vocab.pad};
    if (field.number >= 40 && field.number <= 43) {
      const int64_t id = static_cast<int32_t>(field.value);  // -1: none
      std::optional<TokenId>& target = *ids[field.number - 40];
      if (id >= 0) {
        target = static_cast<TokenId>(std::min<int64_t>(id, kMaxTokenId));
      } else {
        target.reset();
      }
    }
  }
  return reader.failed() ? Status(Bad("trainer_spec is damaged")) : Status();
}

Status ReadNormalizer(std::string_view bytes, SpmModel* out) {
  ProtobufReader reader(bytes);
  for (ProtobufReader::Field field; reader.Next(&field);) {
    if (field.number == 2 && field.is_bytes) out->charsmap = field.bytes;
    if (field.number == 3) out->dummy_prefix = field.value != 0;
    if (field.number == 4) out->remove_extra = field.value != 0;
    if (field.number == 5) out->escape = field.value != 0;
  }
  return reader.failed() ? Status(Bad("normalizer_spec is damaged")) : Status();
}

Result<SpmModel> ReadModel(std::string_view bytes) {
  SpmModel out;
  // The trainer's defaults, for files that leave them out.
  out.vocab.unk = 0, out.vocab.bos = 1, out.vocab.eos = 2;
  ProtobufReader reader(bytes);
  for (ProtobufReader::Field field; reader.Next(&field);) {
    if (!field.is_bytes) continue;
    if (field.number == 1) TRY_STATUS(ReadPiece(field.bytes, &out.vocab));
    if (field.number == 2) TRY_STATUS(ReadTrainer(field.bytes, &out));
    if (field.number == 3) TRY_STATUS(ReadNormalizer(field.bytes, &out));
  }
  if (reader.failed() || out.vocab.tokens.empty()) return Bad("is not a SentencePiece model");
  if (out.whitespace_suffix) return Unimplemented("tokenizer.model: treat_whitespace_as_suffix is not supported");
  for (std::optional<TokenId>* id : {&out.vocab.unk, &out.vocab.bos, &out.vocab.eos, &out.vocab.pad})
    if (*id && static_cast<size_t>(**id) >= out.vocab.tokens.size()) id->reset();
  return out;
}

// Control symbols are found in the text, as transformers' tokenizers do and chat templates need. User-defined ones are found behind the
// normaliser, where the space in front of the text is already there.
void AddSymbols(const GgufVocab& vocab, TokenizerParts* parts) {
  for (size_t id = 0; id < vocab.tokens.size(); ++id) {
    const int32_t type = vocab.token_types[id];
    if (type != kControl && type != kUserDefined && type != kUnknown) continue;
    const bool listed =
        std::any_of(parts->added.begin(), parts->added.end(), [&](const AddedToken& t) { return t.content == vocab.tokens[id]; });
    if (listed || vocab.tokens[id].empty()) continue;
    AddedToken token;
    token.id = static_cast<TokenId>(id);
    token.content = vocab.tokens[id];
    token.special = type != kUserDefined;
    token.normalized = type == kUserDefined;
    token.form = token.content;
    parts->added.push_back(std::move(token));
  }
}

Status AddSteps(const SpmModel& model, bool legacy, TokenizerParts* parts) {
  if (!model.charsmap.empty()) {
    Result<Charsmap> map = Charsmap::Parse(model.charsmap);
    if (!map.ok()) return Bad(map.error().message);
    parts->normalizer.Add(CharsmapStep{std::make_shared<const Charsmap>(*std::move(map)), true});
  }
  const std::string mark(kMetaspace);
  const bool every_time = model.dummy_prefix && legacy;
  if (model.remove_extra) {
    parts->normalizer.Add(SpacesStep{true, every_time});
  } else if (every_time) {
    parts->normalizer.Add(PrependStep{model.escape ? mark : " "});
  }
  if (model.escape) parts->normalizer.Add(ReplaceStep{TextPattern{" ", nullptr}, mark});
  // Without "legacy" only the text's beginning gets a space, not what follows a special token.
  if (model.dummy_prefix && !legacy)
    parts->pre_tokenizer.Add(MetaspaceStage{model.escape ? mark : " ", MetaspaceStage::Prepend::kFirst, false});
  // Unigram: no piece has a U+2581 inside, so the text can be cut there.
  if (std::holds_alternative<UnigramParts>(parts->model))
    parts->pre_tokenizer.Add(LiteralStage(mark, SplitBehavior::kMergedWithNext, false));
  parts->decoder.Add(ReplaceDecode{TextPattern{mark, nullptr}, " "});
  parts->decoder.Add(ByteFallbackDecode{});
  parts->decoder.Add(FuseDecode{});
  if (model.dummy_prefix) parts->decoder.Add(StripDecode{" ", 1, 0});
  return {};
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> LoadSentencePiece(std::string_view bytes, const Json& config) {
  TRY(const SpmModel model, ReadModel(bytes));
  TokenizerParts parts;
  parts.vocab = model.vocab.tokens;
  if (model.model_type == 1) {
    TRY_STATUS(FillUnigram(model.vocab, &parts));
  } else if (model.model_type == 2) {
    TRY_STATUS(FillScoreBpe(model.vocab, &parts));
  } else {
    return Unimplemented(fmt::format("tokenizer.model: model type {} is not supported (1, unigram, and 2, bpe, are)", model.model_type));
  }
  TRY_STATUS(AddListedTokens(Json(), config, &parts));
  AddSymbols(model.vocab, &parts);
  TRY_STATUS(AddSteps(model, config.get_bool("legacy", true), &parts));
  // What the configuration does not name, the model does.
  Json named = config.is_object() ? config : Json();
  const std::pair<const char*, std::optional<TokenId>> ids[] = {
      {"bos_token", model.vocab.bos}, {"eos_token", model.vocab.eos}, {"unk_token", model.vocab.unk}, {"pad_token", model.vocab.pad}};
  for (const auto& [key, id] : ids)
    if (id && ConfigToken(named, key).empty()) named.Set(key, model.vocab.tokens[static_cast<size_t>(*id)]);
  if (named.find("add_bos_token") == nullptr) named.Set("add_bos_token", model.vocab.bos.has_value());
  return MakeTokenizer(std::move(parts), named);
}

}  // namespace sgl
