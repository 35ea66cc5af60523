// What /v1/completions and /v1/chat/completions have in common.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "serve/api/prepare.h"
#include "serve/flight.h"

namespace sgl {

struct OpenAiBody {
  std::string model = "default", rid, extra_key, cache_salt;
  bool stream = false, include_usage = false, continuous_usage = false;
  std::optional<int64_t> priority;
  std::string routing_key;  // filled by the handler: it has the headers
  SamplingAsked sampling;
  Specials specials;
  bool include_progress = false;
  std::optional<int> dp_rank;
};

// Reads the common fields. body.sampling holds the endpoint's defaults; the server's preferred parameters come over them, the request's
// over these. Errors name the field.
Status ReadOpenAi(const Json& json, const ApiContext& context, OpenAiBody& body);

void ReadOpenAiFields(JsonReader& field, OpenAiBody& body, Json& stream_options);

// Values that both endpoints refuse: other adapters, grammars, hidden states...
// The data-parallel rank, which a header may say, goes into body.
Status CheckOpenAi(const Json& json, OpenAiBody& body, const ApiContext& context, const HttpRequest& http);

// One prompt's plan out of its tokens and the common fields. rids are the caller's.
Result<PromptPlan> PlanOpenAi(const OpenAiBody& body, std::vector<TokenId> prompt, const ApiContext& context);

FlightOptions OpenAiOptions(const OpenAiBody& body, const ApiContext& context, size_t samples);

// A flight whose replies have OpenAI's frame: id, object, created, model, choices, usage.
class OpenAiFlight : public Flight {
 protected:
  OpenAiFlight(ApiContext& context, Exchange exchange, FlightOptions options, const OpenAiBody& body, std::string_view object,
               std::string_view chunk_object, std::string id);

  // {"id":..,"object":..,"created":..,"model":..,"choices":[
  const std::string& prefix() const { return prefix_; }
  // Keeps what AppendFinish will say of a sub-request besides; call it in Take.
  void TakeHiddenStates(size_t index, TokenDelta& delta);
  // "finish_reason":..,"matched_stop":..   null, null while it runs; then, if asked for, ,"hidden_states":[..] of the last token.
  // tool_calls: a stop is one after tool calls.
  void AppendFinish(std::string& out, size_t index, bool tool_calls = false) const;
  virtual int64_t ReasoningTokens(size_t index) const { return progress(index).reasoning_tokens; }  // of one choice, so far
  // ,"usage":{..} of one choice so far, if the client wants it in every chunk.
  std::string ContinuousUsage(size_t index) const;
  // ],"usage":{..},"metadata":{..}}
  std::string Suffix() const;
  void EmitUsage();  // the last chunk, if asked for
  const Tokenizer& tokenizer() const { return *tokenizer_; }

 private:
  std::string UsageJson(const Usage& usage, int64_t reasoning_tokens, bool nulls) const;
  int64_t AllReasoningTokens() const;
  std::string prefix_;
  const bool include_usage_, continuous_usage_;
  const bool with_hidden_;
  std::vector<std::vector<float>> hidden_;  // per sub-request, of its last token; empty before the second
  const std::shared_ptr<const Tokenizer> tokenizer_;
};

void SendOpenAiError(HttpExchange& exchange, const Error& error, std::string_view type = "BadRequestError");
// The body as JSON, or an answered exchange: wrong Content-Type, bad JSON.
std::optional<Json> OpenAiJson(const Exchange& exchange);

}  // namespace sgl
