// tokenize_file <tokenizer> <config.json or -> <documents> [repeat]        repeat < 0: as often, but no cuts are looked for
// tokenizer: a tokenizer.json, SentencePiece model, *.tiktoken, tekken.json, or the JSON dump of a GGUF vocabulary.
// documents: any number of (u32 little-endian byte count, bytes). Writes for each: u32 count and i32 ids without special tokens, then
// u32 byte count and the bytes of Decode(ids). Prints the best encoding time of the repetitions to stderr, how many cuts it found (one
// about every 100 bytes) and how many of them made a difference. A file whose JSON has "gguf": true holds the tokenizer.ggml.* values by
// their GgufVocab names. "document_seconds" are the best times of each document. SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "base/json.h"
#include "text/base64.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

namespace {

std::string ReadAll(const char* path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return std::move(text).str();
}

sgl::GgufVocab VocabFromJson(const sgl::Json& json) {
  sgl::GgufVocab vocab;
  vocab.model = json.get_string("model", "");
  vocab.pre = json.get_string("pre", "");
  for (const sgl::Json& v : json["tokens"].as_array()) vocab.tokens.push_back(v.as_string());
  for (const sgl::Json& v : json["token_types"].as_array()) vocab.token_types.push_back(static_cast<int32_t>(v.as_int()));
  if (json["merges"].is_array())
    for (const sgl::Json& v : json["merges"].as_array()) vocab.merges.push_back(v.as_string());
  if (json["scores"].is_array())
    for (const sgl::Json& v : json["scores"].as_array()) vocab.scores.push_back(static_cast<float>(v.as_double()));
  vocab.add_space_prefix = json.get_bool("add_space_prefix", true);
  const std::pair<const char*, std::optional<sgl::TokenId>*> ids[] = {{"unk", &vocab.unk}, {"cls", &vocab.cls}, {"sep", &vocab.sep}};
  for (const auto& [key, id] : ids)
    if (json[key].is_int()) *id = static_cast<sgl::TokenId>(json[key].as_int());
  vocab.remove_extra_whitespaces = json.get_bool("remove_extra_whitespaces", false);
  vocab.precompiled_charsmap = sgl::Base64Decode(json.get_string("charsmap", "")).value_or("");
  return vocab;
}

sgl::Result<std::unique_ptr<sgl::Tokenizer>> Load(const std::string& file, std::string name, const sgl::Json& config) {
  if (const size_t slash = name.rfind('/'); slash != std::string::npos) name.erase(0, slash + 1);
  if (!file.starts_with('{') || name.starts_with("tekken")) return sgl::LoadTokenizerModel(file, name, config);
  sgl::Result<sgl::Json> json = sgl::ParseJson(file);
  if (!json.ok()) return std::move(json).error();
  if (json->get_bool("gguf", false)) return sgl::LoadTokenizer(VocabFromJson(*json));
  return sgl::LoadTokenizer(file, config);
}

struct CutCount {
  size_t cuts = 0, bad = 0;
};

// Every cut must leave the tokens as they are.
void CheckCuts(const sgl::Tokenizer& tokenizer, std::string_view document, const std::vector<sgl::TokenId>& ids, CutCount* count) {
  if (!sgl::IsValidUtf8(document)) return;
  std::vector<sgl::Tokenizer::Cut> cuts, ignored;
  std::vector<sgl::TokenId> all;
  tokenizer.EncodeFrom(document, 0, 100, &cuts, &all);
  bool same = all == ids;
  for (size_t i = 0; i < cuts.size() && same; i += 1 + cuts.size() / 20) {
    std::vector<sgl::TokenId> tail(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(cuts[i].tokens));
    tokenizer.EncodeFrom(document, cuts[i].bytes, document.size(), &ignored, &tail);
    // What comes after the cut may be anything.
    const std::vector<sgl::TokenId> head = tokenizer.Encode(document.substr(0, cuts[i].bytes), false);
    same = tail == ids && std::equal(head.begin(), head.end(), ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(cuts[i].tokens));
  }
  count->cuts += cuts.size();
  if (!same) ++count->bad;
}

void Put(std::string& out, const void* data, size_t size) { out.append(static_cast<const char*>(data), size); }

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return std::fputs("usage: tokenize_file tokenizer.json config.json|- documents [repeat]\n", stderr), 2;
  const std::string file = ReadAll(argv[1]);
  sgl::Json config;
  if (std::strcmp(argv[2], "-") != 0) {
    sgl::Result<sgl::Json> parsed = sgl::ParseJson(ReadAll(argv[2]));
    if (!parsed.ok()) return std::fprintf(stderr, "%s: %s\n", argv[2], parsed.error().message.c_str()), 1;
    config = *std::move(parsed);
  }
  const auto load_start = std::chrono::steady_clock::now();
  auto loaded = Load(file, argv[1], config);
  if (!loaded.ok()) return std::fprintf(stderr, "%s\n", loaded.error().message.c_str()), 1;
  const sgl::Tokenizer& tokenizer = **loaded;
  const double load_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - load_start).count();

  const std::string documents = ReadAll(argv[3]);
  std::vector<std::vector<sgl::TokenId>> encoded;
  double seconds = 1e9;
  std::vector<double> each;
  const int repeats = argc > 4 ? std::atoi(argv[4]) : 1;
  for (int repeat = std::abs(repeats); repeat > 0; --repeat) {
    encoded.clear();
    const auto start = std::chrono::steady_clock::now();
    auto last = start;
    for (size_t at = 0; at + 4 <= documents.size();) {
      uint32_t size = 0;
      std::memcpy(&size, documents.data() + at, 4);
      encoded.push_back(tokenizer.Encode(std::string_view(documents).substr(at + 4, size), false));
      at += 4 + size;
      const auto now = std::chrono::steady_clock::now();
      const double took = std::chrono::duration<double>(now - last).count();
      last = now;
      if (each.size() < encoded.size()) each.push_back(took);
      double& best = each[encoded.size() - 1];
      best = std::min(best, took);
    }
    seconds = std::min(seconds, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  CutCount count;
  for (size_t at = 0, i = 0; repeats > 0 && at + 4 <= documents.size(); ++i) {
    uint32_t size = 0;
    std::memcpy(&size, documents.data() + at, 4);
    CheckCuts(tokenizer, std::string_view(documents).substr(at + 4, size), encoded[i], &count);
    at += 4 + size;
  }
  std::string out;
  for (const std::vector<sgl::TokenId>& ids : encoded) {
    const uint32_t count = static_cast<uint32_t>(ids.size());
    Put(out, &count, 4);
    Put(out, ids.data(), 4 * ids.size());
    const std::string text = tokenizer.Decode(ids, false);
    const uint32_t bytes = static_cast<uint32_t>(text.size());
    Put(out, &bytes, 4);
    out += text;
  }
  std::fwrite(out.data(), 1, out.size(), stdout);
  std::fprintf(stderr, "{\"load_seconds\": %.3f, \"encode_seconds\": %.4f, \"cuts\": %zu, \"cut_mismatches\": %zu, \"document_seconds\": [",
               load_seconds, seconds, count.cuts, count.bad);
  for (size_t i = 0; i < each.size(); ++i) std::fprintf(stderr, "%s%.7f", i == 0 ? "" : ", ", each[i]);
  std::fputs("]}\n", stderr);
  return 0;
}
