// *.tiktoken -> Tokenizer. The file has byte strings and ranks; the pattern and the special tokens are known by the model's name.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "text/base64.h"
#include "text/gguf_families.h"
#include "text/splitter.h"
#include "text/tokenizer_config.h"

namespace sgl {
namespace {

Error Bad(std::string_view what) { return InvalidArgument(fmt::format("tiktoken file: {}", what)); }

// The next line of `text`, which loses it.
std::string_view TakeLine(std::string_view* text) {
  const size_t end = std::min(text->find('\n'), text->size());
  std::string_view line = text->substr(0, end);
  text->remove_prefix(std::min(end + 1, text->size()));
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

// "base64 rank"
bool ReadLine(std::string_view line, std::string* bytes, int64_t* rank) {
  const size_t space = line.find(' ');
  if (space == std::string_view::npos) return false;
  const std::optional<std::string> decoded = Base64Decode(line.substr(0, space));
  const std::string_view number = line.substr(space + 1);
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), *rank);
  if (!decoded || decoded->empty() || error != std::errc() || end != number.data() + number.size()) return false;
  *bytes = *decoded;
  return true;
}

struct Encoding {
  std::string_view names;  // of files or tokenizer classes, separated by spaces
  std::string_view pattern;
  bool nfc = false;
  std::string_view special;  // "name id" pairs; "" when the configuration has them
};

constexpr std::string_view kCl100k =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kGptTwo = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

const Encoding kEncodings[] = {
    {"cl100k_base.tiktoken cl100k_base", kCl100k, false,
     "<|endoftext|> 100257 <|fim_prefix|> 100258 <|fim_middle|> 100259 <|fim_suffix|> 100260 <|endofprompt|> 100276"},
    {"o200k_base.tiktoken o200k_base o200k_harmony.tiktoken", kO200kPattern, false, "<|endoftext|> 199999 <|endofprompt|> 200018"},
    {"r50k_base.tiktoken p50k_base.tiktoken gpt2.tiktoken", kGptTwo, false, "<|endoftext|> 50256"},
    {"qwen.tiktoken QWenTokenizer", kQwen, true, "<|endoftext|> 151643 <|im_start|> 151644 <|im_end|> 151645"},
    {"HYTokenizer hy.tiktoken Arcade100kTokenizer arcade100k.tiktoken", kQwen, true, ""},
    {"TikTokenTokenizer tiktoken.model", kKimiPattern, false, ""},
    {"ChatGLM4Tokenizer", kCl100k, false, ""},
    {"Llama3Tokenizer llama3", kCl100k, false,
     "<|begin_of_text|> 128000 <|end_of_text|> 128001 <|start_header_id|> 128006 <|end_header_id|> 128007 <|eot_id|> 128009"},
};

bool HasName(std::string_view names, std::string_view name) {
  if (name.empty()) return false;
  const std::string padded = fmt::format(" {} ", names);
  return padded.find(fmt::format(" {} ", name)) != std::string::npos;
}

// The pattern that the configuration gives as "pat_str", else the class's that it names, else the file's.
Result<Encoding> FindEncoding(const std::string& name, const Json& config) {
  const Json& pattern = config["pat_str"];
  const std::string type = config.get_string("tokenizer_class", "");
  Encoding found;
  for (const std::string& wanted : {name, type})
    for (const Encoding& encoding : kEncodings)
      if (HasName(encoding.names, wanted)) found = encoding;
  if (pattern.is_string()) found.pattern = pattern.as_string();
  if (!found.pattern.empty()) return found;
  std::string known;
  for (const Encoding& encoding : kEncodings) known += fmt::format("{}{}", known.empty() ? "" : " ", encoding.names);
  return Unimplemented(
      fmt::format("{}: its pattern is not known: neither the file's name nor tokenizer_config.json's tokenizer_class ('{}') is one of: {}; "
                  "tokenizer_config.json may give it as pat_str",
                  name, type, known));
}

std::string StandIns(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) out += ByteChars::Get().text[static_cast<unsigned char>(c)];
  return out;
}

