// SPDX-License-Identifier: Apache-2.0
#include "text/bpe.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "text/unicode.h"

namespace sgl {
namespace {
constexpr size_t kShortWord = 48;  // symbols up to which scanning for the best pair beats a heap
constexpr uint64_t kNoMerge = UINT64_MAX;
constexpr std::string_view kMetaspace = "\xE2\x96\x81";  // U+2581

}  // namespace

Bpe::Bpe(const Vocab& vocab, const std::vector<BpeMerge>& merges, BpeOptions options) : vocab_(vocab), options_(std::move(options)) {
  const size_t slots = std::bit_ceil(std::max<size_t>(16, 2 * merges.size()));
  merges_.resize(slots);
  shift_ = 64 - std::countr_zero(slots);
  for (const BpeMerge& merge : merges) {
    const uint64_t pair = Pair(merge.left, merge.right);
    size_t at = pair * 0x9E3779B97F4A7C15u >> shift_;
    while (merges_[at].pair != UINT64_MAX && merges_[at].pair != pair) at = (at + 1) & (slots - 1);
    merges_[at] = {pair, merge.rank, merge.result};
  }
  for (size_t b = 0; b < 256; ++b) {
    const std::string form = options_.byte_level ? ByteChars::Get().text[b] : fmt::format("<0x{:02X}>", b);
    byte_ids_[b] = vocab_.Find(form).value_or(-1);
  }
  for (size_t id = 0; id < vocab_.size(); ++id) {
    const std::string& token = vocab_.Token(static_cast<TokenId>(id));
    if (token.empty()) continue;
    size_t length = 0;
    const uint32_t cp = CodePointAt(token, 0, &length);
    if (options_.byte_level || length != token.size()) continue;
    if (cp >= char_ids_.size()) char_ids_.resize(cp + 1, -1);
    char_ids_[cp] = static_cast<TokenId>(id);
  }
  const bool marked = !options_.continuing_prefix.empty() || !options_.word_suffix.empty();
  may_break_ = !options_.byte_level && !options_.ignore_merges && !marked;
  if (may_break_) FindSeams(merges);
  if (!options_.byte_level || !options_.ignore_merges) return;
  raw_words_.resize(vocab_.size());
  raw_index_.Reserve(vocab_.size());
  for (size_t id = 0; id < vocab_.size(); ++id) {
    std::optional<std::string> raw = ByteChars::Get().Decode(vocab_.Token(static_cast<TokenId>(id)));
    if (!raw || raw->empty()) continue;
    raw_words_[id] = *std::move(raw);
    raw_index_.Insert(raw_words_[id], static_cast<TokenId>(id));
  }
}

void Bpe::FindSeams(const std::vector<BpeMerge>& merges) {
  std::vector<uint64_t> pairs;
  pairs.reserve(merges.size());
  for (const BpeMerge& merge : merges) {
    const std::string &left = vocab_.Token(merge.left), &right = vocab_.Token(merge.right);
    size_t ignored = 0;
    if (!left.empty() && !right.empty())
      pairs.push_back(static_cast<uint64_t>(CodePointBefore(left, left.size(), &ignored)) << 32 | CodePointAt(right, 0, &ignored));
  }
  std::sort(pairs.begin(), pairs.end());
  pairs.erase(std::unique(pairs.begin(), pairs.end()), pairs.end());
  seams_.assign(std::bit_ceil(std::max<size_t>(16, 2 * pairs.size() + 2)), 0);
  seam_shift_ = 64 - std::countr_zero(seams_.size());
  for (const uint64_t pair : pairs) {
    size_t at = pair * 0x9E3779B97F4A7C15u >> seam_shift_;
    while (seams_[at] != 0) at = (at + 1) & (seams_.size() - 1);
    seams_[at] = pair;
  }
}

// Both characters have tokens of their own, and no merge has ever this seam.
bool Bpe::CanBreak(uint32_t before, uint32_t after) const {
  const auto known = [&](uint32_t cp) { return cp < char_ids_.size() && char_ids_[cp] >= 0; };
  const uint64_t pair = static_cast<uint64_t>(before) << 32 | after;
  if (!known(before) || !known(after) || pair == 0) return false;
  for (size_t at = pair * 0x9E3779B97F4A7C15u >> seam_shift_;; at = (at + 1) & (seams_.size() - 1)) {
    if (seams_[at] == pair) return false;
    if (seams_[at] == 0) return true;
  }
}

bool Bpe::breaks_at_metaspace() const {
  constexpr uint32_t kMetaspacePoint = 0x2581;
  for (uint32_t letter = 'A'; may_break_ && letter <= 'z'; letter = letter == 'Z' ? 'a' : letter + 1)
    if (!CanBreak(letter, kMetaspacePoint)) return false;
  return may_break_;
}

const Bpe::MergeSlot* Bpe::FindMerge(TokenId left, TokenId right) const {
  const uint64_t pair = Pair(left, right);
  for (size_t at = pair * 0x9E3779B97F4A7C15u >> shift_;; at = (at + 1) & (merges_.size() - 1)) {
    if (merges_[at].pair == pair) return &merges_[at];
    if (merges_[at].pair == UINT64_MAX) return nullptr;
  }
}

// A character without a token: bytes if all of them have one, else the unknown token, else nothing.
void Bpe::Unknown(std::string_view character, std::optional<TokenId>* open_unk, std::vector<TokenId>* out) const {
  if (options_.byte_fallback) {
    const auto id = [&](char c) { return byte_ids_[static_cast<unsigned char>(c)]; };
    if (std::all_of(character.begin(), character.end(), [&](char c) { return id(c) >= 0; })) {
      for (const char c : character) out->push_back(id(c));
      return;  // an unknown before it stays open and lands behind these bytes, as in the reference
    }
  }
  if (!options_.unk) return;
  if (*open_unk && !options_.fuse_unk) out->push_back(**open_unk);
  *open_unk = options_.unk;
}

// Symbols of a vocabulary that marks where in a word they stand.
void Bpe::MarkedSymbols(std::string_view word, std::vector<TokenId>* out) const {
  std::optional<TokenId> open_unk;
  std::string form;
  size_t length = 1;
  for (size_t at = 0; at < word.size(); at += length) {
    if (!options_.byte_level) CodePointAt(word, at, &length);
    form = at == 0 ? "" : options_.continuing_prefix;
    form += options_.byte_level ? std::string_view(ByteChars::Get().text[static_cast<unsigned char>(word[at])]) : word.substr(at, length);
    if (at + length == word.size()) form += options_.word_suffix;
    if (const std::optional<TokenId> id = vocab_.Find(form)) {
      if (open_unk) out->push_back(*open_unk), open_unk.reset();
      out->push_back(*id);
    } else {
      Unknown(form, &open_unk, out);
    }
  }
  if (open_unk) out->push_back(*open_unk);
}

void Bpe::Symbols(std::string_view word, std::vector<TokenId>* out) const {
  if (!options_.continuing_prefix.empty() || !options_.word_suffix.empty()) return MarkedSymbols(word, out);
  std::optional<TokenId> open_unk;
  const auto add = [&](TokenId id) {
    if (open_unk) out->push_back(*open_unk), open_unk.reset();
    out->push_back(id);
  };
  if (options_.byte_level) {
    for (const char c : word) {
      const TokenId id = byte_ids_[static_cast<unsigned char>(c)];
      if (id >= 0) {
        add(id);
      } else if (options_.unk) {
        if (open_unk && !options_.fuse_unk) out->push_back(*open_unk);
        open_unk = options_.unk;
      }
    }
  } else {
    size_t length = 0;
    for (size_t at = 0; at < word.size(); at += length) {
      const uint32_t cp = CodePointAt(word, at, &length);
      if (cp < char_ids_.size() && char_ids_[cp] >= 0) {
        add(char_ids_[cp]);
      } else {
        Unknown(word.substr(at, length), &open_unk, out);
      }
    }
  }
  if (open_unk) out->push_back(*open_unk);
}

// Each step scans for the lowest rank, leftmost first. merged[i]: rank << 32 | result of the pair (i, i+1).
void Bpe::MergeShort(std::vector<TokenId>& ids, std::vector<uint64_t>& merged) const {
  const auto look = [&](size_t i) {
    const MergeSlot* slot = i + 1 < ids.size() ? FindMerge(ids[i], ids[i + 1]) : nullptr;
    return slot == nullptr ? kNoMerge : static_cast<uint64_t>(slot->rank) << 32 | static_cast<uint32_t>(slot->result);
  };
  merged.resize(ids.size());
  for (size_t i = 0; i < ids.size(); ++i) merged[i] = look(i);
  while (ids.size() > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < ids.size(); ++i)
      if (merged[i] >> 32 < merged[best] >> 32) best = i;
    if (merged[best] == kNoMerge) return;
    ids[best] = static_cast<TokenId>(merged[best] & 0xFFFFFFFF);
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(best) + 1);
    merged.erase(merged.begin() + static_cast<std::ptrdiff_t>(best) + 1);
    merged[best] = look(best);
    if (best > 0) merged[best - 1] = look(best - 1);
  }
}

