// SPDX-License-Identifier: Apache-2.0
#include "serve/params.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "obs/log.h"
#include "serve/json_reader.h"

namespace sgl {
namespace {

std::string Number(double value) {
  std::string text;
  AppendJsonNumber(text, value);
  return text;
}

// The names `sampling_params` may hold. Anything else is a mistake of the caller, as it is for SGLang.
constexpr std::string_view kKnown[] = {"max_new_tokens",
                                       "min_new_tokens",
                                       "temperature",
                                       "top_p",
                                       "top_k",
                                       "min_p",
                                       "frequency_penalty",
                                       "presence_penalty",
                                       "repetition_penalty",
                                       "stop",
                                       "stop_token_ids",
                                       "stop_regex",
                                       "ignore_eos",
                                       "n",
                                       "json_schema",
                                       "regex",
                                       "ebnf",
                                       "structural_tag",
                                       "skip_special_tokens",
                                       "spaces_between_special_tokens",
                                       "no_stop_trim",
                                       "logit_bias",
                                       "custom_params",
                                       "stream_interval",
                                       "sampling_seed"};

Status CheckRange(bool ok, std::string_view name, std::string_view range, double value) {
  if (ok) return {};
  return InvalidArgument(fmt::format("{} must be {}, got {}.", name, range, Number(value)));
}

Status FillLogitBias(const Json& bias, int64_t vocab_size, SamplingParams& params) {
  if (bias.is_null()) return {};
  params.logit_bias.clear();
  for (const auto& [key, value] : bias.as_object()) {
    int64_t id = -1;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size() || id < 0 || id >= vocab_size)
      return InvalidArgument(fmt::format("logit_bias must has keys in [0, {}], got {}.", vocab_size - 1, key));
    if (!value.is_number() || !std::isfinite(value.as_double()))
      return InvalidArgument(fmt::format("logit_bias.{}: expected a number, got {}", key, value.type_name()));
    params.logit_bias.emplace_back(static_cast<TokenId>(id), static_cast<float>(value.as_double()));
  }
  return {};
}

}  // namespace

bool ReadJson(const Json& value, StopStrings& to, std::string& why) {
  std::vector<std::string>& out = to.out;
  OneOrMany<std::string> stops;
  if (!ReadJson(value, stops, why)) return false;
  out.clear();
  for (std::string& stop : stops.values)
    if (!stop.empty()) out.push_back(std::move(stop));
  return true;
}

bool ReadJson(const Json& value, GrammarText& to, std::string& why) {
  if (to.json && (value.is_object() || value.is_bool())) {
    to.out = DumpJson(value);
    return true;
  }
  return ReadJson(value, to.out.emplace(), why);
}

bool ReadJson(const Json& value, StopTokenIds& to, std::string& why) {
  std::vector<TokenId>& out = to.out;
  std::vector<Json> items;
  if (!ReadJson(value, items, why)) return false;
  out.clear();
  for (size_t i = 0; i < items.size(); ++i) {
    if (items[i].is_null()) continue;
    int64_t id = 0;
    if (!ReadJson(items[i], id, why)) {
      why.insert(0, "[" + std::to_string(i) + "]");
      return false;
    }
    if (id >= 0 && id <= std::numeric_limits<TokenId>::max()) out.push_back(static_cast<TokenId>(id));
  }
  return true;
}

