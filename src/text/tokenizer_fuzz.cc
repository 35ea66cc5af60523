// First byte even: the rest is a tokenizer.json. Odd: the rest is text and ids for fixed toy tokenizers.
// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

namespace {

using sgl::TokenId;
using sgl::Tokenizer;

constexpr const char* kByteLevel = R"({
 "added_tokens": [{"id": 300, "content": "<s>", "special": true}, {"id": 301, "content": " x ", "normalized": true, "lstrip": true, "rstrip": true}],
 "normalizer": {"type": "NFC"},
 "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": "\\p{L}+|\\s+(?!\\S)|\\s+|[^\\s\\p{L}]"}, "behavior": "MergedWithNext"}, {"type": "ByteLevel"}]},
 "decoder": {"type": "ByteLevel"},
 "model": {"type": "BPE", "vocab": {VOCAB}, "merges": ["a b", "ab ab", "a a", "aa aa", "Ġ a", "Ã ©"]}})";

constexpr const char* kFallback = R"({
 "added_tokens": [{"id": 300, "content": "<s>", "special": true}],
 "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
 "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]},
 "model": {"type": "BPE", "unk_token": "<0x00>", "fuse_unk": true, "byte_fallback": true, "vocab": {VOCAB}, "merges": ["a b", "ab ab", "a a", "aa aa", "▁ a"]}})";

// One token per byte, and the results of the merges.
std::unique_ptr<Tokenizer> MakeToy(std::string json, bool byte_level) {
  std::string vocab;
  int id = 0;
  const auto add = [&](const std::string& token) {
    if (id != 0) vocab += ',';
    sgl::AppendJsonString(vocab, token);
    vocab += ':' + std::to_string(id++);
  };
  uint32_t next = 256;
  for (uint32_t b = 0; b < 256; ++b) {
    std::string token;
    if (byte_level) {
      const bool printable = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
      sgl::AppendCodePoint(token, printable ? b : next++);
    } else {
      char text[8];
      std::snprintf(text, sizeof text, "<0x%02X>", b);
      token = text;
    }
    add(token);
  }
  for (const char* token : {"ab", "abab", "aa", "aaaa"}) add(token);
  if (byte_level) {
    add("Ġa"), add("Ã©");
  } else {
    for (const char* token : {"a", "b", "▁", "▁a"}) add(token);
  }
  json.replace(json.find("VOCAB"), 5, vocab);
  auto made = sgl::LoadTokenizer(json, sgl::Json());
  if (!made.ok()) std::fputs(made.error().message.c_str(), stderr);
  CHECK(made.ok());
  return *std::move(made);
}

std::string Stream(const Tokenizer& tokenizer, const std::vector<TokenId>& ids, bool skip) {
  sgl::StreamDecoder decoder(tokenizer, skip);
  std::string out;
  for (const TokenId id : ids) {
    const std::string piece = decoder.Push(id);
    CHECK(sgl::IsValidUtf8(piece));
    out += piece;
  }
  return out + decoder.Flush();
}

void Exercise(const Tokenizer& tokenizer, std::string_view text, bool ours) {
  for (const bool special : {false, true}) {
    const std::vector<TokenId> ids = tokenizer.Encode(text, special);
    const std::string decoded = tokenizer.Decode(ids, special);
    const std::string streamed = Stream(tokenizer, ids, special);
    // An encoded text is UTF-8, so its byte tokens are too.
    if (ours && !tokenizer.byte_fallback) CHECK(decoded == streamed);
  }
  std::vector<TokenId> ids;
  for (const char c : text) ids.push_back(static_cast<unsigned char>(c) + (ids.size() % 7 == 0 ? 60 : 0));
  CHECK(sgl::IsValidUtf8(tokenizer.Decode(ids, false)));
  const std::string streamed = Stream(tokenizer, ids, false);
  if (ours && !tokenizer.byte_fallback) CHECK(streamed == tokenizer.Decode(ids, false));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] % 2 == 0) {
    const auto loaded = sgl::LoadTokenizer(rest, sgl::Json());
    if (loaded.ok()) Exercise(**loaded, "Hello, wörld! 12 \xff <s> \n\n  x 你好", false);
    return 0;
  }
  static const std::unique_ptr<Tokenizer> byte_level = MakeToy(kByteLevel, true), fallback = MakeToy(kFallback, false);
  Exercise(*byte_level, rest, true);
  Exercise(*fallback, rest, true);
  return 0;
}