// A linked list of symbols and a heap of pairs; stale pairs are recognised when they come up.
void Bpe::MergeLong(WordScratch& scratch) const {
  auto& symbols = scratch.symbols;
  auto& queue = scratch.queue;
  const auto later = [](const WordScratch::Candidate& a, const WordScratch::Candidate& b) {
    return a.rank != b.rank ? a.rank > b.rank : a.at > b.at;
  };
  const auto candidate = [&](int32_t at, WordScratch::Candidate* out) {
    const WordScratch::Symbol& symbol = symbols[static_cast<size_t>(at)];
    if (symbol.next < 0) return false;
    const TokenId right = symbols[static_cast<size_t>(symbol.next)].id;
    const MergeSlot* slot = FindMerge(symbol.id, right);
    if (slot != nullptr) *out = {slot->rank, at, symbol.id, right, slot->result};
    return slot != nullptr;
  };
  const auto push = [&](int32_t at) {
    WordScratch::Candidate made;
    if (!candidate(at, &made)) return;
    queue.push_back(made);
    std::push_heap(queue.begin(), queue.end(), later);
  };
  const int32_t n = static_cast<int32_t>(scratch.ids.size());
  symbols.clear();
  queue.clear();
  for (int32_t i = 0; i < n; ++i) symbols.push_back({scratch.ids[static_cast<size_t>(i)], i - 1, i + 1 < n ? i + 1 : -1});
  for (int32_t i = 0; i + 1 < n; ++i) {
    WordScratch::Candidate made;
    if (candidate(i, &made)) queue.push_back(made);
  }
  std::make_heap(queue.begin(), queue.end(), later);
  while (!queue.empty()) {
    const WordScratch::Candidate top = queue.front();
    std::pop_heap(queue.begin(), queue.end(), later);
    queue.pop_back();
    WordScratch::Symbol& left = symbols[static_cast<size_t>(top.at)];
    if (left.id != top.left || left.next < 0 || symbols[static_cast<size_t>(left.next)].id != top.right) continue;
    WordScratch::Symbol& right = symbols[static_cast<size_t>(left.next)];
    left.id = top.result;
    left.next = right.next;
    right.id = -1;  // gone
    if (left.next >= 0) symbols[static_cast<size_t>(left.next)].previous = top.at;
    if (left.previous >= 0) push(left.previous);
    push(top.at);
  }
  scratch.ids.clear();
  for (int32_t i = n > 0 ? 0 : -1; i >= 0; i = symbols[static_cast<size_t>(i)].next)
    scratch.ids.push_back(symbols[static_cast<size_t>(i)].id);
  constexpr size_t kKeep = 1 << 16;  // a huge word must not pin its buffers
  if (symbols.capacity() > kKeep) std::vector<WordScratch::Symbol>().swap(symbols);
  if (queue.capacity() > kKeep) std::vector<WordScratch::Candidate>().swap(queue);
}

