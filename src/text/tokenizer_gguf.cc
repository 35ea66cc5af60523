// GGUF's tokenizer.ggml.* -> Tokenizer. GGUF keeps the vocabulary but only a name for the rest of the pipeline.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "text/gguf_families.h"
#include "text/pipeline.h"
#include "text/score_vocab.h"
#include "text/unicode.h"

namespace sgl {
namespace {

enum TokenType : int32_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

constexpr std::string_view kMetaspace = "\xE2\x96\x81";  // U+2581 stands for a space

Error Bad(std::string_view key, std::string_view what) { return InvalidArgument(fmt::format("tokenizer.ggml.{}: {}", key, what)); }

Status CheckVocab(const GgufVocab& gguf) {
  const size_t size = gguf.tokens.size();
  if (size == 0) return Bad("tokens", "is empty");
  if (size > static_cast<size_t>(kMaxTokenId)) return Bad("tokens", "is too long");
  if (!gguf.token_types.empty() && gguf.token_types.size() != size)
    return Bad("token_type", fmt::format("has {} entries for {} tokens", gguf.token_types.size(), size));
  for (size_t i = 0; i < size; ++i)
    if (!IsValidUtf8(gguf.tokens[i])) return Bad(fmt::format("tokens[{}]", i), "is not valid UTF-8");
  const std::pair<const char*, const std::optional<TokenId>*> named[] = {
      {"bos_token_id", &gguf.bos}, {"eos_token_id", &gguf.eos}, {"unknown_token_id", &gguf.unk}, {"padding_token_id", &gguf.pad},
      {"eot_token_id", &gguf.eot}, {"eom_token_id", &gguf.eom}, {"cls_token_id", &gguf.cls},     {"seperator_token_id", &gguf.sep}};
  for (const auto& [key, id] : named)
    if (*id && (**id < 0 || static_cast<size_t>(**id) >= size)) return Bad(key, fmt::format("{} is not in the vocabulary", **id));
  return {};
}

int32_t TypeOf(const GgufVocab& gguf, size_t id) { return gguf.token_types.empty() ? kNormal : gguf.token_types[id]; }

// SentencePiece-like BPE with a merge list: a kind of its own, or gpt2 with a name that stands for it.
std::string_view KindOf(const GgufVocab& gguf) {
  const bool spaces = gguf.pre == "gemma4" || gguf.pre == "granite-embed-multi-311m" || gguf.pre == "sarvam-moe";
  return gguf.model == "gpt2" && spaces ? std::string_view("gemma4") : std::string_view(gguf.model);
}

// What both kinds share: tokens, added tokens, BOS and EOS around the text.
bool AddsBosByDefault(const GgufVocab& gguf) {
  if (gguf.model == "llama" || gguf.model == "gemma4") return true;
  const Result<const GgufFamily*> family = FindGgufFamily(gguf.pre);
  return gguf.model == "gpt2" && family.ok() && (*family)->add_bos;
}

TokenizerParts CommonParts(const GgufVocab& gguf) {
  TokenizerParts parts;
  parts.vocab = gguf.tokens;
  for (size_t id = 0; id < gguf.tokens.size(); ++id) {
    const int32_t type = TypeOf(gguf, id);
    // SentencePiece's unknown token is special in every tokenizer.json made from such a file.
    const bool special = type == kControl || (type == kUnknown && KindOf(gguf) != "gpt2");
    if (!special && type != kUserDefined) continue;
    AddedToken token;
    token.id = static_cast<TokenId>(id);
    token.content = gguf.tokens[id];
    token.special = special;
    if (!token.content.empty()) parts.added.push_back(std::move(token));
  }
  if (gguf.add_bos.value_or(AddsBosByDefault(gguf)) && gguf.bos) parts.prefix.push_back(*gguf.bos);
  if (gguf.add_eos.value_or(gguf.model == "t5") && gguf.eos) parts.suffix.push_back(*gguf.eos);
  return parts;
}

// "left right" lines over the whole vocabulary.
Status AddMerges(const GgufVocab& gguf, TokenizerParts* parts) {
  TokenIndex index;
  index.Reserve(gguf.tokens.size());
  for (size_t id = 0; id < gguf.tokens.size(); ++id) index.Insert(gguf.tokens[id], static_cast<TokenId>(id));
  std::string joined;
  std::vector<BpeMerge>& merges = std::get<BpeParts>(parts->model).merges;
  for (size_t i = 0; i < gguf.merges.size(); ++i) {
    const std::string_view text = gguf.merges[i];
    const size_t space = text.find(' ', 1);  // a token may itself begin with a space in files that are not byte-level
    if (space == std::string_view::npos) return Bad(fmt::format("merges[{}]", i), "expected two tokens");
    const std::string_view left = text.substr(0, space), right = text.substr(space + 1);
    joined.assign(left);
    joined += right;
    const auto a = index.Find(left), b = index.Find(right), c = index.Find(joined);
    if (!a || !b || !c) return Bad(fmt::format("merges[{}]", i), fmt::format("'{}' is not a token", !a ? left : !b ? right : joined));
    merges.push_back({*a, *b, *c, static_cast<uint32_t>(i)});
  }
  return {};
}

Status FillByteLevel(const GgufVocab& gguf, TokenizerParts* parts) {
  TRY(const GgufFamily* family, FindGgufFamily(gguf.pre.empty() ? "default" : gguf.pre));
  BpeParts& bpe = parts->model.emplace<BpeParts>();
  bpe.options.ignore_merges = family->ignore_merges;
  TRY_STATUS(AddFamilySteps(*family, &parts->normalizer, &parts->pre_tokenizer));
  bpe.options.byte_level = !parts->pre_tokenizer.MakesByteChars();
  parts->decoder.Add(ByteLevelDecode{});
  return AddMerges(gguf, parts);
}

std::optional<TokenId> UnknownOf(const GgufVocab& gguf) {
  if (gguf.unk) return gguf.unk;
  for (size_t id = 0; id < gguf.tokens.size(); ++id)
    if (TypeOf(gguf, id) == kUnknown) return static_cast<TokenId>(id);
  return std::nullopt;
}

void AddMetaspaceDecoder(bool strip_first, TokenDecoder* decoder) {
  decoder->Add(ReplaceDecode{TextPattern{std::string(kMetaspace), nullptr}, " "});
  decoder->Add(ByteFallbackDecode{});
  decoder->Add(FuseDecode{});
  if (strip_first) decoder->Add(StripDecode{" ", 1, 0});
}

// Gemma 4: merges over whole texts with U+2581 for spaces.
Status FillGemma4(const GgufVocab& gguf, TokenizerParts* parts) {
  BpeParts& bpe = parts->model.emplace<BpeParts>();
  bpe.options.byte_fallback = true;
  bpe.options.fuse_unk = true;
  bpe.options.unk = UnknownOf(gguf);
  parts->normalizer.Add(ReplaceStep{TextPattern{" ", nullptr}, std::string(kMetaspace)});
  AddMetaspaceDecoder(false, &parts->decoder);
  return AddMerges(gguf, parts);
}

// SentencePiece joins the pair whose result has the highest score, leftmost first: a merge list sorted by score says the same.
void AddScoreMerges(const GgufVocab& gguf, std::vector<BpeMerge>& merges) {
  const auto joins = [&](size_t id) {
    const int32_t type = TypeOf(gguf, id);
    return type == kNormal || type == kUserDefined || type == kUnused;
  };
  TokenIndex index;
  index.Reserve(gguf.tokens.size());
  for (size_t id = 0; id < gguf.tokens.size(); ++id)
    if (joins(id)) index.Insert(gguf.tokens[id], static_cast<TokenId>(id));
  std::vector<size_t> order(gguf.tokens.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return gguf.scores[a] > gguf.scores[b]; });
  uint32_t rank = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    if (i > 0 && gguf.scores[order[i]] != gguf.scores[order[i - 1]]) ++rank;
    const std::string_view token = gguf.tokens[order[i]];
    constexpr size_t kLongest = 256;  // bytes; the ways to cut a token are quadratic work
    if (!joins(order[i]) || token.size() > kLongest) continue;
    for (size_t cut = 1; cut < token.size(); ++cut) {
      if ((static_cast<unsigned char>(token[cut]) & 0xC0) == 0x80) continue;
      const auto left = index.Find(token.substr(0, cut)), right = index.Find(token.substr(cut));
      if (left && right) merges.push_back({*left, *right, static_cast<TokenId>(order[i]), rank});
    }
  }
}