void ReadSamplingFields(JsonReader& field, SamplingAsked& asked) {
  SamplingParams& p = asked.params;
  StopStrings stop{p.stop}, stop_regex{p.stop_regex};
  StopTokenIds stop_token_ids{p.stop_token_ids};
  field("max_new_tokens", p.max_new_tokens)("min_new_tokens", p.min_new_tokens)("temperature", p.temperature)("top_p", p.top_p);
  field("top_k", p.top_k)("min_p", p.min_p)("frequency_penalty", p.frequency_penalty)("presence_penalty", p.presence_penalty);
  field("repetition_penalty", p.repetition_penalty)("stop", stop)("stop_token_ids", stop_token_ids)("stop_regex", stop_regex);
  field("ignore_eos", p.ignore_eos)("n", p.n)("skip_special_tokens", p.skip_special_tokens)("no_stop_trim", p.no_stop_trim);
  field("spaces_between_special_tokens", p.spaces_between_special_tokens)("stream_interval", p.stream_interval);
  GrammarText json_schema{p.json_schema, true}, regex{p.regex}, ebnf{p.ebnf}, structural_tag{p.structural_tag, true};
  field("json_schema", json_schema)("regex", regex)("ebnf", ebnf)("structural_tag", structural_tag);
  field("sampling_seed", p.sampling_seed).Object("logit_bias", asked.logit_bias).Object("custom_params", asked.custom_params);
}

void DescribeSamplingFields(JsonReader& field) {
  SamplingAsked asked;
  ReadSamplingFields(field, asked);
}

Status ReadSamplingParams(const Json& object, const std::string& path, SamplingAsked& asked) {
  SamplingParams& p = asked.params;
  JsonReader field(object, path);
  ReadSamplingFields(field, asked);
  TRY_STATUS(field.status());
  if (const Json* max_new_tokens = object.find("max_new_tokens")) {
    asked.max_new_tokens_given = !max_new_tokens->is_null();
    if (max_new_tokens->is_null()) p.max_new_tokens.reset();  // up to the context
  }
  for (const auto& [name, value] : object.as_object()) {
    bool known = false;
    for (std::string_view k : kKnown) known = known || k == name;
    if (!known && !asked.refused) asked.refused = InvalidArgument(fmt::format("{}: unknown parameter '{}'.", path, name));
  }
  return {};
}

Result<SamplingParams> CheckSamplingParams(SamplingAsked asked, int64_t vocab_size) {
  SamplingParams& p = asked.params;
  if (asked.refused) return *asked.refused;
  TRY_STATUS(CheckRange(p.temperature >= 0.0 && std::isfinite(p.temperature), "temperature", "non-negative", p.temperature));
  TRY_STATUS(CheckRange(p.top_p > 0.0 && p.top_p <= 1.0, "top_p", "in (0, 1]", p.top_p));
  TRY_STATUS(CheckRange(p.min_p >= 0.0 && p.min_p <= 1.0, "min_p", "in [0, 1]", p.min_p));
  if (p.top_k != -1 && p.top_k < 1) return InvalidArgument(fmt::format("top_k must be -1 (disable) or at least 1, got {}.", p.top_k));
  TRY_STATUS(CheckRange(p.frequency_penalty >= -2.0 && p.frequency_penalty <= 2.0, "frequency_penalty", "in [-2, 2]", p.frequency_penalty));
  TRY_STATUS(CheckRange(p.presence_penalty >= -2.0 && p.presence_penalty <= 2.0, "presence_penalty", "in [-2, 2]", p.presence_penalty));
  TRY_STATUS(CheckRange(p.repetition_penalty > 0.0 && p.repetition_penalty <= 2.0, "repetition_penalty", "in (0, 2] (1.0 = no penalty)",
                        p.repetition_penalty));
  if (p.max_new_tokens && *p.max_new_tokens < 0)
    return InvalidArgument(fmt::format("max_new_tokens must be at least 0, got {}.", *p.max_new_tokens));
  if (p.max_new_tokens && (p.min_new_tokens < 0 || p.min_new_tokens > *p.max_new_tokens))
    return InvalidArgument(fmt::format("min_new_tokens must be in [0, max_new_tokens({})], got {}.", *p.max_new_tokens, p.min_new_tokens));
  if (p.min_new_tokens < 0) return InvalidArgument(fmt::format("min_new_tokens must be at least 0, got {}.", p.min_new_tokens));
  if ((p.json_schema ? 1 : 0) + (p.regex ? 1 : 0) + (p.ebnf ? 1 : 0) + (p.structural_tag ? 1 : 0) > 1)
    return InvalidArgument("Only one of regex, json_schema, ebnf or structural_tag can be set.");
  if (p.n < 1) return InvalidArgument(fmt::format("n must be at least 1, got {}.", p.n));
  if (p.stream_interval && *p.stream_interval < 1)
    return InvalidArgument(fmt::format("stream_interval must be at least 1, got {}.", *p.stream_interval));
  TRY_STATUS(FillLogitBias(asked.logit_bias, vocab_size, p));
  return std::move(p);
}