Status ReadRanks(std::string_view text, std::vector<std::string>* tokens) {
  size_t number = 0;
  while (!text.empty()) {
    ++number;
    const std::string_view line = TakeLine(&text);
    if (line.empty()) continue;
    std::string bytes;
    int64_t rank = 0;
    if (!ReadLine(line, &bytes, &rank)) return Bad(fmt::format("line {}: expected base64 and a rank", number));
    if (rank < 0 || rank > kMaxTokenId || static_cast<size_t>(rank) > 64 * number + 65536)
      return Bad(fmt::format("line {}: the rank is far beyond the number of tokens", number));
    if (static_cast<size_t>(rank) >= tokens->size()) tokens->resize(static_cast<size_t>(rank) + 1);
    (*tokens)[static_cast<size_t>(rank)] = std::move(bytes);
  }
  if (tokens->empty()) return Bad("is empty");
  return {};
}

// tiktoken joins the two neighbours whose bytes together have the lowest rank: every way to cut a token is a merge with its rank.
void AddRankMerges(const std::vector<std::string>& tokens, std::vector<BpeMerge>* merges) {
  TokenIndex index;
  index.Reserve(tokens.size());
  for (size_t id = 0; id < tokens.size(); ++id)
    if (!tokens[id].empty()) index.Insert(tokens[id], static_cast<TokenId>(id));
  constexpr size_t kLongest = 1024;  // bytes; the ways to cut a token are quadratic work
  for (size_t id = 0; id < tokens.size(); ++id) {
    const std::string_view token = tokens[id];
    for (size_t cut = 1; cut < token.size() && token.size() <= kLongest; ++cut) {
      const auto left = index.Find(token.substr(0, cut)), right = index.Find(token.substr(cut));
      if (left && right) merges->push_back({*left, *right, static_cast<TokenId>(id), static_cast<uint32_t>(id)});
    }
  }
}

// What the two kinds of files share. tokens: byte strings by id; holes are "".
Status FillRanks(const std::vector<std::string>& tokens, std::string_view pattern, TokenizerParts* parts) {
  BpeParts& bpe = parts->model.emplace<BpeParts>();
  bpe.options.byte_level = true;
  bpe.options.ignore_merges = true;
  AddRankMerges(tokens, &bpe.merges);
  for (const std::string& token : tokens) parts->vocab.push_back(StandIns(token));
  const Status added = AddPattern(pattern, RegexSyntax::kRust, SplitBehavior::kIsolated, false, &parts->pre_tokenizer);
  if (!added.ok()) return Bad(added.error().message);
  parts->decoder.Add(ByteLevelDecode{});
  return {};
}

// Files of 2024 do not list their special tokens: these have been the same in all versions.
void AddTekkenSpecial(const Json& listed, int64_t count, TokenizerParts* parts) {
  std::vector<std::string> names = {
      "<unk>",           "<s>",          "</s>",  "[INST]", "[/INST]",     "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]",
      "[/TOOL_RESULTS]", "[TOOL_CALLS]", "[IMG]", "<pad>",  "[IMG_BREAK]", "[IMG_END]",         "[PREFIX]",           "[MIDDLE]",
      "[SUFFIX]"};
  names.resize(static_cast<size_t>(count));
  if (listed.is_array()) {
    for (const Json& item : listed.as_array()) {
      const int64_t rank = item.get_int("rank", -1);
      if (rank >= 0 && rank < count) names[static_cast<size_t>(rank)] = item.get_string("token_str", "");
    }
  }
  for (size_t id = 0; id < names.size(); ++id) {
    AddedToken token;
    token.id = static_cast<TokenId>(id);
    token.content = names[id].empty() ? fmt::format("<SPECIAL_{}>", id) : names[id];
    token.special = true;
    const bool known =
        std::any_of(parts->added.begin(), parts->added.end(), [&](const AddedToken& t) { return t.content == token.content; });
    if (!known) parts->added.push_back(std::move(token));
  }
}

