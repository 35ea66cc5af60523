// GGUF's tokenizer.ggml.* -> Tokenizer. GGUF keeps the vocabulary but only a name for the rest of the pipeline.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "text/bpe_tokenizer.h"
#include "text/unicode.h"

namespace sgl {
namespace {

enum TokenType : int32_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

constexpr std::string_view kMetaspace = "\xE2\x96\x81";  // U+2581 stands for a space

// OpenAI's o200k_base, as gpt-4o and Llama 4 have it.
constexpr std::string_view kGpt4oPattern =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kTekkenPattern =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kDigits3 = R"(\p{N}{1,3})";
constexpr std::string_view kDeepSeekCjk = "[\xE4\xB8\x80-\xE9\xBE\xA5\xE3\x81\x80-\xE3\x82\x9F\xE3\x82\xA0-\xE3\x83\xBF]+";
constexpr std::string_view kDeepSeekV3 =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

struct Family {
  std::string_view name;
  bool each_digit;               // numbers apart, digit by digit, before the patterns
  std::string_view patterns[3];  // applied in turn; "" ends them
  bool nfc = false;
  bool ignore_merges = false;
};

// tokenizer.ggml.pre, as llama.cpp's converter writes it. "default" stands for files from before the key existed.
const Family kFamilies[] = {
    {"default", false, {kGpt2Pattern}},
    {"gpt-2", false, {kGpt2Pattern}},
    {"gpt2", false, {kGpt2Pattern}},
    {"phi-2", false, {kGpt2Pattern}},
    {"mpt", false, {kGpt2Pattern}},
    {"olmo", false, {kGpt2Pattern}},
    {"smollm", true, {kGpt2Pattern}},
    {"starcoder", true, {kGpt2Pattern}},
    {"refact", true, {kGpt2Pattern}},
    {"codeshell", true, {kGpt2Pattern}},
    {"command-r", true, {kGpt2Pattern}, true},
    {"llama-bpe", false, {kLlama3Pattern}, false, true},
    {"llama3", false, {kLlama3Pattern}, false, true},
    {"llama-v3", false, {kLlama3Pattern}, false, true},
    {"qwen2", false, {kQwen2Pattern}, true},
    {"deepseek-r1-qwen", false, {kQwen2Pattern}, true},
    {"gpt-4o", false, {kGpt4oPattern}},
    {"llama4", false, {kGpt4oPattern}},
    {"tekken", false, {kTekkenPattern}, false, true},
    {"deepseek-v3", false, {kDigits3, kDeepSeekCjk, kDeepSeekV3}},
};

Error Bad(std::string_view key, std::string_view what) { return InvalidArgument(fmt::format("tokenizer.ggml.{}: {}", key, what)); }

Status CheckVocab(const GgufVocab& gguf) {
  const size_t size = gguf.tokens.size();
  if (size == 0) return Bad("tokens", "is empty");
  if (size > static_cast<size_t>(kMaxTokenId)) return Bad("tokens", "is too long");
  if (!gguf.token_types.empty() && gguf.token_types.size() != size)
    return Bad("token_type", fmt::format("has {} entries for {} tokens", gguf.token_types.size(), size));
  for (size_t i = 0; i < size; ++i)
    if (!IsValidUtf8(gguf.tokens[i])) return Bad(fmt::format("tokens[{}]", i), "is not valid UTF-8");
  const std::pair<const char*, const std::optional<TokenId>*> named[] = {{"bos_token_id", &gguf.bos},     {"eos_token_id", &gguf.eos},
                                                                         {"unknown_token_id", &gguf.unk}, {"padding_token_id", &gguf.pad},
                                                                         {"eot_token_id", &gguf.eot},     {"eom_token_id", &gguf.eom}};
  for (const auto& [key, id] : named)
    if (*id && (**id < 0 || static_cast<size_t>(**id) >= size)) return Bad(key, fmt::format("{} is not in the vocabulary", **id));
  return {};
}

int32_t TypeOf(const GgufVocab& gguf, size_t id) { return gguf.token_types.empty() ? kNormal : gguf.token_types[id]; }

// What both kinds share: tokens, added tokens, BOS and EOS around the text.
TokenizerParts CommonParts(const GgufVocab& gguf) {
  TokenizerParts parts;
  parts.vocab = gguf.tokens;
  for (size_t id = 0; id < gguf.tokens.size(); ++id) {
    const int32_t type = TypeOf(gguf, id);
    // SentencePiece's unknown token is special in every tokenizer.json made from such a file.
    const bool special = type == kControl || (type == kUnknown && gguf.model == "llama");
    if (!special && type != kUserDefined) continue;
    AddedToken token;
    token.id = static_cast<TokenId>(id);
    token.content = gguf.tokens[id];
    token.special = special;
    if (!token.content.empty()) parts.added.push_back(std::move(token));
  }
  if (gguf.add_bos && gguf.bos) parts.prefix.push_back(*gguf.bos);
  if (gguf.add_eos && gguf.eos) parts.suffix.push_back(*gguf.eos);
  return parts;
}

Status FillByteLevel(const GgufVocab& gguf, TokenizerParts* parts) {
  const auto family = std::find_if(std::begin(kFamilies), std::end(kFamilies), [&](const Family& f) { return f.name == gguf.pre; });
  if (family == std::end(kFamilies)) {
    std::string known;
    for (const Family& f : kFamilies) known += fmt::format("{}{}", known.empty() ? "" : ", ", f.name);
    return Unimplemented(fmt::format("tokenizer.ggml.pre: '{}' is not known; known are: {}", gguf.pre, known));
  }
  parts->bpe.byte_level = true;
  parts->bpe.ignore_merges = family->ignore_merges;
  if (family->nfc) parts->normalizer.Add(NormalForm::kNfc);
  if (family->each_digit) parts->pre_tokenizer.Add(CharStage{CharStage::Kind::kNumber, SplitBehavior::kIsolated});
  for (const std::string_view pattern : family->patterns) {
    if (pattern.empty()) break;
    Result<SplitStage> stage = PatternStage(pattern);
    if (!stage.ok()) return Internal(stage.error().message);
    parts->pre_tokenizer.Add(*std::move(stage));
  }
  parts->decoder.Add(ByteLevelDecode{});

  TokenIndex index;
  index.Reserve(gguf.tokens.size());
  for (size_t id = 0; id < gguf.tokens.size(); ++id) index.Insert(gguf.tokens[id], static_cast<TokenId>(id));
  std::string joined;
  for (size_t i = 0; i < gguf.merges.size(); ++i) {
    const std::string_view text = gguf.merges[i];
    const size_t space = text.find(' ', 1);  // a token may itself begin with a space in files that are not byte-level
    if (space == std::string_view::npos) return Bad(fmt::format("merges[{}]", i), "expected two tokens");
    const std::string_view left = text.substr(0, space), right = text.substr(space + 1);
    joined.assign(left);
    joined += right;
    const auto a = index.Find(left), b = index.Find(right), c = index.Find(joined);
    if (!a || !b || !c) return Bad(fmt::format("merges[{}]", i), fmt::format("'{}' is not a token", !a ? left : !b ? right : joined));
    parts->merges.push_back({*a, *b, *c, static_cast<uint32_t>(i)});
  }
  return {};
}

// SentencePiece joins the pair whose result has the highest score, leftmost first: a merge list sorted by score says the same.
void AddScoreMerges(const GgufVocab& gguf, TokenizerParts* parts) {
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
      if (left && right) parts->merges.push_back({*left, *right, static_cast<TokenId>(order[i]), rank});
    }
  }
}

