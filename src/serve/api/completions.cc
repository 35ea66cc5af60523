// POST /v1/completions.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "serve/api/handlers.h"
#include "serve/api/openai.h"
#include "serve/api/prompts.h"
#include "serve/describe.h"
#include "serve/json_reader.h"
#include "serve/logprobs.h"
#include "serve/reply.h"

namespace sgl {
namespace {

struct CompletionBody : OpenAiBody {
  Prompts prompt;
  bool echo = false;
  std::optional<int> logprobs;
};

void ReadCompletionFields(JsonReader& field, CompletionBody& body) {
  field.Required("prompt", body.prompt)("max_tokens", body.sampling.params.max_new_tokens)("echo", body.echo)("logprobs", body.logprobs);
}

Result<CompletionBody> ParseCompletion(const Json& json, const ApiContext& context) {
  CompletionBody body;
  body.sampling.params.max_new_tokens = 16;
  TRY_STATUS(ReadOpenAi(json, context, body));
  JsonReader field(json);
  ReadCompletionFields(field, body);
  TRY_STATUS(field.status());
  body.sampling.max_new_tokens_given = true;
  return body;
}

// A prompt as tokens, and as the text that `echo` repeats.
struct Tokenized {
  std::vector<TokenId> tokens;
  std::string text;
};

Result<Tokenized> Tokenize(const CompletionBody& body, size_t i, const ApiContext& context) {
  const EngineInfo& info = context.backend.info();
  Tokenized out;
  if (body.prompt.by_text()) {
    out.text = body.prompt.texts[i];
    out.tokens = context.EncodePrompt(out.text, true);
  } else {
    TRY(out.tokens, CheckTokenIds(body.prompt.ids[i], info.vocab_size, "prompt"));
    if (body.echo) out.text = context.tokenizer->Decode(out.tokens, body.sampling.params.skip_special_tokens);
  }
  if (out.tokens.empty()) return InvalidArgument("Prompt cannot be empty");
  return out;
}

struct CompletionPlan {
  std::vector<GenerateRequest> requests;
  std::vector<std::string> echoes;  // one per prompt; "" without echo
};

Status CheckCompletion(CompletionBody& body, const Json& json, const ApiContext& context, const HttpRequest& http) {
  if (body.prompt.all_empty()) return InvalidArgument("Prompt cannot be empty");
  TRY_STATUS(CheckOpenAi(json, body, context, http));
  TRY_STATUS(RefuseFields(json, {"suffix"}));
  TRY_STATUS(CheckSamples(body.prompt.size(), body.sampling.params.n));
  // SGLang wants max_tokens > 0; scoring a prompt (echo with logprobs) needs none.
  const int64_t max_tokens = body.sampling.params.max_new_tokens.value_or(16);
  if (max_tokens < 0 || (max_tokens == 0 && !body.echo))
    return InvalidArgument(fmt::format("max_tokens must be at least 1, got {}.", max_tokens));
  return {};
}

Result<CompletionPlan> PlanCompletion(CompletionBody& body, const Json& json, ApiContext& context, const HttpRequest& http,
                                      const std::string& id) {
  TRY_STATUS(CheckCompletion(body, json, context, http));
  const EngineInfo& info = context.backend.info();
  CompletionPlan out;
  std::vector<PromptPlan> plans;
  for (size_t i = 0; i < body.prompt.size(); ++i) {
    TRY(Tokenized prompt, Tokenize(body, i, context));
    TRY(PromptPlan plan, PlanOpenAi(body, std::move(prompt.tokens), context));
    if (body.logprobs) {
      plan.request.return_logprob = true;
      plan.request.top_logprobs_num = *body.logprobs;
      plan.request.logprob_start_len = body.echo ? 0 : -1;
    }
    TRY_STATUS(CheckRequest(plan.request, info));
    out.echoes.push_back(body.echo ? std::move(prompt.text) : std::string());
    plans.push_back(std::move(plan));
  }
  const auto samples = static_cast<size_t>(plans.front().request.sampling.n);
  const std::vector<std::string> rids = NumberedRids(id, plans.size() * samples);
  for (size_t i = 0; i < plans.size(); ++i)
    plans[i].rids.assign(rids.begin() + static_cast<ptrdiff_t>(i * samples), rids.begin() + static_cast<ptrdiff_t>((i + 1) * samples));
  TRY(out.requests, Expand(std::move(plans)));
  return out;
}

class CompletionFlight final : public OpenAiFlight {
 public:
  CompletionFlight(ApiContext& context, Exchange exchange, FlightOptions options, const CompletionBody& body, std::string id,
                   std::vector<std::string> echoes)
      : OpenAiFlight(context, std::move(exchange), options, body, "text_completion", "text_completion", std::move(id)),
        with_logprobs_(body.logprobs.has_value()),
        with_top_(body.logprobs.value_or(0) > 0),
        prompt_only_(body.sampling.params.max_new_tokens == 0) {
    choices_.resize(echoes.size() * options.samples);
    for (size_t i = 0; i < choices_.size(); ++i) choices_[i].text = echoes[i / options.samples];
  }

