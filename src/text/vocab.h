// Token strings both ways.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"

namespace sgl {

inline uint64_t HashBytes(std::string_view text) {
  uint64_t h = 0x9E3779B97F4A7C15u ^ text.size();
  const auto mix = [&h](uint64_t word) {
    h = (h ^ word) * 0xD6E8FEB86659FD93u;
    h ^= h >> 32;
  };
  size_t at = 0;
  for (; at + 8 <= text.size(); at += 8) {
    uint64_t word = 0;
    __builtin_memcpy(&word, text.data() + at, 8);
    mix(word);
  }
  uint64_t tail = 0;
  __builtin_memcpy(&tail, text.data() + at, text.size() - at);
  mix(tail);
  return h;
}

// A string -> id table over strings that somebody else keeps at a fixed place. Thread: immutable after the last Insert.
class TokenIndex {
 public:
  void Reserve(size_t n);
  void Insert(std::string_view key, TokenId id);  // replaces
  std::optional<TokenId> Find(std::string_view key) const;
  size_t size() const { return size_; }

 private:
  struct Slot {
    std::string_view key;
    TokenId id = -1;
  };
  size_t Probe(std::string_view key) const;
  void Grow(size_t slots);
  std::vector<Slot> slots_;  // a power of two, at most half full
  size_t size_ = 0;
};

// Thread: immutable once filled.
class Vocab {
 public:
  explicit Vocab(std::vector<std::string> tokens);  // index = id; "" is a hole
  Vocab(const Vocab&) = delete;
  Vocab& operator=(const Vocab&) = delete;
  std::optional<TokenId> Find(std::string_view token) const { return index_.Find(token); }
  // "" outside and in holes.
  const std::string& Token(TokenId id) const {
    return id >= 0 && static_cast<size_t>(id) < tokens_.size() ? tokens_[static_cast<size_t>(id)] : empty_;
  }
  size_t size() const { return tokens_.size(); }

 private:
  std::vector<std::string> tokens_;
  std::string empty_;
  TokenIndex index_;
};

// GPT-2's printable stand-ins for the 256 bytes.
struct ByteChars {
  ByteChars();
  static const ByteChars& Get();
  std::string text[256];  // byte -> its character in UTF-8
  int16_t byte[0x180];    // code point -> byte, or -1
  // The bytes that a vocabulary entry stands for; nullopt if some character is not a stand-in.
  std::optional<std::string> Decode(std::string_view token) const;
};

}  // namespace sgl
