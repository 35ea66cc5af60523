// SPDX-License-Identifier: Apache-2.0
#include "text/byte_trie.h"

#include <algorithm>
#include <bit>

namespace sgl {

void ByteTrie::Grow() {
  std::vector<Slot> old(std::max<size_t>(1024, 2 * slots_.size()));
  old.swap(slots_);
  shift_ = 64 - std::countr_zero(slots_.size());
  for (const Slot& slot : old) {
    if (slot.edge == 0) continue;
    size_t at = Hash(slot.edge);
    while (slots_[at].edge != 0) at = (at + 1) & (slots_.size() - 1);
    slots_[at] = slot;
  }
}

void ByteTrie::Insert(std::string_view key, TokenId value) {
  if (key.empty()) return;
  int32_t node = kRoot;
  for (const char c : key) {
    int32_t child = Child(node, c);
    if (child == kNone) {
      child = static_cast<int32_t>(values_.size());
      values_.push_back(-1);
      if (node == kRoot) {
        root_[static_cast<unsigned char>(c)] = child;
      } else {
        if (2 * values_.size() > slots_.size()) Grow();
        const uint64_t edge = static_cast<uint64_t>(node) << 8 | static_cast<unsigned char>(c);
        size_t at = Hash(edge);
        while (slots_[at].edge != 0) at = (at + 1) & (slots_.size() - 1);
        slots_[at] = {edge, child};
      }
    }
    node = child;
  }
  values_[static_cast<size_t>(node)] = value;
}

int32_t ByteTrie::Walk(std::string_view key) const {
  int32_t node = kRoot;
  for (size_t i = 0; i < key.size() && node != kNone; ++i) node = Child(node, key[i]);
  return node;
}

}  // namespace sgl