Status FillSentencePiece(const GgufVocab& gguf, TokenizerParts* parts) {
  if (gguf.scores.size() != gguf.tokens.size())
    return Bad("scores", fmt::format("has {} entries for {} tokens", gguf.scores.size(), gguf.tokens.size()));
  if (std::any_of(gguf.scores.begin(), gguf.scores.end(), [](float score) { return std::isnan(score); })) return Bad("scores", "has a NaN");
  AddScoreMerges(gguf, parts);
  parts->bpe.byte_fallback = true;
  parts->bpe.fuse_unk = true;
  parts->bpe.unk = gguf.unk;
  for (size_t id = 0; id < gguf.tokens.size() && !parts->bpe.unk; ++id)
    if (TypeOf(gguf, id) == kUnknown) parts->bpe.unk = static_cast<TokenId>(id);
  const std::string space(kMetaspace);
  if (gguf.add_space_prefix) parts->normalizer.Add(PrependStep{space});
  parts->normalizer.Add(ReplaceStep{TextPattern{" ", nullptr}, space});
  parts->decoder.Add(ReplaceDecode{TextPattern{space, nullptr}, " "});
  parts->decoder.Add(ByteFallbackDecode{});
  parts->decoder.Add(FuseDecode{});
  if (gguf.add_space_prefix) parts->decoder.Add(StripDecode{" ", 1, 0});
  return {};
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> LoadTokenizer(const GgufVocab& gguf) {
  TRY_STATUS(CheckVocab(gguf));
  TokenizerParts parts = CommonParts(gguf);
  if (gguf.model == "gpt2") {
    TRY_STATUS(FillByteLevel(gguf, &parts));
  } else if (gguf.model == "llama") {
    TRY_STATUS(FillSentencePiece(gguf, &parts));
  } else {
    return Unimplemented(fmt::format("tokenizer.ggml.model: '{}' is not supported (gpt2 and llama are)", gguf.model));
  }
  auto tokenizer = std::make_unique<BpeTokenizer>(std::move(parts));
  tokenizer->bos = gguf.bos, tokenizer->eos = gguf.eos, tokenizer->unk = gguf.unk, tokenizer->pad = gguf.pad;
  for (const std::optional<TokenId>& id : {gguf.eot, gguf.eom})
    if (id) tokenizer->extra_eos.push_back(*id);
  FinishTokenizer(*tokenizer);
  return std::unique_ptr<Tokenizer>(std::move(tokenizer));
}

}  // namespace sgl