Status CheckScores(const GgufVocab& gguf) {
  if (gguf.scores.size() != gguf.tokens.size())
    return Bad("scores", fmt::format("has {} entries for {} tokens", gguf.scores.size(), gguf.tokens.size()));
  if (std::any_of(gguf.scores.begin(), gguf.scores.end(), [](float score) { return std::isnan(score); })) return Bad("scores", "has a NaN");
  return {};
}

Status FillSentencePiece(const GgufVocab& gguf, TokenizerParts* parts) {
  TRY_STATUS(FillScoreBpe(gguf, parts));
  if (gguf.add_space_prefix) parts->normalizer.Add(PrependStep{std::string(kMetaspace)});
  parts->normalizer.Add(ReplaceStep{TextPattern{" ", nullptr}, std::string(kMetaspace)});
  AddMetaspaceDecoder(gguf.add_space_prefix, &parts->decoder);
  return {};
}

// T5 and XLM-R: SentencePiece's Unigram, with the steps that transformers' conversion gives it.
Status FillT5(const GgufVocab& gguf, TokenizerParts* parts) {
  TRY_STATUS(FillUnigram(gguf, parts));
  if (!gguf.precompiled_charsmap.empty()) {
    Result<Charsmap> map = Charsmap::Parse(gguf.precompiled_charsmap);
    if (!map.ok()) return Bad("precompiled_charsmap", map.error().message);
    parts->normalizer.Add(CharsmapStep{std::make_shared<const Charsmap>(*std::move(map)), false});
  }
  using Prepend = MetaspaceStage::Prepend;
  if (gguf.remove_extra_whitespaces) parts->pre_tokenizer.Add(CharStage{CharStage::Kind::kWhiteSpace, SplitBehavior::kRemoved});
  parts->pre_tokenizer.Add(MetaspaceStage{std::string(kMetaspace), gguf.add_space_prefix ? Prepend::kAlways : Prepend::kNever, true});
  parts->decoder.Add(MetaspaceDecode{std::string(kMetaspace), gguf.add_space_prefix});
  return {};
}

