// SPDX-License-Identifier: Apache-2.0
#include "text/bpe_tokenizer.h"

#include <algorithm>

#include "text/unicode.h"

namespace sgl {
namespace {
constexpr size_t kPooledContexts = 16;
constexpr size_t kPooledPieces = 1 << 18;  // a context that grew beyond this is not kept
}  // namespace

BpeTokenizer::BpeTokenizer(TokenizerParts parts)
    : vocab_(std::move(parts.vocab)),
      normalizer_(std::move(parts.normalizer)),
      pre_tokenizer_(std::move(parts.pre_tokenizer)),
      decoder_(std::move(parts.decoder)),
      bpe_(vocab_, parts.merges, parts.bpe),
      prefix_(std::move(parts.prefix)),
      suffix_(std::move(parts.suffix)),
      added_(std::move(parts.added)) {
  size_t size = vocab_.size();
  for (const AddedToken& token : added_) size = std::max(size, static_cast<size_t>(token.id) + 1);
  forms_.resize(size);
  special_.resize(size);
  for (size_t id = 0; id < vocab_.size(); ++id) forms_[id] = vocab_.Token(static_cast<TokenId>(id));
  for (const AddedToken& token : added_) {
    const size_t id = static_cast<size_t>(token.id);
    forms_[id] = token.content;
    special_[id] = token.special;
    added_index_.Insert(token.content, token.id);
    if (token.normalized && !normalizer_.empty()) {
      normalized_finder_.Add(token, normalizer_.Apply(token.content));
    } else if (token.normalized) {
      normalized_finder_.Add(token, token.content);
    } else {
      raw_finder_.Add(token, token.content);
    }
  }
  bytes_end_.reserve(size);
  for (const std::string_view form : forms_) {
    if (!form.empty()) bytes_ += decoder_.RunningBytes(form);
    bytes_end_.push_back(bytes_.size());
  }
  byte_fallback = decoder_.byte_fallback();
}

std::unique_ptr<BpeTokenizer::Context> BpeTokenizer::TakeContext() const {
  {
    const MutexLock lock(contexts_mutex_);
    if (!contexts_.empty()) {
      std::unique_ptr<Context> context = std::move(contexts_.back());
      contexts_.pop_back();
      return context;
    }
  }
  return std::make_unique<Context>();
}

void BpeTokenizer::GiveContext(std::unique_ptr<Context> context) const {
  context->work.texts.clear();
  if (context->work.pieces.capacity() > kPooledPieces || context->work.next.capacity() > kPooledPieces) context->work = {};
  const MutexLock lock(contexts_mutex_);
  if (contexts_.size() < kPooledContexts) contexts_.push_back(std::move(context));
}

std::vector<TokenId> BpeTokenizer::Encode(std::string_view text, bool add_special_tokens) const {
  std::string repaired;
  if (!IsValidUtf8(text)) {
    repaired = RepairUtf8(text);
    text = repaired;
  }
  std::vector<TokenId> out;
  out.reserve(text.size() / 3 + 8);
  if (add_special_tokens) out = prefix_;
  std::unique_ptr<Context> context = TakeContext();
  context->outer.clear();
  if (raw_finder_.empty()) {
    if (!text.empty()) EncodePlain(text, true, *context, &out);
  } else {
    raw_finder_.Split(text, &context->outer);
    for (const Segment& segment : context->outer) {
      if (segment.token) {
        out.push_back(*segment.token);
      } else {
        EncodePlain(text.substr(segment.begin, segment.end - segment.begin), segment.begin == 0, *context, &out);
      }
    }
  }
  GiveContext(std::move(context));
  if (add_special_tokens) out.insert(out.end(), suffix_.begin(), suffix_.end());
  return out;
}

// Text without added tokens of the first kind: normalise it, then look for those of the second.
void BpeTokenizer::EncodePlain(std::string_view text, bool at_start, Context& context, std::vector<TokenId>* out) const {
  std::string normalized;
  if (!normalizer_.empty()) {
    normalized = normalizer_.Apply(text);
    text = normalized;
  }
  if (normalized_finder_.empty()) return EncodeWords(text, at_start, context, out);
  context.inner.clear();
  normalized_finder_.Split(text, &context.inner);
  for (const Segment& segment : context.inner) {
    if (segment.token) {
      out->push_back(*segment.token);
    } else {
      EncodeWords(text.substr(segment.begin, segment.end - segment.begin), at_start && segment.begin == 0, context, out);
    }
  }
}

void BpeTokenizer::EncodeWords(std::string_view text, bool at_start, Context& context, std::vector<TokenId>* out) const {
  pre_tokenizer_.Run(text, at_start, context.work);
  for (const Piece& piece : context.work.pieces) bpe_.Encode(piece.text, context.bpe, out);
}

std::string BpeTokenizer::Decode(std::span<const TokenId> ids, bool skip_special_tokens) const {
  const auto wanted = [&](TokenId id) {
    return Known(id) && !forms_[static_cast<size_t>(id)].empty() && !(skip_special_tokens && IsSpecial(id));
  };
  if (decoder_.bytes_only()) {
    std::string bytes;
    for (const TokenId id : ids)
      if (wanted(id)) bytes += TokenBytes(id);
    return IsValidUtf8(bytes) ? bytes : RepairUtf8(bytes);
  }
  std::vector<std::string> tokens;
  for (const TokenId id : ids)
    if (wanted(id)) tokens.emplace_back(forms_[static_cast<size_t>(id)]);
  return decoder_.Decode(std::move(tokens));
}

std::string_view BpeTokenizer::TokenBytes(TokenId id) const {
  if (!Known(id)) return {};
  const size_t i = static_cast<size_t>(id);
  const size_t begin = i == 0 ? 0 : bytes_end_[i - 1];
  return std::string_view(bytes_).substr(begin, bytes_end_[i] - begin);
}

bool BpeTokenizer::IsSpecial(TokenId id) const { return Known(id) && special_[static_cast<size_t>(id)]; }

std::optional<TokenId> BpeTokenizer::TokenToId(std::string_view token) const {
  if (const std::optional<TokenId> added = added_index_.Find(token)) return added;
  return vocab_.Find(token);
}

std::string BpeTokenizer::IdToToken(TokenId id) const { return Known(id) ? std::string(forms_[static_cast<size_t>(id)]) : std::string(); }

void FinishTokenizer(Tokenizer& tokenizer) {
  const auto text = [&](const std::optional<TokenId>& id) { return id ? tokenizer.IdToToken(*id) : std::string(); };
  if (tokenizer.bos_text.empty()) tokenizer.bos_text = text(tokenizer.bos);
  if (tokenizer.eos_text.empty()) tokenizer.eos_text = text(tokenizer.eos);
  if (tokenizer.unk_text.empty()) tokenizer.unk_text = text(tokenizer.unk);
  if (tokenizer.pad_text.empty()) tokenizer.pad_text = text(tokenizer.pad);
  const std::vector<TokenId> around = tokenizer.Encode("", true);
  tokenizer.add_bos = tokenizer.bos && !around.empty() && around[0] == *tokenizer.bos;
  // Llama 3's "end of message" ends a turn whatever the configuration says.
  if (const std::optional<TokenId> eom = tokenizer.TokenToId("<|eom_id|>")) tokenizer.extra_eos.push_back(*eom);
  std::vector<TokenId>& extra = tokenizer.extra_eos;
  std::sort(extra.begin(), extra.end());
  extra.erase(std::unique(extra.begin(), extra.end()), extra.end());
}

}  // namespace sgl
