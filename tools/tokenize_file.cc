// tokenize_file <tokenizer.json | dump.gguf.json> <config.json or -> <documents> [repeat]
// documents: any number of (u32 little-endian byte count, bytes). Writes for each: u32 count and i32 ids without special tokens, then
// u32 byte count and the bytes of Decode(ids). Prints the encoding time of the last repetition to stderr. A file whose JSON has
// "gguf": true holds the tokenizer.ggml.* values by their GgufVocab names.
// SPDX-License-Identifier: Apache-2.0
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "base/json.h"
#include "text/tokenizer.h"

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
  if (json["unk"].is_int()) vocab.unk = static_cast<sgl::TokenId>(json["unk"].as_int());
  return vocab;
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
  sgl::Result<sgl::Json> json = sgl::ParseJson(file);
  if (!json.ok()) return std::fprintf(stderr, "%s: %s\n", argv[1], json.error().message.c_str()), 1;
  auto loaded = json->get_bool("gguf", false) ? sgl::LoadTokenizer(VocabFromJson(*json)) : sgl::LoadTokenizer(file, config);
  if (!loaded.ok()) return std::fprintf(stderr, "%s\n", loaded.error().message.c_str()), 1;
  const sgl::Tokenizer& tokenizer = **loaded;
  const double load_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - load_start).count();

  const std::string documents = ReadAll(argv[3]);
  std::vector<std::vector<sgl::TokenId>> encoded;
  double seconds = 0;
  for (int repeat = argc > 4 ? std::atoi(argv[4]) : 1; repeat > 0; --repeat) {
    encoded.clear();
    const auto start = std::chrono::steady_clock::now();
    for (size_t at = 0; at + 4 <= documents.size();) {
      uint32_t size = 0;
      std::memcpy(&size, documents.data() + at, 4);
      encoded.push_back(tokenizer.Encode(std::string_view(documents).substr(at + 4, size), false));
      at += 4 + size;
    }
    seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
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
  std::fprintf(stderr, "{\"load_seconds\": %.3f, \"encode_seconds\": %.4f}\n", load_seconds, seconds);
  return 0;
}
