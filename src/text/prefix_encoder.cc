// SPDX-License-Identifier: Apache-2.0
#include "text/prefix_encoder.h"

#include <algorithm>

#include "text/unicode.h"
#include "text/vocab.h"

namespace sgl {

PrefixEncoder::PrefixEncoder(const Tokenizer& tokenizer, size_t cache_bytes, size_t block_bytes)
    : tokenizer_(tokenizer), limit_(cache_bytes), block_bytes_(std::max<size_t>(1, block_bytes)) {}

PrefixEncoder::Key PrefixEncoder::KeyOf(uint64_t parent, std::string_view rest) const {
  return {parent, HashBytes(rest.substr(0, block_bytes_))};
}

std::vector<TokenId> PrefixEncoder::Encode(std::string_view text, bool add_special_tokens) {
  if (limit_ == 0 || !tokenizer_.knows_cuts() || text.size() <= block_bytes_ || !IsValidUtf8(text))
    return tokenizer_.Encode(text, add_special_tokens);
  std::vector<TokenId> out;
  if (add_special_tokens) out.assign(tokenizer_.prefix_tokens().begin(), tokenizer_.prefix_tokens().end());
  uint64_t parent = 0;
  const size_t from = Find(text, &parent, &out);
  const size_t known = out.size();
  std::vector<Tokenizer::Cut> cuts;
  tokenizer_.EncodeFrom(text, from, block_bytes_, &cuts, &out);
  Keep(text, from, parent, cuts, out.data() + known);
  if (add_special_tokens) out.insert(out.end(), tokenizer_.suffix_tokens().begin(), tokenizer_.suffix_tokens().end());
  return out;
}

size_t PrefixEncoder::Find(std::string_view text, uint64_t* parent, std::vector<TokenId>* out) {
  const MutexLock lock(mutex_);
  size_t at = 0;
  std::vector<Blocks::iterator> used;
  while (text.size() - at > block_bytes_) {
    const auto found = index_.find(KeyOf(*parent, text.substr(at)));
    if (found == index_.end() || !text.substr(at).starts_with(found->second->text)) break;
    const Block& block = *found->second;
    out->insert(out->end(), block.tokens.begin(), block.tokens.end());
    at += block.size;
    *parent = block.id;
    used.push_back(found->second);
  }
  // The first block is the most recent one: without it the others are of no use.
  for (auto it = used.rbegin(); it != used.rend(); ++it) blocks_.splice(blocks_.end(), blocks_, *it);
  stats_.reused_bytes += at;
  stats_.encoded_bytes += text.size() - at;
  return at;
}

void PrefixEncoder::Drop(Blocks::iterator block) {
  stats_.cache_bytes -= Cost(*block);
  index_.erase(block->key);
  blocks_.erase(block);
}

void PrefixEncoder::Keep(std::string_view text, size_t from, uint64_t parent, const std::vector<Tokenizer::Cut>& cuts,
                         const TokenId* tokens) {
  const MutexLock lock(mutex_);
  size_t done = 0;  // tokens
  std::vector<Blocks::iterator> made;
  size_t total = 0;
  for (const Tokenizer::Cut& cut : cuts) {
    size_t next = 0;
    CodePointAt(text, cut.bytes, &next);
    Block block{KeyOf(parent, text.substr(from)), next_id_++, std::string(text.substr(from, cut.bytes - from + next)), cut.bytes - from,
                std::vector<TokenId>(tokens + done, tokens + cut.tokens)};
    from = cut.bytes;
    done = cut.tokens;
    parent = block.id;
    total += Cost(block);
    if (total > limit_) break;
    if (const auto old = index_.find(block.key); old != index_.end()) Drop(old->second);
    stats_.cache_bytes += Cost(block);
    blocks_.push_back(std::move(block));
    index_[blocks_.back().key] = std::prev(blocks_.end());
    made.push_back(std::prev(blocks_.end()));
  }
  for (auto it = made.rbegin(); it != made.rend(); ++it) blocks_.splice(blocks_.end(), blocks_, *it);
  while (stats_.cache_bytes > limit_) Drop(blocks_.begin());
}

PrefixEncoder::Stats PrefixEncoder::stats() const {
  const MutexLock lock(mutex_);
  Stats out = stats_;
  out.blocks = blocks_.size();
  return out;
}

}  // namespace sgl
