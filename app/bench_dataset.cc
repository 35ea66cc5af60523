// SPDX-License-Identifier: Apache-2.0
#include "app/bench_dataset.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "base/json.h"

namespace sgl {
namespace {

using Random = std::mt19937_64;

int64_t Between(Random& random, int64_t low, int64_t high) {  // inclusive
  return low + static_cast<int64_t>(random() % static_cast<uint64_t>(high - low + 1));
}

// A random length in [ratio * full, full], at least 1.
int64_t RandomLength(Random& random, int64_t full, double ratio) {
  return Between(random, std::max<int64_t>(1, static_cast<int64_t>(static_cast<double>(full) * ratio)), full);
}

std::vector<TokenId> RandomIds(Random& random, int64_t count, int64_t vocabulary) {
  std::vector<TokenId> ids;
  for (int64_t i = 0; i < count; ++i) ids.push_back(static_cast<TokenId>(Between(random, 0, vocabulary - 1)));
  return ids;
}

// Consecutive ids from a random start: what SGLang's "random-ids" does.
std::vector<TokenId> RunOfIds(Random& random, int64_t count, int64_t vocabulary, int64_t offset) {
  const int64_t start = Between(random, 0, vocabulary - 1);
  std::vector<TokenId> ids;
  for (int64_t i = 0; i < count; ++i) ids.push_back(static_cast<TokenId>((start + offset + i) % vocabulary));
  return ids;
}

BenchPrompt FromIds(std::vector<TokenId> ids, int64_t output_len, const Tokenizer* tokenizer) {
  BenchPrompt prompt;
  if (tokenizer != nullptr) prompt.text = tokenizer->Decode(ids, false);
  prompt.prompt_len = static_cast<int64_t>(ids.size());
  prompt.ids = std::move(ids);
  prompt.output_len = output_len;
  return prompt;
}

std::vector<BenchPrompt> RandomPrompts(const DatasetOptions& o, const Tokenizer* tokenizer, int64_t vocabulary, Random& random) {
  std::vector<BenchPrompt> prompts;
  for (int64_t i = 0; i < o.num_prompts; ++i) {
    const int64_t input = RandomLength(random, o.random_input_len, o.random_range_ratio);
    const int64_t output = RandomLength(random, o.random_output_len, o.random_range_ratio);
    prompts.push_back(FromIds(RunOfIds(random, input, vocabulary, i), output, tokenizer));
  }
  return prompts;
}

std::vector<BenchPrompt> SharedPrefixPrompts(const DatasetOptions& o, const Tokenizer* tokenizer, int64_t vocabulary, Random& random) {
  std::vector<BenchPrompt> prompts;
  for (int64_t group = 0; group < o.gsp_num_groups; ++group) {
    const std::vector<TokenId> prefix = RandomIds(random, o.gsp_system_prompt_len, vocabulary);
    for (int64_t i = 0; i < o.gsp_prompts_per_group; ++i) {
      std::vector<TokenId> ids = prefix;
      const std::vector<TokenId> question = RandomIds(random, o.gsp_question_len, vocabulary);
      ids.insert(ids.end(), question.begin(), question.end());
      prompts.push_back(FromIds(std::move(ids), o.gsp_output_len, tokenizer));
    }
  }
  std::shuffle(prompts.begin(), prompts.end(), random);
  return prompts;
}

// The first two turns of a conversation; false when there are not two.
bool FirstTurns(const Json& entry, std::string& question, std::string& answer) {
  for (const char* key : {"conversations", "conversation"}) {
    const Json& turns = entry[key];
    if (!turns.is_array() || turns.as_array().size() < 2) continue;
    const auto text = [](const Json& turn) { return turn.get_string("value", turn.get_string("content", "")); };
    question = text(turns.as_array()[0]);
    answer = text(turns.as_array()[1]);
    return true;
  }
  return false;
}

Result<std::vector<Json>> ReadEntries(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return NotFound(fmt::format("--dataset-path {}: cannot open", path));
  std::ostringstream all;
  all << file.rdbuf();
  const std::string text = all.str();
  std::vector<Json> entries;
  if (const size_t first = text.find_first_not_of(" \t\r\n"); first != std::string::npos && text[first] == '[') {
    Result<Json> list = ParseJson(text);
    if (!list.ok()) return std::move(list).error().In("--dataset-path " + path);
    return std::move(list->as_array());
  }
  std::istringstream lines(text);
  int number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    Result<Json> entry = ParseJson(line);
    if (!entry.ok()) return std::move(entry).error().In(fmt::format("--dataset-path {}, line {}", path, number));
    entries.push_back(*std::move(entry));
  }
  return entries;
}

Result<std::vector<BenchPrompt>> FilePrompts(const DatasetOptions& o, const Tokenizer& tokenizer, Random& random) {
  TRY(std::vector<Json> entries, ReadEntries(o.path));
  std::shuffle(entries.begin(), entries.end(), random);
  std::vector<BenchPrompt> prompts;
  for (const Json& entry : entries) {
    if (static_cast<int64_t>(prompts.size()) == o.num_prompts) break;
    std::string question, answer;
    if (!FirstTurns(entry, question, answer)) continue;
    BenchPrompt prompt;
    prompt.text = question + o.prompt_suffix;
    prompt.ids = tokenizer.Encode(prompt.text, true);
    prompt.prompt_len = static_cast<int64_t>(prompt.ids.size());
    prompt.output_len = o.sharegpt_output_len.value_or(static_cast<int64_t>(tokenizer.Encode(answer, false).size()));
    if (prompt.prompt_len < 2 || prompt.output_len < 2) continue;
    if (o.sharegpt_context_len && prompt.prompt_len + prompt.output_len > *o.sharegpt_context_len) continue;
    prompts.push_back(std::move(prompt));
  }
  if (prompts.empty()) return InvalidArgument(fmt::format("--dataset-path {}: no conversation of two turns that can be used", o.path));
  return prompts;
}

}  // namespace

