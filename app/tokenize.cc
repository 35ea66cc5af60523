// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdio>
#include <iterator>

#include "app/commands.h"
#include "app/serve_options.h"
#include "base/env.h"
#include "engine/model_text.h"
#include "obs/log.h"
#include "weights/weights.h"

namespace sgl {
namespace {

struct TokenizeOptions {
  std::string model_path, revision;
  bool decode = false, json = false, no_special = false, skip_special = false;
  std::vector<std::string> text;

  void Visit(Options& field) {
    field.Group("Options");
    field("model-path", model_path, "a Hugging Face directory, a .gguf file, or the name of a model in the Hugging Face cache; required",
          Aliases{{"model"}}, OptionTrait::kZeroIsUnset);
    field("revision", revision, "branch, tag or commit in the Hugging Face cache; unset: main", OptionTrait::kZeroIsUnset);
    field("decode", decode, "ids to text");
    field("json", json, "write JSON");
    field("no-special-tokens", no_special, "encode: do not add what the tokenizer adds by itself, such as a first token");
    field("skip-special-tokens", skip_special, "decode: leave special tokens out");
    field.Positional("text", text, "text, or ids with --decode; - or nothing: standard input");
  }
};

std::string ReadAll(std::FILE* file) {
  std::string text;
  char buffer[1 << 16];
  for (size_t n; (n = std::fread(buffer, 1, sizeof buffer, file)) > 0;) text.append(buffer, n);
  return text;
}

// Ids separated by anything that is not part of a number, so that our own output, plain or JSON, can be read back.
Result<std::vector<TokenId>> ParseIds(std::string_view text) {
  std::vector<TokenId> ids;
  for (size_t begin = 0; (begin = text.find_first_not_of(" \t\r\n,[]", begin)) != std::string_view::npos;) {
    const size_t end = std::min(text.find_first_of(" \t\r\n,[]", begin), text.size());
    const std::string_view word = text.substr(begin, end - begin);
    const auto id = ParseEnv<int64_t>(word);
    if (!id || *id < 0 || *id > 0x7fffffff) return InvalidArgument(fmt::format("'{}' is not a token id", word));
    ids.push_back(static_cast<TokenId>(*id));
    begin = end;
  }
  return ids;
}

Status Tokenize(const TokenizeOptions& config) {
  TRY(const std::string path, ResolveModelPath(config.model_path, config.revision));
  TRY(const ModelFiles files, OpenModelText(path));
  TRY(const std::shared_ptr<const Tokenizer> tokenizer, LoadModelTokenizer(files));
  const bool from_stdin = config.text.empty() || (config.text.size() == 1 && config.text[0] == "-");
  const std::string input = from_stdin ? ReadAll(stdin) : fmt::format("{}", fmt::join(config.text, " "));
  if (config.decode) {
    TRY(const std::vector<TokenId> ids, ParseIds(input));
    const std::string text = tokenizer->Decode(ids, config.skip_special);
    fmt::print("{}\n", config.json ? DumpJson(Json(text)) : text);
    return {};
  }
  const std::vector<TokenId> ids = tokenizer->Encode(input, !config.no_special);
  if (config.json)
    fmt::print("[{}]\n", fmt::join(ids, ","));
  else
    fmt::print("{}\n", fmt::join(ids, " "));
  return {};
}

}  // namespace

int RunTokenize(const Arguments& arguments) {
  TokenizeOptions config;
  Options options("sglang tokenize", "Text to token ids, and back with --decode.");
  config.Visit(options);
  std::vector<std::string> warnings;
  if (const auto done = ParseCommandLine("tokenize", options, arguments, warnings)) return *done;
  LogWarnings(warnings);
  if (config.model_path.empty()) return Fail("tokenize", "the following arguments are required: --model-path", 2);
  if (const Status status = Tokenize(config); !status.ok()) return Fail("tokenize", status.error().message);
  return 0;
}

}  // namespace sgl
