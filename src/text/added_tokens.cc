// SPDX-License-Identifier: Apache-2.0
#include "text/added_tokens.h"

#include <algorithm>

#include "text/unicode.h"

namespace sgl {
namespace {

bool IsSpace(uint32_t cp) { return (CharTable::Get().Bits(cp) & kSpaceBit) != 0; }

bool WordBefore(std::string_view text, size_t at) {
  size_t start = 0;
  return at > 0 && IsWord(CodePointBefore(text, at, &start));
}
bool WordAfter(std::string_view text, size_t at) {
  size_t length = 0;
  return at < text.size() && IsWord(CodePointAt(text, at, &length));
}

}  // namespace

AddedTokenFinder::AddedTokenFinder() { first_.fill(-1); }

int32_t AddedTokenFinder::Child(int32_t node, unsigned char byte) const {
  int32_t child = nodes_[static_cast<size_t>(node)].child;
  while (child >= 0 && nodes_[static_cast<size_t>(child)].byte != byte) child = nodes_[static_cast<size_t>(child)].sibling;
  return child;
}

void AddedTokenFinder::Add(const AddedToken& token, std::string_view form) {
  if (form.empty()) return;
  const auto make = [&](unsigned char byte, int32_t sibling) {
    nodes_.push_back({-1, sibling, -1, byte});
    return static_cast<int32_t>(nodes_.size()) - 1;
  };
  const unsigned char lead = static_cast<unsigned char>(form[0]);
  if (first_[lead] < 0) first_[lead] = make(lead, -1);
  int32_t node = first_[lead];
  for (const char c : form.substr(1)) {
    int32_t child = Child(node, static_cast<unsigned char>(c));
    if (child < 0) {
      child = make(static_cast<unsigned char>(c), nodes_[static_cast<size_t>(node)].child);
      nodes_[static_cast<size_t>(node)].child = child;
    }
    node = child;
  }
  nodes_[static_cast<size_t>(node)].token = static_cast<int32_t>(tokens_.size());
  tokens_.push_back(token);
}

bool AddedTokenFinder::strips_left() const {
  return std::any_of(tokens_.begin(), tokens_.end(), [](const AddedToken& token) { return token.lstrip; });
}

bool AddedTokenFinder::looks_around() const {
  return std::any_of(tokens_.begin(), tokens_.end(),
                     [](const AddedToken& token) { return token.lstrip || token.rstrip || token.single_word; });
}

bool AddedTokenFinder::CutsAfter(TokenId id) const { return std::binary_search(cut_after_.begin(), cut_after_.end(), id); }

void AddedTokenFinder::FindCuts() {
  cut_after_.clear();
  for (const Node& node : nodes_) {
    if (node.token < 0 || node.child >= 0) continue;  // with a child: a longer token could be meant
    const AddedToken& token = tokens_[static_cast<size_t>(node.token)];
    const bool like_text = (node.byte >= 'a' && node.byte <= 'z') || (node.byte >= 'A' && node.byte <= 'Z') || node.byte == '\n';
    if (!token.rstrip && !token.single_word && !like_text) cut_after_.push_back(token.id);
  }
  std::sort(cut_after_.begin(), cut_after_.end());
}

void AddedTokenFinder::Split(std::string_view text, size_t from, std::vector<Segment>* out) const {
  size_t done = from;
  for (size_t at = from; at < text.size();) {
    int32_t node = first_[static_cast<unsigned char>(text[at])];
    int32_t best = -1;
    size_t best_end = 0;
    for (size_t end = at + 1; node >= 0; ++end) {
      const Node& here = nodes_[static_cast<size_t>(node)];
      if (here.token >= 0) best = here.token, best_end = end;
      if (end >= text.size()) break;
      node = Child(node, static_cast<unsigned char>(text[end]));
    }
    if (best < 0) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[static_cast<size_t>(best)];
    size_t begin = at, end = best_end;
    at = best_end;
    if (token.single_word && (WordBefore(text, begin) || WordAfter(text, end))) continue;
    size_t step = 0;
    if (token.lstrip) {
      while (begin > done && IsSpace(CodePointBefore(text, begin, &step))) begin = step;
      begin = std::max(begin, done);
    }
    if (token.rstrip)
      while (end < text.size() && IsSpace(CodePointAt(text, end, &step))) end += step;
    if (done < begin) out->push_back({std::nullopt, done, begin});
    if (begin < end) out->push_back({token.id, begin, end});  // else a token before it took all of its white space
    done = end;
  }
  if (done < text.size()) out->push_back({std::nullopt, done, text.size()});
}

}  // namespace sgl