void Bpe::Encode(std::string_view word, WordScratch& scratch, std::vector<TokenId>* out) const {
  if (word.empty()) return;
  if (!may_break_ || word.size() <= WordCache::Entry::kKeyBytes) return EncodeChunk(word, scratch, out);
  // First at U+2581, which is quick to find.
  size_t begin = 0;
  for (size_t at = word.find(kMetaspace, 1); at != std::string_view::npos; at = word.find(kMetaspace, at + kMetaspace.size())) {
    size_t start = 0, length = 0;
    if (!CanBreak(CodePointBefore(word, at, &start), CodePointAt(word, at, &length))) continue;
    EncodeLongChunk(word.substr(begin, at - begin), scratch, out);
    begin = at;
  }
  EncodeLongChunk(word.substr(begin), scratch, out);
}

void Bpe::EncodeLongChunk(std::string_view chunk, WordScratch& scratch, std::vector<TokenId>* out) const {
  size_t begin = 0, length = 0;
  if (chunk.size() > WordCache::Entry::kKeyBytes) {
    uint32_t before = CodePointAt(chunk, 0, &length);
    for (size_t at = length; at < chunk.size(); at += length) {
      const uint32_t cp = CodePointAt(chunk, at, &length);
      if (CanBreak(before, cp)) {
        EncodeChunk(chunk.substr(begin, at - begin), scratch, out);
        begin = at;
      }
      before = cp;
    }
  }
  EncodeChunk(chunk.substr(begin), scratch, out);
}

void Bpe::EncodeChunk(std::string_view word, WordScratch& scratch, std::vector<TokenId>* out) const {
  WordCache::Entry* const entry = scratch.cache.At(word);
  if (entry != nullptr && entry->Holds(word)) {
    out->insert(out->end(), entry->ids, entry->ids + entry->id_count);
    return;
  }
  auto& ids = scratch.ids;
  ids.clear();
  std::optional<TokenId> whole;
  if (options_.ignore_merges) whole = options_.byte_level ? raw_index_.Find(word) : vocab_.Find(word);
  if (whole) {
    ids.push_back(*whole);
  } else {
    Symbols(word, &ids);
    if (ids.size() <= kShortWord) {
      MergeShort(ids, scratch.merged);
    } else {
      MergeLong(scratch);
    }
  }
  out->insert(out->end(), ids.begin(), ids.end());
  if (entry != nullptr) entry->Keep(word, ids.data(), ids.size());
}

}  // namespace sgl
