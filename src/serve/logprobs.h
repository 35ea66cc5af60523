// Log-probabilities as JSON, in the native form [logprob, id, text] and in OpenAI's two.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <span>
#include <string>

#include "engine/engine.h"

namespace sgl {

// Lists of comma separated items, without brackets, so that streams can append to them.
// texts: fill the third element; else it is null.
struct NativeLogprobs {
  std::string tokens, top, token_ids;  // [lp, id, text] each; lists of these or null; the same for token_ids_logprob
  int64_t count = 0;
  void Append(std::span<const PositionLogprob> positions, const Tokenizer& tokenizer, bool texts);
  void Clear() { *this = {}; }
};

// {"text_offset":[..],"token_logprobs":[..],"tokens":[..],"top_logprobs":[..]}, of what was appended since the last Take.
class CompletionLogprobs {
 public:
  void Append(std::span<const PositionLogprob> positions, const Tokenizer& tokenizer, bool with_top);
  bool empty() const { return tokens_.empty(); }
  std::string Take();

 private:
  std::string offsets_, logprobs_, tokens_, tops_;
};

// {"content":[{"token","bytes","logprob","top_logprobs":[..]}]}
class ChatLogprobs {
 public:
  void Append(std::span<const PositionLogprob> positions, const Tokenizer& tokenizer);
  bool empty() const { return content_.empty(); }
  std::string Take();

 private:
  std::string content_;
};

}  // namespace sgl