void AddSpecial(std::string_view pairs, TokenizerParts* parts) {
  while (!pairs.empty()) {
    const size_t space = pairs.find(' ');
    AddedToken token;
    token.content = pairs.substr(0, space);
    pairs.remove_prefix(space + 1);
    const size_t end = std::min(pairs.find(' '), pairs.size());
    std::from_chars(pairs.data(), pairs.data() + end, token.id);
    pairs.remove_prefix(std::min(end + 1, pairs.size()));
    token.special = true;
    parts->added.push_back(std::move(token));
  }
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> LoadTiktoken(std::string_view ranks, const std::string& name, const Json& config) {
  TRY(const Encoding encoding, FindEncoding(name, config));
  std::vector<std::string> tokens;
  TRY_STATUS(ReadRanks(ranks, &tokens));
  TokenizerParts parts;
  if (encoding.nfc) parts.normalizer.Add(NormalForm::kNfc);
  TRY_STATUS(FillRanks(tokens, encoding.pattern, &parts));
  TRY_STATUS(AddListedTokens(Json(), config, &parts));
  if (parts.added.empty()) AddSpecial(encoding.special, &parts);
  return MakeTokenizer(std::move(parts), config);
}

Result<std::unique_ptr<Tokenizer>> LoadTekken(std::string_view tekken_json, const Json& config) {
  Result<Json> parsed = ParseJson(tekken_json);
  if (!parsed.ok()) return std::move(parsed).error().In("tekken.json");
  const Json& settings = (*parsed)["config"];
  const Json& vocab = (*parsed)["vocab"];
  const int64_t special = settings.get_int("default_num_special_tokens", 1000), size = settings.get_int("default_vocab_size", 0);
  const std::string pattern = settings.get_string("pattern", "");
  if (!vocab.is_array() || pattern.empty() || special < 0 || size < special || size > kMaxTokenId)
    return InvalidArgument(
        "tekken.json: expected \"vocab\", and a \"config\" with pattern, default_vocab_size and default_num_special_tokens");
  // The ranks begin behind the special tokens, and end where the vocabulary does.
  std::vector<std::string> tokens(static_cast<size_t>(special));
  for (const Json& item : vocab.as_array()) {
    if (static_cast<int64_t>(tokens.size()) >= size) break;
    const std::optional<std::string> bytes = Base64Decode(item.get_string("token_bytes", ""));
    const int64_t rank = static_cast<int64_t>(tokens.size()) - special;
    if (!bytes || bytes->empty() || item.get_int("rank", -1) != rank)
      return InvalidArgument(fmt::format("tekken.json: vocab[{}]: expected rank {} and token_bytes in base64", rank, rank));
    tokens.push_back(*bytes);
  }
  TokenizerParts parts;
  TRY_STATUS(FillRanks(tokens, pattern, &parts));
  TRY_STATUS(AddListedTokens(Json(), config, &parts));
  AddTekkenSpecial((*parsed)["special_tokens"], special, &parts);
  Json named = config.is_object() ? config : Json();
  for (const auto& [key, token] :
       {std::pair("bos_token", "<s>"), std::pair("eos_token", "</s>"), std::pair("unk_token", "<unk>"), std::pair("pad_token", "<pad>")})
    if (ConfigToken(named, key).empty()) named.Set(key, token);
  if (named.find("add_bos_token") == nullptr) named.Set("add_bos_token", true);
  return MakeTokenizer(std::move(parts), named);
}

Result<std::unique_ptr<Tokenizer>> LoadTokenizerModel(std::string_view bytes, const std::string& name, const Json& config) {
  if (name == "tekken.json" || bytes.starts_with('{')) return LoadTekken(bytes, config);
  std::string token;
  int64_t rank = 0;
  std::string_view rest = bytes;
  if (ReadLine(TakeLine(&rest), &token, &rank)) return LoadTiktoken(bytes, name, config);
  return LoadSentencePiece(bytes, config);
}

}  // namespace sgl
