// Tokens that are found in the text before anything else: special tokens and others added to the vocabulary.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"

namespace sgl {

struct AddedToken {
  TokenId id = 0;
  std::string content;
  bool special = false;
  bool single_word = false;  // only between characters that are not word characters
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // ... after it
  bool normalized = false;   // looked for in normalised text
  std::string form;          // what to look for there; "": the content, normalised
};

// A stretch of text: an added token or plain text.
struct Segment {
  std::optional<TokenId> token;
  size_t begin, end;
};

// Leftmost-longest search for many strings. Thread: immutable after the last Add.
class AddedTokenFinder {
 public:
  AddedTokenFinder();
  // `form`: what to look for (the content, normalised if the token says so). Empty: never found. The same form again replaces.
  void Add(const AddedToken& token, std::string_view form);
  void FindCuts();  // after the last Add; before CutsAfter
  bool empty() const { return tokens_.empty(); }
  // Appends the segments of valid UTF-8 text[from..), from left to right. What stands before `from` is only looked at, by single_word.
  void Split(std::string_view text, size_t from, std::vector<Segment>* out) const;
  // Finding this token does not depend on what comes after it, and it does not look like plain text where a cut could be.
  bool CutsAfter(TokenId id) const;
  bool strips_left() const;   // some token has lstrip
  bool looks_around() const;  // some token has lstrip, rstrip or single_word

 private:
  struct Node {
    int32_t child = -1, sibling = -1;  // first child, next sibling
    int32_t token = -1;                // ends here: index into tokens_
    unsigned char byte = 0;
  };
  int32_t Child(int32_t node, unsigned char byte) const;
  std::vector<Node> nodes_;
  std::array<int32_t, 256> first_;  // first byte -> node, or -1
  std::vector<AddedToken> tokens_;
  std::vector<TokenId> cut_after_;  // sorted
};

}  // namespace sgl
