// SPDX-License-Identifier: Apache-2.0
#include "serve/logit_processors.h"

#include <fmt/core.h>

#include <limits>
#include <optional>

#include "serve/json_reader.h"
#include "serve/params.h"

namespace sgl {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();
constexpr std::string_view kModule = "sglang.srt.sampling.custom_logit_processor.";

struct Setting {
  const Json& params;
  int64_t vocab_size;
  const Tokenizer& tokenizer;
};

Result<std::vector<TokenId>> TokenIds(const Setting& setting, const char* name, bool required) {
  std::vector<int64_t> ids;
  JsonReader field(setting.params, "custom_params");
  TRY_STATUS((required ? field.Required(name, ids) : field(name, ids)).status());
  return CheckTokenIds(ids, setting.vocab_size, std::string("custom_params.") + name);
}

// {"token_ids": [..]}: these are never sampled.
Status DisallowTokens(const Setting& setting, SamplingParams& sampling) {
  TRY(const std::vector<TokenId> ids, TokenIds(setting, "token_ids", true));
  for (const TokenId id : ids) sampling.logit_bias.emplace_back(id, kNever);
  return {};
}

// {"token_ids": [..]}: nothing else is ever sampled.
Status AllowTokens(const Setting& setting, SamplingParams& sampling) {
  TRY(const std::vector<TokenId> ids, TokenIds(setting, "token_ids", true));
  if (ids.empty()) return InvalidArgument("custom_params.token_ids: expected at least one id");
  std::vector<bool> allowed(static_cast<size_t>(setting.vocab_size));
  for (const TokenId id : ids) allowed[static_cast<size_t>(id)] = true;
  for (int64_t id = 0; id < setting.vocab_size; ++id)
    if (!allowed[static_cast<size_t>(id)]) sampling.logit_bias.emplace_back(static_cast<TokenId>(id), kNever);
  return {};
}

// {"thinking_budget": n}: reasoning ends after n tokens. SGLang has a class for each model with that model's ids; here the tags' ids are
// looked up, so any of the names does for any model that has these tags.
Status LimitThinking(const Setting& setting, SamplingParams& sampling) {
  ThinkingLimit limit;
  TRY_STATUS(JsonReader(setting.params, "custom_params").Required("thinking_budget", limit.tokens).status());
  if (limit.tokens < 0)
    return InvalidArgument(fmt::format("custom_params.thinking_budget: expected an integer of at least 0, got {}", limit.tokens));
  const std::optional<TokenId> start = setting.tokenizer.TokenToId("<think>"), end = setting.tokenizer.TokenToId("</think>");
  if (!start || !end) return InvalidArgument("custom_logit_processor: this model has no tokens <think> and </think>.");
  limit.start = *start;
  limit.end = *end;
  if (const std::vector<TokenId> newline = setting.tokenizer.Encode("\n", false); newline.size() == 1) limit.newline = newline.front();
  sampling.thinking_limit = limit;
  return {};
}

// {"ngram_size": n, "window_size": w, "whitelist_token_ids": [..]}
Status ForbidRepetition(const Setting& setting, SamplingParams& sampling) {
  constexpr int64_t kMost = 1 << 20;  // tokens: what is looked through for every token
  NoRepeatNgram rule;
  JsonReader field(setting.params, "custom_params");
  TRY_STATUS(field.Required("ngram_size", rule.size).Required("window_size", rule.window).status());
  for (const auto& [name, value] : {std::pair("ngram_size", rule.size), std::pair("window_size", rule.window)})
    if (value < 1 || value > kMost) return InvalidArgument(fmt::format("custom_params.{} must be in [1, {}], got {}.", name, kMost, value));
  TRY(rule.exempt, TokenIds(setting, "whitelist_token_ids", false));
  sampling.no_repeat_ngram = rule;
  return {};
}

struct Processor {
  std::string_view name;
  Status (*apply)(const Setting& setting, SamplingParams& sampling);
};
constexpr Processor kProcessors[] = {
    {"DisallowedTokensLogitsProcessor", DisallowTokens},
    {"AllowedTokensLogitsProcessor", AllowTokens},
    {"ThinkingBudgetLogitProcessor", LimitThinking},
    {"Qwen3ThinkingBudgetLogitProcessor", LimitThinking},
    {"DeepSeekR1ThinkingBudgetLogitProcessor", LimitThinking},
    {"Glm4MoeThinkingBudgetLogitProcessor", LimitThinking},
    {"DeepseekOCRNoRepeatNGramLogitProcessor", ForbidRepetition},
};

std::optional<std::string> FromHex(std::string_view hex) {
  const auto digit = [](char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; };
  if (hex.size() % 2 != 0) return {};
  std::string out;
  for (size_t i = 0; i < hex.size(); i += 2) {
    const int high = digit(hex[i]), low = digit(hex[i + 1]);
    if (high < 0 || low < 0) return {};
    out += static_cast<char>(high << 4 | low);
  }
  return out;
}

// Takes a pickle apart from the front.
class Pickle {
 public:
  explicit Pickle(std::string_view bytes) : rest_(bytes) {}
  bool Skip(unsigned char code, size_t bytes_behind) {
    if (rest_.size() <= bytes_behind || static_cast<unsigned char>(rest_.front()) != code) return false;
    rest_.remove_prefix(1 + bytes_behind);
    return true;
  }
  std::optional<std::string> ShortText() {  // behind its code: a length, then so many bytes
    if (rest_.size() < 2 || rest_.front() != '\x8c') return {};
    const size_t size = static_cast<unsigned char>(rest_[1]);
    if (rest_.size() < 2 + size) return {};
    std::string out(rest_.substr(2, size));
    rest_.remove_prefix(2 + size);
    return out;
  }
  std::optional<std::string> Line() {
    const size_t end = rest_.find('\n');
    if (end == std::string_view::npos) return {};
    std::string out(rest_.substr(0, end));
    rest_.remove_prefix(end + 1);
    return out;
  }
  bool is_end() const { return rest_ == "."; }

