// SPDX-License-Identifier: Apache-2.0
#include "serve/logit_processors.h"

#include <fmt/core.h>

#include <limits>

#include "serve/json_reader.h"
#include "serve/params.h"

namespace sgl {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

// {"token_ids": [..]}: these are never sampled.
Status DisallowTokens(const Json& params, int64_t vocab_size, SamplingParams& sampling) {
  std::vector<int64_t> ids;
  TRY_STATUS(JsonReader(params, "custom_params").Required("token_ids", ids).status());
  TRY(const std::vector<TokenId> checked, CheckTokenIds(ids, vocab_size, "custom_params.token_ids"));
  for (const TokenId id : checked) sampling.logit_bias.emplace_back(id, kNever);
  return {};
}

// {"token_ids": [..]}: nothing else is ever sampled.
Status AllowTokens(const Json& params, int64_t vocab_size, SamplingParams& sampling) {
  std::vector<int64_t> ids;
  TRY_STATUS(JsonReader(params, "custom_params").Required("token_ids", ids).status());
  TRY(const std::vector<TokenId> checked, CheckTokenIds(ids, vocab_size, "custom_params.token_ids"));
  if (checked.empty()) return InvalidArgument("custom_params.token_ids: expected at least one id");
  std::vector<bool> allowed(static_cast<size_t>(vocab_size));
  for (const TokenId id : checked) allowed[static_cast<size_t>(id)] = true;
  for (int64_t id = 0; id < vocab_size; ++id)
    if (!allowed[static_cast<size_t>(id)]) sampling.logit_bias.emplace_back(static_cast<TokenId>(id), kNever);
  return {};
}

struct Processor {
  std::string_view name;
  Status (*apply)(const Json& params, int64_t vocab_size, SamplingParams& sampling);
};
constexpr Processor kProcessors[] = {
    {"DisallowedTokensLogitsProcessor", DisallowTokens},
    {"AllowedTokensLogitsProcessor", AllowTokens},
};

}  // namespace

Status ApplyLogitProcessor(const std::string& name, const Json& custom_params, int64_t vocab_size, SamplingParams& sampling) {
  std::string names;
  for (const Processor& processor : kProcessors) {
    if (processor.name == name) return processor.apply(custom_params, vocab_size, sampling);
    names += (names.empty() ? "" : ", ") + std::string(processor.name);
  }
  const Result<Json> json = ParseJson(name);
  if (json.ok() && json->find("callable") != nullptr)
    return InvalidArgument("custom_logit_processor: pickled Python objects are not run by this server; expected one of " + names + ".");
  return InvalidArgument(fmt::format("custom_logit_processor: '{}' is not known; expected one of {}.", name.substr(0, 100), names));
}

}  // namespace sgl
