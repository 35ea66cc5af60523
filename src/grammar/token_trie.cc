// SPDX-License-Identifier: Apache-2.0
#include "grammar/token_trie.h"

#include <algorithm>

namespace sgl {

TokenTrie::TokenTrie(std::vector<std::pair<std::string, TokenId>> tokens) {
  std::sort(tokens.begin(), tokens.end());
  std::vector<uint32_t> open{0};  // nodes on the path to the last token
  byte_.push_back(0);
  depth_.push_back(0);
  end_.push_back(0);
  first_.push_back(0);
  std::string_view last;
  for (const auto& [bytes, id] : tokens) {
    size_t common = 0;
    while (common < bytes.size() && common < last.size() && bytes[common] == last[common]) ++common;
    while (open.size() > common + 1) {
      end_[open.back()] = static_cast<uint32_t>(byte_.size());
      open.pop_back();
    }
    for (size_t i = common; i < bytes.size(); ++i) {
      open.push_back(static_cast<uint32_t>(byte_.size()));
      byte_.push_back(static_cast<uint8_t>(bytes[i]));
      depth_.push_back(static_cast<uint16_t>(i + 1));
      end_.push_back(0);
      first_.push_back(static_cast<uint32_t>(ids_.size()));
    }
    ids_.push_back(id);
    longest_ = std::max(longest_, static_cast<uint32_t>(bytes.size()));
    const auto most = [&bytes = bytes](uint32_t& most_yet, auto&& counted) {
      most_yet = std::max(most_yet, static_cast<uint32_t>(std::count_if(bytes.begin(), bytes.end(), counted)));
    };
    most(closers_, [](char c) { return c == ']' || c == '}'; });
    most(digits_, [](char c) { return c >= '0' && c <= '9'; });
    last = bytes;
  }
  for (const uint32_t node : open) end_[node] = static_cast<uint32_t>(byte_.size());
  first_.push_back(static_cast<uint32_t>(ids_.size()));
  if (byte_.size() > 4096) BuildTables();
}

void TokenTrie::BuildTables() {
  constexpr size_t kMany = 12;
  wide_.assign(byte_.size(), kNone);
  for (uint32_t node = 0; node < byte_.size(); ++node) {
    size_t kids = 0;
    for (uint32_t i = node + 1; i < end_[node]; i = end_[i]) ++kids;
    if (kids < kMany) continue;
    wide_[node] = static_cast<uint32_t>(tables_.size());
    tables_.emplace_back().fill(kNone);
    for (uint32_t i = node + 1; i < end_[node]; i = end_[i]) tables_.back()[byte_[i]] = i;
  }
}

}  // namespace sgl
