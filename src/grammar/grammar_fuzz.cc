// Any bytes as a JSON Schema, regular expression, EBNF or structural tag: an answer in bounded time, and masks that Accept agrees with.
// The first byte chooses the kind; after a zero byte come the tokens to walk.
// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "grammar/grammar.h"

namespace {

std::shared_ptr<const sgl::Vocabulary> FuzzVocabulary() {
  static const auto vocabulary = [] {
    std::vector<std::string> tokens;
    for (int b = 0; b < 256; ++b) tokens.emplace_back(1, static_cast<char>(b));
    for (const char* piece : {"\"a", "\":", "\",", "{\"", "[[", "]]", "true", "12", "1,", "ab", "\\u00", "\xC3\xA9", "<t>"})
      tokens.emplace_back(piece);
    tokens.emplace_back("");
    const auto stop = static_cast<sgl::TokenId>(tokens.size() - 1);
    return std::make_shared<const sgl::Vocabulary>(std::move(tokens), std::vector<sgl::TokenId>{stop});
  }();
  return vocabulary;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1 || size > 4096) return 0;
  const auto kind = static_cast<sgl::GrammarKind>(data[0] % 4);
  std::string text(reinterpret_cast<const char*>(data + 1), size - 1);
  const size_t cut = text.find('\0');
  const std::string walk = cut == std::string::npos ? std::string() : text.substr(cut + 1);
  if (cut != std::string::npos) text.resize(cut);
  std::atomic<bool> stop{false};
  auto grammar = sgl::Grammar::Compile({kind, text}, {}, FuzzVocabulary(), &stop);
  if (!grammar.ok()) return 0;
  const auto matcher = (*grammar)->NewMatcher();
  const sgl::Vocabulary& v = *FuzzVocabulary();
  std::vector<uint32_t> mask(v.words());
  size_t steps = 0;
  for (const char c : walk) {
    if (++steps > 24) break;
    matcher->Fill(mask);
    std::vector<sgl::TokenId> allowed;
    for (size_t id = 0; id < v.size(); ++id)
      if ((mask[id / 32] >> (id % 32) & 1) != 0) allowed.push_back(static_cast<sgl::TokenId>(id));
    const auto forbidden = static_cast<sgl::TokenId>(static_cast<uint8_t>(c));
    if ((mask[static_cast<size_t>(forbidden) / 32] >> (forbidden % 32) & 1) == 0 && matcher->Accept(forbidden)) std::abort();
    if (allowed.empty()) break;
    if (!matcher->Accept(allowed[static_cast<uint8_t>(c) % allowed.size()])) std::abort();
    if (matcher->terminated()) break;
  }
  return 0;
}
