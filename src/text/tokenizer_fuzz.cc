// First byte 's': the rest is a SentencePiece model; 't': a tiktoken file; 'k': a tekken.json; 'p': a pattern, a newline and a text. Other
// even bytes: the rest is a tokenizer.json. Odd ones: text and ids for fixed toy tokenizers. SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "text/split_automaton.h"
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

// A pattern as an automaton and as a regex must find the same.
void Patterns(std::string_view rest) {
  const size_t line = rest.find('\n');
  if (line == std::string_view::npos || line > 200) return;
  const auto automaton = sgl::SplitAutomaton::Compile(rest.substr(0, line), sgl::RegexSyntax::kOniguruma);
  if (automaton == nullptr) return;
  const std::string text = sgl::RepairUtf8(rest.substr(line + 1));
  for (size_t at = 0; at < text.size();) {
    const size_t end = automaton->Match(text, at);
    CHECK(end == sgl::SplitAutomaton::kNone || (end > at && end <= text.size()));
    size_t length = 0;
    sgl::CodePointAt(text, at, &length);
    at = end == sgl::SplitAutomaton::kNone ? at + length : end;
  }
}

// Cuts make no difference.
void Cuts(const Tokenizer& tokenizer, std::string_view text) {
  if (!sgl::IsValidUtf8(text)) return;
  const std::vector<TokenId> want = tokenizer.Encode(text, false);
  std::vector<Tokenizer::Cut> cuts, ignored;
  std::vector<TokenId> all;
  tokenizer.EncodeFrom(text, 0, 1 + text.size() / 8, &cuts, &all);
  CHECK(all == want);
  for (const Tokenizer::Cut& cut : cuts) {
    std::vector<TokenId> tail(want.begin(), want.begin() + static_cast<std::ptrdiff_t>(cut.tokens));
    tokenizer.EncodeFrom(text, cut.bytes, text.size(), &ignored, &tail);
    CHECK(tail == want);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  const char kind = static_cast<char>(data[0]);
  if (kind == 'p') return Patterns(rest), 0;
  if (kind == 's' || kind == 't' || kind == 'k') {
    const char* name = kind == 's' ? "tokenizer.model" : kind == 't' ? "qwen.tiktoken" : "tekken.json";
    const auto loaded = sgl::LoadTokenizerModel(rest, name, sgl::Json());
    if (loaded.ok()) Exercise(**loaded, "Hello, w\xC3\xB6rld! 12 \xff <s> \n\n  x \xE4\xBD\xA0", false);
    return 0;
  }
  if (kind % 2 == 0) {
    const auto loaded = sgl::LoadTokenizer(rest, sgl::Json());
    if (loaded.ok()) Exercise(**loaded, "Hello, wörld! 12 \xff <s> \n\n  x 你好", false);
    return 0;
  }
  static const std::unique_ptr<Tokenizer> byte_level = MakeToy(kByteLevel, true), fallback = MakeToy(kFallback, false);
  Exercise(*byte_level, rest, true);
  Cuts(*byte_level, rest);
  Cuts(*fallback, rest);
  Exercise(*fallback, rest, true);
  return 0;
}
