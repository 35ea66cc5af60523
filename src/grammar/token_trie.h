// The vocabulary as a trie over token bytes, flat and in preorder: walking it is one pass with jumps.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/ids.h"

namespace sgl {

// Thread: immutable once built.
class TokenTrie {
 public:
  // Any order; several tokens may have the same bytes. Empty byte strings belong to the root.
  explicit TokenTrie(std::vector<std::pair<std::string, TokenId>> tokens);

  static constexpr uint32_t kRoot = 0, kNone = 0xFFFFFFFFu;
  uint32_t end(uint32_t node) const { return end_[node]; }  // the node behind its subtree
  uint8_t byte(uint32_t node) const { return byte_[node]; }
  uint16_t depth(uint32_t node) const { return depth_[node]; }  // root 0
  std::span<const TokenId> tokens(uint32_t node) const { return {ids_.data() + first_[node], ids_.data() + first_[node + 1]}; }
  // Of the node and everything below.
  std::span<const TokenId> subtree(uint32_t node) const { return {ids_.data() + first_[node], ids_.data() + first_[end_[node]]}; }
  // Nodes with many children have a table of them.
  bool wide(uint32_t node) const { return !wide_.empty() && wide_[node] != kNone; }
  uint32_t Child(uint32_t node, uint8_t byte) const {
    if (wide(node)) return tables_[wide_[node]][byte];
    for (uint32_t i = node + 1; i < end_[node]; i = end_[i])
      if (byte_[i] == byte) return i;
    return kNone;
  }
  size_t size() const { return byte_.size(); }
  uint32_t longest() const { return longest_; }  // bytes
  uint32_t closers() const { return closers_; }  // most ']' and '}' in one token
  uint32_t digits() const { return digits_; }    // most digits
  size_t bytes() const { return byte_.size() * 15 + ids_.size() * 4 + wide_.size() * 4 + tables_.size() * 1024; }

 private:
  void BuildTables();
  std::vector<uint8_t> byte_;
  std::vector<uint16_t> depth_;
  std::vector<uint32_t> end_, first_;  // first_: [nodes + 1]
  std::vector<TokenId> ids_;
  std::vector<uint32_t> wide_;  // [nodes] in large tries: of tables_, or kNone
  std::vector<std::array<uint32_t, 256>> tables_;
  uint32_t longest_ = 0, closers_ = 0, digits_ = 0;
};

}  // namespace sgl