// BERT. The converter writes "##ing" as "ing" and "word" as U+2581 "word".
Status FillBert(const GgufVocab& gguf, TokenizerParts* parts) {
  const std::optional<TokenId> unk = UnknownOf(gguf);
  if (!unk) return Bad("unknown_token_id", "is missing");
  bool capitals = false;
  for (size_t id = 0; id < gguf.tokens.size(); ++id) {
    std::string& token = parts->vocab[id];
    if (TypeOf(gguf, id) != kNormal || (token.starts_with('[') && token.ends_with(']') && token.size() > 2)) continue;
    token = token.starts_with(kMetaspace) ? token.substr(kMetaspace.size()) : "##" + token;
    capitals = capitals || std::any_of(token.begin(), token.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
  }
  WordPieceOptions options;
  options.unk = *unk;
  parts->model = options;
  parts->normalizer.Add(BertStep{true, true, !capitals, !capitals});  // a vocabulary with capitals is cased
  parts->pre_tokenizer.Add(CharStage{CharStage::Kind::kWhiteSpace, SplitBehavior::kRemoved});
  parts->pre_tokenizer.Add(CharStage{CharStage::Kind::kPunctuation, SplitBehavior::kIsolated});
  parts->decoder.Add(WordPieceDecode{"##", true});
  const std::optional<TokenId> cls = gguf.cls ? gguf.cls : gguf.bos, sep = gguf.sep ? gguf.sep : gguf.eos;
  parts->prefix.clear(), parts->suffix.clear();
  if (cls) parts->prefix.push_back(*cls);
  if (sep) parts->suffix.push_back(*sep);
  return {};
}

}  // namespace

Status FillScoreBpe(const GgufVocab& gguf, TokenizerParts* parts) {
  TRY_STATUS(CheckScores(gguf));
  BpeParts& bpe = parts->model.emplace<BpeParts>();
  AddScoreMerges(gguf, bpe.merges);
  bpe.options.byte_fallback = true;
  bpe.options.fuse_unk = true;
  bpe.options.unk = UnknownOf(gguf);
  return {};
}

Status FillUnigram(const GgufVocab& gguf, TokenizerParts* parts) {
  TRY_STATUS(CheckScores(gguf));
  UnigramParts& unigram = parts->model.emplace<UnigramParts>();
  unigram.scores.assign(gguf.scores.begin(), gguf.scores.end());
  unigram.options.unk = UnknownOf(gguf);
  for (size_t id = 0; id < gguf.tokens.size() && !unigram.options.byte_fallback; ++id)
    unigram.options.byte_fallback = TypeOf(gguf, id) == kByte;
  return {};
}

Result<std::unique_ptr<Tokenizer>> LoadTokenizer(const GgufVocab& gguf) {
  TRY_STATUS(CheckVocab(gguf));
  TokenizerParts parts = CommonParts(gguf);
  struct Kind {
    std::string_view name;
    Status (*fill)(const GgufVocab&, TokenizerParts*);
  };
  constexpr Kind kKinds[] = {
      {"gpt2", FillByteLevel}, {"llama", FillSentencePiece}, {"bert", FillBert}, {"t5", FillT5}, {"gemma4", FillGemma4}};
  const auto kind = std::find_if(std::begin(kKinds), std::end(kKinds), [&](const Kind& k) { return k.name == KindOf(gguf); });
  if (kind == std::end(kKinds))
    return Unimplemented(fmt::format("tokenizer.ggml.model: '{}' is not supported (bert, gemma4, gpt2, llama and t5 are)", gguf.model));
  TRY_STATUS(kind->fill(gguf, &parts));
  auto tokenizer = std::make_unique<PipelineTokenizer>(std::move(parts));
  tokenizer->bos = gguf.bos, tokenizer->eos = gguf.eos, tokenizer->unk = gguf.unk, tokenizer->pad = gguf.pad;
  for (const std::optional<TokenId>& id : {gguf.eot, gguf.eom})
    if (id) tokenizer->extra_eos.push_back(*id);
  FinishTokenizer(*tokenizer);
  return std::unique_ptr<Tokenizer>(std::move(tokenizer));
}

}  // namespace sgl
