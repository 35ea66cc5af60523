// SPDX-License-Identifier: Apache-2.0
#include "serve/logprobs.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "base/json.h"

namespace sgl {
namespace {

void Comma(std::string& out) {
  if (!out.empty()) out += ',';
}

// Never -inf (JSON has none): the smallest float stands for it.
void AppendLogprob(std::string& out, float logprob) {
  if (std::isnan(logprob)) logprob = std::numeric_limits<float>::lowest();
  AppendJsonNumber(out, static_cast<double>(std::clamp(logprob, std::numeric_limits<float>::lowest(), std::numeric_limits<float>::max())));
}

std::string TokenText(const Tokenizer& tokenizer, TokenId id) { return tokenizer.Decode(std::span(&id, 1), false); }

void AppendTriple(std::string& out, const std::optional<float>& logprob, TokenId id, const Tokenizer& tokenizer, bool texts) {
  out += '[';
  if (logprob)
    AppendLogprob(out, *logprob);
  else
    out += "null";
  out += ',';
  AppendJsonNumber(out, int64_t{id});
  out += ',';
  if (texts)
    AppendJsonString(out, TokenText(tokenizer, id));
  else
    out += "null";
  out += ']';
}

void AppendTriples(std::string& out, const PositionLogprob& position, const std::vector<TopLogprob>& list, const Tokenizer& tokenizer,
                   bool texts) {
  Comma(out);
  if (!position.logprob) {  // the first prompt position has no prediction
    out += "null";
    return;
  }
  out += '[';
  for (size_t i = 0; i < list.size(); ++i) {
    if (i != 0) out += ',';
    AppendTriple(out, list[i].logprob, list[i].token, tokenizer, texts);
  }
  out += ']';
}

void AppendBytes(std::string& out, std::string_view bytes) {
  out += '[';
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (i != 0) out += ',';
    AppendJsonNumber(out, int64_t{static_cast<unsigned char>(bytes[i])});
  }
  out += ']';
}

void AppendChatToken(std::string& out, TokenId id, const std::optional<float>& logprob, const Tokenizer& tokenizer) {
  out += R"({"token":)";
  AppendJsonString(out, TokenText(tokenizer, id));
  out += R"(,"bytes":)";
  AppendBytes(out, tokenizer.TokenBytes(id));
  out += R"(,"logprob":)";
  AppendLogprob(out, logprob.value_or(0.0F));
}

}  // namespace

void NativeLogprobs::Append(std::span<const PositionLogprob> positions, const Tokenizer& tokenizer, bool texts) {
  for (const PositionLogprob& position : positions) {
    Comma(tokens);
    AppendTriple(tokens, position.logprob, position.token, tokenizer, texts);
    AppendTriples(top, position, position.top, tokenizer, texts);
    AppendTriples(token_ids, position, position.token_ids, tokenizer, texts);
  }
  count += static_cast<int64_t>(positions.size());
}

void CompletionLogprobs::Append(std::span<const PositionLogprob> positions, const Tokenizer& tokenizer, bool with_top) {
  for (const PositionLogprob& position : positions) {
    Comma(offsets_);
    offsets_ += "-1";  // SGLang does not count them either
    Comma(logprobs_);
    if (position.logprob)
      AppendLogprob(logprobs_, *position.logprob);
    else
      logprobs_ += "null";
    Comma(tokens_);
    AppendJsonString(tokens_, TokenText(tokenizer, position.token));
    if (!with_top) continue;
    Comma(tops_);
    if (!position.logprob) {
      tops_ += "null";
      continue;
    }
    // Two ids may have the same text (parts of characters): an object keeps one, the likelier.
    tops_ += '{';
    std::vector<std::string> seen;
    for (const TopLogprob& top : position.top) {
      std::string text = TokenText(tokenizer, top.token);
      if (std::find(seen.begin(), seen.end(), text) != seen.end()) continue;
      if (!seen.empty()) tops_ += ',';
      AppendJsonString(tops_, text);
      tops_ += ':';
      AppendLogprob(tops_, top.logprob);
      seen.push_back(std::move(text));
    }
    tops_ += '}';
  }
}

std::string CompletionLogprobs::Take() {
  std::string out = R"({"text_offset":[)" + offsets_ + R"(],"token_logprobs":[)" + logprobs_ + R"(],"tokens":[)" + tokens_ +
                    R"(],"top_logprobs":[)" + tops_ + "]}";
  *this = {};
  return out;
}

void ChatLogprobs::Append(std::span<const PositionLogprob> positions, const Tokenizer& tokenizer) {
  for (const PositionLogprob& position : positions) {
    Comma(content_);
    AppendChatToken(content_, position.token, position.logprob, tokenizer);
    content_ += R"(,"top_logprobs":[)";
    for (size_t i = 0; i < position.top.size(); ++i) {
      if (i != 0) content_ += ',';
      AppendChatToken(content_, position.top[i].token, position.top[i].logprob, tokenizer);
      content_ += '}';
    }
    content_ += "]}";
  }
}

std::string ChatLogprobs::Take() {
  std::string out = R"({"content":[)" + std::exchange(content_, {}) + "]}";
  return out;
}

}  // namespace sgl