 private:
  struct Choice {
    std::string text;  // since the last Emit
    CompletionLogprobs logprobs;
  };

  void Take(size_t index, TokenDelta& delta) override {
    Choice& choice = choices_[index];
    choice.text += delta.text;
    TakeHiddenStates(index, delta);
    if (!with_logprobs_) return;
    choice.logprobs.Append(delta.input_logprobs, tokenizer(), with_top_);
    // The engine always samples once; without a completion that token is not part of the text.
    if (!prompt_only_) choice.logprobs.Append(delta.output_logprobs, tokenizer(), with_top_);
  }

  void AppendChoice(std::string& out, size_t index) {
    Choice& choice = choices_[index];
    out += R"({"index":)";
    AppendJsonNumber(out, static_cast<int64_t>(index));
    out += R"(,"text":)";
    AppendJsonString(out, choice.text);
    out += R"(,"logprobs":)";
    out += with_logprobs_ ? choice.logprobs.Take() : "null";
    out += ',';
    AppendFinish(out, index);
    out += '}';
    choice.text.clear();
  }

  void Emit(size_t index) override {
    std::string out = prefix();
    AppendChoice(out, index);
    const std::string usage = ContinuousUsage(index);
    out += R"(],"usage":)";
    out += usage.empty() ? "null" : usage;
    WriteEvent(out += '}');
  }

  void EmitTail() override { EmitUsage(); }

  std::string Body() override {
    std::string out = prefix();
    for (size_t i = 0; i < size(); ++i) {
      if (i != 0) out += ',';
      AppendChoice(out, i);
    }
    return out += Suffix();
  }

  const bool with_logprobs_, with_top_, prompt_only_;
  std::vector<Choice> choices_;
};

}  // namespace

void DescribeCompletions(JsonReader& field) {
  CompletionBody body;
  Json stream_options;
  ReadOpenAiFields(field, body, stream_options);
  ReadCompletionFields(field, body);
}

void HandleCompletions(ApiContext& context, const Exchange& exchange) {
  const std::optional<Json> json = OpenAiJson(exchange);
  if (!json) return;
  Result<CompletionBody> body = ParseCompletion(*json, context);
  if (!body.ok()) return SendError(*exchange, SchemaErrorReply(body.error().message));
  body->routing_key = RoutingKey(*json, exchange->request());
  const std::string id = body->rid.empty() ? context.ids.Next() : body->rid;
  Result<CompletionPlan> plan = PlanCompletion(*body, *json, context, exchange->request(), id);
  if (!plan.ok()) return SendOpenAiError(*exchange, plan.error());
  FlightOptions options = OpenAiOptions(*body, context, plan->requests.size() / plan->echoes.size());
  options.count_reasoning = true;
  const auto flight = std::make_shared<CompletionFlight>(context, exchange, options, *body, id, std::move(plan->echoes));
  flight->Launch(std::move(plan->requests));
}

}  // namespace sgl
