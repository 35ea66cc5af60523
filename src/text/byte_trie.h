// Strings by their bytes, to be walked from any starting point.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/ids.h"

namespace sgl {

// Thread: immutable after the last Insert.
class ByteTrie {
 public:
  static constexpr int32_t kRoot = 0, kNone = -1;
  ByteTrie() { root_.fill(kNone); }
  void Insert(std::string_view key, TokenId value);  // replaces; an empty key is ignored
  int32_t Child(int32_t node, char byte) const {
    const unsigned char b = static_cast<unsigned char>(byte);
    if (node == kRoot) return root_[b];
    if (slots_.empty()) return kNone;
    const uint64_t edge = static_cast<uint64_t>(node) << 8 | b;
    for (size_t at = Hash(edge);; at = (at + 1) & (slots_.size() - 1)) {
      if (slots_[at].edge == edge) return slots_[at].node;
      if (slots_[at].edge == 0) return kNone;
    }
  }
  int32_t Walk(std::string_view key) const;                                         // kNone: no key begins like this
  TokenId Value(int32_t node) const { return values_[static_cast<size_t>(node)]; }  // -1: no key ends here

 private:
  struct Slot {
    uint64_t edge = 0;  // node << 8 | byte; no edge of the table leaves the root, so 0 is free
    int32_t node = kNone;
  };
  size_t Hash(uint64_t edge) const { return edge * 0x9E3779B97F4A7C15u >> shift_; }
  void Grow();
  std::array<int32_t, 256> root_;
  std::vector<Slot> slots_;  // open addressing, a power of two, at most half full
  int shift_ = 64;
  std::vector<TokenId> values_{-1};
};

}  // namespace sgl