void DatasetOptions::Visit(Options& field) {
  const Range length{1, 1 << 24};
  field.Group("Dataset");
  field("dataset-name", name,
        "random, random-ids: random token ids; generated-shared-prefix; sharegpt: a JSON list of conversations; custom: one a line",
        Choices{{"sharegpt", "custom", "random", "random-ids", "generated-shared-prefix"}});
  field("dataset-path", path, "file for sharegpt and custom; nothing is downloaded", OptionTrait::kZeroIsUnset);
  field("num-prompts", num_prompts, "requests to send", Range{1, 1 << 24});
  field("random-input-len", random_input_len, "prompt tokens", length);
  field("random-output-len", random_output_len, "answer tokens", length);
  field("random-range-ratio", random_range_ratio, "lengths are drawn between this share of the given ones and all of them", Range{0, 1});
  field("sharegpt-output-len", sharegpt_output_len, "answer tokens of every request; unset: as in the dataset", length);
  field("sharegpt-context-len", sharegpt_context_len, "leave out longer conversations", length);
  field("prompt-suffix", prompt_suffix, "text behind every prompt of a file");
  field("gsp-num-groups", gsp_num_groups, "generated-shared-prefix: how many prefixes", Range{1, 1 << 20});
  field("gsp-prompts-per-group", gsp_prompts_per_group, "requests with the same prefix", Range{1, 1 << 20});
  field("gsp-system-prompt-len", gsp_system_prompt_len, "tokens of a prefix", length);
  field("gsp-question-len", gsp_question_len, "tokens behind it", length);
  field("gsp-output-len", gsp_output_len, "answer tokens", length);
  field("seed", seed, "of everything drawn", Range{0, 9e15});
}

Result<std::vector<BenchPrompt>> MakePrompts(const DatasetOptions& o, const Tokenizer* tokenizer, int64_t vocabulary) {
  Random random(static_cast<uint64_t>(o.seed));
  if (o.name == "random" || o.name == "random-ids") return RandomPrompts(o, tokenizer, vocabulary, random);
  if (o.name == "generated-shared-prefix") return SharedPrefixPrompts(o, tokenizer, vocabulary, random);
  if (o.path.empty()) return InvalidArgument(fmt::format("--dataset-name {} needs --dataset-path", o.name));
  if (tokenizer == nullptr) return InvalidArgument(fmt::format("--dataset-name {} needs a tokenizer: give --tokenizer", o.name));
  return FilePrompts(o, *tokenizer, random);
}

}  // namespace sgl
