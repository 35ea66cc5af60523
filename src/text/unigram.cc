// SPDX-License-Identifier: Apache-2.0
#include "text/unigram.h"

#include <fmt/format.h>

#include <algorithm>

#include "text/unicode.h"

namespace sgl {
namespace {
constexpr double kUnknownPenalty = 10;  // an unknown character is this much worse than the worst token
constexpr TokenId kUnknown = -1;        // in Best::id
constexpr uint32_t kNowhere = UINT32_MAX;
constexpr size_t kKeep = 1 << 16;  // a huge word must not pin its buffer
}  // namespace

Unigram::Unigram(const Vocab& vocab, std::vector<double> scores, UnigramOptions options) : scores_(std::move(scores)), options_(options) {
  for (size_t id = 0; id < vocab.size(); ++id) trie_.Insert(vocab.Token(static_cast<TokenId>(id)), static_cast<TokenId>(id));
  unknown_score_ = scores_.empty() ? 0 : *std::min_element(scores_.begin(), scores_.end());
  unknown_score_ -= kUnknownPenalty;
  for (size_t b = 0; b < 256; ++b) byte_ids_[b] = vocab.Find(fmt::format("<0x{:02X}>", b)).value_or(-1);
}

// best[i]: how the best way over the first i bytes ends.
void Unigram::Cut(std::string_view word, std::vector<WordScratch::Best>& best) const {
  best.assign(word.size() + 1, {0, kNowhere, kUnknown});
  best[0].start = 0;
  size_t length = 0;
  for (size_t at = 0; at < word.size(); at += length) {
    CodePointAt(word, at, &length);
    const double so_far = best[at].score;
    const auto offer = [&](size_t end, double score, TokenId id) {
      WordScratch::Best& target = best[end];
      if (target.start == kNowhere || so_far + score > target.score) target = {so_far + score, static_cast<uint32_t>(at), id};
    };
    bool single = false;
    int32_t node = ByteTrie::kRoot;
    for (size_t end = at; end < word.size();) {
      node = trie_.Child(node, word[end++]);
      if (node == ByteTrie::kNone) break;
      const TokenId id = trie_.Value(node);
      if (id < 0) continue;
      offer(end, scores_[static_cast<size_t>(id)], id);
      single = single || end - at == length;
    }
    if (!single) offer(at + length, unknown_score_, kUnknown);
  }
}

void Unigram::Unknown(std::string_view text, std::vector<TokenId>* out) const {
  if (const int32_t node = trie_.Walk(text); node != ByteTrie::kNone && trie_.Value(node) >= 0) return out->push_back(trie_.Value(node));
  const auto id = [&](char c) { return byte_ids_[static_cast<unsigned char>(c)]; };
  if (options_.byte_fallback && std::all_of(text.begin(), text.end(), [&](char c) { return id(c) >= 0; })) {
    for (size_t i = text.size(); i > 0; --i) out->push_back(id(text[i - 1]));
  } else if (options_.unk) {
    out->push_back(*options_.unk);
  }
}

void Unigram::Encode(std::string_view word, WordScratch& scratch, std::vector<TokenId>* out) const {
  WordCache::Entry* const entry = scratch.cache.At(word);
  if (entry != nullptr && entry->Holds(word)) {
    out->insert(out->end(), entry->ids, entry->ids + entry->id_count);
    return;
  }
  Cut(word, scratch.best);
  const size_t first = out->size();
  size_t unknown_end = 0;  // of the run of unknown characters that is open; 0: none
  for (size_t end = word.size(); end > 0;) {
    const WordScratch::Best& best = scratch.best[end];
    const bool unknown = best.id == kUnknown || best.id == options_.unk;
    if (unknown && unknown_end == 0) unknown_end = end;
    if (!unknown) {
      if (unknown_end != 0) Unknown(word.substr(end, unknown_end - end), out);
      unknown_end = 0;
      out->push_back(best.id);
    }
    end = best.start;
  }
  if (unknown_end != 0) Unknown(word.substr(0, unknown_end), out);
  std::reverse(out->begin() + static_cast<std::ptrdiff_t>(first), out->end());
  if (entry != nullptr) entry->Keep(word, out->data() + first, out->size() - first);
  if (scratch.best.capacity() > kKeep) std::vector<WordScratch::Best>().swap(scratch.best);
}

}  // namespace sgl
