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
  bool empty() const { return tokens_.empty(); }
  // Appends the segments of valid UTF-8 `text`, from left to right.
  void Split(std::string_view text, std::vector<Segment>* out) const;

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
};

}  // namespace sgl