Error UnsupportedField(std::string_view name) { return InvalidArgument(fmt::format("'{}' is not supported by this server.", name)); }

Status CheckLengths(int64_t prompt_tokens, const SamplingAsked& asked, int64_t context_length) {
  if (prompt_tokens >= context_length)
    return InvalidArgument(
        fmt::format("The input ({} tokens) is longer than the model's context length ({} tokens).", prompt_tokens, context_length));
  const int64_t wanted = asked.max_new_tokens_given ? asked.params.max_new_tokens.value_or(0) : 0;
  if (wanted <= context_length - prompt_tokens) return {};
  const std::string total =
      wanted > std::numeric_limits<int64_t>::max() - prompt_tokens ? fmt::format("{}", wanted) : fmt::format("{}", wanted + prompt_tokens);
  return InvalidArgument(fmt::format(
      "Requested token count exceeds the model's maximum context length of {} tokens. You requested a total of {} tokens: {} tokens from "
      "the input messages and {} tokens for the completion. Please reduce the number of tokens in the input messages or the completion "
      "to fit within the limit.",
      context_length, total, prompt_tokens, wanted));
}

void FitPrompt(const EngineInfo& info, std::vector<TokenId>& prompt) {
  const auto most = static_cast<size_t>(std::max<int64_t>(std::min(info.max_req_input_len, info.context_length - 1), 1));
  if (prompt.size() > most) {
    LOG_WARNING("A prompt of {} tokens was cut to {}", prompt.size(), most);
    prompt.resize(most);
  }
}

void FitLengths(const EngineInfo& info, std::vector<TokenId>& prompt, SamplingAsked& asked) {
  FitPrompt(info, prompt);
  std::optional<int64_t>& wanted = asked.params.max_new_tokens;
  if (asked.max_new_tokens_given && wanted) wanted = std::min(*wanted, info.context_length - static_cast<int64_t>(prompt.size()));
}

Status CheckRequest(const GenerateRequest& request, const EngineInfo& info) {
  const auto prompt_tokens = static_cast<int64_t>(request.prompt.size());
  if (request.prompt.empty()) return InvalidArgument("The prompt has no tokens.");
  if (request.logprob_start_len < -1)
    return InvalidArgument(fmt::format("logprob_start_len must be at least -1, got {}.", request.logprob_start_len));
  // A session's context, which only the engine knows, comes in front of the prompt.
  if (request.logprob_start_len > prompt_tokens && !request.session)
    return InvalidArgument(
        fmt::format("logprob_start_len ({}) is higher than the number of input tokens ({}).", request.logprob_start_len, prompt_tokens));
  if (request.top_logprobs_num < 0 || request.top_logprobs_num > info.vocab_size)
    return InvalidArgument(fmt::format("top_logprobs_num must be in [0, {}], got {}.", info.vocab_size, request.top_logprobs_num));
  return {};
}

Result<std::vector<TokenId>> CheckTokenIds(const std::vector<int64_t>& ids, int64_t vocab_size, std::string_view name) {
  std::vector<TokenId> out;
  out.reserve(ids.size());
  for (const int64_t id : ids) {
    if (id < 0 || id >= vocab_size) return InvalidArgument(fmt::format("{} must be in [0, {}], got {}.", name, vocab_size - 1, id));
    out.push_back(static_cast<TokenId>(id));
  }
  return out;
}

}  // namespace sgl
