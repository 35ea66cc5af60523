// Sampling parameters from JSON: types, defaults, ranges and their messages.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "engine/engine.h"
#include "sched/request.h"
#include "serve/json_reader.h"

namespace sgl {

// Sampling parameters as they were asked for: types are right, ranges not yet looked at.
struct SamplingAsked {
  SamplingParams params;
  Json logit_bias;     // null or an object; its keys are ids as text
  Json custom_params;  // of a custom_logit_processor; null or an object
  bool max_new_tokens_given = false;
  std::optional<Error> refused;  // a parameter that nobody knows, or that this build cannot honour
};

// Reads a native `sampling_params` object over `asked`. Null leaves the default. Errors name the field's path.
Status ReadSamplingParams(const Json& object, const std::string& path, SamplingAsked& asked);

void DescribeSamplingFields(JsonReader& field);  // the fields it knows, for a describing reader

// Ranges and limits; messages are SGLang's ("top_p must be in (0, 1], got 1.5."). Fills params.logit_bias.
Result<SamplingParams> CheckSamplingParams(SamplingAsked asked, int64_t vocab_size);

// The error of a parameter that this build knows but does not have.
Error UnsupportedField(std::string_view name);

// --allow-auto-truncate for what generates nothing: a prompt that is too long loses its end.
void FitPrompt(const EngineInfo& info, std::vector<TokenId>& prompt);
// A prompt of `prompt_tokens` and `max_new_tokens` more (when the client gave it) must fit the context. Messages are SGLang's.
// --allow-auto-truncate: afterwards CheckLengths has nothing against it. A prompt loses its end.
void FitLengths(const EngineInfo& info, std::vector<TokenId>& prompt, SamplingAsked& asked);
Status CheckLengths(int64_t prompt_tokens, const SamplingAsked& asked, int64_t context_length);

// Prompt, logprob and id ranges of one request against the model.
Status CheckRequest(const GenerateRequest& request, const EngineInfo& info);

// Ids out of JSON: in [0, vocab_size), as 32 bits.
Result<std::vector<TokenId>> CheckTokenIds(const std::vector<int64_t>& ids, int64_t vocab_size, std::string_view name);

// Targets for JsonReader. Strings: "a" or ["a", "b"]; empty ones are dropped: they would stop everything at once. Ids: nulls, and ids that
// no vocabulary can have, are dropped.
struct StopStrings {
  std::vector<std::string>& out;
};
struct StopTokenIds {
  std::vector<TokenId>& out;
};
// A grammar: its text, or where that is JSON (schemas, structural tags) also the value itself.
struct GrammarText {
  std::optional<std::string>& out;
  bool json = false;
};
bool ReadJson(const Json& value, GrammarText& to, std::string& why);
bool ReadJson(const Json& value, StopStrings& to, std::string& why);
bool ReadJson(const Json& value, StopTokenIds& to, std::string& why);

}  // namespace sgl
