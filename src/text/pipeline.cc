// SPDX-License-Identifier: Apache-2.0
#include "text/pipeline.h"

#include <algorithm>

#include "base/check.h"
#include "text/char_set.h"
#include "text/unicode.h"

namespace sgl {
namespace {
constexpr size_t kPooledContexts = 16;
constexpr size_t kPooledPieces = 1 << 18;  // a context that grew beyond this is not kept

struct ModelMaker {
  const Vocab& vocab;
  std::unique_ptr<const WordModel> operator()(BpeParts parts) const {
    return std::make_unique<Bpe>(vocab, parts.merges, std::move(parts.options));
  }
  std::unique_ptr<const WordModel> operator()(UnigramParts parts) const {
    return std::make_unique<Unigram>(vocab, std::move(parts.scores), parts.options);
  }
  std::unique_ptr<const WordModel> operator()(WordPieceOptions options) const {
    return std::make_unique<WordPiece>(vocab, std::move(options));
  }
  std::unique_ptr<const WordModel> operator()(WordLevelParts parts) const { return std::make_unique<WordLevel>(vocab, parts.unk); }
};

template <class M>
std::unique_ptr<const WordModel> MakeModel(const Vocab& vocab, M model) {
  return std::visit(ModelMaker{vocab}, std::move(model));
}

bool IsAsciiLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// Characters that may follow a cut after a newline: letters that no normal form changes.
const CharSet& LineStarts() {
  static const CharSet set{{'A', 'Z'}, {'a', 'z'}, {0x4E00, 0x9FFF}};
  return set;
}

}  // namespace

// What the caller of EncodeFrom wants, and how far it is.
struct PipelineTokenizer::CutRequest {
  size_t every;
  size_t first_size;  // of `out`
  size_t next;        // cuts before this byte are too early
  std::vector<Cut>* cuts;
  void Report(size_t at, const std::vector<TokenId>& out) {
    cuts->push_back({at, out.size() - first_size});
    next = at + every;
  }
};

PipelineTokenizer::PipelineTokenizer(TokenizerParts parts)
    : vocab_(std::move(parts.vocab)),
      normalizer_(std::move(parts.normalizer)),
      pre_tokenizer_(std::move(parts.pre_tokenizer)),
      decoder_(std::move(parts.decoder)),
      model_(MakeModel(vocab_, std::move(parts.model))),
      prefix_(std::move(parts.prefix)),
      suffix_(std::move(parts.suffix)),
      added_(std::move(parts.added)) {
  size_t size = vocab_.size();
  for (const AddedToken& token : added_) size = std::max(size, static_cast<size_t>(token.id) + 1);
  forms_.resize(size);
  special_.resize(size);
  for (size_t id = 0; id < vocab_.size(); ++id) forms_[id] = vocab_.Token(static_cast<TokenId>(id));
  for (AddedToken& token : added_) {
    const size_t id = static_cast<size_t>(token.id);
    // A token that is found in normalised text is known by its normalised form.
    if (token.form.empty()) token.form = token.normalized && !normalizer_.empty() ? normalizer_.Apply(token.content) : token.content;
    forms_[id] = token.form;
    special_[id] = token.special;
    added_index_.Insert(token.content, token.id);
    (token.normalized ? normalized_finder_ : raw_finder_).Add(token, token.form);
  }
  bytes_end_.reserve(size);
  for (const std::string_view form : forms_) {
    if (!form.empty()) bytes_ += decoder_.RunningBytes(form);
    bytes_end_.push_back(bytes_.size());
  }
  byte_fallback = decoder_.byte_fallback();
  FindCutRules();
}

// A cut must make no difference to any step: nothing may look across it, and some step must part the words there anyway.
void PipelineTokenizer::FindCutRules() {
  raw_finder_.FindCuts();
  if (!normalizer_.LocalAtCuts() || raw_finder_.strips_left() || normalized_finder_.looks_around()) return;
  const auto one = [&](std::string_view text) {  // what a single character becomes, as a set
    const std::string made = normalizer_.Apply(text, true);
    size_t length = 0;
    const uint32_t cp = made.empty() ? 0 : CodePointAt(made, 0, &length);
    return length == made.size() && length != 0 ? std::optional<CharSet>(CharSet{{cp, cp}}) : std::nullopt;
  };
  const CharSet letters{{'A', 'Z'}, {'a', 'z'}}, newline{{'\n', '\n'}}, metaspace{{0x2581, 0x2581}};
  const auto cuts = [&](const CharSet& before, const CharSet& after, bool model_cuts) {
    const PreTokenizer::CutKind kind = pre_tokenizer_.CutBetween(before, after);
    return kind == PreTokenizer::CutKind::kAlways || (kind == PreTokenizer::CutKind::kHarmless && model_cuts);
  };
  const std::optional<CharSet> space = one(" ");
  const bool spaces_part = model_->breaks_at_metaspace();
  if (space) {
    const bool to_metaspace = *space == metaspace || pre_tokenizer_.MakesMetaspace();
    cuts_letter_space_ = cuts(letters, *space, spaces_part && to_metaspace);
  }
  if (one("\n") == newline) {
    cuts_letter_newline_ = cuts(letters, newline, false);
    cuts_newline_letter_ = cuts(newline, LineStarts(), false);
  }
  // An added token that a cut could part.
  for (const AddedToken& token : added_) {
    for (const std::string_view text : {std::string_view(token.content), std::string_view(token.form)}) {
      for (size_t i = 1; i < text.size(); ++i) {
        if (IsAsciiLetter(text[i - 1]) && text[i] == '\n') cuts_letter_newline_ = false;
        if (IsAsciiLetter(text[i - 1]) && (text[i] == ' ' || text.substr(i).starts_with("\xE2\x96\x81"))) cuts_letter_space_ = false;
        if (text[i - 1] == '\n') cuts_newline_letter_ = false;
      }
    }
  }
}

bool PipelineTokenizer::CanCut(std::string_view text, size_t at) const {
  if (at == 0 || at >= text.size()) return false;
  if (IsAsciiLetter(text[at - 1])) return text[at] == ' ' ? cuts_letter_space_ : text[at] == '\n' && cuts_letter_newline_;
  if (text[at - 1] != '\n' || !cuts_newline_letter_) return false;
  size_t length = 0;
  return LineStarts().Contains(CodePointAt(text, at, &length));
}

std::unique_ptr<PipelineTokenizer::Context> PipelineTokenizer::TakeContext() const {
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

void PipelineTokenizer::GiveContext(std::unique_ptr<Context> context) const {
  context->work.texts.clear();
  if (context->work.pieces.capacity() > kPooledPieces || context->work.next.capacity() > kPooledPieces) context->work = {};
  const MutexLock lock(contexts_mutex_);
  if (contexts_.size() < kPooledContexts) contexts_.push_back(std::move(context));
}

std::vector<TokenId> PipelineTokenizer::Encode(std::string_view text, bool add_special_tokens) const {
  std::string repaired;
  if (!IsValidUtf8(text)) {
    repaired = RepairUtf8(text);
    text = repaired;
  }
  std::vector<TokenId> out;
  out.reserve(text.size() / 3 + 8);
  if (add_special_tokens) out = prefix_;
  EncodeSegments(text, 0, nullptr, &out);
  if (add_special_tokens) out.insert(out.end(), suffix_.begin(), suffix_.end());
  return out;
}

void PipelineTokenizer::EncodeFrom(std::string_view text, size_t from, size_t every, std::vector<Cut>* cuts,
                                   std::vector<TokenId>* out) const {
  CutRequest request{every, out->size(), from + every, cuts};
  EncodeSegments(text, from, &request, out);
}

void PipelineTokenizer::EncodeSegments(std::string_view text, size_t from, CutRequest* request, std::vector<TokenId>* out) const {
  std::unique_ptr<Context> context = TakeContext();
  context->outer.clear();
  if (raw_finder_.empty()) {
    if (from < text.size()) context->outer.push_back({std::nullopt, from, text.size()});
  } else {
    raw_finder_.Split(text, from, &context->outer);
  }
  for (const Segment& segment : context->outer) {
    if (segment.token) {
      out->push_back(*segment.token);
      if (request != nullptr && segment.end >= request->next && segment.end < text.size() && raw_finder_.CutsAfter(*segment.token))
        request->Report(segment.end, *out);
      continue;
    }
    const Place place{segment.begin == 0, segment.begin == from && CanCut(text, from)};
    if (request == nullptr) {
      EncodePlain(text.substr(segment.begin, segment.end - segment.begin), place, *context, out);
    } else {
      EncodeWithCuts(text, segment.begin, segment.end, place, *request, *context, out);
    }
  }
  GiveContext(std::move(context));
}

// The plain text [begin, end) in parts that end at cuts.
void PipelineTokenizer::EncodeWithCuts(std::string_view text, size_t begin, size_t end, Place place, CutRequest& request, Context& context,
                                       std::vector<TokenId>* out) const {
  for (size_t at = std::max(begin + 1, request.next); at < end; at = std::max(at + 1, request.next)) {
    if (!CanCut(text, at)) continue;
    EncodePlain(text.substr(begin, at - begin), place, context, out);
    place = {false, true};
    begin = at;
    request.Report(at, *out);
  }
  EncodePlain(text.substr(begin, end - begin), place, context, out);
}

// Whether nothing is left of the first character. The reference then no longer takes what remains for the start of the input.
bool PipelineTokenizer::LosesItsStart(std::string_view text) const {
  size_t length = 0;
  if (!text.empty()) CodePointAt(text, 0, &length);
  return length > 0 && normalizer_.Apply(std::string(text.substr(0, length)) + "a", true) == normalizer_.Apply("a", true);
}

// Text without added tokens of the first kind: normalise it, then look for those of the second.
void PipelineTokenizer::EncodePlain(std::string_view text, Place place, Context& context, std::vector<TokenId>* out) const {
  std::string normalized;
  if (!normalizer_.empty()) {
    if (place.at_start && pre_tokenizer_.TellsTheStart()) place.at_start = !LosesItsStart(text);
    normalized = normalizer_.Apply(text, place.continues);
    text = normalized;
  }
  if (normalized_finder_.empty()) return EncodeWords(text, place.at_start, context, out);
  context.inner.clear();
  normalized_finder_.Split(text, 0, &context.inner);
  for (const Segment& segment : context.inner) {
    if (segment.token) {
      out->push_back(*segment.token);
    } else {
      EncodeWords(text.substr(segment.begin, segment.end - segment.begin), place.at_start && segment.begin == 0, context, out);
    }
  }
}

void PipelineTokenizer::EncodeWords(std::string_view text, bool at_start, Context& context, std::vector<TokenId>* out) const {
  pre_tokenizer_.Run(text, at_start, context.work);
  for (const Piece& piece : context.work.pieces) model_->Encode(piece.text, context.words, out);
}

std::string PipelineTokenizer::Decode(std::span<const TokenId> ids, bool skip_special_tokens) const {
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

std::string_view PipelineTokenizer::TokenBytes(TokenId id) const {
  if (!Known(id)) return {};
  const size_t i = static_cast<size_t>(id);
  const size_t begin = i == 0 ? 0 : bytes_end_[i - 1];
  return std::string_view(bytes_).substr(begin, bytes_end_[i] - begin);
}

bool PipelineTokenizer::IsSpecial(TokenId id) const { return Known(id) && special_[static_cast<size_t>(id)]; }

std::optional<TokenId> PipelineTokenizer::TokenToId(std::string_view token) const {
  if (const std::optional<TokenId> added = added_index_.Find(token)) return added;
  return vocab_.Find(token);
}

std::string PipelineTokenizer::IdToToken(TokenId id) const {
  return Known(id) ? std::string(forms_[static_cast<size_t>(id)]) : std::string();
}

void Tokenizer::EncodeFrom(std::string_view text, size_t from, size_t, std::vector<Cut>*, std::vector<TokenId>* out) const {
  CHECK(from == 0);
  const std::vector<TokenId> ids = Encode(text, false);
  out->insert(out->end(), ids.begin(), ids.end());
}

size_t Truncate(const Tokenizer& tokenizer, size_t max_tokens, std::vector<TokenId>* ids) {
  if (ids->size() <= max_tokens) return 0;
  const size_t around = tokenizer.prefix_tokens().size() + tokenizer.suffix_tokens().size();
  const size_t drop = std::min(ids->size() - max_tokens, ids->size() - std::min(around, ids->size()));
  const size_t first = tokenizer.truncates_left ? tokenizer.prefix_tokens().size() : ids->size() - tokenizer.suffix_tokens().size() - drop;
  ids->erase(ids->begin() + static_cast<std::ptrdiff_t>(first), ids->begin() + static_cast<std::ptrdiff_t>(first + drop));
  return drop;
}

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
