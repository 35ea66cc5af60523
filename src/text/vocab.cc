// SPDX-License-Identifier: Apache-2.0
#include "text/vocab.h"

#include <algorithm>
#include <bit>

#include "text/unicode.h"

namespace sgl {

size_t TokenIndex::Probe(std::string_view key) const {
  const size_t mask = slots_.size() - 1;
  size_t at = HashBytes(key) & mask;
  while (slots_[at].id >= 0 && slots_[at].key != key) at = (at + 1) & mask;
  return at;
}

void TokenIndex::Grow(size_t slots) {
  std::vector<Slot> old(slots);
  old.swap(slots_);
  for (const Slot& slot : old)
    if (slot.id >= 0) slots_[Probe(slot.key)] = slot;
}

void TokenIndex::Reserve(size_t n) {
  const size_t slots = std::bit_ceil(std::max<size_t>(16, 2 * n));
  if (slots > slots_.size()) Grow(slots);
}

void TokenIndex::Insert(std::string_view key, TokenId id) {
  Reserve(size_ + 1);
  Slot& slot = slots_[Probe(key)];
  if (slot.id < 0) ++size_;
  slot = {key, id};
}

std::optional<TokenId> TokenIndex::Find(std::string_view key) const {
  if (size_ == 0) return std::nullopt;
  const Slot& slot = slots_[Probe(key)];
  if (slot.id < 0) return std::nullopt;
  return slot.id;
}

Vocab::Vocab(std::vector<std::string> tokens) : tokens_(std::move(tokens)) {
  index_.Reserve(tokens_.size());
  for (size_t id = 0; id < tokens_.size(); ++id)
    if (!tokens_[id].empty()) index_.Insert(tokens_[id], static_cast<TokenId>(id));
}

ByteChars::ByteChars() {
  std::fill(std::begin(byte), std::end(byte), int16_t{-1});
  uint32_t next = 256;  // bytes without a printable character of their own get U+0100, U+0101...
  for (uint32_t b = 0; b < 256; ++b) {
    const bool printable = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
    const uint32_t cp = printable ? b : next++;
    AppendCodePoint(text[b], cp);
    byte[cp] = static_cast<int16_t>(b);
  }
}

const ByteChars& ByteChars::Get() {
  static const ByteChars chars;
  return chars;
}

std::optional<std::string> ByteChars::Decode(std::string_view token) const {
  std::string out;
  size_t length = 0;
  for (size_t at = 0; at < token.size(); at += length) {
    const uint32_t cp = CodePointAt(token, at, &length);
    if (cp >= std::size(byte) || byte[cp] < 0) return std::nullopt;
    out.push_back(static_cast<char>(byte[cp]));
  }
  return out;
}

}  // namespace sgl