 private:
  std::string_view rest_;
};

}  // namespace

// Two forms, by the protocol: GLOBAL with two lines; or two texts and STACK_GLOBAL. MEMOIZE and BINPUT in between mean nothing here.
// Source: CPython's Lib/pickletools.py (codes and their arguments).
std::string PickledReference(std::string_view bytes) {
  constexpr unsigned char kProto = 0x80, kFrame = 0x95, kMemoize = 0x94, kBinPut = 'q', kGlobal = 'c', kStackGlobal = 0x93;
  Pickle pickle(bytes);
  const auto skip_memo = [&pickle] {
    while (pickle.Skip(kMemoize, 0) || pickle.Skip(kBinPut, 1)) {
    }
  };
  if (!pickle.Skip(kProto, 1)) return {};
  pickle.Skip(kFrame, 8);
  std::optional<std::string> module, name;
  if (pickle.Skip(kGlobal, 0)) {
    module = pickle.Line();
    name = pickle.Line();
  } else {
    module = pickle.ShortText();
    skip_memo();
    name = pickle.ShortText();
    skip_memo();
    if (!pickle.Skip(kStackGlobal, 0)) return {};
  }
  skip_memo();
  return module && name && pickle.is_end() ? *module + "." + *name : "";
}

Status ApplyLogitProcessor(const std::string& given, const Json& custom_params, int64_t vocab_size, const Tokenizer& tokenizer,
                           SamplingParams& sampling) {
  std::string name = given;
  const Result<Json> json = ParseJson(given);
  const bool pickled = json.ok() && json->is_object() && json->find("callable") != nullptr;
  if (pickled) {
    const std::optional<std::string> bytes = FromHex(json->get_string("callable", ""));
    name = bytes ? PickledReference(*bytes) : "";
    if (name.compare(0, kModule.size(), kModule) == 0) name.erase(0, kModule.size());
  }
  std::string names;
  for (const Processor& processor : kProcessors) {
    if (processor.name == name) return processor.apply({custom_params, vocab_size, tokenizer}, sampling);
    names += (names.empty() ? "" : ", ") + std::string(processor.name);
  }
  if (pickled && name.empty())
    return InvalidArgument("custom_logit_processor: pickled Python code is not run by this server; expected one of " + names + ".");
  return InvalidArgument(fmt::format("custom_logit_processor: '{}' is not known; expected one of {}.", name.substr(0, 100), names));
}

}  // namespace sgl
